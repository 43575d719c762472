"""Layers: simulcast with unrelated clocks on the way in, one continuous stream on the way out."""

from __future__ import annotations

import itertools

from media.relay.messages import (
    AddSource,
    Codec,
    Layer,
    LayerStalled,
    MediaKind,
    SelectLayer,
    SinkStarted,
    SinkWaiting,
)
from media.rtp import ntp
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import Pli, SenderReport
from support.relay import (
    H264,
    TO_H264,
    TO_VP8,
    Bench,
    Peer,
    Vp8Stream,
    mark_of,
    picture_of,
    route,
    video_sink,
    video_source,
)
from support.waiting import until

RIDS = ("q", "h", "f")


def simulcast(bench: Bench, publisher: Peer) -> list[Vp8Stream]:
    """Source 10 with three layers, all live and past their first key frame."""
    bench.apply(video_source(10, 1, rids=RIDS))
    return [
        Vp8Stream(
            publisher,
            500 + index,
            rid=rid,
            sequence=65_500 + 11 * index,
            timestamp=1_000_000_007 * (index + 1) & 0xFFFFFFFF,
            picture=(0x7FF0, 77, 4000)[index],
            tl0=(250, 3, 99)[index],
            size=(320 << index, 180 << index),
        )
        for index, rid in enumerate(RIDS)
    ]


def continuous(packets: list[RtpPacket]) -> bool:
    """Sequence numbers one after the other, with the wrap; time never back; pictures without a gap."""
    for before, after in itertools.pairwise(packets):
        if (after.sequence - before.sequence) & 0xFFFF != 1:
            return False
        if ((after.timestamp - before.timestamp) & 0xFFFFFFFF) > 90_000 * 10:
            return False
        if after.timestamp != before.timestamp:
            picture, tl0 = picture_of(before)
            if picture_of(after) != ((picture + 1) & 0x7FFF, (tl0 + 1) & 0xFF):
                return False
    return True


