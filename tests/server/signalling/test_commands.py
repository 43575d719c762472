"""Every command: who may, what it does, what it says; and the whole matrix of roles and commands (H30)."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import msgspec
import pytest

from server.auth.permissions import Action, Principal, Role, allowed
from server.model.errors import Unavailable
from server.model.ids import MediaSessionId
from server.model.ports import SlotState, SlotWish
from server.signalling.clients import Client
from server.signalling.commands import COMMANDS, perform
from server.signalling.messages import (
    AuditRead,
    ClientCommand,
    LinkCreate,
    LinkRevoke,
    MediaClose,
    MediaOffer,
    PhoneState,
    PositionReport,
    ReportedPosition,
    SessionEnd,
    SessionList,
    SlotChanged,
    SlotSet,
    SlotShown,
    StreamClose,
    UnitRename,
    Wish,
)
from server.signalling.talk import (
    AlarmMove,
    AllCall,
    CallAnswer,
    CallBackRequest,
    CallBackTake,
    CallEnd,
    CallStart,
    EmergencyStart,
    FloorRelease,
    FloorRequest,
    FloorRevoke,
    GroupChange,
    GroupCreate,
    GroupDelete,
    GroupTune,
    PatchChange,
    PatchCreate,
    PatchMute,
    SpurtHold,
    SpurtSearch,
)
from server.signalling.wire import Command
from support.control import Control

SDP = "v=0\r\n"


def officer(centre: Control, role: Role = Role.DISPATCHER, session: str = "") -> Client:
    return centre.client(Principal(role=role, id="officer-id", name="王五", session=session))


async def phone(centre: Control, name: str = "三号车") -> Client:
    """A client that came with a join link."""
    _, secret = await centre.registration.create_link(
        name=name, unit="", hours=2, who=Principal(role=Role.ADMIN, id="chief", name="x"), address=""
    )
    await centre.roster.reload()
    return centre.client(centre.roster.guest(secret)[0])


async def do(centre: Control, client: Client, command: Command) -> Any:
    """The result. Fails when it was refused."""
    reply = await perform(centre.services, client, command)
    assert reply.error is None, reply.error
    assert reply.ok
    return msgspec.json.decode(reply.result)


async def refused(centre: Control, client: Client, command: Command) -> tuple[str, str]:
    """The error's code and field."""
    reply = await perform(centre.services, client, command)
    assert not reply.ok
    assert reply.error is not None
    assert reply.id == command.id
    return reply.error.code, reply.error.field


async def audited(centre: Control) -> list[tuple[str, str, str]]:
    return [(entry.action, entry.result, entry.detail) for entry in await centre.audit.newest()]


# ---- permissions ----

EXAMPLES: tuple[Command, ...] = (
    MediaOffer(id="1", kind="console", sdp=SDP),
    MediaOffer(id="1", kind="phone", sdp=SDP),
    MediaClose(id="1", session="s"),
    SlotSet(id="1", session="s", wishes=()),
    SlotShown(id="1", session="s", slot=0, stream="s", state="shown"),
    LinkCreate(id="1", name="n"),
    LinkRevoke(id="1", link="l"),
    StreamClose(id="1", stream="s", reason="r"),
    UnitRename(id="1", unit="u", name="n"),
    PositionReport(id="1", positions=()),
    PhoneState(id="1"),
    AuditRead(id="1"),
    SessionList(id="1"),
    SessionEnd(id="1", session="s"),
    MediaOffer(id="1", kind="voice", sdp=SDP),
    GroupTune(id="1", listening=()),
    FloorRequest(id="1", groups=("g",)),
    FloorRelease(id="1"),
    FloorRevoke(id="1", group="g", reason="r"),
    AllCall(id="1"),
    GroupCreate(id="1", name="n"),
    GroupChange(id="1", group="g"),
    GroupDelete(id="1", group="g", reason="r"),
    PatchCreate(id="1", groups=("a", "b")),
    PatchChange(id="1", patch="P1", groups=()),
    PatchMute(id="1", group="g", seconds=1),
    CallStart(id="1", unit="u"),
    CallAnswer(id="1", call="c", accept=True),
    CallEnd(id="1", call="c"),
    CallBackRequest(id="1"),
    CallBackTake(id="1", callback="c"),
    EmergencyStart(id="1", key="k"),
    AlarmMove(id="1", alarm="a", act="acknowledge"),
    SpurtSearch(id="1"),
    SpurtHold(id="1", spurt="s", hold=True, reason="r"),
    SpurtHold(id="1", spurt="s", hold=False, reason="r"),
)
VOICE = {
    "media.offer voice",
    "group.tune",
    "floor.request",
    "floor.release",
    "call.start",
    "call.answer",
    "call.end",
    "callback.request",
    "emergency.start",
}
VOICE_OF_OFFICERS = VOICE | {
    "floor.revoke",
    "call.all",
    "group.create",
    "group.change",
    "group.delete",
    "patch.create",
    "patch.change",
    "patch.mute",
    "callback.take",
    "alarm.move",
    "spurt.search",
    "spurt.hold",
}

