"""Routing against a strict fake of the media process: what is told to the relay, and what listeners hear."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from media.protocol import (
    Apply,
    LayerState,
    OpenIce,
    PullState,
    RestartIce,
    SetDemands,
    SinkState,
    StartPull,
    Statistics,
    TransportLost,
    TransportStep,
)
from media.relay.messages import (
    Address,
    AddSink,
    AddSource,
    AddTransport,
    CloseReason,
    Codec,
    EngineStatistics,
    LayerStatistics,
    MediaKind,
    RemoveTransport,
    SetRoutes,
    SourceStatistics,
)
from media.sdp.errors import WrongSections
from server.clock import SystemClock
from server.model.errors import (
    AddressNotAdmitted,
    BadRequest,
    BadSdp,
    Conflict,
    NotAcceptable,
    NotFound,
    Overloaded,
    StreamNotLive,
    Unavailable,
)
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import (
    Answer,
    MediaNode,
    RecordingReport,
    SlotState,
    SlotWish,
    StreamView,
    TrickleNode,
)
from server.routing.link import PortUnavailable
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from server.video.admission import CameraPolicy
from support.fake_media_link import FINGERPRINT, FakeMedia
from support.waiting import until

DATA = Path(__file__).resolve().parents[2] / "data" / "sdp"
CAM = StreamId("cam-1")
DRONE = StreamId("drone-1")
REMOTE = Address("192.0.2.60", 50_000)


def sdp(name: str) -> str:
    return (DATA / f"{name}.offer.sdp").read_text(encoding="utf-8")


PUBLISH = sdp("chromium-publish-simulcast")
PLAY = sdp("chromium-play")
CONSOLE = sdp("chromium-console-4")
VOICE = sdp("chromium-voice")


def console(slots: int) -> str:
    """The first pairs of a real console's offer."""
    head, *sections = re.split(r"(?m)^(?=m=)", CONSOLE)
    mids = " ".join(str(index) for index in range(2 * slots))
    return re.sub(r"BUNDLE .*", f"BUNDLE {mids}", head) + "".join(sections[: 2 * slots])


def restarted(offer: str, ufrag: str) -> str:
    return re.sub(r"a=ice-ufrag:.*", f"a=ice-ufrag:{ufrag}", offer)


class Listening:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.steps: list[tuple[MediaSessionId, str, str]] = []
        self.streams: list[StreamId] = []
        self.slots: list[tuple[MediaSessionId, int, SlotState]] = []
        self.recordings: list[RecordingReport] = []
        self.at_step: Callable[[MediaSessionId, str], None] = lambda session, step: None

    def session_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        self.steps.append((session, step, detail))
        self.at_step(session, step)

    def stream_changed(self, stream: StreamId) -> None:
        self.streams.append(stream)

    def slot_changed(self, session: MediaSessionId, slot: int, state: SlotState) -> None:
        self.slots.append((session, slot, state))

    def recording_state(self, report: RecordingReport) -> None:
        self.recordings.append(report)

    def of(self, session: MediaSessionId) -> list[tuple[str, str]]:
        return [(step, detail) for each, step, detail in self.steps if each == session]

    def slot(self, session: MediaSessionId, number: int) -> SlotState:
        return [state for each, slot, state in self.slots if (each, slot) == (session, number)][-1]


