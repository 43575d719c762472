"""Emergencies through the command table: the floor, the alarm, and what no fault may hold up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from server.signalling.talk import (
    Alarm,
    AlarmMove,
    AlarmPosition,
    EmergencyStart,
    Group,
    GroupChange,
)
from support.control import control
from support.talk_net import EVERYBODY, Net
from support.waiting import until


async def test_an_emergency_opens_the_floor_raises_an_alarm_and_stays_until_it_is_closed(net: Net) -> None:
    group = net.group(EVERYBODY).id
    talking = await (await net.officer("值班员")).tune(group)
    victim = await net.phone("消防一号")
    await talking.press(group)
    done = await victim.do(EmergencyStart(id="e", key="k1"))
    assert (done["group"], done["answer"]["state"]) == (group, "granted")
    assert talking.told("revoked")[0].cause == "pre_empted"
    assert await victim.do(EmergencyStart(id="e2", key="k1")) | {"answer": None} == done | {"answer": None}
    alarm = net.centre.store.get("alarm", done["alarm"])
    assert isinstance(alarm, Alarm)
    assert (alarm.state, alarm.name, alarm.times) == ("new", "消防一号", 1)
    assert net.group(EVERYBODY).emergency
    assert await talking.refused(AlarmMove(id="m", alarm=alarm.id, act="close", reason="x")) == "conflict"
    await talking.do(AlarmMove(id="m", alarm=alarm.id, act="acknowledge"))
    assert await talking.refused(AlarmMove(id="m", alarm=alarm.id, act="close")) == "bad_request"
    await talking.do(AlarmMove(id="m", alarm=alarm.id, act="close", reason="已救出"))
    assert not net.group(EVERYBODY).emergency
    closed = net.centre.store.get("alarm", done["alarm"])
    assert isinstance(closed, Alarm)
    assert [line.act for line in closed.history] == ["raised", "acknowledged", "closed"]
    assert await victim.refused(AlarmMove(id="m", alarm=alarm.id, act="acknowledge")) == "forbidden"


@pytest.mark.parametrize(
    ("lat", "time", "found"),
    [(31.2, 0.0, "now"), (31.2, -30.0, "then"), (31.2, 9e9, "now"), (91.0, -30.0, "nothing")],
)
async def test_an_emergency_keeps_its_position_whatever_the_phone_s_clock(
    net: Net, lat: float, time: float, found: str
) -> None:
    """H17"""
    victim = await net.phone("消防一号")
    now = net.centre.clock.wallclock()
    at = now + time if -1000 < time < 0 else time
    position = AlarmPosition(lat=lat, lon=121.5, accuracy=8.0, time=at)
    done = await victim.do(EmergencyStart(id="e", key="k1", position=position))
    alarm = net.centre.store.get("alarm", done["alarm"])
    assert isinstance(alarm, Alarm)
    if found == "nothing":
        assert alarm.position is None
        return
    assert alarm.position is not None
    assert abs(alarm.position.time - (at if found == "then" else now)) < 5
    unit = net.centre.unit("消防一号")
    assert unit.position is not None
    assert unit.position.lat == lat


@pytest.mark.parametrize(("age", "ago"), [(0.0, 0.0), (480.0, 480.0), (-30.0, 0.0), (9e9, 86_400.0)], ids=str)
async def test_an_sos_that_was_kept_is_as_old_as_its_press(net: Net, age: float, ago: float) -> None:
    victim = await net.phone("消防一号")
    done = await victim.do(EmergencyStart(id="e", key="k1", age=age))
    alarm = net.centre.store.get("alarm", done["alarm"])
    assert isinstance(alarm, Alarm)
    now = net.centre.clock.wallclock()
    assert abs(alarm.raised - now) < 5
    assert abs(alarm.raised - alarm.pressed - ago) < 0.001
    late = alarm.history[0].pressed
    assert late == (alarm.pressed if ago else None)
    (entry,) = await net.centre.audit.newest(limit=1)
    assert entry.detail.endswith(f"press 1, pressed {ago:.0f} s before" if ago else "press 1")


async def test_who_is_in_no_group_raises_its_alarm_all_the_same_and_once(net: Net) -> None:
    officer = await net.officer("值班员")
    everybody = net.group(EVERYBODY).id
    await officer.do(GroupChange(id="g", group=everybody, members=()))
    victim = await net.phone("消防一号")
    done = await victim.do(EmergencyStart(id="e", key="k1"))
    assert (done["group"], done["answer"]["state"], done["answer"]["cause"]) == ("", "denied", "no_member")
    victim.public = "another-run"  # the page was loaded again
    again = await victim.do(EmergencyStart(id="e", key="k1"))
    assert again["alarm"] == done["alarm"]
    alarm = net.centre.store.get("alarm", done["alarm"])
    assert isinstance(alarm, Alarm)
    assert (alarm.state, alarm.times) == ("new", 1)
    await officer.do(AlarmMove(id="m", alarm=alarm.id, act="acknowledge"))


async def test_an_alarm_survives_the_server(net: Net, tmp_path: Path) -> None:
    victim = await net.phone("消防一号")
    done = await victim.do(EmergencyStart(id="e", key="k1"))
    async with control(tmp_path) as again:
        alarm = again.store.get("alarm", done["alarm"])
        assert isinstance(alarm, Alarm)
        assert alarm.state == "new"
        group = again.store.get("group", done["group"])
        assert isinstance(group, Group)
        assert group.emergency


async def test_a_database_that_is_locked_stops_no_key(net: Net) -> None:
    """P18"""
    group = net.group(EVERYBODY).id
    one = await (await net.officer("一")).tune(group)
    two = await (await net.officer("二")).tune(group)
    victim = await net.phone("三")
    async with net.centre.database.write():
        async with asyncio.timeout(2):
            assert (await one.press(group))[0]["state"] == "granted"
            await net.hears(one, two)
        pending = asyncio.ensure_future(victim.do(EmergencyStart(id="e", key="k")))
        await until(lambda: bool(victim.told("granted")))
        assert not pending.done()
        assert net.group(EVERYBODY).emergency
    await pending
