"""The WebSocket protocol over real sockets."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from server.auth.permissions import Principal, Role
from server.model.ids import MediaSessionId
from server.model.ports import SlotState
from server.signalling import clients as clients_module
from server.signalling import session as session_module
from server.signalling import websocket as websocket_module
from server.signalling.entities import Unit
from support.waiting import until
from support.websocket import Desk, RawSocket, Tab, desk

SDP = "v=0\r\n"
EVERYTHING = ["unit", "device", "stream", "link", "health"]


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Desk]:
    async with desk(tmp_path) as made:
        yield made


async def officer(hall: Desk, role: Role = Role.DISPATCHER, name: str = "王五") -> str:
    """The cookie of a new account."""
    secret, _ = await hall.centre.log_in(name, role)
    return secret


async def link(hall: Desk, name: str = "三号车", hours: float = 2.0) -> tuple[str, str]:
    """A join link's id and secret."""
    chief = Principal(role=Role.ADMIN, id="chief", name="x")
    made = await hall.centre.registration.create_link(name=name, unit="", hours=hours, who=chief, address="")
    await hall.centre.roster.reload()
    return made


async def media(tab: Tab, kind: str = "console") -> MediaSessionId:
    """Open the tab's media session."""
    reply = await tab.command("media.offer", kind=kind, sdp=SDP)
    assert reply["ok"], reply
    return MediaSessionId(reply["result"]["session"])


# ---- who may come ----


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "https://evil.example",
        "http://127.0.0.1:{port}",
        "https://127.0.0.1",
        "https://127.0.0.1:{port}.evil.example",
        "https://127.0.0.1:{port}/",
    ],
)
async def test_a_foreign_page_gets_403_even_with_a_cookie(hall: Desk, origin: str | None) -> None:
    """H22"""
    cookie = await officer(hall)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await hall.connect(cookie=cookie, origin=origin and origin.format(port=hall.port))
    assert refused.value.status == 403
    assert hall.sockets.statistics()["foreign_origins_total"] == 1


@pytest.mark.parametrize("cookie", ["", "A" * 43])
async def test_nobody_is_told_to_log_in(hall: Desk, cookie: str) -> None:
    tab = await hall.tab(cookie=cookie)
    assert tab.got == [{"type": "goodbye", "reason": "not_logged_in"}]
    with pytest.raises(EOFError):
        await tab.next()


async def test_a_dispatcher_sees_everything_and_what_changes(hall: Desk) -> None:
    device, stream = await hall.centre.agent("头盔", "一号员")
    await link(hall)
    tab = await hall.tab(cookie=await officer(hall), want=EVERYTHING)
    hello, snapshot = tab.got
    assert (hello["user"]["name"], hello["user"]["role"]) == ("王五", "dispatcher")
    assert "stream.watch" in hello["user"]["permissions"]
    assert (hello["server"]["name"], hello["server"]["media"], hello["stream"]) == ("烽燧", True, "")
    assert sorted(unit["name"] for unit in snapshot["units"]) == ["一号员", "三号车"]
    assert len(snapshot["links"]) == 1
    hall.centre.media.show(stream, "signalled")
    await tab.change("stream", stream, lambda one: one["state"] == "connecting")
    hall.centre.media.show(stream, "key_frame", live=True)
    await tab.change("stream", stream, lambda one: one["state"] == "live")
    assert (await tab.command("slot.set", session="none", wishes=[]))["error"]["code"] == "not_found"
    assert hall.centre.device(device).online


