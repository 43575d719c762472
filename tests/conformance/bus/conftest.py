"""Both buses for the same tests; `other` is a second node on the same bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.bus.base import Bus
from server.bus.memory import MemoryBus
from server.bus.redis import open_redis
from support.redis_server import RedisServer, redis_server

QUEUE, KEPT = 50, 200


@dataclass
class Buses:
    one: Bus
    two: Bus
    sender_of_two: str


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis_server(tmp_path) as server:
        yield server


@pytest.fixture(params=["memory", "redis"])
async def buses(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Buses]:
    if request.param == "memory":
        bus = MemoryBus("node-1", queue=QUEUE, kept=KEPT)
        yield Buses(bus, bus, "node-1")
        return
    async with (
        redis_server(tmp_path) as server,
        open_redis(server.url, "county", "node-1", queue=QUEUE, kept=KEPT) as one,
        open_redis(server.url, "county", "node-2", queue=QUEUE, kept=KEPT) as two,
    ):
        yield Buses(one, two, "node-2")