async def test_a_switch_waits_for_the_key_frame_and_continues_every_number(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    layers = simulcast(bench, publisher)
    bench.apply(video_sink(20, 2), route(10, 20))
    for stream in layers:
        stream.frame(key=True, packets=2)
    await until(lambda: len(viewer.rtp) == 2)
    assert mark_of(viewer.rtp[0])[0] == 500
    for _ in range(30):
        for stream in layers:
            stream.frame(packets=2)
    await until(lambda: len(viewer.rtp) == 62)

    bench.apply(SelectLayer(sink=20, layer=2))
    await until(lambda: any(pli.media_ssrc == 502 for pli in publisher.control(Pli)))
    for _ in range(3):
        for stream in layers:
            stream.frame(packets=2)
    await until(lambda: len(viewer.rtp) == 68)
    assert {mark_of(packet)[0] for packet in viewer.rtp} == {500}
    for stream in layers:
        stream.frame(packets=2, key=stream is layers[2])
    for _ in range(20):
        for stream in layers:
            stream.frame(packets=2)
    await until(lambda: len(viewer.rtp) >= 110)
    marks = [mark_of(packet)[0] for packet in viewer.rtp]
    assert marks.count(502) == 42
    assert set(marks[-42:]) == {502}
    assert set(marks[:-42]) == {500}
    assert continuous(viewer.rtp)
    started = bench.all(SinkStarted)
    assert [(event.sink, event.layer) for event in started] == [(20, 0), (20, 2)]

    bench.apply(SelectLayer(sink=20, layer=1))
    for _ in range(2):
        for stream in layers:
            stream.frame(key=True)
    await bench.event(SinkStarted, lambda event: event.layer == 1)
    await until(lambda: mark_of(viewer.rtp[-1])[0] == 501)
    assert continuous(viewer.rtp)


async def test_sequence_numbers_wrap_and_rollover_is_followed(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555, sequence=65_530)
    stream.frame(key=True)
    for _ in range(70):
        for _ in range(200):
            stream.frame(packets=5, length=40)
        await until(lambda: len(viewer.rtp) >= len(stream.sent))
    assert len(viewer.rtp) == 70_001
    assert [packet.sequence for packet in viewer.rtp] == [(1000 + index) & 0xFFFF for index in range(70_001)]
    assert viewer.damaged == 0


async def test_reports_of_both_layers_place_the_switch_in_time(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    layers = simulcast(bench, publisher)
    bench.apply(video_sink(20, 2), route(10, 20))
    for stream in layers:
        stream.frame(key=True)
    for stream in layers:
        # All layers were captured at the same instants: timestamp 3000 ticks ago is the same moment in each.
        publisher.send_rtcp(
            SenderReport(
                ssrc=stream.ssrc,
                ntp_time=ntp.from_unix(1_800_000_000.0),
                rtp_timestamp=(stream.timestamp - 3000) & 0xFFFFFFFF,
                packet_count=1,
                octet_count=100,
            )
        )
    await until(lambda: len(viewer.rtp) == 1)
    bench.apply(SelectLayer(sink=20, layer=1))
    for _ in range(5):
        layers[0].frame()
        layers[1].timestamp = (layers[1].timestamp + 3000) & 0xFFFFFFFF
    await until(lambda: len(viewer.rtp) == 6)
    layers[1].frame(key=True)
    await until(lambda: len(viewer.rtp) == 7)
    # Hardly a millisecond passed, but the frame was captured 33 ms after the one before.
    assert viewer.rtp[6].timestamp - viewer.rtp[5].timestamp == 3000


async def test_now_leaves_the_old_layer_at_once_and_minus_one_pauses(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    layers = simulcast(bench, publisher)
    bench.apply(video_sink(20, 2), SelectLayer(sink=20, layer=2), route(10, 20))
    for stream in layers:
        stream.frame(key=True)
    await until(lambda: len(viewer.rtp) >= 1)
    await bench.event(SinkStarted, lambda event: event.layer == 2)
    layers[0].frame()
    count = len(viewer.rtp)
    # Down at once: what is kept of the lower layer starts it without waiting.
    bench.apply(SelectLayer(sink=20, layer=0, now=True))
    layers[2].frame()
    layers[0].frame()
    await until(lambda: len(viewer.rtp) > count)
    await bench.event(SinkStarted, lambda event: event.layer == 0)
    assert {mark_of(packet)[0] for packet in viewer.rtp[count:]} == {500}
    bench.apply(SelectLayer(sink=20, layer=-1))
    assert (await bench.event(SinkWaiting, lambda event: event.reason == "paused")).sink == 20
    count = len(viewer.rtp)
    layers[0].frame()
    layers[0].frame(key=True)
    bench.apply(SelectLayer(sink=20, layer=0))
    layers[0].frame()
    await until(lambda: len(viewer.rtp) > count)
    assert continuous(viewer.rtp)


async def test_forwarding_outlives_its_layer(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    layers = simulcast(bench, publisher)
    bench.apply(video_sink(20, 2), SelectLayer(sink=20, layer=2), route(10, 20))
    for stream in layers:
        stream.frame(key=True)
    await bench.event(SinkStarted, lambda event: event.layer == 2)

    def lower_go_on() -> bool:
        layers[0].frame()
        layers[1].frame(key=True)
        return bool(bench.all(LayerStalled))

    await until(lower_go_on)
    stalled = bench.all(LayerStalled)[0]
    assert (stalled.source, stalled.layer, stalled.stalled) == (10, 2, True)
    await until(lambda: layers[1].frame(key=True) and mark_of(viewer.rtp[-1])[0] == 501)
    layers[2].frame(key=True)
    await bench.event(LayerStalled, lambda event: event.layer == 2 and not event.stalled)
    await until(lambda: layers[2].frame(key=True) and mark_of(viewer.rtp[-1])[0] == 502)
    assert continuous(viewer.rtp)


async def test_a_slot_shows_another_camera_of_another_codec_on_the_same_ssrc(bench: Bench) -> None:
    first, second, viewer = bench.peer(1), bench.peer(3), bench.peer(2)
    h264 = AddSource(
        source=11,
        transport=3,
        kind=MediaKind.VIDEO,
        mid="0",
        codecs=(H264,),
        layers=(Layer(),),
    )
    bench.apply(video_source(10, 1), h264, video_sink(20, 2, codecs=(TO_VP8, TO_H264)), route(10, 20))
    stream = Vp8Stream(first, 555)
    stream.frame(key=True)
    stream.frame()
    await until(lambda: len(viewer.rtp) == 2)
    bench.apply(route(11, 20))
    parameters = bytes([24, 0, 4, 0x67, 0x42, 0xE0, 0x1F, 0, 2, 0x68, 0xCE])  # STAP-A of SPS and PPS
    idr = bytes([0x7C, 0x85]) + bytes(50)  # first fragment of an IDR slice
    for index, payload in enumerate((parameters, idr, bytes([0x7C, 0x45, 1, 2]))):
        second.send(
            RtpPacket(
                payload_type=102,
                sequence=7000 + index,
                timestamp=123_456,
                ssrc=777,
                marker=index == 2,
                extensions={4: b"0"},
                payload=payload,
            )
        )
    stream.frame()
    await until(lambda: len(viewer.rtp) == 5)
    assert [packet.payload_type for packet in viewer.rtp] == [120, 120, 122, 122, 122]
    assert {packet.ssrc for packet in viewer.rtp} == {2020}
    assert [packet.sequence for packet in viewer.rtp] == [1000, 1001, 1002, 1003, 1004]
    assert 0 < viewer.rtp[2].timestamp - viewer.rtp[1].timestamp < 90_000
    assert [packet.payload for packet in viewer.rtp[2:]] == [parameters, idr, bytes([0x7C, 0x45, 1, 2])]
    started = bench.all(SinkStarted)
    assert [(event.source, event.layer) for event in started] == [(10, 0), (11, 0)]


async def test_a_codec_the_viewer_cannot_take_is_said_in_a_word(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2, codecs=(TO_H264,)), route(10, 20))
    Vp8Stream(publisher, 555).frame(key=True)
    waiting = await bench.event(SinkWaiting, lambda event: event.reason == "codec")
    assert (waiting.sink, waiting.source) == (20, 10)
    assert viewer.rtp == []
    assert TO_H264.codec is Codec.H264


async def test_names_in_two_byte_extensions_on_the_first_packet(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    layers = simulcast(bench, publisher)
    bench.apply(video_sink(20, 2), SelectLayer(sink=20, layer=1), route(10, 20))
    packet = layers[1].make(key=True)[0]
    # A dependency descriptor of more than 16 bytes makes the browser use the two-byte form.
    long = RtpPacket(
        payload_type=packet.payload_type,
        sequence=packet.sequence,
        timestamp=packet.timestamp,
        ssrc=packet.ssrc,
        marker=True,
        extensions={12: bytes(23), 4: b"0", 10: b"h"},
        payload=packet.payload,
    )
    assert long.to_bytes()[12:14] == b"\x10\x00"
    publisher.send(long)
    layers[1].names = False
    layers[1].frame()
    await until(lambda: len(viewer.rtp) == 2)
    started = await bench.event(SinkStarted)
    assert started.layer == 1