async def test_a_guest_sees_its_own_and_nothing_else(hall: Desk) -> None:
    """H28, H30"""
    await hall.centre.agent("头盔", "一号员")
    _, secret = await link(hall)
    await link(hall, "四号车")
    tab = await hall.tab(token=secret, cookie=await officer(hall), want=EVERYTHING)
    hello, snapshot = tab.got
    assert (hello["user"]["role"], hello["user"]["name"]) == ("guest", "三号车")  # the cookie is ignored
    assert hello["user"]["permissions"] == [
        "emergency.raise",
        "position.report",
        "socket.open",
        "stream.publish",
        "talk.use",
    ]
    assert [unit["name"] for unit in snapshot["units"]] == ["三号车"]
    assert [stream["id"] for stream in snapshot["streams"]] == [hello["stream"]]
    assert (len(snapshot["devices"]), snapshot["links"], snapshot["health"]) == (1, [], [])
    assert snapshot["devices"][0]["online"] is True
    assert (await tab.command("audit.read"))["error"]["code"] == "forbidden"
    hall.centre.store.put(Unit(id="other", name="x", kind="rescuer", number=99))
    now = hall.centre.clock.wallclock()
    reply = await tab.command(
        "position.report", positions=[{"key": "a", "lat": 31.2, "lon": 121.5, "time": now}]
    )
    assert reply["result"] == {"stored": 1, "refused": []}
    unit = await tab.change("unit", snapshot["units"][0]["id"], lambda unit: unit["position"])
    assert unit["position"]["lat"] == 31.2
    assert "other" not in json.dumps(tab.got)


async def test_a_field_account_has_a_phone_of_its_own(hall: Desk) -> None:
    cookie = await officer(hall, Role.FIELD, "李四")
    tab = await hall.tab(cookie=cookie)
    assert tab.got[0]["stream"] == tab.got[1]["streams"][0]["id"]
    again = await hall.tab(cookie=cookie)
    assert again.got[0]["stream"] == tab.got[0]["stream"]
    await media(again, "phone")
    assert ("publish", tab.got[0]["stream"], "phone") in hall.centre.media.calls


async def test_presence_follows_the_connections(hall: Desk) -> None:
    _, secret = await link(hall)
    one = await hall.tab(token=secret)
    device = one.got[1]["devices"][0]["id"]
    two = await hall.tab(token=secret)
    await one.close()
    await until(lambda: hall.sockets.statistics()["sockets"] == 1)
    assert hall.centre.device(device).online
    await two.close()
    await until(lambda: not hall.centre.device(device).online)


async def test_guessing_links_is_slowed_down(hall: Desk) -> None:
    """H29"""
    _, secret = await link(hall)
    for _ in range(11):
        tab = await hall.tab(token="A" * 22)
        assert tab.got == [{"type": "goodbye", "reason": "not_logged_in"}]
    tab = await hall.tab(token=secret)
    assert tab.got == [{"type": "goodbye", "reason": "too_many"}]


async def test_a_log_in_session_has_twenty_connections(tmp_path: Path) -> None:
    async with desk(tmp_path, per_credential=3) as hall:
        cookie = await officer(hall)
        for _ in range(3):
            assert (await hall.tab(cookie=cookie)).got[0]["type"] == "hello"
        tab = await hall.tab(cookie=cookie)
        assert tab.got == [{"type": "goodbye", "reason": "too_many"}]


# ---- the end of a permission ----


async def test_a_revoked_link_ends_media_and_connection_within_two_seconds(hall: Desk) -> None:
    """H28"""
    made, secret = await link(hall)
    phone = await hall.tab(token=secret)
    session = await media(phone, "phone")
    console = await hall.tab(cookie=await officer(hall))
    began = asyncio.get_running_loop().time()
    assert (await console.command("link.revoke", link=made))["ok"]
    assert await phone.ended() == ("revoked", 1000)
    await until(lambda: ("close", session, "revoked") in hall.centre.media.calls)
    assert asyncio.get_running_loop().time() - began < 2.0
    again = await hall.tab(token=secret, client=phone.client)
    assert again.got == [{"type": "goodbye", "reason": "revoked"}]


