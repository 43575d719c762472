"""Cameras that are pulled, and those that may not be."""

from __future__ import annotations

import pytest

from media.protocol import LayerState, PullState, StartPull
from media.relay.messages import Codec
from server.model.errors import AddressNotAdmitted, Conflict, StreamNotLive
from support.routing_bench import CAM, PLAY, PUBLISH, Bench


async def test_camera_is_pulled(bench: Bench) -> None:
    await bench.routing.pull(CAM, "rtsp://camera.example/1", "admin", "secret", "tcp")
    request = bench.media.requests[-1]
    assert isinstance(request, StartPull)
    assert (request.addresses, request.username, request.transport) == (("192.168.10.7",), "admin", "tcp")
    assert bench.media.sources[request.video_source].codecs[0].codec is Codec.H264
    assert (bench.view().via, bench.view().step, bench.view().session) == ("rtsp", "connecting", None)
    with pytest.raises(StreamNotLive):
        await bench.routing.play(CAM, PLAY)

    bench.media.say(
        PullState(pull=request.pull, state="live", video_codec="h264"),
        LayerState(
            source=request.video_source,
            layer=0,
            codec=Codec.H264,
            live=True,
            key_frame=True,
            width=640,
            height=360,
        ),
    )
    await bench.settle()
    assert (bench.view().step, bench.view().live) == ("key_frame", True)
    viewer = await bench.routing.play(CAM, PLAY)
    assert bench.media.feeds(bench.sinks(viewer)[0][1]) == request.video_source

    bench.media.say(
        PullState(pull=request.pull, state="retrying", error="unauthorized", detail="wrong password")
    )
    await bench.settle()
    view = bench.view()
    assert (view.step, view.live, view.error, view.detail) == (
        "retrying",
        False,
        "unauthorized",
        "wrong password",
    )
    assert bench.routing.session_stream(viewer.session) == CAM

    await bench.routing.close_stream(CAM, "closed")
    assert (bench.media.pulls, bench.media.sources, bench.routing.stream(CAM)) == ({}, {}, None)


@pytest.mark.parametrize(
    "url",
    ["rtsp://inside.example/", "rtsp://nowhere.example/", "http://192.168.10.7/", "rtsp://192.168.10.7:22/"],
)
async def test_camera_that_is_not_admitted_is_never_asked(bench: Bench, url: str) -> None:
    with pytest.raises(AddressNotAdmitted):
        await bench.routing.pull(CAM, url, "", "", "tcp")
    assert (bench.media.pulls, bench.routing.stream(CAM)) == ({}, None)


async def test_nobody_publishes_over_a_camera(bench: Bench) -> None:
    await bench.routing.pull(CAM, "rtsp://192.168.10.7/1", "", "", "tcp")
    with pytest.raises(Conflict):
        await bench.routing.publish(CAM, PUBLISH, "whip")
    await bench.routing.pull(CAM, "rtsp://192.168.10.8/1", "", "", "tcp")
    (pull,) = bench.media.pulls.values()
    assert pull.addresses == ("192.168.10.8",)
