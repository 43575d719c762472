"""ICE and DTLS joined, with a peer in memory: from the first check to the keys, and every way it can end."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence

import pytest

from media.protocol import OpenIce, RestartIce, TransportLost, TransportStep
from media.relay.messages import (
    Address,
    CloseReason,
    Path,
    SendDatagram,
    SetKeys,
    SetUfrags,
    SrtpProfile,
    ValidatePath,
)
from media.transport import stun
from media.transport.certificate import make_identity
from media.transport.dtls import DtlsAssociation, DtlsFactory, DtlsRole, Handshaken, Transmit
from media.transport.webrtc import Steps, WebRtcTransport

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
OURS = make_identity(NOW)
THEIRS = make_identity(NOW)
OUR_FACTORY = DtlsFactory(OURS)
THEIR_FACTORY = DtlsFactory(THEIRS)
PASSWORD = "serverpassword0123456789"


def path(port: int = 40_000, connection: int = 0) -> Path:
    local, remote = Address("192.0.2.1", 8443), Address("192.0.2.77", port)
    return Path(listener=1, local=local, remote=remote, connection=connection)


class Peer:
    """A full ICE agent with one candidate and a DTLS stack; joined to the transport by function calls."""

    def __init__(self, *, setup: str = "passive", fingerprint: str = THEIRS.fingerprint) -> None:
        self.now = 100.0
        self.counters = Counter[str]()
        self.allowed = True
        request = OpenIce(
            number=1,
            transport=7,
            local_ufrag="srvU",
            local_password=PASSWORD,
            remote_ufrag="cliU",
            setup=setup,
            fingerprints=(("sha-256", fingerprint),),
        )
        self.transport = WebRtcTransport(
            request, OUR_FACTORY, lambda now: self.allowed, self.counters, self.now
        )
        role = DtlsRole.CLIENT if setup == "passive" else DtlsRole.SERVER
        self.dtls = DtlsAssociation(THEIR_FACTORY, role=role, fingerprints=(("sha-256", OURS.fingerprint),))
        self.keys: Handshaken | None = None
        self.steps = Steps()
        self.silent = False  # what the transport sends is lost
        self._transactions = 0

    def take(self, steps: Steps, where: Path) -> None:
        """Note the steps, and answer the DTLS datagrams among them over `where`."""
        self.steps.commands += steps.commands
        self.steps.notices += steps.notices
        for command in steps.commands:
            if isinstance(command, SendDatagram) and command.data[0] >= 20 and not self.silent:
                self.answer(self.dtls.receive(command.data, self.now), where)

    def answer(self, events: Sequence[object], where: Path) -> None:
        for event in events:
            if isinstance(event, Transmit):
                self.take(self.transport.dtls_received(where, event.data, self.now), where)
            elif isinstance(event, Handshaken):
                self.keys = event

    def check(
        self, where: Path, *, nominate: bool = True, ufrag: str = "srvU", password: str = PASSWORD
    ) -> None:
        self._transactions += 1
        data = stun.binding_request(
            self._transactions.to_bytes(12, "big"),
            username=f"{ufrag}:cliU",
            password=password.encode(),
            priority=1,
            role=stun.IceRole.CONTROLLING,
            tie_breaker=1,
            use_candidate=nominate,
        )
        self.take(self.transport.stun_received(where, data, self.now), where)

    def connect(self, where: Path | None = None) -> None:
        where = where or path()
        self.check(where)
        self.answer(self.dtls.start(self.now), where)

    def run_out(self) -> None:
        """Go to the transport's next deadline."""
        deadline = self.transport.next_deadline
        assert deadline is not None
        self.now = max(self.now, deadline)
        self.take(self.transport.handle_timeout(self.now), path())

    def notices(self) -> list[str]:
        return [
            notice.step if isinstance(notice, TransportStep) else notice.reason.name
            for notice in self.steps.notices
            if isinstance(notice, TransportStep | TransportLost)
        ]

    def lost(self) -> TransportLost:
        (lost,) = [notice for notice in self.steps.notices if isinstance(notice, TransportLost)]
        return lost

    def set_keys(self) -> list[SetKeys]:
        return [command for command in self.steps.commands if isinstance(command, SetKeys)]


@pytest.mark.parametrize("setup", ["passive", "active"])
def test_from_check_to_keys_in_both_roles(setup: str) -> None:
    peer = Peer(setup=setup)
    peer.connect()
    assert peer.keys is not None
    (keys,) = peer.set_keys()
    assert (keys.transport, keys.profile) == (7, SrtpProfile.AEAD_AES_128_GCM)
    assert (keys.send_key, keys.receive_key) == (peer.keys.receive_key, peer.keys.send_key)
    assert peer.notices() == ["ice", "dtls"]
    assert peer.steps.notices[0] == TransportStep(
        transport=7, step="ice", remote=Address("192.0.2.77", 40_000)
    )
    assert peer.transport.connected


def test_the_wrong_certificate_gives_no_keys() -> None:
    peer = Peer(fingerprint=OURS.fingerprint)
    peer.connect()
    assert peer.set_keys() == []
    assert peer.notices() == ["ice", "DTLS_FAILED"]
    assert peer.transport.lost
    assert peer.transport.next_deadline is None


def test_dtls_from_an_unchecked_address_never_reaches_the_stack() -> None:
    peer = Peer()
    peer.answer(peer.dtls.start(peer.now), path())
    assert peer.steps.commands == []
    assert peer.counters == {"dtls_stranger": 1}
    peer.check(path())
    peer.answer(peer.dtls.handle_timeout(peer.now + 0.15), path(40_001))
    assert not peer.transport.connected
    peer.answer(peer.dtls.handle_timeout(peer.now + 0.5), path())
    assert peer.transport.connected


