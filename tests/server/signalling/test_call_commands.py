"""Private calls and call-backs through the command table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from server.recordings.spurts import SpurtQuery
from server.signalling.talk import (
    CallAnswer,
    CallBack,
    CallBackRequest,
    CallBackTake,
    CallEnd,
    CallStart,
    GroupTune,
    PrivateCall,
    SpurtSearch,
)
from support.talk_net import Net, open_net
from support.waiting import until


async def test_a_full_duplex_call_opens_both_microphones(net: Net) -> None:
    officer, one = await net.officer("值班员"), await net.phone("一号员")
    unit = one.view.unit
    call = (await officer.do(CallStart(id="c", unit=unit)))["call"]
    entity = net.centre.store.get("call", call)
    assert isinstance(entity, PrivateCall)
    assert (entity.state, entity.callee.name) == ("ringing", "一号员")
    assert await officer.refused(CallStart(id="c2", unit=unit)) == "busy"
    await one.do(CallAnswer(id="a", call=call, accept=True))
    await net.hears(officer, one)
    await net.hears(one, officer)
    assert one.slots() == [(0, call, "值班员")]
    await one.do(CallEnd(id="e", call=call))
    await net.hears(officer)
    await net.hears(one)
    entity = net.centre.store.get("call", call)
    assert isinstance(entity, PrivateCall)
    assert (entity.state, entity.cause) == ("ended", "ended")


async def test_a_half_duplex_call_has_a_floor_of_its_own(net: Net) -> None:
    officer, one, other = await net.officer("值班员"), await net.phone("一号员"), await net.officer("另")
    call = (await officer.do(CallStart(id="c", unit=one.view.unit, duplex="half")))["call"]
    await one.do(CallAnswer(id="a", call=call, accept=True))
    assert (await officer.press(call))[0]["state"] == "granted"
    await net.hears(officer, one)
    assert await other.refused(GroupTune(id="t", listening=(call,))) == "forbidden"
    await officer.do(CallEnd(id="e", call=call))
    await net.hears(officer)
    assert net.centre.store.get("group", call) is None


@pytest.mark.parametrize("duplex", ["full", "half"])
async def test_both_sides_of_a_call_are_recorded_and_found_by_either(tmp_path: Path, duplex: Any) -> None:
    async with open_net(tmp_path, recorded=True) as net:
        officer, one = await net.officer("值班员"), await net.phone("一号员")
        recorder = net.centre.services.recorder

        async def found(**wanted: str) -> list[tuple[str, str, str, str]]:
            spurts = (await officer.do(SpurtSearch(id="s", **wanted)))["spurts"]
            return sorted((x["call"], x["talker"]["name"], x["peer"]["name"], x["state"]) for x in spurts)

        call = (await officer.do(CallStart(id="c", unit=one.view.unit, duplex=duplex)))["call"]
        await one.do(CallAnswer(id="a", call=call, accept=True))
        if duplex == "half":
            for who in (officer, one):
                assert (await who.press(call))[0]["state"] == "granted"
                who.speak(True)
                await until(lambda who=who: bool(net.route(who).recording))  # type: ignore[misc, union-attr]
                await who.let_go()
                who.speak(False)
                await until(lambda: net.floor(call).state in ("hang", "idle"))
        both = [(call, "一号员", "值班员", "recording"), (call, "值班员", "一号员", "recording")]
        await until(lambda: recorder.statistics()["begun_total"] == 2)
        assert await found() == sorted(both)
        assert await found(unit=one.view.unit) == sorted(both)
        assert await found(user="值班员") == sorted(both)
        assert await found(text="一号") == sorted(both)
        if duplex == "full":
            routes = [net.route(who) for who in (officer, one)]
            assert all(route is not None and route.recording and route.path for route in routes)
        await officer.do(CallEnd(id="e", call=call))
        await net.hears(officer)
        spurts = await recorder.search(SpurtQuery())
        assert [spurt.ended is not None for spurt in spurts] == [True, True]
        if duplex == "full":
            await until(lambda: net.route(one).recording == "")  # type: ignore[union-attr]


async def test_a_declined_call_says_so_and_nobody_s_line_is_nobody_s(net: Net) -> None:
    officer, one = await net.officer("值班员"), await net.phone("一号员")
    call = (await officer.do(CallStart(id="c", unit=one.view.unit)))["call"]
    await one.do(CallAnswer(id="a", call=call, accept=False))
    entity = net.centre.store.get("call", call)
    assert isinstance(entity, PrivateCall)
    assert (entity.state, entity.cause) == ("ended", "declined")
    assert await officer.refused(CallStart(id="c", user="nobody")) == "not_found"
    assert await officer.refused(CallStart(id="c")) == "bad_request"


async def test_call_backs_are_counted_taken_and_done(net: Net) -> None:
    officer, one = await net.officer("值班员"), await net.phone("一号员")
    await one.do(CallBackRequest(id="1", text="需要支援"))
    await one.do(CallBackRequest(id="2"))
    asked = [each for each in net.centre.store.all("callback") if isinstance(each, CallBack)]
    assert [(each.name, each.times, each.text) for each in asked] == [("一号员", 2, "需要支援")]
    await officer.do(CallBackTake(id="3", callback=asked[0].id))
    await officer.do(CallBackTake(id="4", callback=asked[0].id, done=True))
    assert await officer.refused(CallBackTake(id="5", callback=asked[0].id)) == "conflict"
