"""The bounded queue between a bus and one listener: the oldest goes first when it is full, and is counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class DropOldest(Generic[Item]):
    def __init__(self, capacity: int) -> None:
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._filled = asyncio.Event()
        self.dropped = 0

    def put(self, item: Item) -> None:
        if len(self._items) >= self._capacity:
            self._items.popleft()
            self.dropped += 1
        self._items.append(item)
        self._filled.set()

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            while self._items:
                yield self._items.popleft()
            self._filled.clear()
            await self._filled.wait()
