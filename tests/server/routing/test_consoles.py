"""Consoles: slots that show streams, change them and grow without disturbing each other."""

from __future__ import annotations

import re

import pytest

from media.protocol import Apply, LayerState, RestartIce, SetDemands, SinkState
from media.relay.messages import AddSink, CloseReason, Codec, SetRoutes
from media.sdp.errors import WrongSections
from server.model.errors import BadRequest, Conflict, NotFound, Unavailable
from server.model.ids import MediaSessionId
from server.model.ports import SlotState, SlotWish
from support.routing_bench import (
    CAM,
    CONSOLE,
    DRONE,
    PUBLISH,
    Bench,
    console,
    restarted,
)


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
    assert re.findall(r"o=- \d+ (\d+)", first.sdp + second.sdp) == ["1", "2"]
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
