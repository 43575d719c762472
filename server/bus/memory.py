"""The bus of a node that is alone: everything in this process, nothing outlives it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from server.bus.base import END, KEPT, QUEUE, START, Body, EnvelopeCodec, Event, Gap, Position, Topic
from server.bus.queue import DropOldest


@dataclass(slots=True)
class _Kept:
    """Messages of a kept topic; `first` is the number of the oldest."""

    messages: deque[bytes] = field(default_factory=deque)
    first: int = 1
    more: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def last(self) -> int:
        return self.first + len(self.messages) - 1


class MemoryBus:
    """Fulfils `Bus`. Messages are packed and read as on the wire, so that nobody shares an object or sends too much."""

    def __init__(self, node: str, *, queue: int = QUEUE, kept: int = KEPT) -> None:
        self._codec = EnvelopeCodec("memory", node)
        self._queue = queue
        self._limit = kept
        self._listeners: dict[str, list[DropOldest[bytes]]] = {}
        self._kept: dict[str, _Kept] = {}
        self._sent = 0
        self._dropped = 0

    async def publish(self, topic: Topic[Body], body: Body) -> None:
        data = self._codec.pack(topic, body)
        self._sent += 1
        for listener in self._listeners.get(topic.name, ()):
            listener.put(data)

    async def append(self, topic: Topic[Body], body: Body) -> Position:
        data = self._codec.pack(topic, body)
        kept = self._kept.setdefault(topic.name, _Kept())
        async with kept.more:
            self._sent += 1
            kept.messages.append(data)
            if len(kept.messages) > self._limit:
                kept.messages.popleft()
                kept.first += 1
            kept.more.notify_all()
            return str(kept.last)

    @contextlib.asynccontextmanager
    async def listen(self, topic: Topic[Body]) -> AsyncIterator[AsyncIterator[Event[Body]]]:
        queue: DropOldest[bytes] = DropOldest(self._queue)
        listeners = self._listeners.setdefault(topic.name, [])
        listeners.append(queue)
        try:
            yield self._events(topic, queue)
        finally:
            listeners.remove(queue)
            self._dropped += queue.dropped

    async def _events(self, topic: Topic[Body], queue: DropOldest[bytes]) -> AsyncIterator[Event[Body]]:
        async for data in queue:
            yield self._codec.unpack(topic, data)

    @contextlib.asynccontextmanager
    async def follow(self, topic: Topic[Body], after: Position) -> AsyncIterator[AsyncIterator[Event[Body]]]:
        kept = self._kept.setdefault(topic.name, _Kept())
        known = {START: kept.first - 1, END: kept.last}
        position = known[after] if after in known else _number(after)
        yield self._follow(topic, kept, position)

    async def _follow(self, topic: Topic[Body], kept: _Kept, position: int) -> AsyncIterator[Event[Body]]:
        while True:
            async with kept.more:
                while position == kept.last:
                    await kept.more.wait()
                if not kept.first - 1 <= position < kept.last:
                    raise Gap(f"messages after {position} are not kept any more")
                data = kept.messages[position + 1 - kept.first]
                position += 1
            yield self._codec.unpack(topic, data, str(position))

    def statistics(self) -> dict[str, object]:
        waiting = sum(queue.dropped for queues in self._listeners.values() for queue in queues)
        return {"sent_total": self._sent, "dropped_total": self._dropped + waiting, "bad_total": 0}


def _number(position: Position) -> int:
    """Raises Gap for a position of another run or another bus."""
    if not position.isdigit():
        raise Gap(f"{position!r} is no position of this bus")
    return int(position)
