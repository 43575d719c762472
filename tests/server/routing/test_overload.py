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
