"""A clock that a test moves by hand."""

from __future__ import annotations


class FakeClock:
    """Fulfils `server.model.clock.Clock`; `wall` is what somebody set the wall clock forward by."""

    def __init__(self, now: float = 1000.0, utc: float = 1_800_000_000.0) -> None:
        self._now = now
        self._utc = utc - now
        self.wall = 0.0

    def now(self) -> float:
        return self._now

    def wallclock(self) -> float:
        return self._now + self._utc + self.wall

    def steady(self) -> float:
        return self._now + self._utc

    def advance(self, seconds: float) -> None:
        self._now += seconds
