"""Watches the event loop: whoever holds it for more than 100 ms is counted and named in the log."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
import traceback
from typing import Final

import structlog

LIMIT: Final = 0.1  # s
BEAT: Final = 0.05  # s between beats of the loop and looks at them: each look wakes the process

log = structlog.get_logger("server.watchdog")


class LoopWatchdog:
    """`run` beats; a thread looks whether it does, and takes the loop's stack while it does not."""

    def __init__(self, limit: float = LIMIT) -> None:
        self._limit = limit
        self._beat = time.monotonic()
        self._stalls = 0
        self._longest = 0.0
        self._stop = threading.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._stop.clear()
        self._beat = time.monotonic()
        thread = threading.Thread(
            target=self._look, args=(threading.get_ident(),), name="watchdog", daemon=True
        )
        thread.start()
        try:
            while True:
                await asyncio.sleep(BEAT)
                now = time.monotonic()
                late = now - self._beat - BEAT
                self._longest = max(self._longest, late)
                if late >= self._limit:
                    self._stalls += 1
                self._beat = now
        finally:
            self._stop.set()
            with contextlib.suppress(RuntimeError):
                thread.join(timeout=1.0)

    def statistics(self) -> dict[str, object]:
        """`longest_seconds` is since the start."""
        return {"stalls_total": self._stalls, "longest_seconds": self._longest}

    def _look(self, loop_thread: int) -> None:
        told = 0.0
        while not self._stop.wait(BEAT):
            beat = self._beat
            held = time.monotonic() - beat - BEAT
            if held < self._limit or beat == told:
                continue
            told = beat
            frame = sys._current_frames().get(loop_thread)
            where = "".join(traceback.format_stack(frame, limit=6)) if frame else ""
            log.warning("the event loop is held up", seconds=round(held, 3), where=where)
