"""What no validated address may do, and what a peer keeps when its address changes."""

from __future__ import annotations

import asyncio
import os
import struct
from random import Random

from pylibsrtp import Error

from media.relay.messages import DtlsReceived, SendDatagram, SetUfrags, StunReceived
from media.rtp.rtcp import ReceiverReport
from support.relay import (
    Bench,
    Peer,
    Vp8Stream,
    audio_sink,
    audio_source,
    route,
    video_sink,
    video_source,
)
from support.waiting import until

COOKIE = 0x2112A442


def stun(username: bytes, *, before: bytes = b"") -> bytes:
    """A binding request with a USERNAME behind whatever attributes come `before`."""
    attribute = struct.pack(">HH", 6, len(username)) + username + bytes(-len(username) % 4)
    body = before + attribute
    return struct.pack(">HHI", 1, len(body), COOKIE) + bytes(range(12)) + body


async def test_stun_is_handed_up_only_for_a_known_ufrag_and_answered_from_the_address_asked(
    bench: Bench,
) -> None:
    peer = bench.peer(1, connect=False)
    other = bench.peer(2, connect=False, host="::1")
    check = stun(b"ufrag1:them")
    peer.send_raw(stun(b"nobody:them"))
    peer.send_raw(stun(b"ufrag1"))
    peer.send_raw(check[:-2])
    peer.send_raw(check)
    other.send_raw(stun(b"ufrag2:x", before=struct.pack(">HHI", 0x24, 4, 1)))
    first = await bench.event(StunReceived, lambda event: event.transport == 1)
    assert (first.path, first.data) == (peer.path, check)
    second = await bench.event(StunReceived, lambda event: event.transport == 2)
    assert second.path == other.path
    assert len(bench.all(StunReceived)) == 2
    bench.apply(SendDatagram(path=first.path, data=b"\x01answer"))
    await until(lambda: peer.other == [b"\x01answer"])
    bench.apply(SetUfrags(transport=1, ufrags=("ufrag1", "again")))
    peer.send_raw(stun(b"again:them"))
    await until(lambda: len(bench.all(StunReceived)) == 3)
    bench.apply(SetUfrags(transport=1, ufrags=("again",)))
    peer.send_raw(check)
    peer.send_raw(stun(b"again:y"))
    await until(lambda: len(bench.all(StunReceived)) == 4)
    assert bench.all(StunReceived)[3].data == stun(b"again:y")


async def test_checks_of_one_address_are_limited(bench: Bench) -> None:
    peer, other = bench.peer(1, connect=False), bench.peer(2, connect=False)
    for _ in range(400):
        peer.send_raw(stun(b"ufrag1:them"))
    other.send_raw(stun(b"ufrag2:them"))
    await until(lambda: any(event.transport == 2 for event in bench.all(StunReceived)))
    # Fifty a second; the burst may lie across one boundary.
    assert 50 <= sum(event.transport == 1 for event in bench.all(StunReceived)) <= 100
    assert bench.counter("stun_limited") >= 300


async def test_dtls_only_from_validated_paths(bench: Bench) -> None:
    peer, stranger = bench.peer(1, connect=False), bench.peer(2, connect=False)
    record = b"\x16\xfe\xfd" + bytes(20)
    stranger.send_raw(record)
    peer.validate()
    peer.send_raw(record)
    event = await bench.event(DtlsReceived)
    assert (event.transport, event.path, event.data) == (1, peer.path, record)
    assert len(bench.all(DtlsReceived)) == 1


async def test_a_publisher_whose_address_changed_goes_on_but_we_answer_only_where_it_proved_itself(
    bench: Bench,
) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)
    publisher.move()
    for _ in range(5):
        stream.frame()
    await until(lambda: len(viewer.rtp) == 6)
    viewer.move()
    stream.frame()
    await until(lambda: bench.engine.statistics().sinks[0].packets == 7)
    await asyncio.sleep(0.02)
    assert len(viewer.rtp) == 6  # still sent to the address it had
    viewer.validate()
    stream.frame()
    await until(lambda: len(viewer.rtp) == 7)
    assert viewer.rtp[6].sequence == 1007


async def test_nobody_takes_over_a_session_from_another_address(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    thief = bench.peer(3, connect=False)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)
    recorded = publisher.protect(stream.make()[0])
    publisher.send_raw(recorded)
    await until(lambda: len(viewer.rtp) == 2)
    thief.send_raw(recorded)  # a replay
    forged = Vp8Stream(thief, 555, sequence=stream.sequence)
    for _ in range(100):
        forged.frame(key=True)
    thief.send_rtcp(ReceiverReport(ssrc=1))
    for _ in range(20):
        stream.frame()
    await until(lambda: len(viewer.rtp) == 22)
    assert [packet.sequence for packet in viewer.rtp] == list(range(1000, 1022))
    assert thief.rtp == []
    statistics = bench.engine.statistics()
    transport = next(entry for entry in statistics.transports if entry.transport == 1)
    assert transport.unauthenticated <= 40  # twenty tries a second, over at most two seconds
    assert transport.replayed == 1
    assert statistics.counters["stranger_limited"] >= 60