# Literal: who may use which command. What is not here must be refused.
MAY: dict[str, set[str]] = {
    "admin": {
        "spurt.hold release",
        "media.offer console",
        "media.close",
        "slot.set",
        "slot.shown",
        "link.create",
        "link.revoke",
        "stream.close",
        "unit.rename",
        "audit.read",
        "session.list",
        "session.end",
    },
    "dispatcher": {
        "media.offer console",
        "media.close",
        "slot.set",
        "slot.shown",
        "link.create",
        "link.revoke",
        "stream.close",
        "unit.rename",
        "session.list",
        "session.end",
    },
    "field": {
        "media.offer phone",
        "media.close",
        "position.report",
        "phone.state",
        "session.list",
        "session.end",
    },
    "guest": {"media.offer phone", "media.close", "position.report", "phone.state"},
    "device": set(),
}


def name_of(command: Command) -> str:
    tag = str(type(command).__struct_config__.tag)
    if isinstance(command, SpurtHold) and not command.hold:
        return f"{tag} release"
    return f"{tag} {command.kind}" if isinstance(command, MediaOffer) else tag


def test_every_command_is_in_the_table_and_in_the_matrix() -> None:
    assert set(COMMANDS) == set(get_args(ClientCommand)) == {type(command) for command in EXAMPLES}


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("command", EXAMPLES, ids=name_of)
async def test_every_role_against_every_command(centre: Control, role: Role, command: Command) -> None:
    if role is Role.DEVICE:
        assert not allowed(role, Action.SOCKET_OPEN)  # it cannot even open a connection
        return
    client = officer(centre, role)
    reply = await perform(centre.services, client, command)
    forbidden = reply.error is not None and reply.error.code == "forbidden"
    voice = VOICE_OF_OFFICERS if role in ("admin", "dispatcher") else VOICE
    assert forbidden == (name_of(command) not in MAY[role] | voice)


async def test_a_client_whose_permission_ended_does_nothing_more(centre: Control) -> None:
    client = officer(centre)
    for ended, code in (("logged_out", "not_logged_in"), ("expired", "expired"), ("revoked", "revoked")):
        client.ended = ended
        assert await refused(centre, client, LinkCreate(id="1", name="n")) == (code, "")
    assert await audited(centre) == []


