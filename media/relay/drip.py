"""Held packets on their way out a little faster than they were spoken, so that listeners catch up without a jump.

While a press of the button waits for its grant the packets are held; once granted they leave at 1.25 times the pace, in
order, with their own timestamps, and new packets queue behind them until the replay has caught up with the present.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from media.rtp.sequence import difference32

if TYPE_CHECKING:
    from media.relay.train import MediaPacket

PACE: Final = 1.25
MAX_GAP: Final = 0.2  # s that a pause in the timestamps may hold up what follows
MAX_WAITING: Final = 400  # packets; beyond it the oldest is lost


class Drip:
    """The replay of one layer. Times are monotonic seconds."""

    __slots__ = ("_clock_rate", "_due", "_last", "_waiting")

    def __init__(self, held: list[MediaPacket], clock_rate: int, now: float) -> None:
        self._clock_rate = clock_rate
        self._waiting: deque[MediaPacket] = deque(held, maxlen=MAX_WAITING)
        self._due = now  # of the next packet
        self._last: int | None = None  # timestamp of the one before it

    def add(self, packets: list[MediaPacket]) -> None:
        """New packets go behind the held ones."""
        self._waiting.extend(packets)

    def take(self, now: float) -> list[MediaPacket]:
        """Packets whose time has come."""
        due: list[MediaPacket] = []
        while self._waiting:
            packet = self._waiting[0]
            if self._last is not None:
                gap = difference32(packet.timestamp, self._last) / self._clock_rate / PACE
                at = self._due + min(max(gap, 0.0), MAX_GAP)
            else:
                at = self._due
            if at > now:
                break
            self._due, self._last = at, packet.timestamp
            due.append(self._waiting.popleft())
        return due

    def done(self, now: float) -> bool:
        """Whether the replay has caught up and packets may go straight out again."""
        return not self._waiting