def test_dtls_over_a_valid_path_that_is_not_selected_is_taken() -> None:
    peer = Peer()
    peer.check(path(1))
    peer.check(path(2), nominate=False)
    peer.answer(peer.dtls.start(peer.now), path(2))
    assert peer.transport.connected


def test_no_check_in_time() -> None:
    peer = Peer()
    peer.check(path(), password="wrong-password-0123456789")
    peer.run_out()
    assert peer.now == 115.0
    assert peer.lost() == TransportLost(
        transport=7, reason=CloseReason.ICE_TIMEOUT, detail="no valid check, 1 with a wrong password"
    )


def test_checks_but_no_handshake_in_time() -> None:
    peer = Peer()
    peer.check(path())
    peer.run_out()
    assert peer.now == 115.0
    assert peer.lost().reason is CloseReason.DTLS_FAILED


def test_consent_ends_thirty_seconds_after_the_last_check_and_nothing_is_sent_then() -> None:
    peer = Peer()
    peer.connect()
    peer.now = 110.0
    peer.check(path())
    sent = len(peer.steps.commands)
    peer.run_out()
    assert peer.now == 140.0
    assert peer.lost().reason is CloseReason.CONSENT_LOST
    assert len(peer.steps.commands) == sent


def test_the_peers_close_notify_ends_it() -> None:
    peer = Peer()
    peer.connect()
    peer.answer(peer.dtls.close(), path())
    assert peer.lost() == TransportLost(transport=7, reason=CloseReason.DTLS_CLOSED, detail="close_notify")


def test_closing_says_close_notify_over_the_selected_path() -> None:
    peer = Peer()
    peer.connect()
    (farewell,) = peer.transport.close()
    assert isinstance(farewell, SendDatagram)
    assert farewell.path == path()
    peer.dtls.receive(farewell.data, peer.now)
    assert peer.dtls.ended


def test_closing_before_anything_came_says_nothing() -> None:
    assert Peer().transport.close() == []


def test_rebinding_keeps_the_association_and_is_told() -> None:
    peer = Peer()
    peer.connect()
    peer.check(path(40_001))
    assert peer.notices() == ["ice", "dtls", "path"]
    assert ValidatePath(transport=7, path=path(40_001), selected=True) in peer.steps.commands
    peer.answer(peer.dtls.close(), path(40_001))
    assert peer.transport.lost


def test_restart_goes_on_with_the_same_keys() -> None:
    peer = Peer()
    peer.connect()
    request = RestartIce(
        number=2, transport=7, local_ufrag="newU", local_password="n" * 24, remote_ufrag="cliV"
    )
    assert peer.transport.restart_commands(request) == (SetUfrags(transport=7, ufrags=("srvU", "newU")),)
    peer.transport.restart(request)
    peer.steps.commands.clear()
    peer.check(path(50_000), ufrag="newU", password="n" * 24)
    assert SetUfrags(transport=7, ufrags=("newU",)) in peer.steps.commands
    assert peer.set_keys() == []
    assert peer.notices() == ["ice", "dtls", "path"]
    assert peer.transport.connected


def test_a_closed_tcp_connection_may_be_replaced_within_ten_seconds() -> None:
    peer = Peer()
    peer.connect(path(1, connection=3))
    peer.take(peer.transport.connection_closed(path(1, connection=3), peer.now), path())
    assert peer.transport.next_deadline == 110.0
    peer.now = 109.0
    peer.check(path(2, connection=4))
    assert peer.transport.next_deadline == 139.0
    peer.take(peer.transport.connection_closed(path(2, connection=4), peer.now), path())
    peer.run_out()
    assert peer.now == 119.0
    assert peer.lost().reason is CloseReason.LISTENER_GONE


def test_handshakes_wait_their_turn() -> None:
    peer = Peer()
    peer.allowed = False
    peer.connect()
    assert not peer.transport.connected
    assert peer.counters["dtls_deferred"] == 1
    peer.run_out()
    assert peer.now == pytest.approx(100.05)
    assert not peer.transport.connected
    peer.allowed = True
    peer.run_out()
    assert peer.now == pytest.approx(100.1)
    assert peer.transport.connected


def test_a_hello_repeated_while_waiting_is_kept_in_bounds() -> None:
    peer = Peer()
    peer.allowed = False
    peer.connect()
    hello = peer.dtls.handle_timeout(peer.now + 0.15)
    for _ in range(50):
        peer.answer(hello, path())
    assert len(peer.transport._hello) == 4
    peer.allowed = True
    peer.run_out()
    assert peer.transport.connected


def test_garbage_does_not_use_up_the_turns_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    peer = Peer()
    asked: list[float] = []

    def may_begin(now: float) -> bool:
        asked.append(now)
        return True

    monkeypatch.setattr(peer.transport, "_may_begin", may_begin)
    peer.check(path())
    for junk in (b"", b"\x16", b"\x16\xfe\xfd" + bytes(40), b"\x15" * 50):
        assert peer.transport.dtls_received(path(), junk, peer.now) == Steps()
    assert asked == []
    peer.connect()
    assert peer.transport.connected
    assert len(asked) == 1


def test_our_own_handshake_waits_its_turn_too() -> None:
    peer = Peer(setup="active")
    peer.allowed = False
    peer.check(path())
    peer.allowed = True
    assert peer.transport.next_deadline == pytest.approx(100.05)
    peer.run_out()
    assert peer.transport.connected


def test_a_lost_flight_of_ours_is_sent_again() -> None:
    peer = Peer()
    peer.silent = True
    peer.connect()
    peer.silent = False
    peer.run_out()
    assert peer.now == pytest.approx(100.15)
    assert peer.transport.connected
