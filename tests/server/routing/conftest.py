from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.routing_bench import Bench, running


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running() as bench:
        yield bench
