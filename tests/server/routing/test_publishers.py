"""Publishers: their transaction, their ladder, who takes over from whom, and what is told of them."""

from __future__ import annotations

import asyncio
import re

import pytest

from media.protocol import Apply, LayerState, OpenIce, Statistics, TransportStep
from media.relay.messages import (
    AddSource,
    AddTransport,
    CloseReason,
    Codec,
    EngineStatistics,
    RemoveTransport,
    SourceStatistics,
)
from server.model.errors import BadSdp, NotAcceptable, Overloaded, Unavailable
from server.model.ids import StreamId
from support.fake_media_link import FINGERPRINT
from support.measured import measured_layer
from support.routing_bench import CAM, DRONE, PLAY, PUBLISH, REMOTE, Bench
from support.waiting import until


async def test_publisher_is_one_transaction_and_its_ice(bench: Bench) -> None:
    answer = await bench.routing.publish(CAM, PUBLISH, "whip")
    (transaction,) = [each for each in bench.media.transactions if isinstance(each[0], AddTransport)]
    transport, audio, video = transaction
    assert isinstance(transport, AddTransport)
    assert isinstance(audio, AddSource)
    assert isinstance(video, AddSource)
    assert (transport.transport_cc, transport.extensions.rid, len(transport.cname)) == (True, 10, 16)
    assert [layer.rid for layer in video.layers] == ["q", "h", "f"]
    ice = bench.media.ice[transport.transport]
    assert isinstance(ice, OpenIce)
    assert transport.ufrags == (ice.local_ufrag,)
    assert (ice.setup, ice.remote_ufrag) == ("passive", re.findall(r"a=ice-ufrag:(\S+)", PUBLISH)[0])
    assert ice.fingerprints[0][0] == "sha-256"
    assert f"a=fingerprint:sha-256 {FINGERPRINT}" in answer.sdp
    assert "192.0.2.20 40001 typ host" in answer.sdp
    assert "203.0.113.9 40002 typ host tcptype passive" in answer.sdp
    assert bench.heard.steps == [(answer.session, "signalled", "")]
    assert len(answer.session) == 22


async def test_publisher_climbs_the_ladder(bench: Bench) -> None:
    answer = await bench.routing.publish(CAM, PUBLISH, "phone")
    seen = [bench.view().step]
    _, video = bench.sources(answer)
    for notice in (
        TransportStep(transport=bench.transport_of(answer), step="ice", remote=REMOTE, tcp=True),
        TransportStep(transport=bench.transport_of(answer), step="dtls", remote=REMOTE, tcp=True),
        LayerState(source=video, layer=0, codec=Codec.H264, live=True, key_frame=False),
        LayerState(source=video, layer=0, codec=Codec.H264, live=True, key_frame=True, width=320, height=180),
    ):
        bench.media.say(notice)
        await bench.settle()
        seen.append(bench.view().step)
    assert seen == ["signalled", "ice", "dtls", "packets", "key_frame"]
    view = bench.view()
    assert (view.live, view.via, view.remote, view.tcp) == (True, "phone", "192.0.2.60:50000", True)
    assert [(layer.rid, layer.codec, layer.height) for layer in view.layers] == [("q", "h264", 180)]
    assert view.session == answer.session
    assert bench.routing.session_stream(answer.session) == CAM
    assert bench.heard.of(answer.session) == [("signalled", ""), ("ice", ""), ("dtls", "")]


async def test_changes_of_a_stream_are_told_together(bench: Bench) -> None:
    await bench.publisher()
    await asyncio.sleep(0.1)
    assert bench.heard.streams == [CAM]


async def test_statistics_reach_the_view(bench: Bench) -> None:
    answer = await bench.publisher()
    _, video = bench.sources(answer)

    def measured(packets: int, lost: int) -> Statistics:
        layer = measured_layer(
            150_000, rid="q", packets=packets, lost=lost, frames_per_second=14.96, width=320, height=180
        )
        row = SourceStatistics(source=video, layers=(layer,), key_frame_requests=0)
        engine = EngineStatistics(transports=(), sources=(row,), sinks=(), counters={"bad_rtp": 3})
        return Statistics(
            number=0,
            time=1.0,
            cpu_seconds=2.5,
            busiest_seconds=2.0,
            resident_bytes=10,
            loop_lag_ms=0.1,
            engine=engine,
        )

    bench.media.say(measured(100, 0), measured(175, 25))
    await bench.settle()
    (layer,) = bench.view().layers
    assert (layer.bitrate, layer.frames_per_second, layer.fraction_lost) == (150_000, 15.0, 0.25)
    numbers = bench.routing.statistics()
    assert (numbers["publishers"], numbers["engine_bad_rtp_total"], numbers["media_cpu_seconds_total"]) == (
        1,
        3,
        2.5,
    )


