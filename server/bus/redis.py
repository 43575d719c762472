"""The bus of several nodes: Redis pub/sub for what is published, Redis streams for what is kept.

This node goes on without Redis: sending raises `BusAway` at once or within `TIMEOUT`, listening waits for Redis to come
back and then listens again. Whatever is in Redis was perhaps not put there by us: envelopes are checked, and what does
not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeVar, cast

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from server.bus.base import (
    END,
    KEPT,
    QUEUE,
    START,
    BadEnvelope,
    Body,
    BusAway,
    EnvelopeCodec,
    Event,
    Gap,
    Position,
    Topic,
)
from server.bus.queue import DropOldest

TIMEOUT: Final = 2.0  # s for one command
RETRY: Final = 0.5  # s between tries while Redis is away
BLOCK: Final = 1000  # ms that one read of a stream waits
BATCH: Final = 100
FIELD: Final = b"e"

AWAY: Final = (RedisError, OSError, TimeoutError, asyncio.TimeoutError)
Result = TypeVar("Result")

log = structlog.get_logger("server.bus")


class RedisBus:
    """Fulfils `Bus`. `run` must run beside it: it receives what is published. Make with `open_redis`."""

    def __init__(self, redis: Redis, system: str, node: str, *, queue: int = QUEUE, kept: int = KEPT) -> None:
        self._redis = redis
        self._prefix = f"fengsui:{system}:"
        self._codec = EnvelopeCodec(system, node)
        self._queue = queue
        self._limit = kept
        self._listeners: dict[str, list[DropOldest[bytes]]] = {}
        self._subscribed: dict[str, asyncio.Event] = {}
        self._pubsub: PubSub | None = None
        self._reconnected: list[Callable[[], None]] = []
        self._sent = 0
        self._bad = 0
        self._dropped = 0
        self._away = 0

    def on_reconnect(self, listener: Callable[[], None]) -> None:
        """Called when Redis is there again: announce anew what others must know."""
        self._reconnected.append(listener)

    # ------------------------------------------------------------------ sending

    async def publish(self, topic: Topic[Body], body: Body) -> None:
        data = self._codec.pack(topic, body)
        await self._do(self._redis.publish(self._channel(topic.name), data))
        self._sent += 1

    async def append(self, topic: Topic[Body], body: Body) -> Position:
        data = self._codec.pack(topic, body)
        key = self._channel(topic.name)
        position = await self._do(self._redis.xadd(key, {FIELD: data}, maxlen=self._limit, approximate=False))
        self._sent += 1
        return _text(position)

    async def _do(self, command: Awaitable[Result]) -> Result:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await command
        except AWAY as error:
            self._away += 1
            raise BusAway(f"Redis does not answer: {error}") from error

    # ------------------------------------------------------------------ what is published

    @contextlib.asynccontextmanager
    async def listen(self, topic: Topic[Body]) -> AsyncIterator[AsyncIterator[Event[Body]]]:
        """As in `Bus`; entered as soon as Redis confirmed, or after `TIMEOUT` without it."""
        queue: DropOldest[bytes] = DropOldest(self._queue)
        channel = self._channel(topic.name)
        first = channel not in self._listeners
        self._listeners.setdefault(channel, []).append(queue)
        confirmed = self._subscribed.setdefault(channel, asyncio.Event())
        try:
            if first and self._pubsub is not None:
                with contextlib.suppress(*AWAY):
                    await self._pubsub.subscribe(channel)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TIMEOUT):
                    await confirmed.wait()
            yield self._events(topic, queue)
        finally:
            self._listeners[channel].remove(queue)
            self._dropped += queue.dropped
            if not self._listeners[channel]:
                del self._listeners[channel]
                self._subscribed.pop(channel, None)
                if self._pubsub is not None:
                    with contextlib.suppress(*AWAY):
                        await self._pubsub.unsubscribe(channel)

    async def _events(self, topic: Topic[Body], queue: DropOldest[bytes]) -> AsyncIterator[Event[Body]]:
        async for data in queue:
            if (event := self._read(topic, data)) is not None:
                yield event

    async def run(self) -> None:
        """Receive until cancelled; connect again for ever."""
        was_away = False
        while True:
            try:
                async with self._redis.pubsub() as pubsub:
                    await pubsub.subscribe(self._prefix + "hello")  # so that there is something to read
                    self._pubsub = pubsub  # whoever begins to listen from now on subscribes by itself
                    if self._listeners:
                        await pubsub.subscribe(*self._listeners)
                    if was_away:
                        was_away = False
                        log.info("Redis is back")
                        for listener in self._reconnected:
                            listener()
                    await self._receive(pubsub)
            except AWAY as error:
                was_away = True
                log.warning("Redis is away; this node goes on alone", error=str(error))
            finally:
                self._pubsub = None
                for confirmed in self._subscribed.values():
                    confirmed.clear()
            await asyncio.sleep(RETRY)

    async def _receive(self, pubsub: PubSub) -> None:
        while True:
            message = cast(
                "dict[str, Any] | None",
                await pubsub.get_message(ignore_subscribe_messages=False, timeout=BLOCK / 1000),
            )
            if message is None:
                async with asyncio.timeout(TIMEOUT):
                    await pubsub.ping()  # a half-open connection shows
                continue
            channel = _text(message.get("channel"))
            if message["type"] == "subscribe":
                if channel in self._subscribed:
                    self._subscribed[channel].set()
            elif message["type"] == "message":
                for queue in self._listeners.get(channel, ()):
                    queue.put(message["data"])

    # ------------------------------------------------------------------ what is kept

    @contextlib.asynccontextmanager
    async def follow(self, topic: Topic[Body], after: Position) -> AsyncIterator[AsyncIterator[Event[Body]]]:
        if after == END:
            newest = await self._do(self._redis.xrevrange(self._channel(topic.name), count=1))
            after = _text(newest[0][0]) if newest else START
        yield self._follow(topic, after)

    async def _follow(self, topic: Topic[Body], position: Position) -> AsyncIterator[Event[Body]]:
        key = self._channel(topic.name)
        while True:
            try:
                entries = await self._after(key, position)
            except AWAY as error:
                self._away += 1
                log.warning("Redis is away; a reader waits for it", topic=topic.name, error=str(error))
                await asyncio.sleep(RETRY)
                continue
            for entry, fields in entries:
                position = _text(entry)
                if (event := self._read(topic, fields.get(FIELD), position)) is not None:
                    yield event

    async def _after(self, key: str, position: Position) -> list[tuple[bytes, dict[bytes, bytes]]]:
        """What follows `position`, after a wait when there is nothing yet. Raises Gap."""
        async with asyncio.timeout(TIMEOUT + BLOCK / 1000), self._redis.pipeline(transaction=True) as pipe:
            if position != START:
                pipe.xrange(key, min=position, max=position, count=1)
            pipe.xread({key: position or "0-0"}, count=BATCH)
            *known, read = await pipe.execute()
            if known and not known[0]:
                raise Gap(f"messages after {position} are not kept any more")
            if not read:
                await self._redis.xread({key: position or "0-0"}, count=1, block=BLOCK)
                return []
            entries = read[key.encode()] if isinstance(read, dict) else read[0][1]
            return cast("list[tuple[bytes, dict[bytes, bytes]]]", entries)

    def _read(self, topic: Topic[Body], data: object, position: Position = "") -> Event[Body] | None:
        try:
            return self._codec.unpack(topic, data, position)
        except BadEnvelope as error:
            self._bad += 1
            log.warning("a message on the bus is not ours", topic=topic.name, error=str(error)[:200])
            return None

    def _channel(self, topic: str) -> str:
        return self._prefix + topic

    def statistics(self) -> dict[str, object]:
        waiting = sum(queue.dropped for queues in self._listeners.values() for queue in queues)
        return {
            "sent_total": self._sent,
            "dropped_total": self._dropped + waiting,
            "bad_total": self._bad,
            "away_total": self._away,
            "connected": self._pubsub is not None,
        }


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


@contextlib.asynccontextmanager
async def open_redis(url: str, system: str, node: str, **limits: int) -> AsyncIterator[RedisBus]:
    """A bus over the Redis at `url` (redis://, rediss://, unix://), receiving while the block runs.

    Redis need not be there yet.
    """
    redis = Redis.from_url(
        url,
        socket_connect_timeout=TIMEOUT,
        socket_timeout=TIMEOUT + BLOCK / 1000 + 1.0,
        retry=Retry(NoBackoff(), 0),
        max_connections=64,
    )
    bus = RedisBus(redis, system, node, **limits)
    receiving = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        while not receiving.done():  # a cancellation in the middle of a connect may be taken for its time-out
            receiving.cancel()
            await asyncio.wait([receiving], timeout=0.2)
        await redis.aclose()
