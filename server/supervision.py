"""Keeps services running: an exception ends one service for a moment, is logged and counted, and never lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

FIRST_WAIT: Final = 0.5
LONGEST_WAIT: Final = 30.0
STEADY_AFTER: Final = 60.0  # s of running after which the wait starts from the beginning

log = structlog.get_logger("server.supervision")


class Supervisor:
    """`keep` is the body of a task in the application's TaskGroup."""

    def __init__(self) -> None:
        self._restarts: dict[str, int] = {}

    async def keep(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run until cancelled; start again, after a growing wait, when `run` fails or returns."""
        self._restarts[name] = 0
        wait = FIRST_WAIT
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await run()
                log.error("a service ended by itself", service=name)
            except Exception:
                log.exception("a service failed", service=name)
            if loop.time() - began >= STEADY_AFTER:
                wait = FIRST_WAIT
            self._restarts[name] += 1
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, wait * 2)

    def statistics(self) -> dict[str, object]:
        return {f"restarts_{name}_total": count for name, count in self._restarts.items()}