async def test_a_link_that_expires_ends_media_and_connection_within_two_seconds(hall: Desk) -> None:
    _, secret = await link(hall, hours=1.5 / 3600)
    phone = await hall.tab(token=secret)
    session = await media(phone, "phone")
    began = asyncio.get_running_loop().time() + 1.5
    assert await phone.ended() == ("expired", 1000)
    await until(lambda: ("close", session, "expired") in hall.centre.media.calls)
    assert asyncio.get_running_loop().time() - began < 2.0
    assert (await hall.tab(token=secret)).got == [{"type": "goodbye", "reason": "expired"}]


async def test_logging_out_ends_the_consoles_of_that_session(hall: Desk) -> None:
    secret, session = await hall.centre.log_in("王五", Role.DISPATCHER)
    tab = await hall.tab(cookie=secret)
    other = await hall.tab(cookie=await officer(hall, name="李四"))
    opened = await media(tab)
    await hall.centre.sessions.end(session.id, "logged_out")
    assert await tab.ended() == ("logged_out", 1000)
    await until(lambda: ("close", opened, "logged_out") in hall.centre.media.calls)
    assert (await other.command("session.list"))["ok"]


async def test_a_command_is_a_sign_of_life_of_the_log_in(hall: Desk) -> None:
    secret, session = await hall.centre.log_in("王五", Role.DISPATCHER)
    tab = await hall.tab(cookie=secret)
    hall.centre.clock.advance(11 * 3600)
    await tab.send({"type": "ping", "t": 1})
    await tab.until("pong")
    assert hall.centre.clock.steady() - session.last_seen > 3600
    await tab.command("session.list")
    assert hall.centre.clock.steady() - session.last_seen < 60


# ---- resuming ----


async def test_a_tab_that_comes_back_gets_what_it_missed(hall: Desk) -> None:
    _, stream = await hall.centre.agent("头盔", "一号员")
    cookie = await officer(hall)
    tab = await hall.tab(cookie=cookie)
    rev = tab.got[-1]["rev"]
    await tab.close()
    hall.centre.media.show(stream, "signalled")
    hall.centre.media.show(stream, "key_frame", live=True)
    await until(lambda: hall.centre.store.rev > rev)
    again = await hall.tab(cookie=cookie, client=tab.client, rev=rev)
    assert again.got[0]["resumed"] is True
    await again.change("stream", stream, lambda one: one["state"] == "live")
    stranger = await hall.tab(cookie=cookie, rev=rev)
    assert (stranger.got[0]["resumed"], stranger.got[-1]["type"]) == (False, "snapshot")


async def test_a_command_that_is_sent_again_is_done_once(hall: Desk) -> None:
    cookie = await officer(hall)
    tab = await hall.tab(cookie=cookie)
    first = await tab.command("link.create", id="create", name="三号车")
    await tab.close()
    again = await hall.tab(cookie=cookie, client=tab.client)
    assert await again.command("link.create", id="create", name="三号车") == first
    assert len(list(hall.centre.store.all("link"))) == 1


