"""What every bus does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import msgspec
import pytest

from server.bus.base import END, START, Event, Gap, Topic

from .conftest import Buses


class Presence(msgspec.Struct, frozen=True, kw_only=True):
    unit: str
    number: int


PRESENCE = Topic(name="presence", model=Presence)
ALARMS = Topic(name="alarms", model=Presence)


def said(number: int) -> Presence:
    return Presence(unit="一号员", number=number)


async def take(events: AsyncIterator[Event[Presence]], count: int) -> list[int]:
    async with asyncio.timeout(10):
        return [(await anext(events)).body.number for _ in range(count)]


async def test_what_is_published_reaches_every_listener_in_order(buses: Buses) -> None:
    async with buses.one.listen(PRESENCE) as first, buses.two.listen(PRESENCE) as second:
        for number in range(20):
            await buses.two.publish(PRESENCE, said(number))
        event = await asyncio.wait_for(anext(first), 10)
        assert event == Event(body=said(0), sender=buses.sender_of_two)
        assert await take(first, 19) == list(range(1, 20))
        assert await take(second, 20) == list(range(20))


async def test_topics_are_apart_and_nobody_hears_the_past(buses: Buses) -> None:
    await buses.one.publish(PRESENCE, said(1))
    async with buses.one.listen(PRESENCE) as events, buses.one.listen(ALARMS) as alarms:
        await buses.two.publish(ALARMS, said(2))
        await buses.two.publish(PRESENCE, said(3))
        assert await take(events, 1) == [3]
        assert await take(alarms, 1) == [2]


async def test_a_listener_that_does_not_read_loses_the_oldest_and_it_is_counted(buses: Buses) -> None:
    async with buses.one.listen(PRESENCE) as slow, buses.one.listen(PRESENCE) as quick:
        reading = asyncio.create_task(take(quick, 80))
        for number in range(80):
            await buses.one.publish(PRESENCE, said(number))
            await asyncio.sleep(0)
        assert await reading == list(range(80))
        assert await take(slow, 50) == list(range(30, 80))
        assert buses.one.statistics()["dropped_total"] == 30


async def test_what_is_appended_is_kept_and_followed_from_where_one_was(buses: Buses) -> None:
    for number in range(5):
        await buses.one.append(ALARMS, said(number))
    async with buses.two.follow(ALARMS, START) as events:
        third = [await asyncio.wait_for(anext(events), 10) for _ in range(3)][-1]
    assert third.body.number == 2
    await buses.two.append(ALARMS, said(5))
    async with buses.one.follow(ALARMS, third.position) as events:
        assert await take(events, 3) == [3, 4, 5]
        waiting = asyncio.create_task(take(events, 1))
        await buses.two.append(ALARMS, said(6))
        assert await waiting == [6]


async def test_followers_do_not_disturb_each_other(buses: Buses) -> None:
    async with AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(bus.follow(ALARMS, START)) for bus in (buses.one, buses.two) * 3
        ]
        reading = [asyncio.create_task(take(follower, 30)) for follower in followers]
        for number in range(30):
            await (buses.one if number % 2 else buses.two).append(ALARMS, said(number))
        assert [await task for task in reading] == [list(range(30))] * 6


async def test_following_from_the_end_gives_only_what_is_new(buses: Buses) -> None:
    async with buses.one.follow(ALARMS, END) as empty:
        await buses.one.append(ALARMS, said(1))
        assert await take(empty, 1) == [1]
    async with buses.one.follow(ALARMS, END) as events:
        await buses.one.append(ALARMS, said(2))
        assert await take(events, 1) == [2]


async def test_a_reader_that_was_away_too_long_is_told(buses: Buses) -> None:
    first = await buses.one.append(ALARMS, said(0))
    for number in range(1, 203):
        await buses.one.append(ALARMS, said(number))
    async with buses.one.follow(ALARMS, first) as events:
        with pytest.raises(Gap):
            await asyncio.wait_for(anext(events), 10)
    async with buses.one.follow(ALARMS, START) as events:
        assert await take(events, 200) == list(range(3, 203))


async def test_a_position_of_another_bus_is_a_gap(buses: Buses) -> None:
    await buses.one.append(ALARMS, said(0))
    with pytest.raises(Gap):
        async with buses.one.follow(ALARMS, "99999999999999-7") as events:
            await asyncio.wait_for(anext(events), 10)


async def test_a_message_that_is_too_large_is_refused_at_the_sender(buses: Buses) -> None:
    for send in (buses.one.publish, buses.one.append):
        with pytest.raises(ValueError, match="bytes"):
            await send(PRESENCE, Presence(unit="x" * 300_000, number=1))
