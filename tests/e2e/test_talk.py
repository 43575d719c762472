"""Talk groups through the running server, real media and a client written from the protocol's page: tones are heard."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from support.running_server import RunningServer, media_pid, running_server
from support.talk_client import TalkClient, connect
from support.voice_client import MARKER, Radio, has, phone_token, pitches, radio
from support.waiting import until

pytestmark = pytest.mark.e2e
EVERYBODY = "全员"


@dataclass
class Net:
    """A server, its officer, and as many phones as a test asks for."""

    server: RunningServer
    officer: Radio
    stack: AsyncExitStack

    async def phone(self, name: str, pitch: float = 1000.0, **options: Any) -> Radio:
        token = await phone_token(self.officer, name)
        made: Radio = await self.stack.enter_async_context(
            radio(self.server, token=token, pitch=pitch, **options)
        )
        return made


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    async with running_server() as server, AsyncExitStack() as stack:
        admin = await server.setup_admin()
        officer: Radio = await stack.enter_async_context(radio(server, admin, pitch=700.0))
        yield Net(server, officer, stack)


async def speak(talker: Radio, *groups: str, seconds: float = 0.6, **options: Any) -> list[dict[str, Any]]:
    """Hold the key for so long; what the press was answered."""
    answers = await talker.press(*groups, **options)
    await asyncio.sleep(seconds)
    await talker.let_go()
    return answers


async def test_the_first_20_ms_are_heard_by_the_group_and_by_nobody_else(net: Net) -> None:
    talker, listener, outsider = (
        await net.phone("一号", 1000.0),
        await net.phone("二号"),
        await net.phone("三号"),
    )
    made = await net.officer.do("group.create", name="搜救", members=[{"kind": "role", "id": "guest"}])
    await until(lambda: made["group"] in listener.entities["group"])
    for each in (talker, listener, net.officer):
        await each.tune("搜救")
    await outsider.tune(EVERYBODY)
    answers = await speak(talker, "搜救")
    assert answers[0]["state"] == "granted"
    hearing = (listener, net.officer)
    await until(lambda: all(has(each.ears.all(), 1000.0, 20) for each in hearing))
    for each in hearing:
        assert abs(pitches(each.ears.all())[0] - MARKER) <= 60  # the very first 20 ms
    assert len(outsider.ears.all()) == 0
    assert len(talker.ears.all()) == 0
    assert listener.slots[0]["group"] == made["group"]
    await talker.until_told("ended")
    await listener.until_floor("搜救", lambda floor: floor["state"] in ("hang", "idle"))


async def test_a_grant_that_comes_late_loses_nothing_that_was_said_before(net: Net) -> None:
    """The microphone sends for half a second before anybody asks for the floor."""
    talker, listener = await net.phone("一号", 1000.0), await net.phone("二号")
    for each in (talker, listener):
        await each.tune(EVERYBODY)
    talker.microphone.start()
    await asyncio.sleep(0.5)
    assert len(listener.ears.all()) == 0
    answers = await speak(talker, EVERYBODY, speak=False)
    assert answers[0]["state"] == "granted"
    await until(lambda: has(listener.ears.all(), 1000.0, 45))  # 1.1 s are 55 pieces
    assert abs(pitches(listener.ears.all())[0] - MARKER) <= 60


async def test_a_dispatcher_takes_over_and_is_heard_in_place_of_the_phone(net: Net) -> None:
    talker, listener = await net.phone("一号", 1000.0), await net.phone("二号")
    for each in (talker, listener, net.officer):
        await each.tune(EVERYBODY)
    await talker.press(EVERYBODY)
    await until(lambda: has(listener.ears.all(), 1000.0))
    pressed = time.monotonic()
    assert (await net.officer.press(EVERYBODY))[0]["state"] == "granted"
    told = await talker.until_told("revoked", cause="pre_empted")
    assert told["group"] == talker.group(EVERYBODY)["id"]
    talker.microphone.stop_speaking()
    await until(lambda: has(listener.ears.all(pressed), 700.0))
    assert time.monotonic() - pressed < 1.2  # P5: 300 ms, asserted at four times
    await talker.until_floor(EVERYBODY, lambda floor: floor["talker"]["name"] == "总值班")
    await net.officer.let_go()


async def test_who_waits_is_heard_when_the_floor_is_free(net: Net) -> None:
    first, second, listener = (
        await net.phone("一号", 1000.0),
        await net.phone("二号", 1500.0),
        await net.phone("三号"),
    )
    for each in (first, second, listener):
        await each.tune(EVERYBODY)
    await first.press(EVERYBODY)
    answer = (await second.press(EVERYBODY))[0]
    assert (answer["state"], answer["position"]) == ("queued", 1)
    await first.let_go()
    await second.until_told("granted")
    second.microphone.start()
    await until(lambda: has(listener.ears.all(), 1500.0))
    await second.let_go()
    assert not has(second.ears.all(), 1500.0, 1)


async def test_a_key_pressed_again_before_the_last_word_has_left_is_a_press_like_any_other(net: Net) -> None:
    talker, listener = await net.phone("一号", 1000.0), await net.phone("二号")
    for each in (talker, listener, net.officer):
        await each.tune(EVERYBODY)
    await speak(talker, EVERYBODY, seconds=0.3)
    assert (await talker.press(EVERYBODY))[0]["state"] == "granted"  # in the tail of the first
    again = time.monotonic()
    await asyncio.sleep(2.0)  # longer than a key may be silent
    assert listener.floor(EVERYBODY)["talker"]["name"] == "一号"
    assert talker.states("revoked") == []
    assert has(listener.ears.all(again + 1.2), 1000.0)
    await net.officer.do("floor.revoke", group=talker.group(EVERYBODY)["id"], reason="险情")
    await talker.until_told("revoked", cause="forced")
    await talker.let_go()


async def test_a_talker_that_vanishes_frees_the_floor_within_a_second(net: Net) -> None:
    """P3, asserted at four times its number."""
    talker, listener = await net.phone("一号", 1000.0), await net.phone("二号")
    for each in (talker, listener):
        await each.tune(EVERYBODY)
    await talker.press(EVERYBODY)
    await until(lambda: has(listener.ears.all(), 1000.0))
    await talker.vanish()
    gone = time.monotonic()
    await listener.until_floor(EVERYBODY, lambda floor: floor["state"] in ("hang", "idle"))
    assert time.monotonic() - gone < 4.0
    assert (await listener.press(EVERYBODY, speak=False))[0]["state"] == "granted"


async def test_a_key_without_sound_and_sound_without_a_key_are_both_lost(net: Net) -> None:
    talker, listener = await net.phone("一号", 1000.0), await net.phone("二号")
    for each in (talker, listener):
        await each.tune(EVERYBODY)
    await talker.press(EVERYBODY, speak=False)  # the uplink is dead
    told = await talker.until_told("revoked")
    assert told["cause"] == "lost"
    await talker.let_go()
    assert (await talker.press(EVERYBODY))[0]["state"] == "granted"
    assert talker._alive is not None
    talker._alive.cancel()  # the page is frozen; its sound goes on
    await until(lambda: len(talker.states("revoked")) == 2)
    assert talker.states("revoked")[1]["cause"] == "lost"
    before = len(listener.ears.all())
    await asyncio.sleep(0.5)  # of a voice that nobody may hear
    assert len(listener.ears.all()) - before < 48_000 * 0.3  # what was on its way, nothing more
    await talker.let_go()


async def test_an_emergency_takes_every_floor_and_everybody_sees_the_alarm(net: Net) -> None:
    victim, listener = await net.phone("消防一号", 1000.0), await net.phone("二号")
    for each in (victim, listener, net.officer):
        await each.tune(EVERYBODY)
    await net.officer.press(EVERYBODY)
    victim.microphone.start()
    done = await victim.do(
        "emergency.start",
        key="sos-1",
        position={"lat": 31.2, "lon": 121.5, "accuracy": 8.0, "time": time.time()},
    )
    assert done["answer"]["state"] == "granted"
    alive = asyncio.create_task(victim._keep_alive())
    await net.officer.until_told("revoked", cause="pre_empted")
    await until(lambda: has(listener.ears.all(), 1000.0))
    await until(lambda: done["alarm"] in net.officer.entities["alarm"])
    alarm = net.officer.entities["alarm"][done["alarm"]]
    assert (alarm["state"], alarm["name"], alarm["position"]["lat"]) == ("new", "消防一号", 31.2)
    assert done["alarm"] in victim.entities["alarm"]
    assert listener.entities.get("alarm", {}) == {}
    await until(lambda: net.officer.group(EVERYBODY)["emergency"])
    await net.officer.do("alarm.move", alarm=done["alarm"], act="acknowledge")
    await until(lambda: victim.entities["alarm"][done["alarm"]]["owner"] == "总值班")
    alive.cancel()
    await victim.let_go()
    await net.officer.let_go()


async def test_a_patch_joins_two_groups_and_a_call_only_two(net: Net) -> None:
    one, two = await net.phone("一号", 1000.0), await net.phone("二号", 1500.0)
    guests = [{"kind": "role", "id": "guest"}]
    made = [
        (await net.officer.do("group.create", name=name, members=guests))["group"] for name in ("甲", "乙")
    ]
    await until(lambda: made[1] in one.entities["group"] and made[1] in two.entities["group"])
    await one.tune("甲")
    await two.tune("乙")
    await speak(one, "甲", seconds=0.3)
    await one.until_told("ended")
    assert len(two.ears.all()) == 0
    await net.officer.do("patch.create", groups=made)
    await speak(one, "甲")
    await until(lambda: has(two.ears.all(), 1000.0))
    call = (
        await net.officer.do("call.start", unit=two.entities["unit"][next(iter(two.entities["unit"]))]["id"])
    )["call"]
    await until(lambda: call in two.entities["call"])
    assert call not in one.entities.get("call", {})
    await two.do("call.answer", call=call, accept=True)
    since = time.monotonic()
    two.microphone.start()
    net.officer.microphone.start()
    await until(lambda: has(net.officer.ears.all(since), 1500.0) and has(two.ears.all(since), 700.0))
    assert not has(one.ears.all(since), 1500.0, 1)
    await two.do("call.end", call=call)
    await until(lambda: net.officer.entities["call"][call]["state"] == "ended")


async def test_who_comes_late_hears_the_rest(net: Net) -> None:
    talker, late = await net.phone("一号", 1000.0), await net.phone("二号")
    await talker.tune(EVERYBODY)
    await talker.press(EVERYBODY)
    await asyncio.sleep(0.3)  # what the other one misses
    joined = time.monotonic()
    await late.tune(EVERYBODY)
    await until(lambda: has(late.ears.all(joined), 1000.0))
    assert late.slots[0]["talker"]["name"] == "一号"
    assert not has(late.ears.all(), MARKER, 1)  # live, not from the start
    await talker.let_go()


async def test_the_same_client_logged_in_twice_is_the_newest_and_the_old_one_moves_nothing(net: Net) -> None:
    """H38: a copied tab, or a replayed session."""
    listener = await net.phone("二号")
    token = await phone_token(net.officer, "一号")
    talker: Radio = await net.stack.enter_async_context(radio(net.server, token=token, pitch=1000.0))
    for each in (talker, listener):
        await each.tune(EVERYBODY)
    await talker.press(EVERYBODY)
    await until(lambda: has(listener.ears.all(), 1000.0))
    socket = await connect(talker.http, net.server.url)
    newer = TalkClient(http=talker.http, socket=socket, client=talker.client, _ids=itertools.count(1000))
    net.stack.push_async_callback(newer.close)
    await newer.hello(token)
    await until(lambda: talker.goodbye == "replaced")
    copied = time.monotonic()
    # the old one's microphone still sends, its signs of life are nobody's: the floor is free in a second (P3)
    await listener.until_floor(EVERYBODY, lambda floor: floor["state"] in ("hang", "idle"))
    assert time.monotonic() - copied < 4.0
    talker.microphone.stop_speaking()
    await newer.do("floor.release")
    assert (await newer.ask(EVERYBODY))[0]["state"] == "granted"  # with the sound path of this client
    await newer.let_go()


async def test_the_same_user_at_two_desks_is_two_talkers_and_one_of_them_waits(net: Net) -> None:
    other: Radio = await net.stack.enter_async_context(
        radio(net.server, await net.server.login(), pitch=1500.0)
    )
    listener = await net.phone("二号")
    for each in (net.officer, other, listener):
        await each.tune(EVERYBODY)
    assert (await net.officer.press(EVERYBODY))[0]["state"] == "granted"
    await until(lambda: has(listener.ears.all(), 700.0))
    assert (await other.press(EVERYBODY))[0]["state"] == "queued"
    assert net.officer.states("revoked") == []
    await net.officer.let_go()
    await other.until_told("granted")
    other.microphone.start()
    await until(lambda: has(listener.ears.all(), 1500.0))
    await other.let_go()


async def test_the_media_process_dies_and_talk_goes_on_after_a_new_sound_path(net: Net) -> None:
    talker, listener = await net.phone("一号", 1000.0), await net.phone("二号")
    for each in (talker, listener):
        await each.tune(EVERYBODY)
    await talker.press(EVERYBODY)
    await until(lambda: has(listener.ears.all(), 1000.0))
    os.kill(media_pid(net.server), signal.SIGKILL)
    await talker.until_told("revoked")
    await talker.let_go()
    await until(lambda: net.server.log().count("media is up") >= 2)
    for each in (talker, listener):
        assert each.step == "lost"
        assert each.peer is not None
        await each.peer.close()
        each.ears.heard.clear()
        each.microphone = type(each.microphone)(each.microphone.pitch)
        await each.open()
    await speak(talker, EVERYBODY)
    await until(lambda: has(listener.ears.all(), 1000.0))
