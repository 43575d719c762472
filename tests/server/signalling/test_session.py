"""One connection, without a socket: hello, commands, order, limits; nothing a client sends raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.signalling.clients import Admission
from server.signalling.entities import Unit as UnitEntity
from server.signalling.messages import UnitRename
from server.signalling.session import CommandReceived, HelloReceived, Phase
from server.state import EntityStore, View
from support.signalling import CLIENT, INFO, WALL, Peer, admission, goodbye, hello, rename, reply, text

# ---- hello ----


def test_hello_is_answered_with_who_and_a_snapshot() -> None:
    peer = Peer()
    peer.store.put(UnitEntity(id="u1", name="一号员", kind="rescuer", number=1))
    peer.store.publish()
    first, second = peer.open()
    client = peer.connection.client
    assert client is not None
    assert first == {
        "type": "hello",
        "schema": 1,
        "rev": 5_001,
        "resumed": False,
        "client": CLIENT,
        "user": {"id": "user-1", "name": "值班员", "role": "dispatcher", "permissions": []},
        "server": {
            "name": "烽燧",
            "level": "county",
            "version": "1",
            "time": WALL,
            "media": True,
            "drill": False,
        },
        "stream": "",
        "leg": client.public,
    }
    assert (second["type"], second["rev"], len(second["units"])) == ("snapshot", 5_001, 1)
    assert peer.taken() == []


def test_another_schema_is_told_to_reload_whatever_else_it_says() -> None:
    for data in (hello(schema=2), hello(schema=2, client=7, rev="x")):
        peer = Peer()
        assert peer.send(data) is None
        assert goodbye(peer) == ("schema", 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"{",
        rename("a"),
        text({"type": "ping", "t": 1}),
        hello(client="short"),
        hello(client="0123456789abcde\n"),
        hello(client=None),
        hello(rev=-1),
        hello(want="unit"),
        text({"type": "goodbye", "reason": "x"}),
        text({"type": "nothing"}),
    ],
)
def test_anything_but_a_good_hello_ends_it(data: bytes) -> None:
    peer = Peer()
    assert peer.send(data) is None
    assert goodbye(peer) == ("bad_message", 1008)


def test_a_second_hello_ends_it() -> None:
    peer = Peer()
    peer.open()
    peer.send(hello())
    assert goodbye(peer) == ("bad_message", 1008)


def test_no_hello_in_five_seconds() -> None:
    peer = Peer()
    assert peer.connection.deadline() == 1005.0
    peer.connection.tick(1004.9)
    assert peer.connection.phase is Phase.HELLO
    peer.connection.tick(1005.0)
    assert goodbye(peer) == ("timeout", 1000)


def test_fifteen_seconds_of_silence() -> None:
    peer = Peer()
    peer.open()
    peer.now += 10
    peer.send(text({"type": "ping", "t": 7.5}))
    peer.taken()
    peer.connection.tick(1024.9)
    assert peer.connection.phase is Phase.OPEN
    peer.connection.tick(1025.0)
    assert goodbye(peer) == ("timeout", 1000)


def test_ping_is_answered_with_the_servers_clock() -> None:
    peer = Peer()
    peer.open()
    peer.send(text({"type": "ping", "t": 7.5}))
    assert peer.taken() == [{"type": "pong", "t": 7.5, "time": WALL}]


def test_a_binary_frame_ends_it() -> None:
    peer = Peer()
    peer.open()
    peer.connection.receive_binary()
    assert goodbye(peer) == ("bad_message", 1003)


def test_nothing_is_done_after_the_end() -> None:
    peer = Peer()
    peer.open()
    peer.connection.end("revoked")
    assert peer.send(rename("a")) is None
    peer.connection.end("too_slow")
    assert goodbye(peer) == ("revoked", 1000)


# ---- resume ----


def resumed(peer: Peer, rev: int, admitted: Admission | None = None) -> tuple[bool, list[str]]:
    """Whether a new connection of the same client resumes, and what follows the hello."""
    again = Peer(peer.clients, peer.store)
    messages = again.open(admitted, rev=rev)
    return messages[0]["resumed"], [message["type"] for message in messages[1:]]


def changed(peer: Peer, number: int) -> None:
    peer.store.put(UnitEntity(id=f"u{number}", name="x", kind="rescuer", number=number))
    peer.store.publish()


def test_a_client_resumes_from_its_revision() -> None:
    peer = Peer()
    peer.open()
    changed(peer, 1)
    changed(peer, 2)
    assert resumed(peer, 5_001) == (True, ["delta"])
    assert resumed(peer, 5_002) == (True, [])


def test_a_revision_that_is_not_ours_gets_a_snapshot() -> None:
    peer = Peer()
    peer.open()
    changed(peer, 1)
    for rev in (0, 17, 5_002, 2**53):
        assert resumed(peer, rev) == (False, ["snapshot"])


def test_an_unknown_client_gets_a_snapshot() -> None:
    peer = Peer()
    changed(peer, 1)
    assert resumed(peer, 5_001) == (False, ["snapshot"])


def test_a_client_that_sees_something_else_now_gets_a_snapshot() -> None:
    peer = Peer()
    peer.open()
    changed(peer, 1)
    other = View(kinds=frozenset({"unit", "stream"}), everything=True)
    assert resumed(peer, 5_001, admission(view=other)) == (False, ["snapshot"])


def test_a_slow_client_gets_one_delta_for_many_revisions() -> None:
    peer = Peer()
    peer.open()
    for number in (1, 2, 1, 3):
        changed(peer, number)
    messages = peer.taken()
    assert [(message["type"], message["rev"]) for message in messages] == [("delta", 5_003)]
    assert [change["id"] for change in messages[0]["changes"]] == ["u1", "u2", "u3"]


def test_a_client_from_before_forgotten_removals_gets_a_snapshot() -> None:
    peer = Peer(store=EntityStore(5_000, max_removed=1))
    peer.open()
    for number in range(3):
        changed(peer, number)
    peer.taken()
    for number in range(3):
        peer.store.remove("unit", f"u{number}")
        peer.store.publish()
    assert [message["type"] for message in peer.taken()] == ["snapshot"]


# ---- commands ----


def test_a_command_gets_one_reply_and_the_same_again() -> None:
    peer = Peer()
    peer.open()
    event = peer.send(rename("a", "新名"))
    assert event == CommandReceived(command=UnitRename(id="a", unit="u1", name="新名"))
    assert peer.send(rename("a")) is None  # still being done
    reply(peer, "a", b'{"n":1}')
    done = {"type": "reply", "id": "a", "ok": True, "result": {"n": 1}, "error": None}
    assert peer.taken() == [done]
    assert peer.send(rename("a", "anders")) is None
    assert peer.taken() == [done]


def test_a_command_that_is_sent_again_after_a_reconnection_is_not_done_again() -> None:
    peer = Peer()
    peer.open()
    peer.send(rename("a"))
    peer.send(rename("b"))
    reply(peer, "a")
    peer.clients.detach(peer.connection, peer.now)
    again = Peer(peer.clients, peer.store)
    again.open()
    assert again.send(rename("a")) is None
    assert [message["id"] for message in again.taken()] == ["a"]
    assert again.send(rename("b")) is None
    assert again.taken() == []
    reply(again, "b")  # what the first connection asked
    assert [message["id"] for message in again.taken()] == ["b"]


def test_the_65th_waiting_command_is_too_many_and_may_come_again() -> None:
    peer = Peer()
    peer.open()
    for number in range(64):
        assert isinstance(peer.send(rename(f"c{number}")), CommandReceived)
    assert peer.send(rename("c64")) is None
    (refused,) = peer.taken()
    assert (refused["id"], refused["ok"], refused["error"]["code"]) == ("c64", False, "too_many")
    reply(peer, "c0")
    assert isinstance(peer.send(rename("c64")), CommandReceived)


@pytest.mark.parametrize(
    ("message", "code", "field"),
    [
        ({"type": "floor.take", "id": "a"}, "unknown_command", ""),
        ({"id": "a"}, "unknown_command", ""),
        ({"type": "hello", "id": "a", "schema": 1, "client": 5}, "unknown_command", ""),
        ({"type": "unit.rename", "id": "a"}, "bad_request", ""),
        ({"type": "unit.rename", "id": "a", "unit": 5, "name": "x"}, "bad_request", "unit"),
        ({"type": "unit.rename", "id": "a", "unit": "u\n", "name": "x"}, "bad_request", "unit"),
        ({"type": "unit.rename", "id": "a", "unit": "u", "name": "x" * 513}, "bad_request", "name"),
        (
            {"type": "slot.set", "id": "a", "session": "s", "wishes": [{"slot": 25, "stream": None}]},
            "bad_request",
            "wishes.slot",
        ),
        (
            {"type": "slot.set", "id": "a", "session": "s", "wishes": [{"slot": 1, "stream": None}] * 26},
            "bad_request",
            "wishes",
        ),
        (
            {
                "type": "position.report",
                "id": "a",
                "positions": [{"key": "k", "lat": None, "lon": 1, "time": 1}],
            },
            "bad_request",
            "positions.lat",
        ),
        ({"type": "phone.state", "id": "a", "battery": 101}, "bad_request", "battery"),
        ({"type": "media.offer", "id": "a", "kind": "robot", "sdp": ""}, "bad_request", "kind"),
    ],
)
def test_a_command_that_is_wrong_is_refused_and_the_connection_goes_on(
    message: dict[str, Any], code: str, field: str
) -> None:
    peer = Peer()
    peer.open()
    assert peer.send(text(message)) is None
    (refused,) = peer.taken()
    assert (refused["id"], refused["ok"]) == ("a", False)
    assert (refused["error"]["code"], refused["error"]["field"]) == (code, field)
    assert peer.connection.phase is Phase.OPEN


@pytest.mark.parametrize("name", [b"\xff", b"\\ud800", b"\xed\xa0\x80"])
def test_a_name_that_is_no_text_is_refused(name: bytes) -> None:
    """H21: a page sends half an emoji as it stands."""
    peer = Peer()
    peer.open()
    assert peer.send(b'{"type":"unit.rename","id":"a","unit":"u","name":"' + name + b'"}') is None
    (refused,) = peer.taken()
    assert (refused["id"], refused["error"]["code"]) == ("a", "bad_request")
    assert "broken characters" in refused["error"]["message"]


@pytest.mark.parametrize(
    "data",
    [
        b"null",
        b'{"type":"unit.rename","unit":"u","name":"x"}',
        b'{"type":"unit.rename","id":"","unit":"u","name":"x"}',
        b'{"type":"unit.rename","id":5,"unit":"u","name":"x"}',
        text({"type": "unit.rename", "id": "x" * 65, "unit": "u", "name": "x"}),
        b'{"type":"unit.rename","id":"a\\ud800","unit":"u","name":"x"}',
        b'{"type":"unit.rename","id":"a"' + b',"id":"b' * 10,
        b'{"type":"unit.rename","id":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"ping","t":NaN}',
        b'{"type":"ping","t":1e999}',
    ],
)
def test_what_cannot_be_answered_ends_it(data: bytes) -> None:
    peer = Peer()
    peer.open()
    assert peer.send(data) is None
    assert goodbye(peer) == ("bad_message", 1008)


# ---- limits ----


def test_512_messages_may_wait_and_not_one_more() -> None:
    peer = Peer()
    peer.open()
    for _ in range(512):
        peer.connection.send(b"{}")
    assert peer.connection.phase is Phase.OPEN
    peer.connection.send(b"{}")
    assert goodbye(peer) == ("too_slow", 1013)


def test_a_mebibyte_may_wait_and_not_one_byte_more() -> None:
    peer = Peer()
    peer.open()
    peer.connection.send(b"x" * 1_048_576)
    assert peer.connection.phase is Phase.OPEN
    peer.connection.send(b"x")
    assert goodbye(peer) == ("too_slow", 1013)


def test_what_left_does_not_count() -> None:
    peer = Peer()
    peer.open()
    for _ in range(5):
        peer.connection.send(b"x" * 1_000_000)
        assert peer.connection.take(peer.store) is not None
    assert peer.connection.phase is Phase.OPEN


def test_a_flood_is_not_read_faster_than_100_messages_a_second() -> None:
    peer = Peer()
    peer.open()
    for _ in range(399):
        peer.send(text({"type": "ping", "t": 1}))
        peer.connection.take(peer.store)
    assert peer.connection.pause(peer.now) == 0.0
    for _ in range(50):
        peer.send(text({"type": "ping", "t": 1}))
        peer.connection.take(peer.store)
    assert peer.connection.pause(peer.now) == pytest.approx(0.5)
    assert peer.connection.pause(peer.now + 1) == 0.0


def test_the_shell_is_woken_for_messages_and_for_the_end() -> None:
    peer = Peer()
    peer.open()
    before = peer.wakes
    peer.connection.send(b"{}")
    peer.connection.end("revoked")
    assert peer.wakes == before + 2


# ---- fuzz ----

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
kinds = st.sampled_from(
    [
        "hello",
        "ping",
        "media.offer",
        "media.close",
        "slot.set",
        "slot.shown",
        "link.create",
        "link.revoke",
        "stream.close",
        "unit.rename",
        "position.report",
        "phone.state",
        "audit.read",
        "session.list",
        "session.end",
        "reply",
        "",
    ]
)
fields = st.sampled_from(
    [
        "id",
        "schema",
        "client",
        "rev",
        "want",
        "t",
        "kind",
        "sdp",
        "session",
        "wishes",
        "slot",
        "stream",
        "name",
    ]
)
almost = st.builds(
    lambda kind, rest: {"type": kind, "id": "i", **rest}, kinds, st.dictionaries(fields, values, max_size=5)
)
frames = st.one_of(
    st.binary(max_size=200),
    values.map(lambda value: json.dumps(value).encode()),
    almost.map(lambda value: json.dumps(value).encode()),
    st.just(hello()),
    st.just(rename("a")),
)


@given(st.lists(frames, max_size=12))
def test_nothing_a_client_sends_raises(sent: list[bytes]) -> None:
    peer = Peer()
    opened = False
    for data in sent:
        event = peer.send(data)
        if isinstance(event, HelloReceived) and not opened:
            opened = True
            client, resumable = peer.clients.admit(peer.connection, event.hello, admission())
            peer.connection.admit(client, event.hello, INFO, peer.store, resumable=resumable)
        for message in peer.taken():
            assert message["type"] in {"hello", "snapshot", "reply", "pong", "goodbye"}
    if peer.connection.phase is Phase.CLOSED:
        assert peer.send(hello()) is None


def test_a_revision_wakes_only_those_whom_it_concerns() -> None:
    store = EntityStore(5_000)
    mine = View(kinds=frozenset({"unit"}), everything=False, unit="u1")
    peer = Peer(store=store)
    peer.open(admission(view=mine))
    peer.wakes = 0
    for unit in ("u2", "u1", "u2"):
        store.put(UnitEntity(id=unit, name=str(store.rev), kind="rescuer", number=1))
        store.publish()
        peer.connection.published(store)
    assert peer.wakes == 2  # still behind when u2 changed again
    assert [change["id"] for change in peer.taken()[0]["changes"]] == ["u1"]
    peer.connection.published(store)
    assert (peer.wakes, peer.taken()) == (2, [])
