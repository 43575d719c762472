"""What a path carries in a moment, from how far apart the packets of one train arrive.

A train leaves as one message, so its packets reach the narrowest link of the way together and leave it as far apart as
that link makes them (packet-train dispersion). This tells what may be given to the path at once, long before an
estimate from what was sent could: that one knows only what was tried. Pure.
"""

from __future__ import annotations

from collections import deque
from statistics import median_low
from typing import Final

TRAINS: Final = (
    9  # the last ones; the median does not mind a receiver that read late, or a train that met another
)
TICK: Final = 250e-6  # s: what arrival times are told in; closer together is not told apart
MOMENT: Final = 0.020  # s of queue in front of the narrowest link that a burst may make


class Dispersion:
    """One path. `burst`: bytes that it takes in a moment, 0 = not known."""

    __slots__ = ("_rates", "burst")

    def __init__(self) -> None:
        self._rates: deque[float] = deque(maxlen=TRAINS)  # bytes/s
        self.burst = 0

    def note(self, size: int, seconds: float) -> None:
        """Of a train whose packets all arrived, `size` bytes came in the `seconds` after its first packet."""
        self._rates.append(size / max(seconds, TICK))
        self.burst = round(MOMENT * median_low(self._rates))
