from __future__ import annotations

import asyncio
import time
from typing import Any

from support.pacer import pacer


async def test_deeds_are_done_in_their_order_and_not_before_their_time() -> None:
    done: list[tuple[str, float]] = []
    begun = time.monotonic()

    def deed(name: str) -> None:
        done.append((name, time.monotonic() - begun))

    pacer().at(begun + 0.06, lambda: deed("last"))
    pacer().at(begun + 0.02, lambda: deed("first"))
    pacer().at(begun + 0.04, lambda: deed("cancelled")).cancel()

    def more() -> None:
        pacer().after(0.03, lambda: deed("from a deed"))

    pacer().at(begun - 1.0, more)
    await asyncio.sleep(0.2)
    assert [name for name, _ in done] == ["first", "from a deed", "last"]
    assert all(at >= due for (_, at), due in zip(done, (0.02, 0.03, 0.06), strict=True))


async def test_a_deed_that_fails_is_told_and_hinders_nobody() -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    done = asyncio.Event()

    def fail() -> None:
        raise ValueError("it does not work")

    pacer().after(0.0, fail)
    pacer().after(0.0, done.set)
    async with asyncio.timeout(5):
        await done.wait()
    assert isinstance(told[0]["exception"], ValueError)


def test_each_loop_has_its_own() -> None:
    async def wait() -> None:
        done = asyncio.Event()
        pacer().after(3600.0, done.set)
        pacer().after(0.0, done.set)
        async with asyncio.timeout(5):
            await done.wait()

    for _ in range(2):
        asyncio.run(wait())
