"""How a `fengsui bench` command runs and ends, whatever it measures."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from bench.workers import BenchFailed

T = TypeVar("T")


def run(measuring: Coroutine[Any, Any, T], said_of: Callable[[T], str]) -> int:
    """Measure and print what is said of it; the exit code. SIGTERM and SIGINT end everything that was started."""
    try:
        print(said_of(asyncio.run(_interruptible(measuring))))
    except BenchFailed as failed:
        print(f"✗ {failed}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130
    return 0


async def _interruptible(measuring: Coroutine[Any, Any, T]) -> T:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measuring