async def test_a_fault_of_the_server_is_told_as_one(centre: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(centre.media, "set_slots", broken)
    client = await watching(centre)
    assert await refused(centre, client, SlotSet(id="1", session=session(client), wishes=())) == (
        "internal",
        "",
    )


# ---- media ----


async def watching(centre: Control) -> Client:
    """A console with its media session."""
    client = officer(centre)
    await do(centre, client, MediaOffer(id="open", kind="console", sdp=SDP))
    return client


def session(client: Client) -> str:
    return next(iter(client.media.values())).session


async def test_a_console_opens_its_media_and_offers_again(centre: Control) -> None:
    client = officer(centre)
    answer = await do(centre, client, MediaOffer(id="1", kind="console", sdp=SDP))
    assert answer == {
        "session": "media-session-00000001",
        "sdp": "v=0\r\nanswer\r\n",
        "slots": [{"slot": 0, "audioMid": "0", "videoMid": "1"}],
    }
    assert centre.services.clients.of_media(MediaSessionId(answer["session"])) is client
    again = await do(centre, client, MediaOffer(id="2", kind="console", sdp=SDP, session=answer["session"]))
    assert again["session"] == answer["session"]
    fresh = await do(centre, client, MediaOffer(id="3", kind="console", sdp=SDP))
    assert centre.media.calls == [
        ("open_console", ""),
        ("open_console", "media-session-00000001"),
        ("open_console", ""),
        ("close", "media-session-00000001", "replaced"),
    ]
    assert session(client) == fresh["session"]


async def test_a_phone_publishes_its_own_stream(centre: Control) -> None:
    client = await phone(centre)
    answer = await do(centre, client, MediaOffer(id="1", kind="phone", sdp=SDP))
    again = await do(centre, client, MediaOffer(id="2", kind="phone", sdp=SDP, session=answer["session"]))
    assert again["session"] == answer["session"]
    await do(centre, client, MediaClose(id="3", session=answer["session"]))
    assert centre.media.calls == [
        ("publish", client.stream, "phone"),
        ("offer_again", answer["session"]),
        ("close", answer["session"], "closed"),
    ]
    assert await refused(centre, client, MediaClose(id="4", session=answer["session"])) == (
        "not_found",
        "session",
    )


async def test_somebody_elses_media_session_is_not_found(centre: Control) -> None:
    """H30: objects of others"""
    owner, other = await watching(centre), officer(centre)
    for command in (
        MediaOffer(id="1", kind="console", sdp=SDP, session=session(owner)),
        MediaClose(id="2", session=session(owner)),
        SlotSet(id="3", session=session(owner), wishes=()),
        SlotShown(id="4", session=session(owner), slot=0, stream="s", state="shown"),
    ):
        assert await refused(centre, other, command) == ("not_found", "session")
    guest = await phone(centre)
    offer = MediaOffer(id="5", kind="phone", sdp=SDP, session=session(owner))
    assert await refused(centre, guest, offer) == ("not_found", "session")


async def test_offers_that_cannot_be_used(centre: Control) -> None:
    client = officer(centre)
    assert await refused(centre, client, MediaOffer(id="1", kind="console", sdp="x")) == ("bad_sdp", "sdp")
    large = MediaOffer(id="2", kind="console", sdp="v" * (128 * 1024 + 1))
    assert await refused(centre, client, large) == ("too_large", "sdp")
    guest = await phone(centre)
    large = MediaOffer(id="3", kind="phone", sdp="钱" * 6000)
    assert await refused(centre, guest, large) == ("too_large", "sdp")
    centre.media.fail = Unavailable("media is starting", retry_after=1.0)
    reply = await perform(centre.services, client, MediaOffer(id="4", kind="console", sdp=SDP))
    assert reply.error is not None
    assert (reply.error.code, reply.error.retry_after) == ("unavailable", 1.0)
    assert client.media == {}


async def test_an_end_while_an_offer_is_being_answered_leaves_no_media(
    centre: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await phone(centre)
    publish = centre.media.publish

    async def slow(*arguments: Any) -> Any:
        answer = await publish(*arguments)
        client.ended = "revoked"
        return answer

    monkeypatch.setattr(centre.media, "publish", slow)
    assert await refused(centre, client, MediaOffer(id="1", kind="phone", sdp=SDP)) == ("revoked", "")
    assert centre.media.calls[-1] == ("close", "media-session-00000001", "revoked")
    assert client.media == {}


async def test_a_revoked_phone_publishes_nothing(centre: Control) -> None:
    client = await phone(centre)
    await centre.devices.revoke(client.principal.device, actor="cli")
    await centre.roster.reload()
    assert await refused(centre, client, MediaOffer(id="1", kind="phone", sdp=SDP)) == ("revoked", "")
    assert await refused(centre, client, PhoneState(id="2")) == ("revoked", "")
    assert await refused(centre, client, PositionReport(id="3", positions=())) == ("revoked", "")


async def test_slots(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    client = await watching(centre)
    wishes = (Wish(slot=0, stream=stream, height=360, priority=2, audio=True), Wish(slot=1, stream=None))
    await do(centre, client, SlotSet(id="1", session=session(client), wishes=wishes))
    assert centre.media.wishes == [
        SlotWish(slot=0, stream=stream, height=360, priority=2, audio=True),
        SlotWish(slot=1, stream=None, height=0, priority=0, audio=False),
    ]
    unknown = SlotSet(id="2", session=session(client), wishes=(Wish(slot=0, stream="nothing"),))
    assert await refused(centre, client, unknown) == ("not_found", "stream")
    assert len([call for call in centre.media.calls if call[0] == "set_slots"]) == 1


async def test_what_the_eyes_get_is_the_ladders_last_step(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    centre.media.show(stream, "key_frame", session=MediaSessionId("publisher"), live=True)
    client = await watching(centre)
    shown = SlotShown(id="1", session=session(client), slot=0, stream=stream, state="shown")
    await do(centre, client, shown)
    assert centre.stream(stream).steps[-1].at is None  # that slot shows something else
    client.slot_changed(client.media["console"].session, SlotChanged(slot=0, state="live", stream=stream))
    await do(centre, client, shown)
    assert centre.stream(stream).steps[-1].at == centre.clock.wallclock()


def test_a_slot_state_has_the_fields_of_its_message() -> None:
    assert set(SlotState.__struct_fields__) == set(SlotChanged.__struct_fields__) - {"slot"}


# ---- links, units, streams ----


async def test_a_link_is_created_and_told_once(centre: Control) -> None:
    client = officer(centre)
    made = await do(centre, client, LinkCreate(id="1", name=" 三号\u202e车 ", hours=3))
    secret = made["url"].removeprefix("https://fengsui.test:8443/j/")
    assert len(secret) == 22
    assert made["qrSvg"].startswith("<svg")
    assert (made["link"]["name"], made["link"]["revoked"]) == ("三号车", False)
    assert made["link"]["expires"] - made["link"]["created"] == 3 * 3600
    assert centre.roster.guest(secret)[0].id == made["link"]["id"]
    assert await audited(centre) == [("link.create", "ok", "三号车, 3 h")]
    default = await do(centre, client, LinkCreate(id="2", name="四号车"))
    assert default["link"]["expires"] - default["link"]["created"] == 12 * 3600
    assert await refused(centre, client, LinkCreate(id="3", name="x", hours=169)) == ("bad_request", "hours")
    assert await refused(centre, client, LinkCreate(id="4", name="\u200b")) == ("bad_request", "name")
    assert await refused(centre, client, LinkCreate(id="5", name="", unit="nothing")) == ("not_found", "unit")


async def test_a_link_is_revoked(centre: Control) -> None:
    client = officer(centre)
    made = await do(centre, client, LinkCreate(id="1", name="三号车"))
    ended: list[str] = []
    centre.roster.on_link_end(lambda link, reason: ended.append(f"{link} {reason}"))
    await do(centre, client, LinkRevoke(id="2", link=made["link"]["id"]))
    assert ended == [f"{made['link']['id']} revoked"]
    assert await refused(centre, client, LinkRevoke(id="3", link="nothing")) == ("not_found", "link")


async def test_a_unit_is_renamed(centre: Control) -> None:
    client = officer(centre)
    await do(centre, client, LinkCreate(id="1", name="三号车"))
    unit = centre.unit("三号车").id
    await do(centre, client, UnitRename(id="2", unit=unit, name="  指挥\u0000车 "))
    assert centre.unit(unit).name == "指挥车"
    assert await refused(centre, client, UnitRename(id="3", unit=unit, name=" ")) == ("bad_request", "name")
    assert await refused(centre, client, UnitRename(id="4", unit="nothing", name="x")) == (
        "not_found",
        "unit",
    )
    assert (await audited(centre))[0] == ("unit.rename", "ok", "三号车 → 指挥车")


async def test_a_stream_is_ended_with_a_reason(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    client = officer(centre)
    assert await refused(centre, client, StreamClose(id="1", stream=stream, reason=" ")) == (
        "bad_request",
        "reason",
    )
    assert await refused(centre, client, StreamClose(id="2", stream="nothing", reason="x")) == (
        "not_found",
        "stream",
    )
    not_live = StreamClose(id="3", stream=stream, reason="泄密")
    assert await refused(centre, client, not_live) == ("stream_not_live", "stream")
    centre.media.show(stream, "key_frame", session=MediaSessionId("publisher"), live=True)
    await do(centre, client, StreamClose(id="4", stream=stream, reason="泄密"))
    assert centre.stream(stream).cause == "ended_by_officer"
    assert (await audited(centre))[:2] == [
        ("stream.close", "ok", "泄密"),
        ("stream.close", "stream_not_live", "泄密"),
    ]


# ---- phones ----


async def test_positions_of_a_phone(centre: Control) -> None:
    client = await phone(centre)
    now = centre.clock.wallclock()
    good = ReportedPosition(key="a", lat=31.0, lon=121.0, time=now)
    bad = ReportedPosition(key="b", lat=91.0, lon=121.0, time=now)
    result = await do(centre, client, PositionReport(id="1", positions=(good, bad)))
    assert result["stored"] == 1
    assert [(one["key"], one["field"]) for one in result["refused"]] == [("b", "lat")]
    shown = centre.unit("三号车").position
    assert shown is not None
    assert (shown.lat, shown.lon, shown.time) == (31.0, 121.0, now)


async def test_state_of_a_phone(centre: Control) -> None:
    client = await phone(centre)
    await do(centre, client, PhoneState(id="1", battery=81, charging=True, network="4g\u202e"))
    device = centre.device(client.principal.device)
    assert (device.battery, device.charging, device.network) == (81, True, "4g")


# ---- audit and sessions ----


async def test_the_audit_log_is_read_verified_and_noted(centre: Control) -> None:
    client = officer(centre, Role.ADMIN)
    for number in range(3):
        await do(centre, client, LinkCreate(id=f"l{number}", name=f"车{number}"))
    page = await do(centre, client, AuditRead(id="1", limit=2))
    assert (page["verified"], page["firstBad"], page["problem"]) == (True, 0, "")
    assert [(entry["seq"], entry["action"]) for entry in page["entries"]] == [
        (3, "link.create"),
        (2, "link.create"),
    ]
    assert page["entries"][0]["address"] == "192.0.2.7"
    older = await do(centre, client, AuditRead(id="2", before=2))
    assert [entry["seq"] for entry in older["entries"]] == [1]
    assert [entry[0] for entry in await audited(centre)][:2] == ["audit.read", "audit.read"]


async def test_a_changed_audit_log_is_told(centre: Control) -> None:
    """P19"""
    client = officer(centre, Role.ADMIN)
    await do(centre, client, LinkCreate(id="1", name="车"))
    await do(centre, client, AuditRead(id="2"))
    async with centre.database.write() as connection:
        await connection.exec_driver_sql("UPDATE audit SET detail = 'x' WHERE seq = 1")
    centre.clock.advance(30)
    page = await do(centre, client, AuditRead(id="3"))
    assert (page["verified"], page["firstBad"]) == (False, 1)
    assert "changed" in page["problem"]


async def test_log_in_sessions_are_listed_and_ended(centre: Control) -> None:
    _, mine = await centre.log_in("王五", Role.DISPATCHER)
    _, other = await centre.log_in("李四", Role.FIELD)
    me = centre.client(mine.principal)
    listed = await do(centre, me, SessionList(id="1"))
    assert [(one["id"], one["name"], one["current"]) for one in listed["sessions"]] == [
        (mine.id, "王五", True)
    ]
    assert "tokenHash" not in listed["sessions"][0]
    assert await refused(centre, me, SessionEnd(id="2", session=other.id)) == ("not_found", "session")
    chief = officer(centre, Role.ADMIN)
    listed = await do(centre, chief, SessionList(id="3"))
    assert sorted(one["name"] for one in listed["sessions"]) == ["李四", "王五"]
    await do(centre, chief, SessionEnd(id="4", session=other.id))
    assert [one.id for one in centre.sessions.all()] == [mine.id]
    await do(centre, me, SessionEnd(id="5", session=mine.id))
    assert centre.sessions.all() == []
    assert [entry[2] for entry in await audited(centre)] == ["王五", "李四"]


async def test_commands_that_wait_for_the_database_are_done_beside_the_others(centre: Control) -> None:
    """P18: nothing about media waits for the database."""
    waiting = {name_of(command) for command in EXAMPLES if COMMANDS[type(command)].aside}
    assert waiting == {
        "link.create",
        "link.revoke",
        "stream.close",
        "unit.rename",
        "position.report",
        "audit.read",
        "session.end",
        "spurt.hold release",
    } | (VOICE_OF_OFFICERS - {"media.offer voice"})
    client = await watching(centre)
    async with centre.database.write():
        async with asyncio.timeout(2):
            await do(centre, client, SlotSet(id="1", session=session(client), wishes=()))
            await do(centre, client, MediaOffer(id="2", kind="console", sdp=SDP, session=session(client)))