class Bench:
    """One routing with one fake media process."""

    def __init__(self, media: FakeMedia, routing: Routing, heard: Listening) -> None:
        self.media = media
        self.routing = routing
        self.heard = heard

    async def settle(self) -> None:
        """Until all that was said is digested."""
        for _ in range(30):
            await asyncio.sleep(0)

    def transport_of(self, answer: Answer) -> int:
        ufrag = answer.sdp.split("a=ice-ufrag:")[1].split("\r\n")[0]
        return next(number for number, ice in self.media.ice.items() if ice.local_ufrag == ufrag)

    def step(self, answer: Answer, *steps: str) -> None:
        transport = self.transport_of(answer)
        self.media.say(*(TransportStep(transport=transport, step=step, remote=REMOTE) for step in steps))

    def lose(self, answer: Answer, reason: CloseReason = CloseReason.CONSENT_LOST) -> None:
        self.media.say(TransportLost(transport=self.transport_of(answer), reason=reason))

    def sources(self, answer: Answer) -> tuple[int, int]:
        """(audio, video) source of a publisher."""
        by_kind = {source.kind: source.source for source in self.media.sources_of(self.transport_of(answer))}
        return by_kind.get(MediaKind.AUDIO, 0), by_kind.get(MediaKind.VIDEO, 0)

    def sinks(self, answer: Answer) -> list[tuple[int, int]]:
        """(audio, video) sinks of each slot, or of a viewer."""
        sinks = self.media.sinks_of(self.transport_of(answer))
        audio = [sink.sink for sink in sinks if sink.kind is MediaKind.AUDIO]
        video = [sink.sink for sink in sinks if sink.kind is MediaKind.VIDEO]
        return list(zip(audio, video, strict=True))

    async def publisher(self, stream: StreamId = CAM, offer: str = PUBLISH) -> Answer:
        """One that is connected and sends both."""
        answer = await self.routing.publish(stream, offer, "whip")
        self.step(answer, "ice", "dtls")
        audio, video = self.sources(answer)
        self.media.say(
            LayerState(source=audio, layer=0, codec=Codec.OPUS, live=True, key_frame=False),
            LayerState(
                source=video, layer=0, codec=Codec.VP8, live=True, key_frame=True, width=320, height=180
            ),
        )
        await self.settle()
        return answer

    async def console(self, slots: int = 4) -> Answer:
        answer = await self.routing.open_console(console(slots), None)
        self.step(answer, "ice", "dtls")
        await self.settle()
        return answer

    def view(self, stream: StreamId = CAM) -> StreamView:
        view = self.routing.stream(stream)
        assert view is not None
        return view


SETTINGS = RoutingSettings(
    public_address="203.0.113.9",
    grace=0.05,
    publishers=3,
    viewers=3,
    cameras=CameraPolicy(networks=("192.168.10.0/24",), ports=(554,)),
)


@contextlib.asynccontextmanager
async def running(settings: RoutingSettings = SETTINGS) -> AsyncIterator[Bench]:
    media, heard = FakeMedia(), Listening()

    async def resolve(host: str, port: int) -> list[str]:
        return {"camera.example": ["192.168.10.7"], "inside.example": ["127.0.0.1"]}.get(host, [])

    routing = Routing(settings, heard, SystemClock(), lambda: ["192.0.2.20"], resolve)
    serving = asyncio.create_task(routing.serve(media))
    await asyncio.wait_for(routing.up.wait(), 2)
    try:
        yield Bench(media, routing, heard)
    finally:
        media.die()
        await asyncio.wait_for(serving, 2)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    async with running() as bench:
        yield bench


def test_routing_is_a_media_node() -> None:
    def takes(node: MediaNode, trickling: TrickleNode) -> None: ...

    routing = Routing(SETTINGS, Listening(), SystemClock(), list)
    takes(routing, routing)


