"""Wait for what must become true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 5.0  # s


async def until(condition: Callable[[], object], patience: float = PATIENCE) -> None:
    """Returns once `condition()` is true. Raises TimeoutError."""
    async with asyncio.timeout(patience):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.01)
