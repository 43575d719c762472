"""Viewers that come late: the kept picture at once, key frames asked for once, storms bounded."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from media.relay.messages import (
    LayerStalled,
    RequestKeyFrame,
    SetRate,
    SinkStarted,
    SinkWaiting,
    VoiceActivity,
)
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import Fir, Pli
from support.relay import (
    H264,
    Bench,
    Vp8Stream,
    audio_sink,
    audio_source,
    mark_of,
    route,
    video_sink,
    video_source,
)
from support.waiting import until


async def test_a_late_viewer_gets_what_was_kept_since_the_key_frame_squeezed_into_the_present(
    bench: Bench,
) -> None:
    publisher, first, late = bench.peer(1), bench.peer(2), bench.peer(3)
    bench.apply(video_source(10, 1), video_sink(20, 2), video_sink(21, 3), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=3)
    for _ in range(20):
        stream.frame(packets=2)
    await until(lambda: len(first.rtp) == 43)
    asked = len(publisher.control(Pli))
    bench.apply(route(10, 20, 21, revision=2))
    await until(lambda: len(late.rtp) == 43)
    assert [packet.payload for packet in late.rtp] == [packet.payload for packet in stream.sent]
    assert [packet.sequence for packet in late.rtp] == list(range(1000, 1043))
    stamps = sorted({packet.timestamp for packet in late.rtp})
    steps = [after - before for before, after in pairwise(stamps)]
    assert len(stamps) == 21
    assert all(90 <= step <= 180 for step in steps)  # 1 to 2 ms at 90 kHz
    stream.frame()
    await until(lambda: len(late.rtp) == 44)
    assert late.rtp[43].timestamp - late.rtp[42].timestamp == 3000
    assert len(publisher.control(Pli)) == asked
    started = [event for event in bench.all(SinkStarted) if event.sink == 21]
    assert len(started) == 1


async def test_a_large_kept_picture_arrives_whole(bench: Bench) -> None:
    publisher, late = bench.peer(1), bench.peer(3)
    bench.apply(video_source(10, 1), video_sink(21, 3))
    stream = Vp8Stream(publisher, 555)
    for frame in range(20):
        stream.frame(key=frame == 0, packets=50, length=1100)
        await asyncio.sleep(0.002)
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 1000)
    bench.apply(route(10, 21))
    stream.frame()
    await until(lambda: len(late.rtp) == 1001)
    assert [packet.sequence for packet in late.rtp] == list(range(1000, 2001))
    assert [packet.payload for packet in late.rtp] == [packet.payload for packet in stream.sent]


async def test_nothing_kept_means_one_request_and_a_word(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2))
    bench.apply(route(10, 20))
    assert (await bench.event(SinkWaiting)).reason == "no_packets"
    stream = Vp8Stream(publisher, 555)
    stream.frame()
    await until(lambda: publisher.control(Pli))
    assert publisher.control(Pli)[0].media_ssrc == 555
    stream.frame()
    stream.frame(key=True)
    stream.frame()
    await until(lambda: len(viewer.rtp) == 2)
    assert mark_of(viewer.rtp[0])[1] == 2


async def test_requests_of_all_viewers_are_one_a_second(bench: Bench) -> None:
    publisher, viewer, other = bench.peer(1), bench.peer(2), bench.peer(3)
    bench.apply(video_source(10, 1), video_sink(20, 2), video_sink(21, 3), route(10, 20, 21))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 1 and len(other.rtp) == 1)
    before = len(publisher.control(Pli))
    for number in range(150):
        viewer.send_rtcp(Pli(sender_ssrc=1, media_ssrc=2020))
        other.send_rtcp(Fir(sender_ssrc=1, requests=((2021, number & 0xFF),)))
        bench.apply(RequestKeyFrame(source=10))
        await asyncio.sleep(0.01)
        stream.frame()
    # The storm lasted more than 1.5 s: at most three fit, and at least one went up at once.
    assert 1 <= len(publisher.control(Pli)) - before <= 3
    assert len(viewer.of(2020)) > 100


async def test_an_unanswered_request_is_repeated_and_at_last_made_by_fir_too(bench: Bench) -> None:
    publisher = bench.peer(1)
    bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)

    def asked() -> bool:
        stream.frame()
        return bool(publisher.control(Fir))

    await until(asked)
    assert len(publisher.control(Pli)) == 3
    assert publisher.control(Fir)[0].requests[0][0] == 555


def h264(publisher_ssrc: int, sequence: int, timestamp: int, payload: bytes, marker: bool) -> RtpPacket:
    return RtpPacket(
        payload_type=102,
        sequence=sequence,
        timestamp=timestamp,
        ssrc=publisher_ssrc,
        marker=marker,
        extensions={4: b"0"},
        payload=payload,
    )


async def test_h264_parameter_sets_before_every_frame_do_not_look_like_key_frames(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1, codecs=(H264,)), video_sink(20, 2))
    sps, pps = bytes([0x67, 0x42, 0xE0, 0x1F, 0x8C, 0x8D, 0x40]), bytes([0x68, 0xCE, 0x3C, 0x80])
    sequence = 0

    def access_unit(timestamp: int, kind: int) -> None:
        nonlocal sequence
        for payload, marker in ((sps, False), (pps, False), (bytes([0x60 | kind]) + bytes(40), True)):
            publisher.send(h264(888, sequence, timestamp, payload, marker))
            sequence += 1

    for frame, kind in enumerate((5, 1, 1, 1, 5, 1, 1, 1)):
        access_unit(3000 * frame, kind)
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 24)
    bench.apply(route(10, 20))
    await until(lambda: len(viewer.rtp) == 12)
    assert viewer.rtp[0].payload == sps
    assert viewer.rtp[2].payload[0] & 0x1F == 5


async def test_held_voice_leaves_at_a_quarter_more_than_its_pace_with_its_own_times(bench: Bench) -> None:
    publisher, listener = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(10, 1, hold=1.5), audio_sink(20, 2))
    for number in range(20):
        publisher.send(voice(number))
        await asyncio.sleep(0.002)
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 20)
    assert listener.rtp == []
    bench.apply(route(10, 20))
    await until(lambda: listener.rtp)
    publisher.send(voice(20))
    await until(lambda: len(listener.rtp) == 21)
    assert [packet.payload for packet in listener.rtp] == [bytes([number]) * 60 for number in range(21)]
    assert [packet.timestamp for packet in listener.rtp] == [5000 + 960 * number for number in range(21)]
    assert [packet.sequence for packet in listener.rtp] == list(range(1000, 1021))
    assert listener.times[19] - listener.times[0] > 0.25  # 19 intervals at 1.25 times the pace are 304 ms
    apart = sorted(later - sooner for sooner, later in pairwise(listener.times[:20]))
    assert (
        0.012 < apart[len(apart) // 2] < 0.019
    )  # 20 ms at 1.25 times the pace are 16; one late wake-up says nothing


async def test_an_empty_route_throws_away_what_was_held(bench: Bench) -> None:
    publisher, listener = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(10, 1, hold=1.5), audio_sink(20, 2))
    for number in range(5):
        publisher.send(voice(number))
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 5)
    bench.apply(route(10))  # refused
    publisher.send(voice(5))
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 6)
    bench.apply(route(10, 20, revision=2))
    await until(lambda: listener.rtp)
    publisher.send(voice(6))
    await until(lambda: len(listener.rtp) == 2)
    assert [packet.payload[0] for packet in listener.rtp] == [5, 6]


async def test_a_spurt_is_told_with_its_beginning_its_end_and_what_was_clipped(bench: Bench) -> None:
    publisher, listener = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(10, 1, hold=0.1), audio_sink(20, 2))
    for number in range(20):  # 0.4 s of which 0.1 s are held
        publisher.send(voice(number))
        await asyncio.sleep(0.02)
    assert (await bench.event(VoiceActivity)) == VoiceActivity(source=10, active=True, clipped=-1.0)
    bench.apply(route(10, 20))
    await until(lambda: len(listener.rtp) >= 3)
    over = await bench.event(VoiceActivity, lambda event: not event.active)
    assert 0.2 < over.clipped < 0.4
    assert listener.rtp[-1].payload[0] == 19


async def test_a_spurt_is_not_over_while_some_of_it_waits_to_leave(bench: Bench) -> None:
    publisher, listener = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(10, 1, hold=1.5), audio_sink(20, 2))
    for number in range(40):  # 0.8 s of speech at once: 0.64 s until all of it has left
        publisher.send(voice(number))
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 40)
    bench.apply(route(10, 20))
    over = await bench.event(VoiceActivity, lambda event: not event.active)
    assert over.clipped == 0.0
    assert [packet.payload[0] for packet in listener.rtp] == list(range(40))


async def test_listeners_who_join_later_start_live(bench: Bench) -> None:
    publisher, listener = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(10, 1), audio_sink(20, 2))
    for number in range(5):
        publisher.send(voice(number))
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 5)
    bench.apply(route(10, 20))
    publisher.send(voice(5))
    await until(lambda: listener.rtp)
    assert [packet.payload[0] for packet in listener.rtp] == [5]


def voice(number: int) -> RtpPacket:
    return RtpPacket(
        payload_type=111,
        sequence=number,
        timestamp=77 + 960 * number,
        ssrc=600,
        extensions={4: b"1", 1: bytes([0x80 | number])},
        payload=bytes([number]) * 60,
    )


async def test_what_a_dead_source_showed_last_is_not_shown_as_live(bench: Bench) -> None:
    publisher, late = bench.peer(1), bench.peer(3)
    bench.apply(video_source(10, 1), video_sink(21, 3))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    stream.frame()
    await bench.event(LayerStalled, lambda event: event.stalled)
    bench.apply(route(10, 21))
    assert (await bench.event(SinkWaiting)).reason == "no_packets"
    stream.frame()
    await until(lambda: len(late.rtp) == 3)  # alive again: the picture since the key frame
    assert [packet.sequence for packet in late.rtp] == [1000, 1001, 1002]


async def test_kept_pictures_too_large_for_a_thin_link_are_not_replayed(bench: Bench) -> None:
    publisher, late = bench.peer(1), bench.peer(3)
    bench.apply(video_source(10, 1), video_sink(21, 3), SetRate(transport=3, rate=300_000))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=30, length=1000)
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 30)
    bench.apply(route(10, 21))
    await until(lambda: publisher.control(Pli))
    stream.frame()
    stream.frame(key=True)
    await until(lambda: late.rtp)
    assert late.rtp[0].payload == stream.sent[31].payload
