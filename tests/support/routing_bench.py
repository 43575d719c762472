"""Routing against a strict fake of the media process, with what listeners hear, and offers of a real browser."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from media.protocol import LayerState, TransportLost, TransportStep
from media.relay.messages import Address, CloseReason, Codec, MediaKind
from server.clock import SystemClock
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import Answer, RecordingReport, SlotState, StreamView
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from server.video.admission import CameraPolicy
from support.fake_media_link import FakeMedia

DATA = Path(__file__).resolve().parents[1] / "data" / "sdp"
CAM = StreamId("cam-1")
DRONE = StreamId("drone-1")
REMOTE = Address("192.0.2.60", 50_000)


def sdp(name: str) -> str:
    return (DATA / f"{name}.offer.sdp").read_text(encoding="utf-8")


PUBLISH = sdp("chromium-publish-simulcast")
PLAY = sdp("chromium-play")
CONSOLE = sdp("chromium-console-4")


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

    def voice_activity(self, session: MediaSessionId, active: bool, clipped: float) -> None:
        raise AssertionError("nobody speaks here")

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
