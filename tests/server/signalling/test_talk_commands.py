"""Voice through the command table: keys, groups, patches, recordings; media is a fake that remembers routes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from server.auth.permissions import Principal, Role
from server.model.ids import LegId
from server.model.ports import VoiceRoute
from server.recordings.index import SpurtIndex
from server.recordings.spurts import SpurtState
from server.signalling.talk import (
    AllCall,
    FloorRevoke,
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
    SpurtHold,
    SpurtSearch,
)
from support.control import control
from support.spurts import spurt
from support.talk_net import EVERYBODY, Net, Radio
from support.waiting import until


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
