"""The bus that the configuration asks for."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from server.bus.base import Bus
from server.bus.memory import MemoryBus
from server.bus.redis import open_redis


@contextlib.asynccontextmanager
async def open_bus(url: str, system: str, node: str) -> AsyncIterator[Bus]:
    """`url` "" = in memory. `system`: shared by the nodes that belong together; `node`: this run of this server."""
    if not url:
        yield MemoryBus(node)
        return
    async with open_redis(url, system, node) as bus:
        yield bus
