"""Whoever holds the event loop up is counted and named."""

from __future__ import annotations

import asyncio
import io
import json
import time

from server.log import logging_to
from server.watchdog import LoopWatchdog
from support.waiting import until


def hold_the_loop(seconds: float) -> None:
    time.sleep(seconds)


async def test_a_stall_is_counted_and_its_place_named() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        watchdog = LoopWatchdog(limit=0.3)
        running = asyncio.create_task(watchdog.run())
        await asyncio.sleep(0)  # it begins to watch
        hold_the_loop(0.8)
        await until(lambda: watchdog.statistics()["stalls_total"])
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    said = watchdog.statistics()
    assert said["stalls_total"] == 1
    assert 0.7 <= float(str(said["longest_seconds"])) < 5.0
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in told] == ["the event loop is held up"]
    assert "hold_the_loop" in told[0]["where"]


async def test_a_loop_that_turns_is_left_alone() -> None:
    watchdog = LoopWatchdog(limit=0.5)
    running = asyncio.create_task(watchdog.run())
    await asyncio.sleep(0.3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert watchdog.statistics()["stalls_total"] == 0