async def test_lost_publisher_says_why_while_it_can_still_be_looked_up(bench: Bench) -> None:
    answer = await bench.publisher()
    found = []
    bench.heard.at_step = lambda session, step: found.append((step, bench.routing.session_stream(session)))
    transport = bench.transport_of(answer)
    bench.lose(answer, CloseReason.ICE_TIMEOUT)
    await bench.settle()
    assert found == [("lost", CAM)]
    assert bench.heard.of(answer.session)[-1] == ("lost", "ice_timeout")
    assert bench.routing.stream(CAM) is None
    assert bench.routing.session_stream(answer.session) is None
    assert bench.media.last == (RemoveTransport(transport=transport),)


@pytest.mark.parametrize(
    ("reason", "cause"),
    [
        (CloseReason.CONSENT_LOST, "consent_lost"),
        (CloseReason.DTLS_FAILED, "dtls_failed"),
        (CloseReason.DTLS_CLOSED, "closed"),
        (CloseReason.LISTENER_GONE, "consent_lost"),
    ],
)
async def test_causes(bench: Bench, reason: CloseReason, cause: str) -> None:
    answer = await bench.publisher()
    bench.lose(answer, reason)
    await bench.settle()
    assert bench.heard.of(answer.session)[-1] == ("lost", cause)


async def test_second_publisher_takes_over_when_it_is_connected(bench: Bench) -> None:
    first = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    ((audio_sink, video_sink),) = bench.sinks(viewer)
    second = await bench.routing.publish(CAM, PUBLISH, "whip")
    audio, video = bench.sources(second)
    assert bench.media.feeds(video_sink) == bench.sources(first)[1]  # not before it can send
    assert bench.view().session == first.session
    bench.step(second, "ice", "dtls")
    await bench.settle()
    assert (bench.media.feeds(audio_sink), bench.media.feeds(video_sink)) == (audio, video)
    assert bench.heard.of(first.session)[-1] == ("closed", "replaced")
    assert bench.view().session == second.session
    assert len(bench.media.transports) == 2


async def test_second_publisher_that_never_connects_harms_nobody(bench: Bench) -> None:
    first = await bench.publisher()
    second = await bench.routing.publish(CAM, PUBLISH, "whip")
    bench.lose(second, CloseReason.ICE_TIMEOUT)
    await bench.settle()
    assert bench.view().session == first.session
    assert bench.view().live


async def test_waiting_publisher_steps_in_when_the_first_one_dies(bench: Bench) -> None:
    first = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    second = await bench.routing.publish(CAM, PUBLISH, "whip")
    bench.lose(first)
    await bench.settle()
    assert bench.view().session == second.session
    ((_, video_sink),) = bench.sinks(viewer)
    assert bench.media.feeds(video_sink) == bench.sources(second)[1]


async def test_publisher_that_is_not_connected_is_replaced_at_once(bench: Bench) -> None:
    first = await bench.routing.publish(CAM, PUBLISH, "whip")
    second = await bench.routing.publish(CAM, PUBLISH, "whip")
    assert bench.heard.of(first.session)[-1] == ("closed", "replaced")
    assert bench.view().session == second.session
    third = await bench.routing.publish(CAM, PUBLISH, "whip")
    assert bench.view().session == third.session
    assert len(bench.media.transports) == 1


async def test_publishers_are_limited_and_replacing_is_not(bench: Bench) -> None:
    for number in range(3):
        await bench.publisher(StreamId(f"cam-{number}"))
    with pytest.raises(Overloaded) as caught:
        await bench.routing.publish(DRONE, PUBLISH, "whip")
    assert (caught.value.status, caught.value.retry_after) == (503, 5.0)
    await bench.publisher(StreamId("cam-2"))


async def test_refused_transaction_leaves_nothing(bench: Bench) -> None:
    bench.media.refuse[Apply] = "too_many_transports"
    with pytest.raises(Overloaded):
        await bench.routing.publish(CAM, PUBLISH, "whip")
    bench.media.refuse[OpenIce] = "bad_request"
    with pytest.raises(Unavailable):
        await bench.routing.publish(CAM, PUBLISH, "whip")
    assert bench.routing.stream(CAM) is None
    assert (bench.media.transports, bench.media.sources, bench.heard.steps) == ({}, {}, [])
    assert bench.routing.statistics()["ssrcs"] == 0
    await bench.publisher()


async def test_caller_that_goes_away_leaves_nothing(bench: Bench) -> None:
    bench.media.answers.clear()
    asking = asyncio.create_task(bench.routing.publish(CAM, PUBLISH, "whip"))
    await until(lambda: len(bench.media.requests) > 1)
    asking.cancel()
    bench.media.answers.set()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (bench.media.transports, bench.routing.streams()) == ({}, ())


async def test_bad_offers_reach_nobody(bench: Bench) -> None:
    before = len(bench.media.requests)
    with pytest.raises(BadSdp):
        await bench.routing.publish(CAM, "v=0\r\n", "whip")
    with pytest.raises(NotAcceptable):
        await bench.routing.publish(CAM, PUBLISH.replace("VP8", "VP9").replace("H264", "H265"), "whip")
    assert len(bench.media.requests) == before
