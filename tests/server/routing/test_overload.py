"""Overload (P14): from 80 % of media's core no new picture begins, above it pictures go, and voice never."""

from __future__ import annotations

import pytest

from media.protocol import Statistics
from media.relay.messages import EngineStatistics
from server.model.errors import Overloaded
from server.model.ids import StreamId
from server.model.ports import SlotState, SlotWish
from support.routing_bench import CAM, DRONE, PLAY, PUBLISH, Bench, sdp

VOICE = sdp("chromium-voice")


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
                    busiest_seconds=self.cpu,
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


async def test_a_publisher_that_reconnects_is_let_in_while_a_wall_still_has_its_place(busy: Busy) -> None:
    bench = busy.bench
    cam = await bench.publisher(CAM)
    desk = await bench.console()
    await bench.routing.set_slots(
        desk.session, [SlotWish(slot=0, stream=CAM, height=360, audio=False, priority=1)]
    )
    await busy(0.99, 7)
    assert (
        bench.heard.slot(desk.session, 0).reason == "overloaded"
    )  # its picture is taken away, its place is not
    bench.lose(cam)
    await bench.settle()
    again = await bench.publisher(CAM)
    assert bench.view().session == again.session
    bench.lose(again)
    await bench.routing.set_slots(desk.session, [SlotWish(slot=0, stream=None)])
    await bench.settle()
    with pytest.raises(Overloaded):  # nobody waits for it any more
        await bench.routing.publish(CAM, PUBLISH, "whip")


async def test_the_camera_of_a_unit_in_distress_is_never_refused(busy: Busy) -> None:
    bench = busy.bench
    await bench.publisher(CAM)
    desk = await bench.console()
    await bench.routing.set_urgent([DRONE])
    for name in ("two", "three"):
        await bench.publisher(StreamId(name))
    await busy(0.85, 10)
    drone = await bench.publisher(DRONE)  # as many publishers as there may be are here already
    assert bench.routing.statistics()["publishers"] == 4
    sinks = bench.sinks(desk)
    await bench.routing.set_slots(
        desk.session, [SlotWish(slot=0, stream=DRONE, height=360), SlotWish(slot=1, stream=CAM, height=360)]
    )
    assert [bench.media.feeds(video) for _, video in sinks[:2]] == [bench.sources(drone)[1], 0]
    await bench.routing.play(DRONE, PLAY)
    await bench.routing.set_urgent([])
    with pytest.raises(Overloaded):
        await bench.routing.play(DRONE, PLAY)


async def test_the_camera_of_a_unit_in_distress_goes_last_of_all_and_comes_back_at_once(busy: Busy) -> None:
    bench = busy.bench
    await bench.publisher(CAM)
    drone = await bench.publisher(DRONE)
    desk, viewer = await bench.console(), await bench.routing.play(DRONE, PLAY)
    await bench.routing.set_urgent([DRONE])
    await bench.routing.set_slots(
        desk.session,
        [
            SlotWish(slot=0, stream=DRONE, height=360, priority=0),
            SlotWish(slot=1, stream=CAM, height=360, priority=9),
        ],
    )
    sinks = bench.sinks(desk)

    def shown() -> list[bool]:
        return [bench.media.feeds(video) != 0 for _, video in sinks[:2]]

    await busy(0.99, 7)
    assert shown() == [True, False]
    assert bench.heard.of(viewer.session)[-1] != ("closed", "overloaded")
    await busy(0.99, 3)
    assert bench.heard.of(viewer.session)[-1] == ("closed", "overloaded")
    assert shown() == [True, False]
    await busy(0.99, 3)
    assert shown() == [False, False]  # nothing is left that could go before it
    await bench.routing.set_urgent([])
    await bench.routing.set_urgent([DRONE])
    assert bench.media.feeds(sinks[0][1]) == bench.sources(drone)[1]


