"""Sound paths: a microphone's routes, its recording, and what is told of it, against a strict fake of media."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from media.protocol import RECORDER_TAP, StartRecording, StopRecording, TransportLost, VoiceState
from media.relay.messages import AddSink, AddSource, CloseReason, Codec, RemoveSink
from media.sdp.errors import WrongDirection, WrongSections
from server.clock import SystemClock
from server.media_events import MediaEvents
from server.model.errors import NotFound, Overloaded
from server.model.ids import MediaSessionId
from server.model.ports import Answer, DispatchNode, VoiceListener, VoiceRoute
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from support.fake_media_link import FakeMedia
from support.routing_bench import sdp
from support.waiting import until

OFFER = sdp("chromium-voice")


class Site:
    """Routing over a fake media process, with what a listener heard."""

    def __init__(self, media: FakeMedia, routing: Routing, events: MediaEvents) -> None:
        self.media = media
        self.routing = routing
        self.spoke: list[tuple[MediaSessionId, bool, float]] = []
        events.on_voice_activity(lambda *heard: self.spoke.append(heard))

    async def path(self) -> Answer:
        return await self.routing.open_voice(OFFER, None)

    def source(self, number: int = 0) -> AddSource:
        return list(self.media.sources.values())[number]

    def sinks(self, number: int = 0) -> list[AddSink]:
        """Voice slots of the path that was opened as the n-th."""
        transports = list(self.media.transports)
        return [sink for sink in self.media.sinks.values() if sink.transport == transports[number]]

    def heard(self, number: int = 0) -> tuple[int, ...]:
        return self.media.routes.get(self.source(number).source, ())


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    events, media = MediaEvents(), FakeMedia()
    settings = RoutingSettings(sound_paths=3)
    routing: Routing = Routing(settings, events, SystemClock(), lambda: ["192.0.2.20"])
    task = asyncio.create_task(routing.serve(media))
    await until(routing.up.is_set)
    yield Site(media, routing, events)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def listener(answer: Answer, slot: int = 0) -> VoiceListener:
    return VoiceListener(session=answer.session, slot=slot)


async def test_routing_is_all_that_a_server_asks_of_media(site: Site) -> None:
    node: DispatchNode = site.routing
    assert node is site.routing


async def test_a_sound_path_is_a_held_microphone_eight_slots_and_a_tap(site: Site) -> None:
    answer = await site.path()
    assert [(slot.slot, slot.audio_mid, slot.video_mid) for slot in answer.slots] == [
        (slot, str(slot + 1), "") for slot in range(8)
    ]
    assert site.source().hold == 1.5
    assert [codec.codec for codec in site.source().codecs] == [Codec.RED, Codec.OPUS]
    assert len(site.sinks()) == 8
    assert {sink.codecs[0].codec for sink in site.sinks()} == {Codec.RED}
    assert [sink.tap for sink in site.media.sinks.values() if sink.tap] == [RECORDER_TAP]


async def test_a_route_names_its_listeners_and_the_recording_starts_before_it(site: Site) -> None:
    talker, first, second = await site.path(), await site.path(), await site.path()
    route = VoiceRoute(
        talker=talker.session,
        listeners=(listener(first, 2), listener(second)),
        recording="spurt-1",
        path="2026/spurt-1.ogg",
    )
    await site.routing.route_voice([route])
    tap = next(sink.sink for sink in site.media.sinks.values() if sink.tap)
    assert site.heard() == (site.sinks(1)[2].sink, site.sinks(2)[0].sink, tap)
    order = [type(request).__name__ for request in site.media.requests]
    assert order.index("StartRecording") == len(order) - 2
    await site.routing.route_voice([VoiceRoute(talker=talker.session)])
    assert site.heard() == ()
    assert [request.recording for request in site.media.requests if isinstance(request, StopRecording)] == [
        "spurt-1"
    ]


async def test_a_recording_goes_on_over_changed_listeners(site: Site) -> None:
    talker, other = await site.path(), await site.path()
    for listeners in ((), (listener(other),)):
        await site.routing.route_voice(
            [VoiceRoute(talker=talker.session, listeners=listeners, recording="a", path="a.ogg")]
        )
    starts = [request for request in site.media.requests if isinstance(request, StartRecording)]
    assert [start.recording for start in starts] == ["a"]


async def test_a_listener_that_is_gone_is_left_out_and_a_talker_s_recording_ends(site: Site) -> None:
    talker, other = await site.path(), await site.path()
    await site.routing.close(other.session, "closed")
    await site.routing.route_voice(
        [VoiceRoute(talker=talker.session, listeners=(listener(other),), recording="a", path="a.ogg")]
    )
    assert len(site.heard()) == 1
    await site.routing.close(talker.session, "closed")
    assert isinstance(site.media.transactions[-1][-1], RemoveSink)
    await site.routing.route_voice([VoiceRoute(talker=talker.session)])
    assert [request for request in site.media.requests if isinstance(request, StopRecording)]


async def test_who_speaks_is_told_by_session(site: Site) -> None:
    talker = await site.path()
    site.media.say(VoiceState(source=site.source().source, active=True, clipped=-1.0))
    site.media.say(VoiceState(source=site.source().source, active=False, clipped=0.25))
    site.media.say(VoiceState(source=9999, active=True, clipped=0.0))
    await until(lambda: len(site.spoke) == 2)
    assert site.spoke == [(talker.session, True, -1.0), (talker.session, False, 0.25)]


async def test_a_lost_path_is_told_and_counts_no_longer(site: Site) -> None:
    for _ in range(3):
        await site.path()
    with pytest.raises(Overloaded):
        await site.path()
    site.media.say(
        TransportLost(transport=next(iter(site.media.transports)), reason=CloseReason.CONSENT_LOST)
    )
    await until(lambda: site.routing.statistics()["sound_paths"] == 2)
    await site.path()


async def test_a_further_offer_restarts_ice_and_keeps_the_sections(site: Site) -> None:
    answer = await site.path()
    again = await site.routing.open_voice(OFFER.replace("a=ice-ufrag:", "a=ice-ufrag:x"), answer.session)
    assert again.session == answer.session
    assert again.etag != answer.etag
    with pytest.raises(NotFound):
        await site.routing.open_voice(OFFER, MediaSessionId("nobody"))


async def test_a_path_without_a_microphone_is_refused_in_words(site: Site) -> None:
    with pytest.raises(WrongDirection, match="must send"):
        await site.routing.open_voice(OFFER.replace("a=sendonly", "a=recvonly"), None)
    sections = OFFER.split("m=audio")
    with pytest.raises(WrongSections):
        await site.routing.open_voice("m=audio".join(sections[:2]).replace(" 1 2 3 4 5 6 7 8", ""), None)
