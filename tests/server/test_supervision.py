"""Services that fail come back, and nobody's exception is lost."""

from __future__ import annotations

import asyncio

import pytest

from server.supervision import Supervisor


async def test_a_service_that_fails_or_returns_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.supervision.FIRST_WAIT", 0.01)
    supervisor = Supervisor()
    runs: list[int] = []
    steady = asyncio.Event()

    async def service() -> None:
        runs.append(1)
        if len(runs) == 1:
            raise RuntimeError("once")
        if len(runs) == 2:
            return
        steady.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(supervisor.keep("thing", service))
    await asyncio.wait_for(steady.wait(), 5)
    assert supervisor.statistics() == {"restarts_thing_total": 2}
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(runs) == 3


async def test_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    enough = asyncio.Event()
    real = asyncio.sleep

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 9:
            enough.set()
        await real(0)

    monkeypatch.setattr("server.supervision.asyncio.sleep", sleep)

    async def broken() -> None:
        raise RuntimeError("always")

    task = asyncio.create_task(Supervisor().keep("broken", broken))
    await enough.wait()
    task.cancel()
    assert waits[:9] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