# ---- a publisher ----


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
        layer = LayerStatistics(
            rid="q",
            ssrc=1,
            codec=1,
            packets=packets,
            bytes=1,
            bitrate=150_000,
            frames_per_second=14.96,
            lost=lost,
            jitter=0.0,
            key_frames=1,
            width=320,
            height=180,
            last_packet_age=0.0,
        )
        row = SourceStatistics(source=video, layers=(layer,), key_frame_requests=0)
        engine = EngineStatistics(transports=(), sources=(row,), sinks=(), counters={"bad_rtp": 3})
        return Statistics(
            number=0, time=1.0, cpu_seconds=2.5, resident_bytes=10, loop_lag_ms=0.1, engine=engine
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


# ---- viewers ----


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


# ---- consoles ----


async def test_console_has_a_pair_per_slot(bench: Bench) -> None:
    answer = await bench.routing.open_console(CONSOLE, None)
    assert [(slot.slot, slot.audio_mid, slot.video_mid) for slot in answer.slots] == [
        (0, "0", "1"),
        (1, "2", "3"),
        (2, "4", "5"),
        (3, "6", "7"),
    ]
    assert "a=msid:slot-2 slot-2-audio\r\n" in answer.sdp
    assert "a=msid:slot-2 slot-2-video\r\n" in answer.sdp
    assert len(bench.sinks(answer)) == 4
    assert bench.media.routes == {}
    assert bench.routing.session_stream(answer.session) is None


async def test_slots_show_and_change_streams_without_sdp(bench: Bench) -> None:
    cam, drone = await bench.publisher(CAM), await bench.publisher(DRONE)
    answer = await bench.console()
    sinks = bench.sinks(answer)
    await bench.routing.set_slots(
        answer.session,
        [
            SlotWish(slot=0, stream=CAM, height=360, priority=3),
            SlotWish(slot=1, stream=CAM, height=180, audio=False),
            SlotWish(slot=2, stream=DRONE, height=0),
        ],
    )
    feeds = [(bench.media.feeds(audio), bench.media.feeds(video)) for audio, video in sinks]
    cam_audio, cam_video = bench.sources(cam)
    assert feeds == [(cam_audio, cam_video), (0, cam_video), bench.sources(drone), (0, 0)]
    assert [bench.media.demands.get(video) for _, video in sinks] == [(360, 3), (180, 0), (0, 0), None]
    assert (bench.view(CAM).viewers, bench.view(DRONE).viewers) == (1, 1)

    before = len(bench.media.transactions)
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=DRONE, height=360)])
    assert (bench.media.feeds(sinks[0][0]), bench.media.feeds(sinks[0][1])) == bench.sources(drone)
    (transaction,) = bench.media.transactions[before:]
    assert {command.source for command in transaction if isinstance(command, SetRoutes)} == {
        *bench.sources(cam),
        *bench.sources(drone),
    }
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=None)])
    assert bench.media.feeds(sinks[0][1]) == 0
    assert bench.media.demands[sinks[0][1]] == (0, 0)


async def test_same_wish_again_changes_no_route(bench: Bench) -> None:
    await bench.publisher()
    answer = await bench.console()
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=CAM, height=360)])
    before = len(bench.media.transactions)
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=CAM, height=720)])
    assert len(bench.media.transactions) == before
    assert isinstance(bench.media.requests[-1], SetDemands)


async def test_sound_is_switched_alone(bench: Bench) -> None:
    publisher = await bench.publisher()
    answer = await bench.console()
    ((audio, _), *_) = bench.sinks(answer)
    for wanted in (True, False, True):
        await bench.routing.set_slots(
            answer.session, [SlotWish(slot=0, stream=CAM, height=360, audio=wanted)]
        )
        assert bench.media.feeds(audio) == (bench.sources(publisher)[0] if wanted else 0)
        assert len([command for command in bench.media.last if isinstance(command, SetRoutes)]) <= 2