async def test_a_good_stream_loses_nothing_beside_a_thousand_bad_packets_a_second(bench: Bench) -> None:
    publisher, viewer, bad = bench.peer(1), bench.peer(2), bench.peer(3, connect=False)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    shapes: list[bytes] = [b""]
    shapes += [
        bytes([first]) + os.urandom(length)
        for first in (0, 1, 20, 63, 64, 128, 144, 191, 200)
        for length in range(13)
    ]
    shapes += [b"\x80\xc8" + bytes(n) for n in range(12)] + [bytes([0x9F, 96]) + os.urandom(1200)]
    shapes += [b"\x80" + bytes(65_506), bytes(65_507), os.urandom(2048), stun(b"ufrag1:" + bytes(600))]
    for index in range(300):
        stream.frame(key=index == 0)
        for turn in range(4):
            shape = shapes[(4 * index + turn) % len(shapes)]
            bad.send_raw(shape)
            publisher.send_raw(shape)  # a validated peer may misbehave as well
        await asyncio.sleep(0.003)
    await until(lambda: len(viewer.rtp) == 300)
    assert [packet.sequence for packet in viewer.rtp] == list(range(1000, 1300))
    counters = bench.engine.statistics().counters
    assert counters["datagram_empty"] > 0
    assert counters["datagram_too_long"] > 0
    assert counters["packet_short"] > 0
    assert counters["datagram_unknown"] > 0


async def test_authentic_nonsense_is_counted_and_harms_nobody(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    for ssrc in range(700, 900):  # more streams than a peer may have
        publisher.send(struct.pack(">BBHII", 0x80, 96, 1, 1, ssrc) + b"x")
    publisher.send(struct.pack(">BBHII", 0x80, 77, 1, 1, 950) + b"x")
    publisher.send(struct.pack(">BBHII", 0xA0, 96, 102, 1, 555) + b"\xff")
    publisher.send(struct.pack(">BBHII", 0x80, 99, 103, 1, 555) + b"x")
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 2)
    assert bench.counter("packet_malformed") == 1
    assert bench.counter("payload_type_unknown") == 1
    assert bench.counter("too_many_streams") >= 70


async def test_a_path_belongs_to_the_transport_that_proved_it_last(bench: Bench) -> None:
    first = bench.peer(1)
    second = bench.peer(2, connect=False)
    bench.peers.remove(second)
    second.close()
    second.socket = first.socket
    second.connect()
    publisher = bench.peer(3)
    bench.apply(video_source(10, 3), video_sink(20, 1), video_sink(21, 2), route(10, 20, 21))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: first.rtp or first.damaged)
    # Only the second transport's packets go there now, under its own keys.
    assert first.rtp == []
    assert [entry.packets for entry in bench.engine.statistics().sinks] == [0, 1]
    assert isinstance(second, Peer)


async def test_whatever_an_authentic_peer_sends_the_engine_goes_on(bench: Bench) -> None:
    random = Random(7)
    publisher, viewer = bench.peer(1, transport_cc=True), bench.peer(2)
    bench.apply(
        video_source(10, 1, rids=("q", "h")), audio_source(11, 1), video_sink(20, 2), audio_sink(21, 2)
    )
    bench.apply(route(10, 20), route(11, 21))
    sequence = 0
    for turn in range(3000):
        peer = publisher if turn % 3 else viewer
        body = random.randbytes(random.randrange(80))
        if turn % 2:
            sequence = (sequence + random.choice((1, 1, 1, 2, 5))) & 0xFFFF
            first = 0x80 | random.choice((0, 0x10, 0x10, 0x20, 0x30, random.randrange(64)))
            kind = random.choice((96, 96, 97, 111, 63, 96 | 0x80, random.randrange(256)))
            if 192 <= kind <= 223:
                kind = 96
            extensions = random.choice((b"", b"\xbe\xde\0\1\x400\xa0q", b"\x10\0\0\2\4\1" + b"0\x0a\1h\0\0"))
            packet = (
                struct.pack(">BBHII", first, kind, sequence, turn * 960, random.choice((555, 556, 600)))
                + extensions
            )
        else:
            kind = random.choice((200, 201, 202, 203, 205, 205, 206, 207))
            words = body[: len(body) // 4 * 4]
            length = random.choice((len(words) // 4 + 1, len(words) // 4 + 1, random.randrange(40)))
            packet = struct.pack(">BBHI", 0x80 | random.randrange(64), kind, length, 2020)
            body = random.choice((struct.pack(">I", 2020), b"")) + words
        try:
            data = packet + body
            peer.send_raw(peer._out.protect_rtcp(data) if 192 <= kind <= 223 else peer.protect(data))
        except Error:
            continue  # this peer's own library refuses to send it
        if turn % 100 == 0:
            await asyncio.sleep(0.005)
    stream = Vp8Stream(publisher, 777, rid="h")

    def alive() -> bool:
        stream.frame(key=True)
        return any(
            packet.payload == stream.sent[-2].payload for packet in viewer.rtp[-3:] if len(stream.sent) > 1
        )

    await until(alive)
    assert bench.failures == []
