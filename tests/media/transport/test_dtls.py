"""Associations joined in memory, with the two bytes-level disturbances a network and an attacker make."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from media.relay.messages import SrtpProfile
from media.transport.certificate import Identity, fingerprint, make_identity, matches
from media.transport.dtls import (
    Closed,
    DtlsAssociation,
    DtlsEvent,
    DtlsFactory,
    DtlsRole,
    Failed,
    Handshaken,
    Transmit,
)

NOW = datetime.datetime(2026, 11, 23, tzinfo=datetime.UTC)
ALICE = make_identity(NOW)
BOB = make_identity(NOW)
ALICE_FACTORY = DtlsFactory(ALICE)
BOB_FACTORY = DtlsFactory(BOB)
MALLORY = make_identity(NOW)


def sha256(identity: Identity) -> tuple[tuple[str, str], ...]:
    return (("sha-256", identity.fingerprint),)


class Pair:
    """A server (Alice) and a client (Bob) with a wire between them that `disturb` may change."""

    def __init__(
        self,
        *,
        server_expects: tuple[tuple[str, str], ...] = sha256(BOB),
        client_expects: tuple[tuple[str, str], ...] = sha256(ALICE),
    ) -> None:
        self.server = DtlsAssociation(ALICE_FACTORY, role=DtlsRole.SERVER, fingerprints=server_expects)
        self.client = DtlsAssociation(BOB_FACTORY, role=DtlsRole.CLIENT, fingerprints=client_expects)
        self.now = 100.0
        self.wire: list[tuple[DtlsAssociation, bytes]] = []
        self.events: dict[DtlsAssociation, list[DtlsEvent]] = {self.server: [], self.client: []}
        self.sent: list[tuple[DtlsAssociation, bytes]] = []
        self.disturb: Callable[[DtlsAssociation, bytes], Iterable[bytes]] = lambda to, data: (data,)

    def take(self, sender: DtlsAssociation, events: Iterable[DtlsEvent]) -> None:
        receiver = self.client if sender is self.server else self.server
        for event in events:
            if isinstance(event, Transmit):
                self.sent.append((sender, event.data))
                self.wire += [(receiver, data) for data in self.disturb(receiver, event.data)]
            else:
                self.events[sender].append(event)

    def deliver(self) -> None:
        while self.wire:
            receiver, data = self.wire.pop(0)
            self.take(receiver, receiver.receive(data, self.now))

    def step(self) -> bool:
        """Let the earlier of both timers run out; False when there is none."""
        deadlines = {
            end: end.next_deadline for end in (self.server, self.client) if end.next_deadline is not None
        }
        if not deadlines:
            return False
        end = min(deadlines, key=lambda each: deadlines[each] or 0.0)
        self.now = max(self.now, deadlines[end] or 0.0)
        self.take(end, end.handle_timeout(self.now))
        return True

    def run(self, steps: int = 0) -> None:
        self.take(self.client, self.client.start(self.now))
        self.deliver()
        for _ in range(steps):
            if self.done or not self.step():
                return
            self.deliver()

    @property
    def done(self) -> bool:
        return self.server.established and self.client.established

    def keys(self, end: DtlsAssociation) -> Handshaken:
        (event,) = (event for event in self.events[end] if isinstance(event, Handshaken))
        return event


def test_keys_fit_together_and_gcm_is_chosen() -> None:
    pair = Pair()
    pair.run()
    server, client = pair.keys(pair.server), pair.keys(pair.client)
    assert server.profile is SrtpProfile.AEAD_AES_128_GCM
    assert (server.send_key, server.receive_key) == (client.receive_key, client.send_key)
    assert len(server.send_key) == 28
    assert server.send_key != server.receive_key
    assert max(len(data) for _, data in pair.sent) <= 1200


def test_the_servers_last_flight_leaves_before_its_keys_can_be_used() -> None:
    pair = Pair()
    order: list[type] = []
    pair.take(pair.client, pair.client.start(pair.now))
    while pair.wire:
        receiver, data = pair.wire.pop(0)
        events = tuple(receiver.receive(data, pair.now))
        if receiver is pair.server:
            order += map(type, events)
        pair.take(receiver, events)
    assert pair.done
    assert order[-2:] == [Transmit, Handshaken]


def test_exported_material_is_ordered_client_key_server_key_client_salt_server_salt() -> None:
    pair = Pair()
    pair.run()
    # The exporter as anybody may call it, cut by hand.
    material = pair.server._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 56)
    keys = pair.keys(pair.server)
    assert keys.receive_key == material[0:16] + material[32:44]
    assert keys.send_key == material[16:32] + material[44:56]


def test_a_certificate_that_was_not_signalled_gives_no_keys_at_either_end() -> None:
    pair = Pair(server_expects=sha256(MALLORY))
    pair.run()
    (failure,) = pair.events[pair.server]
    assert isinstance(failure, Failed)
    assert not any(isinstance(event, Handshaken) for event in pair.events[pair.client])
    assert pair.server.ended


def test_the_client_role_checks_the_fingerprint_too() -> None:
    pair = Pair(client_expects=sha256(MALLORY))
    pair.run(steps=20)
    assert [type(event) for event in pair.events[pair.client]] == [Failed]
    assert not any(isinstance(event, Handshaken) for event in pair.events[pair.server])


def test_no_signalled_fingerprint_means_no_keys() -> None:
    pair = Pair(server_expects=())
    pair.run()
    assert [type(event) for event in pair.events[pair.server]] == [Failed]


def test_any_of_several_fingerprints_may_match() -> None:
    pair = Pair(server_expects=(("sha-1", "00"), *sha256(MALLORY), ("SHA-256", BOB.fingerprint.lower())))
    pair.run()
    assert pair.done


@pytest.mark.parametrize("lost", range(6))
def test_a_lost_datagram_is_made_good_in_under_half_a_second(lost: int) -> None:
    pair = Pair()
    count = 0

    def drop_one(to: DtlsAssociation, data: bytes) -> Iterable[bytes]:
        nonlocal count
        count += 1
        return () if count == lost + 1 else (data,)

    pair.disturb = drop_one
    pair.run(steps=10)
    assert pair.done
    assert pair.now - 100.0 <= 0.5


def test_a_client_whose_finished_was_lost_gets_it_again() -> None:
    pair = Pair()
    pair.disturb = lambda to, data: () if to is pair.client and pair.server.established else (data,)
    pair.run()
    assert pair.server.established
    assert not pair.client.established
    pair.disturb = lambda to, data: (data,)
    pair.run(steps=10)
    assert pair.done


def test_a_hello_in_two_datagrams_of_one_record_each() -> None:
    """What Chromium does with its 1,413-byte hello: two handshake fragments of one message."""
    pair = Pair()

    def cut(to: DtlsAssociation, data: bytes) -> Iterable[bytes]:
        if to is not pair.server or data[0] != 22 or data[13] != 1 or len(data) < 100:
            return (data,)
        body = data[25:]
        half = len(body) // 2
        pieces = []
        for number, (offset, piece) in enumerate(((0, body[:half]), (half, body[half:]))):
            header = data[13:17] + data[17:19] + offset.to_bytes(3, "big") + len(piece).to_bytes(3, "big")
            length = (12 + len(piece)).to_bytes(2, "big")
            pieces.append(data[:9] + (40 + number).to_bytes(2, "big") + length + header + piece)
        return pieces

    pair.disturb = cut
    pair.run()
    assert pair.done


@pytest.mark.parametrize("closer", ["server", "client"])
def test_close_notify_ends_the_other_end(closer: str) -> None:
    pair = Pair()
    pair.run()
    ends = {"server": (pair.server, pair.client), "client": (pair.client, pair.server)}
    closing, other = ends[closer]
    pair.take(closing, closing.close())
    pair.deliver()
    assert pair.events[other][-1] == Closed(detail="close_notify")
    assert other.ended
    assert other.receive(b"\x16\xfe\xfd" + bytes(40), pair.now) == ()


def test_closing_before_keys_says_nothing() -> None:
    assert Pair().server.close() == ()


def test_a_forged_fatal_alert_does_not_end_the_handshake() -> None:
    pair = Pair()
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
    pair.disturb = lambda to, data: (alert, data, alert)
    pair.run()
    assert pair.done


def test_an_alert_is_believed_when_nothing_else_comes() -> None:
    pair = Pair()
    pair.take(pair.client, pair.client.start(pair.now))
    alert = b"\x15\xfe\xfd" + bytes(8) + b"\x00\x02\x02\x28"
    pair.client.receive(alert, pair.now)
    pair.disturb = lambda to, data: ()
    for _ in range(20):
        pair.step()
    assert pair.events[pair.client] == [Failed(detail="peer_alert_40")]
    assert pair.now == pytest.approx(103.0)


def test_a_broken_first_hello_does_not_stop_the_genuine_one() -> None:
    pair = Pair()
    hello = b"\x01" + (60).to_bytes(3, "big") + bytes(2) + bytes(3) + (60).to_bytes(3, "big") + b"\xaa" * 60
    forged = b"\x16\xfe\xfd" + bytes(8) + len(hello).to_bytes(2, "big") + hello
    for _ in range(3):
        pair.take(pair.server, pair.server.receive(forged, pair.now))
    pair.run()
    assert pair.done


def test_half_of_a_forged_hello_does_not_stop_the_genuine_one() -> None:
    pair = Pair()
    hello = b"\x01" + (900).to_bytes(3, "big") + bytes(2) + bytes(3) + (60).to_bytes(3, "big") + b"\xaa" * 60
    pair.take(pair.server, pair.server.receive(b"\x16\xfe\xfd" + bytes(8) + b"\x00\x48" + hello, pair.now))
    pair.run()
    assert pair.done


def test_dtls_1_0_and_1_3_only_peers_are_refused_with_words() -> None:
    pair = Pair()
    # A hello of a client that knows nothing but DTLS 1.0, repeated until the server has had enough of it.
    pair.take(pair.client, pair.client.start(pair.now))
    _, hello = pair.wire.pop()
    old = hello[:25] + b"\xfe\xff" + hello[27:]
    events: list[DtlsEvent] = []
    for _ in range(4):
        events += pair.server.receive(old, pair.now)
    assert isinstance(events[-1], Failed)
    assert events[-1].detail == "unsupported_protocol"


records = st.builds(
    lambda kind, version, epoch, body: (
        bytes([kind]) + version + epoch.to_bytes(2, "big") + bytes(6) + len(body).to_bytes(2, "big") + body
    ),
    st.sampled_from([20, 21, 22, 23, 24]),
    st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\x03\x03"]),
    st.sampled_from([0, 0, 1, 2]),
    st.one_of(
        st.binary(max_size=80),
        st.sampled_from([b"\x01", b"\x02\x28", b"\x01\x00", b"\x02\x00"]),
        st.builds(
            lambda message, length, number, offset, piece: (
                bytes([message])
                + length.to_bytes(3, "big")
                + number.to_bytes(2, "big")
                + offset.to_bytes(3, "big")
                + len(piece).to_bytes(3, "big")
                + piece
            ),
            st.integers(0, 25).filter(lambda kind: kind not in (11, 15, 16)),
            st.integers(0, 70_000),
            st.integers(0, 12),
            st.integers(0, 300),
            st.binary(max_size=40),
        ),
    ),
)
garbage = st.one_of(
    st.builds(lambda first, rest: bytes([first]) + rest, st.integers(20, 63), st.binary(max_size=200)),
    records,
)


@given(st.lists(garbage, max_size=6), st.integers(0, 3))
@settings(max_examples=60)
@example([b"\x16" * 100, b"\x14\xfe\xfd" + bytes(8) + b"\x00\x01\x01", b"\x15" * 13], 0)
def test_garbage_from_a_validated_path_never_stops_the_genuine_handshake(
    junk: list[bytes], after: int
) -> None:
    """H2. Only the server's side: whoever writes to a browser's address is none of our business."""
    pair = Pair()
    count = 0

    def insert(to: DtlsAssociation, data: bytes) -> Iterable[bytes]:
        nonlocal count
        if to is not pair.server:
            return (data,)
        count += 1
        return (*junk, data) if count > after else (data,)

    pair.disturb = insert
    pair.run(steps=12)
    assert pair.done
    assert not pair.server.ended


@given(st.lists(garbage, max_size=20))
@settings(max_examples=60)
def test_garbage_after_the_handshake_ends_nothing(junk: list[bytes]) -> None:
    pair = Pair()
    pair.run()
    for data in junk:
        assert not any(isinstance(event, Closed | Failed) for event in pair.server.receive(data, pair.now))
    pair.take(pair.client, pair.client.close())
    pair.deliver()
    assert pair.server.ended


def test_huge_and_empty_datagrams_are_dropped_and_counted() -> None:
    pair = Pair()
    assert pair.server.receive(b"", 0.0) == ()
    assert pair.server.receive(b"\x16" * 65_507, 0.0) == ()
    assert pair.server.dropped == 1
    assert not pair.server.begun


def test_a_peer_that_never_answers_is_repeated_to_at_150_and_500_ms() -> None:
    pair = Pair()
    pair.disturb = lambda to, data: ()
    pair.take(pair.client, pair.client.start(pair.now))
    times = []
    for _ in range(2):
        assert pair.step()
        times.append(round(pair.now - 100.0, 3))
    assert times == [0.15, 0.5]


def test_fingerprints_in_the_form_of_sdp() -> None:
    assert fingerprint(b"abc", "sha-256") == (
        "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
    )
    assert len(fingerprint(b"abc", "sha-512").split(":")) == 64
    assert matches(b"abc", [("sha-256", fingerprint(b"abc", "sha-256"))])
    assert not matches(b"abd", [("sha-256", fingerprint(b"abc", "sha-256"))])
    assert not matches(b"abc", [("md5", "90:01"), ("sha-256", "Ü")])


def test_every_process_has_a_certificate_of_its_own() -> None:
    assert ALICE.fingerprint != BOB.fingerprint
    assert ALICE.certificate.not_valid_before_utc == NOW - datetime.timedelta(days=2)
