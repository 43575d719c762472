"""How busy the media process is, and what that allows (P14). Pure: what was measured comes in, time is an argument.

One thread relays, so the measure is the share of one processor core that the busiest one uses; where it gets no whole
core, a loop that is late again and again says the same. From `full` on no new picture begins; above `full` and OVER
pictures that are there go, a few at a time; below `full` less BACK they come back, one at a time. Voice is never asked.
"""

from __future__ import annotations

import math
from typing import Final

SMOOTH: Final = 2.0  # s over which the share is averaged
OVER: Final = 0.15  # as a share of `full`, as BACK
BACK: Final = 0.1
PAUSE: Final = 3.0  # s between two steps: as long as one takes to show in the measure
LATE: Final = 0.25  # s that the loop may be behind
LATE_TIMES: Final = 5  # measures in a row; one is a collection of garbage
PART: Final = 10  # of so many pictures one goes at each step


class Load:
    def __init__(self, full: float) -> None:
        self._full = full
        self._last: tuple[float, float] | None = None  # CPU s and when
        self._stepped = -math.inf
        self._late = 0
        self.share = 0.0
        self.crowded = False

    def measured(self, cpu_seconds: float, lag: float, now: float) -> None:
        """Once a second: CPU s of the busiest thread, the worst s that a loop was late. A process begins at 0."""
        self._late = self._late + 1 if lag >= LATE else 0
        last, self._last = self._last, (cpu_seconds, now)
        if last is None or now <= last[1] or cpu_seconds < last[0]:
            return
        passed = now - last[1]
        share = (cpu_seconds - last[0]) / passed
        self.share += (share - self.share) * (1.0 - math.exp(-passed / SMOOTH))
        limit = self._full * (1.0 - BACK) if self.crowded else self._full
        self.crowded = self.share >= limit or self._starved

    def forget(self) -> None:
        """The process is gone."""
        self._last, self._late, self.share, self.crowded = None, 0, 0.0, False

    def to_shed(self, pictures: int, now: float) -> int:
        """How many of so many pictures go now."""
        over = self.share >= self._full * (1.0 + OVER) or self._starved
        if not over or not pictures or not self._may_step(now):
            return 0
        return -(-pictures // PART)

    def may_return(self, now: float) -> bool:
        """Whether one that went may come back now."""
        return not self.crowded and self._may_step(now)

    @property
    def _starved(self) -> bool:
        return self._late >= LATE_TIMES

    def _may_step(self, now: float) -> bool:
        if now - self._stepped < PAUSE:
            return False
        self._stepped = now
        return True
