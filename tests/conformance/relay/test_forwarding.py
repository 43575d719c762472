"""One publisher, viewers: what leaves is what came, in each viewer's own numbers."""

from __future__ import annotations

import dataclasses
import functools

import pytest

from media.relay.messages import Codec, KeyFrameSeen, LayerSeen, SinkStarted, SrtpProfile
from support.relay import Bench, Peer, Vp8Stream, mark_of, route, video_sink, video_source
from support.waiting import until


@pytest.mark.parametrize("profile", list(SrtpProfile))
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_every_packet_reaches_the_viewer_in_its_own_numbers(
    bench: Bench, profile: SrtpProfile, host: str
) -> None:
    publisher = bench.peer(1, profile=profile, host=host)
    viewer = bench.peer(2, profile=profile, host=host)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=4, length=1100)
    for _ in range(9):
        stream.frame(packets=2)
    await until(lambda: len(viewer.rtp) == 22)
    got = viewer.rtp
    assert [packet.sequence for packet in got] == list(range(1000, 1022))
    assert {packet.ssrc for packet in got} == {2020}
    assert {packet.payload_type for packet in got} == {120}
    assert [packet.payload for packet in got] == [packet.payload for packet in stream.sent]
    assert [packet.marker for packet in got] == [packet.marker for packet in stream.sent]
    assert [packet.timestamp - got[0].timestamp for packet in got] == [
        packet.timestamp - stream.sent[0].timestamp for packet in stream.sent
    ]
    assert got[0].timestamp == 5000
    assert [packet.extensions[4] for packet in got] == [b"v"] * 22
    assert [int.from_bytes(packet.extensions[3], "big") for packet in got] == list(range(22))
    assert viewer.damaged == 0
    seen = await bench.event(LayerSeen)
    assert (seen.source, seen.layer, seen.ssrc, seen.codec) == (10, 0, 555, Codec.VP8)
    key = await bench.event(KeyFrameSeen)
    assert (key.width, key.height) == (640, 360)
    started = await bench.event(SinkStarted)
    assert (started.sink, started.source, started.layer) == (20, 10, 0)


def _all_have(viewers: list[Peer], count: int) -> bool:
    return all(len(viewer.rtp) == count for viewer in viewers)


async def test_many_viewers_get_every_packet_of_uneven_frames(bench: Bench) -> None:
    publisher = bench.peer(1)
    viewers = [bench.peer(10 + index) for index in range(12)]
    bench.apply(video_source(10, 1))
    for index in range(12):
        bench.apply(video_sink(100 + index, 10 + index))
    bench.apply(route(10, *range(100, 112)))
    stream = Vp8Stream(publisher, 555)
    for frame in range(20):
        packets = stream.make(key=frame == 0, packets=7, length=900 + frame)
        # Browsers cut frames into packets that differ by a byte.
        uneven = [
            dataclasses.replace(packet, payload=packet.payload + bytes(index % 2 if index < 6 else 0))
            for index, packet in enumerate(packets)
        ]
        for packet in uneven:
            publisher.send(packet)
        stream.sent += uneven
        await until(functools.partial(_all_have, viewers, 7 * (frame + 1)))
    for index, viewer in enumerate(viewers):
        assert [packet.payload for packet in viewer.rtp] == [packet.payload for packet in stream.sent]
        assert [packet.sequence for packet in viewer.rtp] == list(range(1000, 1140))
        assert {packet.ssrc for packet in viewer.rtp} == {2100 + index}
        assert mark_of(viewer.rtp[0]) == (555, 0)
        assert viewer.damaged == 0