async def test_slot_waits_for_a_stream_and_follows_it(bench: Bench) -> None:
    answer = await bench.console()
    ((_, video_sink), *_) = bench.sinks(answer)
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=CAM, height=360)])
    told = [bench.heard.slot(answer.session, 0)]
    assert told == [SlotState(state="waiting", stream=CAM, reason="never_connected")]

    publisher = await bench.routing.publish(CAM, PUBLISH, "whip")
    _, video = bench.sources(publisher)
    assert bench.media.feeds(video_sink) == video
    bench.step(publisher, "ice", "dtls")
    key = LayerState(source=video, layer=0, codec=Codec.VP8, live=True, key_frame=True, width=320, height=180)
    bench.media.say(key, SinkState(sink=video_sink, source=video, state="started", layer=0, height=180))
    await bench.settle()
    assert bench.heard.slot(answer.session, 0) == SlotState(state="live", stream=CAM, layer="q", height=180)
    bench.media.say(
        SinkState(sink=video_sink, source=video, state="started", layer=0, height=180, degraded="bandwidth")
    )
    await bench.settle()
    assert bench.heard.slot(answer.session, 0).degraded == "bandwidth"
    bench.media.say(LayerState(source=video, layer=0, codec=Codec.VP8, live=False, key_frame=True))
    await bench.settle()
    assert bench.heard.slot(answer.session, 0) == SlotState(state="waiting", stream=CAM, reason="stalled")

    bench.lose(publisher, CloseReason.CONSENT_LOST)
    await bench.settle()
    assert bench.heard.slot(answer.session, 0).reason == "consent_lost"
    again = await bench.publisher()
    assert bench.media.feeds(video_sink) == bench.sources(again)[1]
    assert bench.heard.slot(answer.session, 0).reason == "no_key_frame"
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=None)])
    assert bench.heard.slot(answer.session, 0) == SlotState(state="empty")


async def test_slot_of_a_console_that_is_not_connected(bench: Bench) -> None:
    await bench.publisher()
    answer = await bench.routing.open_console(CONSOLE, None)
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=CAM, height=360)])
    assert bench.heard.slot(answer.session, 0).reason == "not_connected"


async def test_old_state_of_a_sink_is_not_taken_for_the_new_stream(bench: Bench) -> None:
    cam = await bench.publisher(CAM)
    await bench.publisher(DRONE)
    answer = await bench.console()
    ((_, sink), *_) = bench.sinks(answer)
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=DRONE, height=360)])
    bench.media.say(SinkState(sink=sink, source=bench.sources(cam)[1], state="started", layer=0, height=180))
    await bench.settle()
    assert bench.heard.slot(answer.session, 0) == SlotState(
        state="waiting", stream=DRONE, reason="no_key_frame"
    )


async def test_slot_that_is_not_there(bench: Bench) -> None:
    answer = await bench.console()
    with pytest.raises(BadRequest, match="slot 4"):
        await bench.routing.set_slots(answer.session, [SlotWish(slot=4, stream=CAM)])
    with pytest.raises(NotFound):
        await bench.routing.set_slots(MediaSessionId("nobody"), [SlotWish(slot=0, stream=CAM)])


@pytest.mark.parametrize("request_type", [SetDemands, Apply])
async def test_refused_wish_can_be_made_again(
    bench: Bench, request_type: type[SetDemands] | type[Apply]
) -> None:
    publisher = await bench.publisher()
    answer = await bench.console()
    ((_, sink), *_) = bench.sinks(answer)
    bench.media.refuse[request_type] = "busy"
    with pytest.raises(Unavailable):
        await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=CAM, height=360)])
    assert bench.media.feeds(sink) == 0
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=CAM, height=360)])
    assert bench.media.feeds(sink) == bench.sources(publisher)[1]


async def test_console_grows(bench: Bench) -> None:
    publisher = await bench.publisher()
    first = await bench.console(1)
    await bench.routing.set_slots(first.session, [SlotWish(slot=0, stream=CAM, height=360)])
    second = await bench.routing.open_console(console(4), first.session)
    assert second.session == first.session
    assert [slot.video_mid for slot in second.slots] == ["1", "3", "5", "7"]
    assert re.findall(r"a=ssrc:(\d+) cname", first.sdp) == re.findall(r"a=ssrc:(\d+) cname", second.sdp)[:3]
    assert [re.search(r"o=- \d+ (\d+)", each.sdp)[1] for each in (first, second)] == ["1", "2"]  # type: ignore[index]
    assert [type(command) for command in bench.media.last] == [AddSink] * 6
    assert bench.media.feeds(bench.sinks(second)[0][1]) == bench.sources(publisher)[1]
    await bench.routing.set_slots(first.session, [SlotWish(slot=3, stream=CAM, height=180)])
    assert bench.media.feeds(bench.sinks(second)[3][1]) == bench.sources(publisher)[1]


