"""The UDP socket with many datagrams a system call, and its plain twin with one: the same from outside."""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.addresses import SocketAddress, from_raw, to_message, to_raw, to_socket
from media.relay.messages import Address, ListenerKind
from media.relay.mmsg import AVAILABLE, RECEIVED_AT_ONCE, SENT_AT_ONCE, ReceiveBatch, control_messages
from media.relay.outgoing import SendBuffer
from media.relay.srtp import PacketBuffer
from media.relay.udp import MAX_DATAGRAM, Destination, UdpSocket

Arrived = tuple[bytes, bytes, bytes, float]  # data, sender, local address, arrival


@dataclass
class Site:
    """A relay socket under test and a peer."""

    relay: UdpSocket
    out: SendBuffer
    counters: Counter[str]
    peer: socket.socket
    arrived: list[Arrived] = field(default_factory=list)

    def drain(self, limit: int = 1000) -> list[Arrived]:
        self.arrived.clear()
        self.relay.drain(limit, self._take)
        return self.arrived

    def _take(
        self, _: UdpSocket, buffer: PacketBuffer, size: int, remote: bytes, local: bytes, arrival: float
    ) -> None:
        self.arrived.append((bytes(buffer.data[:size]), remote, local, arrival))

    def towards_peer(self) -> Destination:
        host, port = self.peer.getsockname()[:2]
        remote = to_socket(Address(host, port), self.relay.family)
        return self.relay.destination(remote, "127.0.0.1")[1]

    def train(self, data: bytes, segment: int) -> None:
        place = self.out.room(len(data))
        self.out.data[place : place + len(data)] = data
        self.relay.send_train(self.out, place, len(data), segment, self.towards_peer())

    def received(self) -> list[bytes]:
        got = []
        try:
            while True:
                got.append(self.peer.recv(4096))
        except BlockingIOError:
            return got


WAYS = [pytest.param(False, id="singly")]
if AVAILABLE:
    WAYS.append(pytest.param(True, id="together"))


@pytest.fixture(params=["", "127.0.0.1"], ids=["wildcard", "bound"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=WAYS)
def site(request: pytest.FixtureRequest, host: str) -> Iterator[Site]:
    counters = Counter[str]()
    out = SendBuffer(70_000)
    inbox = ReceiveBatch(MAX_DATAGRAM) if request.param else None
    relay = UdpSocket(1, ListenerKind.UDP_MUX, host, 0, counters, out, inbox)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        peer.bind(("127.0.0.1", 0))
        peer.setblocking(False)
        yield Site(relay, out, counters, peer)
    relay.close()


def test_what_arrives_comes_whole_in_order_with_its_sender_and_time(site: Site) -> None:
    count = 2 * RECEIVED_AT_ONCE + 3
    sent = [bytes((index,)) * (index + 1) for index in range(count)]
    before = time.monotonic()
    for data in sent:
        site.peer.sendto(data, ("127.0.0.1", site.relay.port))
    arrived = site.drain()
    assert [data for data, _, _, _ in arrived] == sent
    host, port = site.peer.getsockname()
    assert {from_raw(remote) for _, remote, _, _ in arrived} == {Address(host, port)}
    remote = to_socket(Address(host, port), site.relay.family)
    local, to = site.relay.destination(remote, "127.0.0.1")
    assert {remote for _, remote, _, _ in arrived} == {to.raw}
    assert {local for _, _, local, _ in arrived} == {local}
    times = [arrival for _, _, _, arrival in arrived]
    assert times == sorted(times)
    assert before - 0.01 <= times[0] <= times[-1] <= time.monotonic() + 0.01
    assert site.drain() == []


def test_a_turn_takes_about_as_many_as_it_may(site: Site) -> None:
    for _ in range(200):
        site.peer.sendto(b"x", ("127.0.0.1", site.relay.port))
    assert 70 <= len(site.drain(70)) <= 70 + RECEIVED_AT_ONCE
    site.drain()


def test_what_is_too_long_is_dropped_and_counted(site: Site) -> None:
    for data in (b"a", bytes(MAX_DATAGRAM + 1), b"b", bytes(MAX_DATAGRAM)):
        site.peer.sendto(data, ("127.0.0.1", site.relay.port))
    assert [len(data) for data, _, _, _ in site.drain()] == [1, 1, MAX_DATAGRAM]
    assert site.counters == {"datagram_too_long": 1}


def test_trains_arrive_as_their_datagrams(site: Site) -> None:
    trains = [(bytes((index % 251,)) * (100 * index + 50), 100) for index in range(SENT_AT_ONCE // 2)]
    trains += [(b"one", 3), (bytes(900), 900)]
    expected = []
    for data, segment in trains:
        site.train(data, segment)
        expected += [data[at : at + segment] for at in range(0, len(data), segment)]
    site.out.flush()
    assert site.received() == expected
    assert site.counters == {}
    assert site.out.at == 0


def test_more_than_one_call_carries_all_leave(site: Site) -> None:
    sent = [index.to_bytes(2, "big") for index in range(3 * SENT_AT_ONCE + 1)]
    for data in sent:
        site.train(data, len(data))
    site.out.flush()
    assert site.received() == sent


def test_a_full_buffer_leaves_before_more_is_written(site: Site) -> None:
    sent = [bytes((index,)) * 1000 for index in range(200)]
    for data in sent:
        site.train(data, 1000)
    site.out.flush()
    assert site.received() == sent


def test_a_refused_datagram_is_counted_and_the_others_leave(site: Site) -> None:
    broadcast = site.relay.destination(
        to_socket(Address("255.255.255.255", 9), site.relay.family), "127.0.0.1"
    )[1]
    site.train(b"before", 6)
    place = site.out.room(3)
    site.relay.send_train(site.out, place, 3, 3, broadcast)
    site.train(b"after", 5)
    site.out.flush()
    assert site.received() == [b"before", b"after"]
    assert site.counters == {"send_error": 1}


def test_without_segmentation_datagrams_leave_one_by_one(site: Site) -> None:
    site.relay.segmentation = False
    site.train(b"aabbc", 2)
    site.out.flush()
    assert site.received() == [b"aa", b"bb", b"c"]


def test_a_kernel_that_refuses_segmentation_is_asked_once(site: Site) -> None:
    refusal = OSError(errno.EIO, "")
    assert site.relay._unsegmented(refusal)
    assert not site.relay.segmentation
    assert site.counters == {"segmentation_refused": 1}
    assert site.relay._unsegmented(OSError(errno.EMSGSIZE, ""))
    assert not site.relay._unsegmented(OSError(errno.EPERM, ""))


@pytest.mark.parametrize(
    "address",
    [("127.0.0.1", 5004), ("::ffff:10.1.2.3", 65535, 0, 0), ("2001:db8::1", 1, 0, 0), ("fe80::1", 9, 0, 3)],
)
def test_addresses_are_the_same_as_bytes(address: SocketAddress) -> None:
    assert from_raw(to_raw(address)) == to_message(address)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.binary(max_size=20)), max_size=3))
def test_control_messages_are_read_as_they_were_written(messages: list[tuple[int, int, bytes]]) -> None:
    memory = control_messages(messages)
    batch = ReceiveBatch(64)
    batch.control[batch.stride : batch.stride + len(memory)] = memory
    assert batch.ancillary(1, len(memory)) == messages


@given(st.binary(max_size=128), st.integers(0, 200))
def test_any_control_data_is_read_to_an_end(data: bytes, size: int) -> None:
    batch = ReceiveBatch(64)
    batch.control[: len(data)] = data
    assert sum(len(found) for _, _, found in batch.ancillary(0, size)) <= 128
