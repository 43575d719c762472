"""Losses, on both sides: asked for, answered by RTX, in place; and what is no loss at all."""

from __future__ import annotations

import asyncio
import time

from media.relay.messages import SelectLayer, SinkStarted
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import Nack, Pli
from support.relay import Bench, Vp8Stream, picture_of, route, video_sink, video_source
from support.waiting import until


def rtx_of(packet: RtpPacket, sequence: int, *, rid: str = "") -> RtpPacket:
    """The packet as a browser sends it again."""
    names = {4: b"0"} | ({11: rid.encode()} if rid else {})
    return RtpPacket(
        payload_type=97,
        sequence=sequence,
        timestamp=packet.timestamp,
        ssrc=packet.ssrc + 10_000,
        marker=packet.marker,
        extensions=names,
        payload=packet.sequence.to_bytes(2, "big") + packet.payload,
    )


async def test_a_viewers_nack_is_answered_by_rtx_once_per_round_trip(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=3)
    for _ in range(5):
        stream.frame(packets=3)
    await until(lambda: len(viewer.rtp) == 18)
    lost = viewer.rtp[7]
    viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=(lost.sequence,)))
    viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=(lost.sequence,)))
    await until(lambda: len(viewer.rtp) == 19)
    repair = viewer.rtp[18]
    assert (repair.ssrc, repair.payload_type, repair.timestamp) == (3020, 121, lost.timestamp)
    assert repair.payload == lost.sequence.to_bytes(2, "big") + lost.payload
    assert repair.marker == lost.marker
    assert int.from_bytes(repair.extensions[3], "big") == 18
    await asyncio.sleep(0.05)  # the second request stays without an answer
    assert len(viewer.rtp) == 19
    viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=(1000, 1001, 1017)))
    await until(lambda: len(viewer.rtp) == 22)
    assert [int.from_bytes(packet.payload[:2], "big") for packet in viewer.rtp[19:]] == [1000, 1001, 1017]
    assert [packet.sequence for packet in viewer.rtp[18:]] == [0, 1, 2, 3]
    statistics = bench.engine.statistics().sinks[0]
    assert (statistics.nacks, statistics.retransmitted, statistics.packets) == (3, 4, 18)


async def test_repairs_reach_across_a_layer_switch_with_the_pictures_moved(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1, rids=("q", "h")), video_sink(20, 2), route(10, 20))
    low = Vp8Stream(publisher, 501, rid="q", picture=100)
    high = Vp8Stream(publisher, 502, rid="h", picture=9000, sequence=40_000)
    low.frame(key=True)
    high.frame(key=True)
    low.frame()
    await until(lambda: len(viewer.rtp) == 2)
    bench.apply(SelectLayer(sink=20, layer=1))
    high.frame(key=True, packets=2)
    high.frame()
    await bench.event(SinkStarted, lambda event: event.layer == 1)
    await until(lambda: len(viewer.rtp) == 5)
    lost = viewer.rtp[3]
    assert picture_of(lost) == (102, 12)
    viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=(lost.sequence,)))
    await until(lambda: len(viewer.rtp) == 6)
    assert viewer.rtp[5].payload == lost.sequence.to_bytes(2, "big") + lost.payload


async def test_without_rtx_or_after_the_history_a_key_frame_is_asked_for(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2, rtx=False), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    stream.frame()
    await until(lambda: len(viewer.rtp) == 2)
    asked = len(publisher.control(Pli))
    await asyncio.sleep(1.0)  # requests are at most one a second
    viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=(1001,)))
    await until(lambda: len(publisher.control(Pli)) > asked)
    assert len(viewer.rtp) == 2


async def test_a_loss_of_the_publisher_is_asked_for_and_its_rtx_fills_the_hole(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1, rids=("q",)), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555, rid="q", sequence=65_534)
    stream.frame(key=True)
    lost = stream.make(packets=3)
    publisher.send(lost[0])
    publisher.send(lost[2])
    stream.frame()
    await until(lambda: publisher.control(Nack))
    nack = publisher.control(Nack)[0]
    assert (nack.sender_ssrc, nack.media_ssrc, nack.lost) == (1001, 555, (0,))
    assert [packet.sequence for packet in viewer.rtp] == [1000, 1001, 1003, 1004]
    publisher.send(rtx_of(lost[1], 9, rid="q"))
    await until(lambda: len(viewer.rtp) == 5)
    assert viewer.rtp[4].sequence == 1002
    assert viewer.rtp[4].payload == lost[1].payload
    assert viewer.rtp[4].timestamp == viewer.rtp[1].timestamp
    # The same packet a second time, by its own way, is no second packet.
    publisher.send(rtx_of(lost[1], 10, rid="q"))
    publisher.send(lost[1])
    stream.frame()
    await until(lambda: len(viewer.rtp) == 6)
    assert viewer.rtp[5].sequence == 1005
    assert bench.counter("duplicate") == 2
    await asyncio.sleep(0.1)
    assert len(publisher.control(Nack)) <= 3