async def test_console_may_not_shrink_change_or_forge(bench: Bench) -> None:
    first = await bench.console(4)
    with pytest.raises(WrongSections):
        await bench.routing.open_console(console(1), first.session)
    with pytest.raises(WrongSections):
        await bench.routing.open_console(
            CONSOLE.replace("a=mid:1\n", "a=mid:9\n").replace("BUNDLE 0 1", "BUNDLE 0 9"), first.session
        )
    with pytest.raises(Conflict):
        await bench.routing.open_console(re.sub(r"(sha-256 )..", r"\1FF", CONSOLE), first.session)
    publisher = await bench.publisher()
    with pytest.raises(NotFound):
        await bench.routing.open_console(CONSOLE, publisher.session)


async def test_ice_restart_of_a_console_keeps_everything_else(bench: Bench) -> None:
    first = await bench.console(4)
    before = len(bench.media.transactions)
    second = await bench.routing.open_console(restarted(CONSOLE, "newU"), first.session)
    assert isinstance(bench.media.requests[-1], RestartIce)
    assert bench.media.requests[-1].remote_ufrag == "newU"
    assert len(bench.media.transactions) == before
    assert bench.media.requests[-1].local_ufrag in second.sdp
    assert (first.etag, second.etag) == ("ice-1", "ice-2")
    assert bench.transport_of(second) in bench.media.transports


async def test_failed_growth_leaves_the_console_as_it_was(bench: Bench) -> None:
    first = await bench.console(1)
    bench.media.refuse[RestartIce] = "unknown_transport"
    with pytest.raises(Unavailable):
        await bench.routing.open_console(restarted(console(4), "newU"), first.session)
    assert len(bench.sinks(first)) == 1
    again = await bench.routing.open_console(console(4), first.session)
    assert len(bench.sinks(again)) == 4


# ---- ICE restart, re-offers, closing ----


async def test_phone_offers_again(bench: Bench) -> None:
    first = await bench.publisher()
    transport = bench.transport_of(first)
    second = await bench.routing.offer_again(first.session, restarted(PUBLISH, "newU"))
    assert isinstance(bench.media.requests[-1], RestartIce)
    assert (second.session, bench.transport_of(second)) == (first.session, transport)
    before = len(bench.media.requests)
    third = await bench.routing.offer_again(first.session, restarted(PUBLISH, "newU"))
    assert len(bench.media.requests) == before  # nothing new for media
    assert bench.transport_of(third) == transport
    with pytest.raises(Conflict, match="certificate"):
        await bench.routing.offer_again(first.session, sdp("chromium-publish-data-channel"))
    assert bench.view().live


async def test_trickle_and_restart_by_fragment(bench: Bench) -> None:
    answer = await bench.publisher()
    known = re.findall(r"a=ice-ufrag:(\S+)", PUBLISH)[0]
    password = re.findall(r"a=ice-pwd:(\S+)", PUBLISH)[0]
    candidate = "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.60 5 typ host\r\n"
    assert await bench.routing.trickle(answer.session, candidate) is None
    same = f"a=ice-ufrag:{known}\r\na=ice-pwd:{password}\r\n{candidate}"
    assert await bench.routing.trickle(answer.session, same) is None
    restart = await bench.routing.trickle(answer.session, same.replace(known, "newU"))
    assert restart is not None
    assert restart.etag == "ice-2"
    request = bench.media.requests[-1]
    assert isinstance(request, RestartIce)
    assert f"a=ice-ufrag:{request.local_ufrag}\r\na=ice-pwd:{request.local_password}\r\n" in restart.fragment
    assert "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:1 1 udp" in restart.fragment
    with pytest.raises(BadSdp):
        await bench.routing.trickle(answer.session, "rubbish")
    with pytest.raises(NotFound):
        await bench.routing.trickle(MediaSessionId("nobody"), candidate)


