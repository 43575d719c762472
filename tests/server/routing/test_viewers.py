"""Viewers: what one costs, what it may watch, and how long it waits for its publisher."""

from __future__ import annotations

import asyncio
import re

import pytest

from media.relay.messages import (
    AddSink,
    AddTransport,
    Codec,
    RemoveTransport,
    SetRoutes,
)
from server.model.errors import NotAcceptable, Overloaded, StreamNotLive
from support.routing_bench import CAM, CONSOLE, DRONE, PLAY, PUBLISH, Bench
from support.waiting import until


async def test_viewer_is_one_transaction(bench: Bench) -> None:
    publisher = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    transport, audio_sink, video_sink, *routes = bench.media.last
    assert isinstance(transport, AddTransport)
    assert isinstance(audio_sink, AddSink)
    assert isinstance(video_sink, AddSink)
    audio, video = bench.sources(publisher)
    assert routes == [
        SetRoutes(source=audio, revision=1, sinks=(audio_sink.sink,)),
        SetRoutes(source=video, revision=1, sinks=(video_sink.sink,)),
    ]
    assert [codec.codec for codec in video_sink.codecs] == [Codec.VP8, Codec.H264]
    assert f"a=ssrc:{video_sink.ssrc} cname:{transport.cname}" in viewer.sdp
    assert f"a=ssrc-group:FID {video_sink.ssrc} {video_sink.rtx_ssrc}" in viewer.sdp
    assert (audio_sink.rtx_ssrc, audio_sink.mid, video_sink.mid) == (0, "0", "1")
    assert bench.view().viewers == 1
    assert bench.routing.session_stream(viewer.session) == CAM


async def test_cost_of_a_viewer_is_its_own(bench: Bench) -> None:
    await bench.publisher(CAM)
    await bench.publisher(DRONE)
    await bench.routing.play(CAM, PLAY)
    await bench.routing.play(CAM, PLAY)
    assert [type(command) for command in bench.media.last] == [
        AddTransport,
        AddSink,
        AddSink,
        SetRoutes,
        SetRoutes,
    ]
    routes = [command for command in bench.media.last if isinstance(command, SetRoutes)]
    assert [(route.revision, len(route.sinks)) for route in routes] == [(2, 2), (2, 2)]


async def test_viewer_that_leaves_costs_one_command(bench: Bench) -> None:
    await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    transport = bench.transport_of(viewer)
    await bench.routing.close(viewer.session, "closed")
    assert bench.media.last == (RemoveTransport(transport=transport),)
    assert bench.heard.of(viewer.session)[-1] == ("closed", "closed")
    await bench.routing.play(CAM, PLAY)
    assert bench.view().viewers == 1


async def test_nobody_can_watch_what_is_not_live(bench: Bench) -> None:
    with pytest.raises(StreamNotLive) as caught:
        await bench.routing.play(CAM, PLAY)
    assert caught.value.retry_after == 2.0
    await bench.routing.publish(CAM, PUBLISH, "whip")
    with pytest.raises(StreamNotLive):
        await bench.routing.play(CAM, PLAY)


async def test_viewer_without_the_codec_is_told(bench: Bench) -> None:
    await bench.publisher(CAM)  # sends VP8 and Opus
    only_h264 = re.sub(r"VP8|opus", "OTHER", PLAY)
    with pytest.raises(NotAcceptable, match="the stream has OPUS, VP8"):
        await bench.routing.play(CAM, only_h264)
    await bench.routing.play(CAM, PLAY.replace("opus", "OTHER"))


async def test_viewer_outlives_its_publisher_for_a_while(bench: Bench) -> None:
    first = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    bench.lose(first)
    await bench.settle()
    second = await bench.publisher()
    ((audio_sink, video_sink),) = bench.sinks(viewer)
    assert (bench.media.feeds(audio_sink), bench.media.feeds(video_sink)) == bench.sources(second)
    await asyncio.sleep(0.1)
    assert bench.routing.session_stream(viewer.session) == CAM


async def test_viewer_is_let_go_after_the_grace(bench: Bench) -> None:
    first = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    bench.lose(first)
    await until(lambda: not bench.media.transports)
    assert bench.heard.of(viewer.session)[-1] == ("closed", "closed")
    assert bench.routing.session_stream(viewer.session) is None
    assert bench.routing.statistics()["ssrcs"] == 0


async def test_viewers_are_limited(bench: Bench) -> None:
    await bench.publisher()
    for _ in range(3):
        await bench.routing.play(CAM, PLAY)
    for full in (bench.routing.play(CAM, PLAY), bench.routing.open_console(CONSOLE, None)):
        with pytest.raises(Overloaded):
            await full