async def test_an_rtx_probe_may_come_before_anything_else(bench: Bench) -> None:
    publisher, viewer = bench.peer(1, transport_cc=True), bench.peer(2)
    bench.apply(video_source(10, 1, rids=("q",)), video_sink(20, 2), route(10, 20))
    publisher.send(
        RtpPacket(
            payload_type=97,
            sequence=1,
            timestamp=0,
            ssrc=10_555,
            extensions={4: b"0", 11: b"q", 3: b"\0\0"},
            padding_size=200,
        )
    )
    stream = Vp8Stream(publisher, 555, rid="q")
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)
    assert bench.counter("stream_unknown") == 0


async def test_overtaken_packets_leave_in_their_place(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    made = stream.make(packets=4)
    for index in (0, 2, 1, 3):
        publisher.send(made[index])
    await until(lambda: len(viewer.rtp) == 5)
    by_number = sorted(viewer.rtp[1:], key=lambda packet: packet.sequence)
    assert [packet.sequence for packet in by_number] == [1001, 1002, 1003, 1004]
    assert [packet.payload for packet in by_number] == [packet.payload for packet in made]
    await asyncio.sleep(0.06)
    assert publisher.control(Nack) == []


async def test_a_key_frame_whose_first_packet_was_overtaken_still_starts_the_viewer(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame()
    made = stream.make(key=True, packets=3)
    for index in (1, 0, 2):
        publisher.send(made[index])
    await until(lambda: len(viewer.rtp) == 3)
    assert [packet.payload for packet in viewer.rtp] == [packet.payload for packet in made]
    assert [packet.sequence for packet in viewer.rtp] == [1000, 1001, 1002]


async def test_padding_is_not_forwarded_and_leaves_no_gap(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    for _ in range(3):
        for _ in range(2):
            publisher.send(
                RtpPacket(
                    payload_type=96,
                    sequence=stream.sequence,
                    timestamp=stream.timestamp - 3000,
                    ssrc=555,
                    padding_size=100,
                )
            )
            stream.sequence += 1
        held = stream.make(packets=2)
        publisher.send(held[1])
        publisher.send(held[0])
        stream.frame()
    await until(lambda: len(viewer.rtp) == 10)
    assert sorted(packet.sequence for packet in viewer.rtp) == list(range(1000, 1010))
    # Numbers on the way in jump over the padding; a repair by our number must find the right packet.
    wanted = viewer.rtp[8]
    viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=(wanted.sequence,)))
    await until(lambda: len(viewer.rtp) == 11)
    assert viewer.rtp[10].payload[2:] == wanted.payload


async def test_a_random_lossy_way_to_the_viewer_is_made_whole(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    count = 0

    def lossy(packet: RtpPacket) -> bool:
        nonlocal count
        count += 1
        return count % 7 == 3

    viewer.drop = lossy
    for frame in range(60):
        stream.frame(key=frame == 0, packets=4, length=700)
        await asyncio.sleep(0.002)

    def missing() -> set[int]:
        have = {packet.sequence for packet in viewer.of(2020)}
        have |= {int.from_bytes(packet.payload[:2], "big") for packet in viewer.of(3020)}
        return set(range(1000, 1240)) - have

    asked = 0.0

    def whole() -> bool:
        nonlocal asked
        lost = missing()
        if lost and time.monotonic() - asked > 0.03:
            asked = time.monotonic()
            viewer.send_rtcp(Nack(sender_ssrc=1, media_ssrc=2020, lost=tuple(sorted(lost))))
        return not lost

    await until(whole, patience=0.9)
    payloads = {packet.sequence: packet.payload for packet in viewer.of(2020)}
    payloads |= {int.from_bytes(packet.payload[:2], "big"): packet.payload[2:] for packet in viewer.of(3020)}
    assert [payloads[number] for number in range(1000, 1240)] == [packet.payload for packet in stream.sent]
    assert viewer.damaged == 0
