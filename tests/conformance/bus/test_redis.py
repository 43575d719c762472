"""What only Redis can do to us: junk of others (H36), death, standstill, and being emptied (P24)."""

from __future__ import annotations

import asyncio
import signal
import time

import msgspec
import pytest
from redis.asyncio import Redis

from server.bus.base import MAX_MESSAGE, START, BusAway, EnvelopeCodec, Gap
from server.bus.redis import RedisBus, open_redis
from support.redis_server import RedisServer
from support.waiting import until

from .test_bus import ALARMS, PRESENCE, said, take

CHANNEL = "fengsui:county:presence"
STREAM = "fengsui:county:alarms"


class Command(msgspec.Struct):
    unit: int


def junk() -> dict[str, bytes]:
    ours = EnvelopeCodec("county", "node-9")
    good = msgspec.msgpack.decode(ours.pack(PRESENCE, said(1)))
    return {
        "nothing": b"",
        "text": b"FLUSHALL\r\n",
        "a pickle": b"\x80\x04\x95\x1c\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "half": ours.pack(PRESENCE, said(1))[:-3],
        "another version": msgspec.msgpack.encode([2, *good[1:]]),
        "another system": EnvelopeCodec("province", "node-9").pack(PRESENCE, said(1)),
        "another topic": msgspec.msgpack.encode([*good[:3], "levels", good[4]]),
        "another body": msgspec.msgpack.encode([*good[:4], {"unit": 1}]),
        "deep": b"\x91" * 100_000,
        "too many fields": msgspec.msgpack.encode([*good, 1]),
        "too large": b"\xc6" + (10_000_000).to_bytes(4, "big") + bytes(10_000_000),
        "just too large": bytes(MAX_MESSAGE + 1),
    }


async def test_junk_is_dropped_and_counted(redis: RedisServer) -> None:
    raw = Redis.from_url(redis.url)
    async with open_redis(redis.url, "county", "node-1") as bus:
        async with bus.listen(PRESENCE) as events:
            for data in junk().values():
                await raw.publish(CHANNEL, data)
            await bus.publish(PRESENCE, said(7))
            assert await take(events, 1) == [7]
        bad = len(junk())
        assert bus.statistics()["bad_total"] == bad
        await raw.xadd(STREAM, {b"other": b"field"})
        for data in junk().values():
            await raw.xadd(STREAM, {b"e": data})
        await bus.append(ALARMS, said(8))
        async with bus.follow(ALARMS, START) as kept:
            assert await take(kept, 1) == [8]
        assert bus.statistics()["bad_total"] == 2 * bad + 1
    await raw.aclose()


def connected(bus: RedisBus) -> bool:
    return bus.statistics()["connected"] is True


async def test_killed_and_empty_again(redis: RedisServer) -> None:
    async with open_redis(redis.url, "county", "node-1") as bus, bus.listen(PRESENCE) as events:
        again: list[float] = []
        bus.on_reconnect(lambda: again.append(time.monotonic()))
        position = await bus.append(ALARMS, said(1))
        await redis.kill()
        await until(lambda: not connected(bus), 4)
        began = time.monotonic()
        for send in (bus.publish, bus.append):
            with pytest.raises(BusAway):
                await send(PRESENCE, said(1))
        assert time.monotonic() - began < 4.5
        await redis.start()
        back = time.monotonic()
        await until(lambda: connected(bus), 20)
        assert again
        assert again[0] - back < 5.0
        await bus.publish(PRESENCE, said(2))
        assert await take(events, 1) == [2]
        async with bus.follow(ALARMS, position) as kept:
            with pytest.raises(Gap):
                await asyncio.wait_for(anext(kept), 10)


async def test_a_reader_waits_while_redis_is_dead(redis: RedisServer) -> None:
    async with open_redis(redis.url, "county", "node-1") as bus, bus.follow(ALARMS, START) as kept:
        reading = asyncio.create_task(take(kept, 1))
        await redis.kill()
        await until(lambda: not connected(bus), 4)
        await redis.start()
        await until(lambda: connected(bus), 20)
        await bus.append(ALARMS, said(3))
        assert await reading == [3]


async def test_a_redis_that_stands_still_holds_nobody_up(redis: RedisServer) -> None:
    async with open_redis(redis.url, "county", "node-1") as bus:
        redis.signal(signal.SIGSTOP)
        began = time.monotonic()
        with pytest.raises(BusAway):
            await bus.publish(PRESENCE, said(1))
        assert time.monotonic() - began < 4.0
        await until(lambda: not connected(bus), 20)
        redis.signal(signal.SIGCONT)
        await until(lambda: connected(bus), 20)
        async with bus.listen(PRESENCE) as events:
            await bus.publish(PRESENCE, said(2))
            assert await take(events, 1) == [2]


async def test_redis_may_come_later(redis: RedisServer) -> None:
    await redis.kill()
    async with open_redis(redis.url, "county", "node-1") as bus, bus.listen(PRESENCE) as events:
        with pytest.raises(BusAway):
            await bus.publish(PRESENCE, said(1))
        await redis.start()
        await until(lambda: connected(bus), 20)
        await bus.publish(PRESENCE, said(2))
        assert await take(events, 1) == [2]