async def test_failed_restart_leaves_the_session(bench: Bench) -> None:
    answer = await bench.publisher()
    bench.media.refuse[RestartIce] = "unknown_transport"
    with pytest.raises(Unavailable):
        await bench.routing.restart_ice(answer.session, "newU", "p" * 22)
    assert (await bench.routing.restart_ice(answer.session, "newU", "p" * 22)).etag == "ice-2"
    assert bench.view().live


async def test_closing_a_stream_closes_publisher_and_viewers_but_no_console(bench: Bench) -> None:
    publisher = await bench.publisher()
    viewer = await bench.routing.play(CAM, PLAY)
    tab = await bench.console()
    await bench.routing.set_slots(tab.session, [SlotWish(slot=0, stream=CAM, height=360)])
    tab_transport = bench.transport_of(tab)
    await bench.routing.close_stream(CAM, "ended_by_officer")
    assert bench.heard.of(publisher.session)[-1] == ("closed", "ended_by_officer")
    assert bench.heard.of(viewer.session)[-1] == ("closed", "ended_by_officer")
    assert set(bench.media.transports) == {tab_transport}
    assert bench.heard.slot(tab.session, 0).reason == "ended_by_officer"
    await bench.routing.close_stream(StreamId("nobody"), "revoked")
    await bench.routing.close(MediaSessionId("nobody"), "closed")


# ---- cameras ----


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


# ---- the death of media ----


async def test_media_dies_and_comes_back() -> None:
    async with running() as bench:
        publisher = await bench.publisher()
        tab = await bench.console()
        await bench.routing.pull(DRONE, "rtsp://192.168.10.7/1", "", "", "tcp")
        bench.media.die()
        await until(lambda: not bench.routing.up.is_set())
        for answer in (publisher, tab):
            assert bench.heard.of(answer.session)[-1] == ("lost", "media_restarted")
        assert bench.routing.streams() == ()
        with pytest.raises(Unavailable) as caught:
            await bench.routing.publish(CAM, PUBLISH, "whip")
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("media_away", 503, 1.0)

        again = FakeMedia()
        serving = asyncio.create_task(bench.routing.serve(again))
        await asyncio.wait_for(bench.routing.up.wait(), 2)
        bench.media = again
        await bench.settle()
        assert [pull.url for pull in again.pulls.values()] == ["rtsp://192.168.10.7/1"]
        assert bench.routing.ports == (40_001, 40_002)
        second = await bench.publisher()
        assert bench.view().session == second.session
        with pytest.raises(NotFound):
            await bench.routing.open_console(CONSOLE, tab.session)
        again.die()
        await asyncio.wait_for(serving, 2)


async def test_ports_that_are_taken() -> None:
    media = FakeMedia()
    media.refuse[Apply] = "AddListener: port 8443: address already in use"
    routing = Routing(RoutingSettings(udp_port=8443), Listening(), SystemClock(), list)
    with pytest.raises(PortUnavailable, match="already in use"):
        await routing.serve(media)


async def test_faulty_listener_ends_nothing(bench: Bench) -> None:
    def broken(session: MediaSessionId, step: str) -> None:
        raise ZeroDivisionError

    bench.heard.at_step = broken
    await bench.publisher()
    assert bench.view().live
    assert bench.routing.statistics()["listener_failed_total"] == 3


# ---- overload (P14) ----


