"""One timer for what thousands of clients in one process are about to do: a timer of its own for each packet of each
client would cost a loading process more than the packets do.

A client's deed is up to `GRAIN` late. With few clients each has its moment; with many, those due in the same
millisecond are done together.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import Final

GRAIN: Final = 0.001  # s between two looks


class Due:
    """One deed to come."""

    __slots__ = ("_deed",)

    def __init__(self, deed: Callable[[], None]) -> None:
        self._deed: Callable[[], None] | None = deed

    def cancel(self) -> None:
        self._deed = None

    def _do(self) -> None:
        if self._deed is not None:
            self._deed()


class Pacer:
    """Of one event loop: see `pacer`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._waiting: list[tuple[float, int, Due]] = []
        self._numbers = itertools.count()
        self._timer: asyncio.TimerHandle | None = None
        self._wakes = math.inf  # when the timer is; -inf while a look is under way, which sets it at its end

    def at(self, when: float, deed: Callable[[], None]) -> Due:
        """Do it at this monotonic time, or as soon as that has passed."""
        due = Due(deed)
        heapq.heappush(self._waiting, (when, next(self._numbers), due))
        if when < self._wakes:
            self._wake_at(when)
        return due

    def after(self, seconds: float, deed: Callable[[], None]) -> Due:
        return self.at(time.monotonic() + seconds, deed)

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wakes = when
        self._timer = self.loop.call_later(max(0.0, when - time.monotonic()), self._look)

    def _look(self) -> None:
        self._timer, self._wakes = None, -math.inf
        now, waiting = time.monotonic(), self._waiting
        while waiting and waiting[0][0] <= now:
            one = heapq.heappop(waiting)[2]
            try:
                one._do()
            except Exception as error:
                self.loop.call_exception_handler({"message": "a paced deed failed", "exception": error})
        self._wakes = math.inf
        if waiting:
            self._wake_at(max(waiting[0][0], now + GRAIN))


_current: Pacer | None = None


def pacer() -> Pacer:
    """Of the running loop; there is one at a time."""
    global _current
    loop = asyncio.get_running_loop()
    if _current is None or _current.loop is not loop:
        _current = Pacer(loop)
    return _current
