"""Recordings asked of media: each is told of as over exactly once, whatever dies; asking fails nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from media.protocol import Apply, RecordingState, StartRecording, StopRecording
from server.clock import SystemClock
from server.media_events import MediaEvents
from server.model.ports import RecordingNode, RecordingReport
from server.routing.joining import recorder_sink
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from support.fake_media_link import FakeMedia
from support.waiting import until


class Bench:
    def __init__(self, media: FakeMedia, routing: Routing, told: list[RecordingReport]) -> None:
        self.media = media
        self.routing = routing
        self.told = told

    def states(self) -> list[tuple[str, str, str]]:
        return [(report.recording, report.state, report.detail) for report in self.told]


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    events, told, media = MediaEvents(), list[RecordingReport](), FakeMedia()
    events.on_recording_state(told.append)
    routing = Routing(RoutingSettings(), events, SystemClock(), list)
    serving = asyncio.create_task(routing.serve(media))
    await asyncio.wait_for(routing.up.wait(), 2)
    yield Bench(media, routing, told)
    media.die()
    await asyncio.wait_for(serving, 2)


def test_routing_is_a_recording_node() -> None:
    def takes(node: RecordingNode) -> None: ...

    takes(Routing(RoutingSettings(), MediaEvents(), SystemClock(), list))


def test_the_recorders_sink_is_on_the_tap_that_the_node_adds() -> None:
    sink = recorder_sink(7)
    assert (sink.sink, sink.tap, sink.transport) == (7, 1, 0)


async def test_the_request_is_written_before_what_is_gathered_behind_it(bench: Bench) -> None:
    bench.media.requests.clear()
    link = bench.routing._lifetimes.link
    await asyncio.gather(
        bench.routing.start_recording("r1", 10, "a/1.ogg"), link.ask(Apply(number=0, commands=()))
    )
    assert [type(request) for request in bench.media.requests] == [StartRecording, Apply]
    assert bench.media.recordings["r1"] == StartRecording(number=0, recording="r1", source=10, path="a/1.ogg")


async def test_what_media_says_is_told_and_the_end_only_once(bench: Bench) -> None:
    assert await bench.routing.start_recording("r1", 10, "1.ogg") == ""
    over = RecordingState(
        recording="r1", state="ended", began=5.0, duration=1.5, bytes=9000, sha256="ab" * 32
    )
    bench.media.say(RecordingState(recording="r1", state="started"), over, over)
    bench.media.say(RecordingState(recording="unknown", state="ended"))
    await until(lambda: len(bench.told) == 2)
    await bench.routing.stop_recording("r1")  # it was over already: not asked for
    assert not any(isinstance(request, StopRecording) for request in bench.media.requests)
    assert bench.told == [
        RecordingReport(recording="r1", state="started"),
        RecordingReport(recording="r1", state="ended", began=5.0, duration=1.5, bytes=9000, sha256="ab" * 32),
    ]


async def test_what_is_refused_has_failed_and_raises_nothing(bench: Bench) -> None:
    bench.media.refuse[StartRecording] = "unavailable"
    assert "unavailable" in await bench.routing.start_recording("r1", 10, "1.ogg")
    assert [state for _, state, _ in bench.states()] == ["failed"]
    assert bench.routing.statistics()["recordings"] == 0


async def test_when_media_dies_all_that_ran_have_failed(bench: Bench) -> None:
    for number in range(3):
        await bench.routing.start_recording(f"r{number}", number, f"{number}.ogg")
    bench.media.say(RecordingState(recording="r0", state="ended"))
    await until(lambda: bench.told)
    bench.media.die()
    await until(lambda: len(bench.told) == 3)
    assert sorted(bench.states())[1:] == [
        ("r1", "failed", "media_restarted"),
        ("r2", "failed", "media_restarted"),
    ]
    assert "starting" in await bench.routing.start_recording("r9", 9, "9.ogg")