class Busy:
    """Lets media use a share of a core for some seconds."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.time = self.cpu = 0.0

    async def __call__(self, share: float, seconds: int) -> None:
        for _ in range(seconds):
            self.time += 1.0
            self.cpu += share
            engine = EngineStatistics(transports=(), sources=(), sinks=(), counters={})
            self.bench.media.say(
                Statistics(
                    number=0,
                    time=self.time,
                    cpu_seconds=self.cpu,
                    resident_bytes=1,
                    loop_lag_ms=1.0,
                    engine=engine,
                )
            )
            await self.bench.settle()


@pytest.fixture
async def busy(bench: Bench) -> Busy:
    return Busy(bench)


async def test_a_busy_server_refuses_new_pictures_and_no_voice(busy: Busy) -> None:
    bench = busy.bench
    cam = await bench.publisher(CAM)
    answer = await bench.console()
    await bench.routing.set_slots(
        answer.session, [SlotWish(slot=0, stream=CAM, height=360), SlotWish(slot=3, stream=DRONE, height=360)]
    )
    await busy(0.85, 10)
    for refused in (
        bench.routing.publish(StreamId("other"), PUBLISH, "whip"),
        bench.routing.play(CAM, PLAY),
    ):
        with pytest.raises(Overloaded, match="too busy for further pictures; talk goes on") as caught:
            await refused
        assert caught.value.retry_after
    await bench.routing.open_voice(VOICE, None)
    drone = await bench.publisher(DRONE)  # a console waits for it
    sinks = bench.sinks(answer)
    assert bench.media.feeds(sinks[3][1]) == bench.sources(drone)[1]
    # a further picture waits, its sound does not; another in the place of one that is shown does neither
    await bench.routing.set_slots(answer.session, [SlotWish(slot=1, stream=CAM, height=360)])
    assert (bench.media.feeds(sinks[1][0]), bench.media.feeds(sinks[1][1])) == (bench.sources(cam)[0], 0)
    assert bench.heard.slot(answer.session, 1) == SlotState(state="waiting", stream=CAM, reason="overloaded")
    await bench.routing.set_slots(answer.session, [SlotWish(slot=0, stream=DRONE, height=360)])
    assert bench.media.feeds(sinks[0][1]) == bench.sources(drone)[1]
    await busy(0.3, 10)
    assert bench.media.feeds(sinks[1][1]) == bench.sources(cam)[1]
    await bench.routing.play(CAM, PLAY)


async def test_an_overloaded_server_lets_spectators_go_first_then_what_matters_least(busy: Busy) -> None:
    bench = busy.bench
    cam = await bench.publisher(CAM)
    desk, first, second = (
        await bench.console(),
        await bench.routing.play(CAM, PLAY),
        await bench.routing.play(CAM, PLAY),
    )
    voice = await bench.routing.open_voice(VOICE, None)
    await bench.routing.set_slots(
        desk.session,
        [SlotWish(slot=slot, stream=CAM, height=360, priority=9 - slot) for slot in range(3)],
    )
    sinks = bench.sinks(desk)

    def shown() -> list[bool]:
        return [bench.media.feeds(video) == bench.sources(cam)[1] for _, video in sinks[:3]]

    await busy(0.99, 7)
    assert bench.heard.of(second.session)[-1] == ("closed", "overloaded")
    assert bench.heard.of(first.session)[-1] != ("closed", "overloaded")
    assert shown() == [True, True, True]
    await busy(0.99, 3)
    assert bench.heard.of(first.session)[-1] == ("closed", "overloaded")
    await busy(0.99, 3)
    assert shown() == [True, True, False]
    await busy(0.99, 3)
    assert shown() == [True, False, False]
    assert bench.heard.slot(desk.session, 1).reason == "overloaded"
    assert all(bench.media.feeds(audio) == bench.sources(cam)[0] for audio, _ in sinks[:3])  # sound stays
    assert bench.heard.of(voice.session) == [("signalled", "")]
    await busy(0.3, 6)
    back = shown()
    assert back[:2] == [True, True]  # what matters more comes back first
    await busy(0.3, 6)
    assert shown() == [True, True, True]
