"""A talk spurt of a voice source: what is held of it while it goes nowhere, and whether it goes on. Sans-IO.

A microphone sends from the moment its key is down; where to, the floor decides later. Until then the packets are held
(at most `hold` seconds); a route takes them all, in order. No route at all means that the floor was refused or given
back: what was held is thrown away. Times are monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from media.rtp.sequence import difference32

if TYPE_CHECKING:
    from media.relay.train import MediaPacket

MAX_HOLD: Final = 1.5  # s
MAX_HELD: Final = 200  # packets; beyond it the oldest is lost and counted as clipped
QUIET_AFTER: Final = 0.15  # s without a packet until a spurt is over
PAUSE: Final = 0.5  # s without a packet after which what was held before belongs to an older press
NEVER_ROUTED: Final = -1.0


class Spurt:
    """The spurts of one source, one after the other.

    `clipped`: s at the beginning of the present spurt that no route got, NEVER_ROUTED while it has had none.
    """

    __slots__ = ("_began", "_clock_rate", "_held", "_hold", "_last", "active", "clipped")

    def __init__(self, hold: float) -> None:
        self._hold = min(hold, MAX_HOLD)
        self._clock_rate = 48_000
        self._held: deque[MediaPacket] = deque(maxlen=MAX_HELD)
        self._began = 0  # RTP timestamp of the spurt's first packet
        self._last = float("-inf")
        self.active = False
        self.clipped = NEVER_ROUTED

    def received(self, packet: MediaPacket, clock_rate: int, routed: bool) -> bool:
        """A new packet of the source; whether a spurt begins with it."""
        begins = not self.active
        if begins:
            self.active = True
            self.clipped = 0.0 if routed else NEVER_ROUTED
        if not routed:
            if packet.arrival - self._last > PAUSE:
                self._held.clear()
            if not self._held and self.clipped == NEVER_ROUTED:
                self._began = packet.timestamp
            self._held.append(packet)
        self._clock_rate = clock_rate
        self._last = packet.arrival
        return begins

    def routed(self, now: float) -> list[MediaPacket]:
        """The source got a route: what leaves first. What is older than `hold` is too late."""
        held = [packet for packet in self._held if packet.arrival >= now - self._hold]
        lost = held[0].timestamp if held else None
        if self.active and self.clipped == NEVER_ROUTED:
            self.clipped = 0.0
            if lost is not None:
                self.clipped = max(0, difference32(lost, self._began)) / self._clock_rate
        self._held.clear()
        return held

    def discard(self) -> None:
        """The source has no route any more, or shall have none."""
        self._held.clear()

    def quiet(self, now: float) -> bool:
        """Whether a spurt has just ended; then it is over. Ask every 50 ms or so while `active`."""
        if not self.active or now - self._last < QUIET_AFTER:
            return False
        self.active = False
        return True