async def test_a_camera_is_not_pulled_while_the_server_is_too_busy_and_comes_by_itself(busy: Busy) -> None:
    bench = busy.bench
    await busy(0.85, 10)
    await bench.routing.pull(CAM, "rtsp://192.168.10.7/1", "", "", "tcp")
    await bench.routing.set_urgent([DRONE])
    await bench.routing.pull(DRONE, "rtsp://192.168.10.8/1", "", "", "tcp")
    assert [pull.addresses for pull in bench.media.pulls.values()] == [("192.168.10.8",)]
    view = bench.view()
    assert (view.via, view.step, view.error, view.live) == ("rtsp", "retrying", "overloaded", False)
    desk = await bench.console()
    await bench.routing.set_slots(desk.session, [SlotWish(slot=0, stream=CAM, height=360, audio=False)])
    assert bench.heard.slot(desk.session, 0) == SlotState(state="waiting", stream=CAM, reason="overloaded")
    with pytest.raises(Overloaded, match="too busy for further pictures; talk goes on"):
        await bench.routing.play(CAM, PLAY)
    await bench.routing.set_slots(desk.session, [SlotWish(slot=0, stream=None)])
    await busy(0.85, 5)
    assert len(bench.media.pulls) == 1
    await busy(0.3, 10)
    assert len(bench.media.pulls) == 2
    assert (bench.view().step, bench.view().error) == ("connecting", "")


async def test_cameras_are_paused_as_soon_as_nobody_sees_them(busy: Busy) -> None:
    bench = busy.bench
    for stream in (CAM, DRONE):
        await bench.routing.pull(stream, "rtsp://192.168.10.7/1", "", "", "tcp")
    desk = await bench.console()
    await bench.routing.set_slots(desk.session, [SlotWish(slot=0, stream=CAM, height=360, audio=False)])

    def states() -> list[str]:
        return [bench.view(stream).error or bench.view(stream).step for stream in (CAM, DRONE)]

    await busy(0.99, 7)
    assert states() == ["connecting", "overloaded"]  # what nobody looks at goes first
    assert bench.heard.slot(desk.session, 0).reason == "no_packets"
    await busy(0.99, 3)
    assert states() == ["connecting", "overloaded"]
    assert bench.media.feeds(bench.sinks(desk)[0][1]) == 0  # then the picture on the wall, then its camera
    await busy(0.99, 3)
    assert states() == ["overloaded", "overloaded"]
    assert bench.heard.slot(desk.session, 0).reason == "overloaded"
    assert bench.media.pulls == bench.media.sources == {}
    await bench.routing.set_urgent([DRONE])
    await bench.settle()
    assert states() == ["overloaded", "connecting"]
    await busy(0.3, 7)
    assert states() == ["connecting", "connecting"]
    assert bench.heard.slot(desk.session, 0).reason == "no_packets"
    assert len(bench.media.pulls) == 2
    await bench.routing.close_stream(CAM, "closed")
    assert len(bench.media.pulls) == 1


async def test_a_paused_camera_that_is_to_be_seen_in_anothers_place_is_pulled(busy: Busy) -> None:
    bench = busy.bench
    await bench.publisher(CAM)
    desk = await bench.console()
    await bench.routing.set_slots(desk.session, [SlotWish(slot=0, stream=CAM, height=360)])
    await busy(0.85, 10)
    await bench.routing.pull(DRONE, "rtsp://192.168.10.7/1", "", "", "tcp")
    assert bench.media.pulls == {}
    await bench.routing.set_slots(desk.session, [SlotWish(slot=0, stream=DRONE, height=360)])
    await busy(0.85, 1)
    assert len(bench.media.pulls) == 1
    await bench.routing.pull(
        DRONE, "rtsp://192.168.10.8/1", "", "", "tcp"
    )  # another address, still waited for
    assert [pull.addresses for pull in bench.media.pulls.values()] == [("192.168.10.8",)]
