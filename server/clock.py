"""This machine's clocks."""

from __future__ import annotations

import time


class SystemClock:
    """Fulfils `server.model.clock.Clock`."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        return time.monotonic()

    def wallclock(self) -> float:
        return time.time()

    def steady(self) -> float:
        return time.monotonic() + self._offset
