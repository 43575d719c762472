"""The two clocks of a server and the third that is made of them, and what notices that the wall clock was set."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """`now` is for timers, `wallclock` for what people and other machines read, `steady` for expiry."""

    def now(self) -> float:
        """Monotonic, s; means nothing outside this process."""

    def wallclock(self) -> float:
        """UTC, s since 1970; may jump when somebody or NTP sets it."""

    def steady(self) -> float:
        """UTC as it was when the process started plus the monotonic time since: comparable with stored times, and
        nobody loses a session because the wall clock was set."""


class JumpWatch:
    """Tells when the wall clock moved against the monotonic one. Sans-IO: give it both, about once a second."""

    def __init__(self, *, tolerance: float = 1.0) -> None:
        self._tolerance = tolerance
        self._offset: float | None = None

    def observe(self, now: float, wallclock: float) -> float:
        """Seconds by which the wall clock jumped since the last call, 0.0 within the tolerance (slewing)."""
        offset = wallclock - now
        before, self._offset = self._offset, offset
        if before is None or abs(offset - before) <= self._tolerance:
            return 0.0
        return offset - before