async def test_a_command_whose_connection_broke_is_done_and_told_to_the_next(
    hall: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await officer(hall)
    tab = await hall.tab(cookie=cookie)
    session = await media(tab)
    go = asyncio.Event()
    set_slots = hall.centre.media.set_slots

    async def slow(*arguments: Any) -> None:
        await go.wait()
        await set_slots(*arguments)

    monkeypatch.setattr(hall.centre.media, "set_slots", slow)
    await tab.send({"type": "slot.set", "id": "slow", "session": session, "wishes": []})
    await tab.send({"type": "ping", "t": 1})
    await tab.until("pong")  # reading goes on meanwhile
    await tab.vanish()
    again = await hall.tab(cookie=cookie, client=tab.client)
    go.set()
    assert (await again.until("reply", id="slow"))["ok"]
    assert len([call for call in hall.centre.media.calls if call[0] == "set_slots"]) == 1


async def test_two_tabs_are_two_clients_and_a_copy_replaces_its_original(hall: Desk) -> None:
    """H38"""
    cookie = await officer(hall)
    one, two = await hall.tab(cookie=cookie), await hall.tab(cookie=cookie)
    session = await media(one)
    copy = await hall.tab(cookie=cookie, client=one.client)
    assert await one.ended() == ("replaced", 1000)
    assert {"type": "media", "session": session, "step": "signalled", "detail": ""} in copy.got
    again = await copy.command("media.offer", kind="console", sdp=SDP, session=session)
    assert again["result"]["session"] == session
    assert (await two.command("session.list"))["ok"]


async def test_media_waits_for_its_client_and_not_for_ever(
    hall: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    grace = 0.6
    monkeypatch.setattr(clients_module, "MEDIA_GRACE", grace)
    _, secret = await link(hall)
    phone = await hall.tab(token=secret)
    session = await media(phone, "phone")
    await phone.vanish()
    back = await hall.tab(token=secret, client=phone.client)
    await asyncio.sleep(2 * grace)
    assert [call[0] for call in hall.centre.media.calls] == ["publish"]
    await back.vanish()
    await until(lambda: ("close", session, "consent_lost") in hall.centre.media.calls)


async def test_a_page_that_was_closed_leaves_its_groups_at_once(hall: Desk) -> None:
    _, secret = await link(hall)
    legs = hall.centre.talk.exchange.legs
    lost, closed = await hall.tab(token=secret), await hall.tab(token=secret)
    for tab in (lost, closed):
        assert (await tab.command("media.offer", kind="voice", sdp=SDP))["ok"]
    assert len(legs) == 2
    await lost.vanish()
    await closed.socket.close(code=1001)
    began = asyncio.get_running_loop().time()
    await until(lambda: len(legs) == 1)
    assert asyncio.get_running_loop().time() - began < 2.0
    await until(lambda: [call[2] for call in hall.centre.media.calls if call[0] == "close"] == ["closed"])


async def test_slots_and_media_steps_are_told(hall: Desk) -> None:
    _, stream = await hall.centre.agent("头盔", "一号员")
    tab = await hall.tab(cookie=await officer(hall))
    session = await media(tab)
    assert (await tab.command("slot.set", session=session, wishes=[{"slot": 0, "stream": stream}]))["ok"]
    state = SlotState(state="live", stream=stream, layer="h", height=360, degraded="bandwidth")
    hall.centre.media.slot(session, 0, state)
    assert await tab.until("slot") == {
        "type": "slot",
        "slot": 0,
        "state": "live",
        "stream": stream,
        "layer": "h",
        "height": 360,
        "reason": "",
        "degraded": "bandwidth",
    }
    hall.centre.events.session_step(session, "lost", "media_restarted")
    assert await tab.until("media") == {
        "type": "media",
        "session": session,
        "step": "lost",
        "detail": "media_restarted",
    }


# ---- order and limits ----


async def test_commands_about_media_keep_their_order_and_others_do_not_wait(
    hall: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = await hall.tab(cookie=await officer(hall))
    session = await media(tab)
    go = asyncio.Event()
    done: list[int] = []

    async def slow(_: str, wishes: list[Any]) -> None:
        if not done:
            await go.wait()
        done.append(wishes[0].slot)

    monkeypatch.setattr(hall.centre.media, "set_slots", slow)
    for slot in range(5):
        await tab.send(
            {
                "type": "slot.set",
                "id": f"s{slot}",
                "session": session,
                "wishes": [{"slot": slot, "stream": None}],
            }
        )
    assert (await tab.command("link.create", name="三号车"))["ok"]
    assert done == []
    go.set()
    for slot in range(5):
        await tab.until("reply", id=f"s{slot}")
    assert done == [0, 1, 2, 3, 4]


async def test_the_65th_waiting_command_is_refused(hall: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    tab = await hall.tab(cookie=await officer(hall))
    session = await media(tab)
    go = asyncio.Event()

    async def slow(*_: Any) -> None:
        await go.wait()

    monkeypatch.setattr(hall.centre.media, "set_slots", slow)
    for number in range(65):
        await tab.send({"type": "slot.set", "id": f"s{number}", "session": session, "wishes": []})
    refused = await tab.until("reply")
    assert (refused["id"], refused["error"]["code"]) == ("s64", "too_many")
    go.set()
    for number in range(64):
        assert (await tab.until("reply", id=f"s{number}"))["ok"]
    assert (await tab.command("slot.set", id="s64", session=session, wishes=[]))["ok"]


async def test_at_most_ten_deltas_a_second(hall: Desk) -> None:
    tab = await hall.tab(cookie=await officer(hall))
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.0
    number = 0
    while loop.time() < end:
        number += 1
        hall.centre.store.put(Unit(id="busy", name=f"{number}", kind="rescuer", number=1))
        await asyncio.sleep(0.005)
    while (await tab.change("unit", "busy"))["name"] != str(number):
        pass
    deltas = [message for message in tab.got if message["type"] == "delta"]
    assert 5 <= len(deltas) <= 12


async def greeted(hall: Desk) -> RawSocket:
    raw = await hall.raw(await officer(hall))
    assert raw.head.startswith("HTTP/1.1 101")
    assert "sec-websocket-extensions" not in raw.head.lower()  # no compression
    raw.message({"type": "hello", "schema": 1, "client": "raw-client-0000001"})
    assert json.loads((await raw.receive())[1])["type"] == "hello"
    return raw


async def test_frames_that_nobody_sends(hall: Desk) -> None:
    """H9, H23"""
    expected = {
        "oversize": 1009,
        "binary": 1003,
        "compressed": 1002,
        "junk": 1008,
        "oversize in fragments": 1009,
        "continuation of nothing": 1002,
    }
    found = {}
    for name in expected:
        raw = await greeted_as(hall, name)
        match name:
            case "oversize":
                raw.frame(b"x" * (256 * 1024 + 1))
            case "binary":
                raw.frame(b"x", opcode=2)
            case "compressed":
                raw.frame(b"x", reserved=0x40)
            case "junk":
                raw.frame(b"{")
            case "oversize in fragments":
                raw.frame(b"x" * 200_000, fin=False)
                raw.frame(b"x" * 100_000, opcode=0)
            case "continuation of nothing":
                raw.frame(b"x", opcode=0)
        found[name] = await raw.closed()
        await raw.close()
    assert found == expected
    await until(lambda: hall.sockets.statistics()["sockets"] == 0)


async def greeted_as(hall: Desk, name: str) -> RawSocket:
    raw = await hall.raw(await officer(hall, name=name.replace(" ", ".")))
    raw.message({"type": "hello", "schema": 1, "client": "raw-client-0000001"})
    assert json.loads((await raw.receive())[1])["type"] == "hello"
    return raw


async def test_fragments_that_are_never_finished(hall: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """H9: pieces and pings are no messages."""
    monkeypatch.setattr(session_module, "SILENCE", 0.6)
    raw = await greeted(hall)
    raw.frame(b'{"type":', fin=False)

    async def drip() -> None:
        while True:
            raw.frame(b" ", opcode=0, fin=False)
            raw.frame(b"", opcode=9)
            await asyncio.sleep(0.05)

    dripping = asyncio.create_task(drip())
    began = asyncio.get_running_loop().time()
    try:
        await raw.gone()
    finally:
        dripping.cancel()
    assert asyncio.get_running_loop().time() - began < 5.0
    await until(lambda: hall.sockets.statistics()["sockets"] == 0)
    assert hall.sockets.statistics()["goodbye_timeout_total"] == 1


async def test_a_client_that_never_says_hello(hall: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "HELLO_TIMEOUT", 0.3)
    tab = await hall.connect(cookie=await officer(hall))
    assert await tab.ended() == ("timeout", 1000)


async def test_a_client_that_does_not_read_is_cut_off(hall: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """H9: what is held for it is bounded, and others do not notice."""
    monkeypatch.setattr(websocket_module, "SEND_TIMEOUT", 1.0)
    raw = await greeted(hall)
    cast(asyncio.Transport, raw.writer.transport).pause_reading()
    other = await hall.tab(cookie=await officer(hall, name="李四"))
    held = 0
    gone = False
    for number in range(300):
        for unit in range(100):
            hall.centre.store.put(
                Unit(id=f"u{unit}", name=f"{number} " + "x" * 5000, kind="rescuer", number=unit)
            )
        raw.message({"type": "unit.rename", "id": f"r{number}", "unit": "nothing", "name": "x"})
        await asyncio.sleep(0.03)
        queued = hall.sockets.statistics()["queued"]
        assert isinstance(queued, int)
        held = max(held, queued)
        gone = hall.sockets.statistics().get("not_reading_total") == 1
        if gone:
            break
    assert gone
    assert held <= 512
    assert (await other.command("session.list"))["ok"]
    await raw.close()


async def test_a_flood_is_read_slowly(hall: Desk) -> None:
    raw = await greeted(hall)
    for number in range(500):
        raw.message({"type": "ping", "t": number})
    loop = asyncio.get_running_loop()
    began = loop.time()
    pongs = 0
    while pongs < 500:
        _, payload = await raw.receive()
        pongs += json.loads(payload)["type"] == "pong"
    assert 0.7 < loop.time() - began < 4.0
    await raw.close()


# ---- the end of the server ----


async def test_everybody_is_told_when_the_service_ends(hall: Desk) -> None:
    tabs = [await hall.tab(cookie=await officer(hall, name=f"u{number}")) for number in range(3)]
    hall.service.cancel()
    for tab in tabs:
        assert await tab.ended() == ("restarting", 1012)
    late = await hall.tab(cookie=await officer(hall, name="late"))
    assert late.got == [{"type": "goodbye", "reason": "restarting"}]


async def test_a_command_that_the_restart_cut_off_is_done_anew(
    hall: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cookie = await officer(hall)
    tab = await hall.tab(cookie=cookie)
    session = await media(tab)
    calls: list[int] = []

    async def hangs(*_: Any) -> None:
        calls.append(1)
        if len(calls) == 1:
            await asyncio.Event().wait()

    monkeypatch.setattr(hall.centre.media, "set_slots", hangs)
    await tab.send({"type": "slot.set", "id": "hung", "session": session, "wishes": []})
    await until(lambda: calls)
    hall.service.cancel()
    assert await tab.ended() == ("restarting", 1012)
    hall.service = asyncio.create_task(hall.sockets.run())
    await asyncio.sleep(0)
    again = await hall.tab(cookie=cookie, client=tab.client)
    assert (await again.command("slot.set", id="hung", session=session, wishes=[]))["ok"]
    assert len(calls) == 2
    hall.service.cancel()
    await asyncio.gather(hall.service, return_exceptions=True)


async def test_two_hundred_clients_come_at_once(hall: Desk) -> None:
    """P29, in small: one snapshot is made for all of them."""
    await hall.centre.agent("头盔", "一号员")
    cookies = [await officer(hall, name=f"user{number}") for number in range(10)]
    before = hall.centre.store.statistics()["messages_encoded_total"]
    assert isinstance(before, int)
    tabs = await asyncio.gather(*(hall.tab(cookie=cookies[number % 10]) for number in range(200)))
    assert all(tab.got[-1]["type"] == "snapshot" for tab in tabs)
    made = hall.centre.store.statistics()["messages_encoded_total"]
    assert isinstance(made, int)
    assert made - before <= 3


async def test_a_connection_that_is_gone_waits_for_no_garbage_collector(hall: Desk) -> None:
    """With TLS each has 256 KiB of buffers."""

    def left() -> int:
        return sum(isinstance(one, web.WebSocketResponse) for one in gc.get_objects())

    cookie = await officer(hall)
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            await (await hall.tab(cookie=cookie)).close()
            tab = await hall.tab(cookie=cookie)
            await media(tab)
            await tab.vanish()
        assert left() > 0
        await until(lambda: not left())
    finally:
        gc.enable()
