"""Clients over many connections: the newest wins, media waits a while, memory is bounded, an end is an end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from server.model.errors import TooMany
from server.model.ids import MediaSessionId
from server.signalling.clients import Admission, Client, Clients
from server.signalling.messages import HelloClient, Reply, SlotChanged
from server.signalling.session import Connection, Phase
from server.state import EntityStore
from support.signalling import INFO, Peer, admission, hello, rename, reply

SESSION = MediaSessionId("m" * 22)
OTHER = MediaSessionId("n" * 22)


def names(messages: list[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]


def test_the_newest_connection_wins_and_keeps_the_media_session() -> None:
    old = Peer()
    old.open()
    old.clients.opened(old.client, SESSION, "console")
    old.taken()
    new = Peer(old.clients, old.store)
    messages = new.open()
    assert old.taken() == [{"type": "goodbye", "reason": "replaced"}]
    assert old.send(rename("a")) is None  # fenced
    assert messages[1] == {"type": "media", "session": SESSION, "step": "signalled", "detail": ""}
    assert old.clients.detach(old.connection, 1001.0) is None
    assert new.client.connection is new.connection
    assert new.client.media_of(SESSION) is not None


def test_the_same_id_of_somebody_else_is_another_client() -> None:
    one = Peer()
    one.open(admission("user-1"))
    other = Peer(one.clients, one.store)
    other.open(admission("user-2"))
    assert one.connection.phase is Phase.OPEN
    assert one.client is not other.client


def test_a_media_session_waits_thirty_seconds() -> None:
    peer = Peer()
    peer.open()
    peer.clients.opened(peer.client, SESSION, "phone")
    peer.clients.detach(peer.connection, 1000.0)
    assert peer.clients.tick(1029.9) == {}
    assert peer.clients.tick(1030.0) == {SESSION: "consent_lost"}
    assert peer.clients.tick(1031.0) == {}
    again = Peer(peer.clients, peer.store)
    messages = again.open()
    assert messages[1] == {"type": "media", "session": SESSION, "step": "closed", "detail": ""}


@pytest.mark.parametrize("code", [1000, 1001, 1005, 1006])
def test_a_page_that_was_closed_is_not_waited_for(code: int) -> None:
    peer = Peer()
    gone: list[Client] = []
    peer.clients.on_gone(gone.append)
    peer.open()
    peer.clients.opened(peer.client, SESSION, "phone")
    peer.connection.receive_close(code)
    peer.clients.detach(peer.connection, 1000.0)
    if code == 1001:
        assert peer.clients.tick(1000.0) == {SESSION: "closed"}
        assert gone == [peer.client]
    assert peer.clients.tick(1001.0) == {}
    Peer(peer.clients, peer.store).open()  # all the same it may come back: the browser kept the page
    assert not peer.client.away


def test_a_client_that_came_back_keeps_its_media() -> None:
    peer = Peer()
    peer.open()
    peer.clients.opened(peer.client, SESSION, "phone")
    peer.clients.detach(peer.connection, 1000.0)
    Peer(peer.clients, peer.store).open()
    assert peer.clients.tick(2000.0) == {}


def test_slots_and_the_last_step_are_told_again() -> None:
    peer = Peer()
    peer.open()
    peer.clients.opened(peer.client, SESSION, "console")
    peer.clients.media_step(SESSION, "dtls", "")
    for state in ("waiting", "live"):
        peer.client.slot_changed(SESSION, SlotChanged(slot=3, state=state, stream="s1"))
    peer.client.slot_changed(OTHER, SlotChanged(slot=4, state="live"))
    assert names(peer.taken()) == ["media", "media", "slot", "slot"]
    again = Peer(peer.clients, peer.store)
    messages = again.open()
    assert names(messages) == ["hello", "media", "slot", "snapshot"]
    assert (messages[1]["step"], messages[2]["slot"], messages[2]["state"]) == ("dtls", 3, "live")


def test_a_step_is_told_once() -> None:
    peer = Peer()
    peer.open()
    peer.clients.media_step(SESSION, "signalled", "")  # before the offer's answer: nobody's yet
    peer.clients.opened(peer.client, SESSION, "console")
    peer.clients.media_step(SESSION, "signalled", "")
    peer.clients.media_step(SESSION, "lost", "consent_lost")
    peer.clients.media_step(SESSION, "lost", "consent_lost")
    assert [(message["step"], message["detail"]) for message in peer.taken()] == [
        ("signalled", ""),
        ("lost", "consent_lost"),
    ]
    assert peer.clients.media_gone(peer.client) == []


def test_a_new_media_session_takes_the_place_of_the_old_one() -> None:
    peer = Peer()
    peer.open()
    assert peer.clients.opened(peer.client, SESSION, "console") is None
    assert peer.clients.opened(peer.client, OTHER, "console") == SESSION
    assert peer.clients.of_media(SESSION) is None
    assert peer.clients.of_media(OTHER) is peer.client
    peer.clients.media_step(OTHER, "lost", "ice_timeout")
    assert peer.clients.opened(peer.client, SESSION, "console") is None


def test_an_end_fences_forgets_and_closes_media() -> None:
    peer = Peer()
    peer.open()
    peer.clients.opened(peer.client, SESSION, "phone")
    client = peer.client
    closing = peer.clients.end(lambda one: one.principal.session == "session-1", "revoked")
    assert closing == [SESSION]
    assert client.ended == "revoked"
    assert peer.taken() == [{"type": "goodbye", "reason": "revoked"}]
    assert list(peer.clients) == []
    fresh = Peer(peer.clients, peer.store)
    assert names(fresh.open()) == ["hello", "snapshot"]
    assert fresh.client is not client


def test_an_end_leaves_others_alone() -> None:
    peer = Peer()
    peer.open()
    assert peer.clients.end(lambda one: one.principal.session == "session-2", "revoked") == []
    assert peer.connection.phase is Phase.OPEN


def test_a_log_in_session_has_a_bounded_number_of_connections() -> None:
    clients = Clients(per_credential=3)
    peers = [Peer(clients) for _ in range(4)]
    for number, peer in enumerate(peers[:3]):
        peer.open(client=f"client-number-{number:04}")
    event = peers[3].send(hello(client="client-number-0003"))
    assert event is not None
    with pytest.raises(TooMany):
        admit(clients, peers[3].connection, "client-number-0003")
    Peer(clients).open(client="client-number-0001")  # its own place
    Peer(clients).open(admission(session="session-2"), client="client-number-0004")


def admit(clients: Clients, connection: Connection, client: str, admitted: Admission | None = None) -> Client:
    greeting = HelloClient(schema=1, client=client)
    found, resumable = clients.admit(connection, greeting, admitted or admission())
    connection.phase = Phase.ADMITTING
    connection.admit(found, greeting, INFO, EntityStore(5_000), resumable=resumable)
    return found


def come_and_go(clients: Clients, number: int, now: float) -> Client:
    connection = Connection(now, lambda: None)
    client = admit(clients, connection, f"client-number-{number:04}")
    clients.detach(connection, now)
    return client


def test_remembered_clients_of_one_account_are_bounded() -> None:
    clients = Clients(per_credential=20)
    stay = come_and_go(clients, 0, 1000.0)
    clients.opened(stay, SESSION, "console")
    for number in range(1, 200):
        come_and_go(clients, number, 1000.0 + number)
    remembered = [client.key[1] for client in clients]
    assert len(remembered) == 64
    assert remembered[0] == "client-number-0000"  # its media still waits
    assert remembered[-1] == "client-number-0199"


def test_a_client_that_stays_away_is_forgotten() -> None:
    clients = Clients(per_credential=20)
    come_and_go(clients, 1, 1000.0)
    clients.tick(1599.9)
    assert len(list(clients)) == 1
    clients.tick(1600.0)
    assert list(clients) == []


def test_a_client_is_remembered_while_a_command_is_being_done() -> None:
    clients = Clients(per_credential=20)
    client = come_and_go(clients, 1, 1000.0)
    assert client.begin("a")
    clients.tick(5000.0)
    assert len(list(clients)) == 1
    client.finish(Reply(id="a", ok=True))
    clients.tick(5000.0)
    assert list(clients) == []


def test_replies_are_kept_within_bounds() -> None:
    peer = Peer()
    peer.open()
    for number in range(1500):
        assert peer.client.begin(f"c{number}")
        reply(peer, f"c{number}")
        peer.taken()
    assert peer.client.reply("c475") is None
    assert peer.client.reply("c476") is not None
    for number in range(6):
        peer.client.finish(
            Reply(id=f"big{number}", ok=True, result=msgspec.Raw(b'"' + b"x" * 500_000 + b'"'))
        )
        peer.taken()
    kept = [number for number in range(6) if peer.client.reply(f"big{number}")]
    assert kept == [2, 3, 4, 5]


def test_abandoned_commands_may_be_sent_again() -> None:
    peer = Peer()
    peer.open()
    peer.send(rename("a"))
    peer.client.abandon()
    assert peer.send(rename("a")) is not None
