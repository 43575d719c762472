"""Voice through the command table: keys, groups, patches, calls, emergencies; media is a fake that remembers routes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.auth.permissions import Principal, Role
from server.model.ids import LegId, MediaSessionId
from server.model.ports import VoiceRoute
from server.recordings.index import SpurtIndex
from server.recordings.spurts import SpurtQuery, SpurtState
from server.signalling.clients import Client
from server.signalling.commands import perform
from server.signalling.messages import MediaOffer
from server.signalling.talk import (
    Alarm,
    AlarmMove,
    AlarmPosition,
    AllCall,
    CallAnswer,
    CallBack,
    CallBackRequest,
    CallBackTake,
    CallEnd,
    CallStart,
    EmergencyStart,
    Floor,
    FloorRelease,
    FloorRequest,
    FloorRevoke,
    FloorTold,
    Group,
    GroupChange,
    GroupCreate,
    GroupDelete,
    GroupTune,
    Hold,
    MemberWish,
    PatchChange,
    PatchCreate,
    PatchMute,
    PrivateCall,
    SpurtHold,
    SpurtSearch,
    VoiceSlot,
)
from server.signalling.wire import Command, Message
from support.control import Control, RunningClock, control
from support.spurts import spurt
from support.waiting import until

SDP = "v=0\r\n"


class Radio(Client):
    """A client with a sound path that remembers what it was told."""

    def __init__(self, centre: Control, client: Client) -> None:
        super().__init__(client.key, client.admission)
        self.centre = centre
        self.heard: list[Message] = []
        self.path = MediaSessionId("")

    def tell(self, message: Message) -> None:
        self.heard.append(message)
        super().tell(message)

    async def do(self, command: Command) -> Any:
        reply = await perform(self.centre.services, self, command)
        assert reply.error is None, reply.error
        return msgspec.json.decode(reply.result)

    async def refused(self, command: Command) -> str:
        reply = await perform(self.centre.services, self, command)
        assert reply.error is not None
        return reply.error.code

    async def up(self) -> Radio:
        answer = await self.do(MediaOffer(id="o", kind="voice", sdp=SDP))
        self.path = MediaSessionId(answer["session"])
        self.centre.events.session_step(self.path, "dtls", "")
        return self

    async def tune(self, *groups: str, selected: tuple[str, ...] | None = None) -> Radio:
        chosen = groups if selected is None else selected
        await self.do(GroupTune(id="t", listening=groups, selected=chosen))
        return self

    async def press(self, *groups: str, urgency: Any = "normal") -> list[dict[str, Any]]:
        answers = await self.do(FloorRequest(id="p", groups=groups, urgency=urgency))
        found: list[dict[str, Any]] = answers["answers"]
        return found

    async def let_go(self) -> None:
        await self.do(FloorRelease(id="r"))

    def speak(self, active: bool) -> None:
        self.centre.media.speak(self.path, active)

    def told(self, state: str) -> list[FloorTold]:
        return [one for one in self.heard if isinstance(one, FloorTold) and one.state == state]

    def slots(self) -> list[tuple[int, str, str]]:
        return [
            (one.slot, one.group or one.call, one.talker.name if one.talker else "")
            for one in self.heard
            if isinstance(one, VoiceSlot)
        ]


@dataclass
class Net:
    centre: Control

    async def officer(self, name: str) -> Radio:
        who = Principal(role=Role.DISPATCHER, id=name, name=name, session=f"s-{name}")
        return await Radio(self.centre, self.centre.client(who)).up()

    async def phone(self, name: str) -> Radio:
        _, secret = await self.centre.registration.create_link(
            name=name, unit="", hours=2, who=Principal(role=Role.ADMIN, id="c", name="c"), address=""
        )
        await self.centre.roster.reload()
        who, device = self.centre.roster.guest(secret)
        client = self.centre.client(who)
        view = msgspec.structs.replace(client.view, everything=False, unit=device.unit, device=device.id)
        client.admission = msgspec.structs.replace(client.admission, view=view)
        return await Radio(self.centre, client).up()

    def group(self, which: str) -> Group:
        return next(
            one
            for one in self.centre.store.all("group")
            if isinstance(one, Group) and which in (one.id, one.name)
        )

    def floor(self, which: str) -> Floor:
        floor = self.centre.store.get("floor", self.group(which).id)
        assert isinstance(floor, Floor)
        return floor

    def route(self, talker: Radio) -> VoiceRoute | None:
        return self.centre.media.routes.get(talker.path)

    async def hears(self, talker: Radio, *listeners: Radio) -> None:
        """Media was told that these, and no others, get the talker."""
        wanted = {listener.path for listener in listeners}

        def routed() -> bool:
            route = self.route(talker)
            return route is not None and {each.session for each in route.listeners} == wanted

        await until(routed)


@contextlib.asynccontextmanager
async def open_net(folder: Path, *, recorded: bool = False) -> AsyncIterator[Net]:
    async with control(folder, clock=RunningClock(), recorded=recorded) as centre:
        tasks = [asyncio.ensure_future(run()) for run in centre.talk.services.values()]
        yield Net(centre)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    async with open_net(tmp_path) as net:
        yield net


EVERYBODY = "全员"


async def test_a_fresh_server_has_a_group_for_everybody_and_an_all_call(net: Net) -> None:
    groups = {group.name: group for group in net.centre.store.all("group") if isinstance(group, Group)}
    assert {(name, group.kind, group.number) for name, group in groups.items()} == {
        ("全员", "static", 1),
        ("全呼", "all_call", 0),
    }


async def test_a_key_press_reaches_those_who_listen_and_nobody_else(net: Net) -> None:
    group = net.group(EVERYBODY).id
    one = await (await net.officer("一")).tune(group)
    two = await (await net.phone("二")).tune(group)
    deaf = await net.phone("三")
    assert (await one.press(group))[0]["state"] == "granted"
    await net.hears(one, two)
    assert two.slots() == [(0, group, "一")]
    assert deaf.slots() == []
    assert net.floor(EVERYBODY).state == "taken"
    assert net.floor(EVERYBODY).talker == one.centre.services.exchange.legs[LegId(one.public)].talker()
    one.speak(True)
    await one.let_go()
    assert net.floor(EVERYBODY).state == "tail"
    assert one.told("tail")
    one.speak(False)
    assert net.floor(EVERYBODY).state == "hang"
    assert [told.group for told in one.told("ended")] == [group]
    assert two.slots()[-1] == (0, group, "")
    await net.hears(one)


async def test_a_refused_press_is_told_who_talks_and_its_voice_is_thrown_away(net: Net) -> None:
    await net.officer("头")
    group = net.group(EVERYBODY).id
    one = await (await net.phone("一")).tune(group)
    deaf = await net.phone("二")
    assert (await deaf.press(group))[0] | {"cause": "no_member"} == (await deaf.press(group))[0]
    assert (await one.press(group))[0]["state"] == "granted"
    two = await (await net.phone("三")).tune(group)
    answer = (await two.press(group))[0]
    assert (answer["state"], answer["position"], answer["size"]) == ("queued", 1, 1)
    await until(lambda: net.route(two) is not None)
    assert net.route(two) == VoiceRoute(talker=two.path)
    await one.let_go()
    assert [told.group for told in two.told("granted")] == [group]
    await net.hears(two, one)


async def test_an_officer_takes_over_and_the_phone_s_key_must_be_let_go(net: Net) -> None:
    group = net.group(EVERYBODY).id
    one = await (await net.phone("一")).tune(group)
    officer = await (await net.officer("值班员")).tune(group)
    await one.press(group)
    assert (await officer.press(group))[0]["state"] == "granted"
    assert one.told("revoked")[0].cause == "pre_empted"
    await net.hears(officer, one)
    await officer.let_go()
    assert (await one.press(group))[0]["cause"] == "key_held"
    await one.let_go()
    assert (await one.press(group))[0]["state"] == "granted"


async def test_a_press_in_one_s_own_tail_is_a_press_of_its_own(net: Net) -> None:
    group = net.group(EVERYBODY).id
    one = await (await net.phone("一")).tune(group)
    two = await (await net.phone("二")).tune(group)
    await one.press(group)
    one.speak(True)
    await one.let_go()
    assert net.floor(EVERYBODY).state == "tail"
    assert (await one.press(group))[0]["state"] == "granted"
    assert [told.group for told in one.told("ended")] == [group]  # of the first press
    await two.press(group)
    for _ in range(8):
        net.centre.clock.advance(0.2)
        net.centre.services.exchange.alive(LegId(one.public))
        await asyncio.sleep(0)
    assert one.told("revoked") == []
    await one.let_go()
    one.speak(False)
    assert [told.group for told in two.told("granted")] == [group]
    await two.let_go()
    assert (await one.press(group))[0]["state"] == "granted"  # its key was let go


async def test_one_press_in_two_groups_is_heard_once_by_who_listens_to_both(net: Net) -> None:
    officer = await net.officer("值班员")
    made = [
        (await officer.do(GroupCreate(id=name, name=name, kind="dynamic", members=everyone())))["group"]
        for name in ("甲", "乙")
    ]
    first, second, both = [
        await (await net.phone(name)).tune(*groups)
        for name, groups in (("a", made[:1]), ("b", made[1:]), ("c", made))
    ]
    await officer.tune(*made)
    assert [answer["state"] for answer in await officer.press(*made)] == ["granted", "granted"]
    await net.hears(officer, first, second, both)
    assert len(both.slots()) == 1


def everyone() -> tuple[MemberWish, ...]:
    return (MemberWish(kind="role", id="guest"),)


async def test_patched_groups_share_a_floor_until_the_patch_ends(net: Net) -> None:
    officer = await net.officer("值班员")
    made = [
        (await officer.do(GroupCreate(id=name, name=name, members=everyone())))["group"]
        for name in ("甲", "乙")
    ]
    one, two = await (await net.phone("a")).tune(made[0]), await (await net.phone("b")).tune(made[1])
    patch = await officer.do(PatchCreate(id="1", groups=tuple(made)))
    assert patch == {"patch": "P1", "name": "P1"}
    assert (net.group("甲").patch, net.group("乙").patch) == ("P1", "P1")
    assert await officer.refused(PatchCreate(id="2", groups=tuple(made))) == "conflict"
    await one.press(made[0])
    await net.hears(one, two)
    assert two.slots() == [(0, made[1], "a")]
    assert (await two.press(made[1]))[0]["state"] == "queued"
    await officer.do(PatchMute(id="3", group=made[1], seconds=60))
    await net.hears(one)
    assert net.group("乙").muted is not None
    await two.let_go()
    assert (await two.press(made[1]))[0]["state"] == "granted"
    await two.let_go()
    await officer.do(PatchMute(id="4", group=made[1], seconds=0))
    await officer.do(PatchChange(id="5", patch="P1", groups=()))
    assert net.group("甲").patch == ""
    await one.let_go()
    assert (await one.press(made[0]))[0]["state"] == "granted"
    assert (await two.press(made[1]))[0]["state"] == "granted"


async def test_during_an_all_call_only_emergencies_are_granted(net: Net) -> None:
    group = net.group(EVERYBODY).id
    officer = await net.officer("值班员")
    one = await (await net.phone("一")).tune(group)
    untuned = await net.phone("二")
    await one.press(group)
    answer = await officer.do(AllCall(id="a"))
    assert answer["answers"][0]["state"] == "granted"
    assert one.told("revoked")[0].cause == "all_call"
    await net.hears(officer, one, untuned)
    assert net.floor(EVERYBODY).blocked == "all_call"
    await one.let_go()
    assert (await one.press(group))[0]["cause"] == "all_call"
    await one.let_go()
    assert (await one.press(group, urgency="emergency"))[0]["state"] == "granted"
    assert await one.refused(AllCall(id="b")) == "forbidden"
    await officer.let_go()
    assert net.floor(EVERYBODY).blocked == ""


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


async def test_groups_and_patches_survive_the_server(net: Net, tmp_path: Path) -> None:
    officer = await net.officer("值班员")
    made = [(await officer.do(GroupCreate(id=name, name=name)))["group"] for name in ("甲", "乙")]
    await officer.do(PatchCreate(id="1", groups=tuple(made)))
    await officer.do(PatchMute(id="2", group=made[0], seconds=600))
    async with control(tmp_path) as again:
        group = again.store.get("group", made[0])
        assert isinstance(group, Group)
        assert group.patch == "P1"
        assert group.muted is not None


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


async def test_a_floor_is_taken_away_with_a_reason(net: Net) -> None:
    group = net.group(EVERYBODY).id
    officer = await net.officer("值班员")
    one = await (await net.phone("一")).tune(group)
    assert await officer.refused(FloorRevoke(id="x", group=group, reason="扰乱")) == "not_found"
    await one.press(group)
    assert await officer.refused(FloorRevoke(id="x", group=group, reason=" ")) == "bad_request"
    await officer.do(FloorRevoke(id="x", group=group, reason="扰乱"))
    assert one.told("revoked")[0].cause == "forced"
    assert "floor.revoke" in [entry.action for entry in await net.centre.audit.newest()]


async def test_a_lost_sound_path_gives_the_floor_back_and_is_shown(net: Net) -> None:
    group = net.group(EVERYBODY).id
    one = await (await net.officer("一")).tune(group)
    two = await (await net.officer("二")).tune(group)
    await one.press(group)
    await net.hears(one, two)
    net.centre.events.session_step(two.path, "lost", "consent_lost")
    await net.hears(one)
    shown = {("一", True), ("二", False)}
    await until(lambda: {(one.name, one.voice) for one in net.group(EVERYBODY).listeners} == shown)
    net.centre.events.session_step(one.path, "lost", "consent_lost")
    net.centre.clock.advance(1.5)
    net.centre.talk.exchange._due.set()
    await until(lambda: net.floor(EVERYBODY).state in ("hang", "idle"))
    await one.up()
    await one.let_go()
    assert (await one.press(group))[0]["state"] == "granted"


async def test_phones_see_the_groups_they_are_in(net: Net) -> None:
    officer, one = await net.officer("值班员"), await net.phone("一号员")
    made = (await officer.do(GroupCreate(id="1", name="秘密")))["group"]
    assert await one.refused(GroupTune(id="t", listening=(made,))) == "forbidden"
    wish = MemberWish(kind="unit", id=one.view.unit, talk=False)
    await officer.do(GroupChange(id="2", group=made, members=(wish,)))
    await one.tune(made)
    assert (await one.press(made))[0]["cause"] == "receive_only"
    assert await officer.refused(GroupDelete(id="3", group=made, reason="")) == "bad_request"
    await officer.do(GroupDelete(id="4", group=made, reason="演练结束"))
    assert net.centre.store.get("group", made) is None
    assert await one.refused(GroupTune(id="t", listening=(made,))) == "not_found"
    assert await officer.refused(GroupDelete(id="5", group=net.group("全呼").id, reason="x")) == "conflict"


async def test_a_member_s_priority_is_changed_while_others_wait(net: Net) -> None:
    officer = await net.officer("值班员")
    talker, second, chief = [await net.phone(name) for name in ("一号员", "二号员", "队长")]
    members = tuple(MemberWish(kind="unit", id=one.view.unit) for one in (talker, second, chief))
    group = (await officer.do(GroupCreate(id="1", name="搜救", members=members)))["group"]
    for one in (talker, second, chief):
        await one.tune(group)
    await talker.press(group)
    assert (await second.press(group))[0]["position"] == 1
    higher = (*members[:2], msgspec.structs.replace(members[2], priority=9))
    await officer.do(GroupChange(id="2", group=group, members=higher))
    assert [one.priority for one in net.group(group).members] == [4, 4, 9]
    assert (await chief.press(group))[0]["position"] == 1
    assert second.told("queued")[-1].position == 2
    (entry,) = await net.centre.audit.newest(limit=1)
    assert (entry.action, entry.detail) == ("group.change", f"搜救: unit {chief.view.unit} priority 9")


async def test_call_backs_are_counted_taken_and_done(net: Net) -> None:
    officer, one = await net.officer("值班员"), await net.phone("一号员")
    await one.do(CallBackRequest(id="1", text="需要支援"))
    await one.do(CallBackRequest(id="2"))
    asked = [each for each in net.centre.store.all("callback") if isinstance(each, CallBack)]
    assert [(each.name, each.times, each.text) for each in asked] == [("一号员", 2, "需要支援")]
    await officer.do(CallBackTake(id="3", callback=asked[0].id))
    await officer.do(CallBackTake(id="4", callback=asked[0].id, done=True))
    assert await officer.refused(CallBackTake(id="5", callback=asked[0].id)) == "conflict"


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


async def test_a_recording_is_held_by_an_officer_and_let_go_by_an_administrator(net: Net) -> None:
    made = msgspec.structs.replace(spurt(1_700_000_000.0), state=SpurtState.READY, ended=1_700_000_002.0)
    index = SpurtIndex(net.centre.database)
    index.put(made)
    await index.finish()
    officer = await net.officer("值班员")
    assert await officer.refused(SpurtHold(id="1", spurt=made.id, hold=True, reason=" ")) == "bad_request"
    held = (await officer.do(SpurtHold(id="2", spurt=made.id, hold=True, reason="事故调查")))["spurt"]
    assert (held["id"], held["hold"], held["heldBy"], held["heldWhy"]) == (
        made.id,
        True,
        "值班员",
        "事故调查",
    )
    shown = Hold(id=made.id, hold=True, held_by="值班员", held_why="事故调查")
    assert list(net.centre.store.all("hold")) == [shown]  # for every console
    found = (await officer.do(SpurtSearch(id="3", held=True)))["spurts"]
    assert [(one["id"], one["heldWhy"]) for one in found] == [(made.id, "事故调查")]
    assert await officer.refused(SpurtHold(id="4", spurt=made.id, hold=False, reason="结案")) == "forbidden"
    chief = Radio(net.centre, net.centre.client(Principal(role=Role.ADMIN, id="c", name="总值班")))
    freed = (await chief.do(SpurtHold(id="5", spurt=made.id, hold=False, reason="结案")))["spurt"]
    assert (freed["hold"], freed["heldBy"]) == (False, "")
    assert list(net.centre.store.all("hold")) == [Hold(id=made.id, hold=False)]
    assert await chief.refused(SpurtHold(id="6", spurt=spurt(1.0).id, hold=True, reason="x")) == "not_found"
    told = [(one.action, one.object, one.detail) for one in await net.centre.audit.newest(limit=2)]
    assert told == [
        ("recording.release", made.id, "结案"),
        ("recording.hold", made.id, "事故调查"),
    ]
