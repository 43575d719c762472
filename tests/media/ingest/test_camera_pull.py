"""Cameras pulled for real: GStreamer's RTSP server → worker process → engine → a peer that decodes what it gets."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest

from media.agent import colour_code
from media.agent.rtsp_camera import CameraSettings, SimulatedCamera
from media.agent.scene import Scene
from media.ingest.workers import WorkerPulls
from media.protocol import PullState, StartPull
from media.relay.engine_python import PythonEngine
from media.relay.messages import AddSink, AddSource, MediaKind, SetRoutes
from media.rtp.h264 import pieces
from support.relay import H264, OPUS, TO_H264, TO_OPUS, Bench, Peer
from support.waiting import until

pytestmark = pytest.mark.e2e

SCENE = Scene(name="水库大坝", number=77)
VIDEO, AUDIO = 11, 12


class Pulling:
    """An engine with one camera's sources, a viewer of both, and the supervisor under test."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(PythonEngine(asyncio.get_running_loop()), host="127.0.0.1")
        self.states: list[PullState] = []
        self.pulls = WorkerPulls(
            folder, 1.0, 60.0, lambda commands: self.bench.attempt(*commands).error, self.states.append
        )
        self.task = asyncio.create_task(self.pulls.run())
        self.viewer: Peer = self.bench.peer(1)
        self.bench.apply(
            AddSource(source=VIDEO, transport=0, kind=MediaKind.VIDEO, mid="", codecs=(H264,)),
            AddSource(source=AUDIO, transport=0, kind=MediaKind.AUDIO, mid="", codecs=(OPUS,)),
            AddSink(sink=21, kind=MediaKind.VIDEO, transport=1, codecs=(TO_H264,), mid="1", ssrc=501),
            AddSink(sink=22, kind=MediaKind.AUDIO, transport=1, codecs=(TO_OPUS,), mid="0", ssrc=502),
            SetRoutes(source=VIDEO, revision=1, sinks=(21,)),
            SetRoutes(source=AUDIO, revision=1, sinks=(22,)),
        )

    def start(self, camera: SimulatedCamera, *, password: str = "", transport: str = "tcp") -> None:
        problem = self.pulls.start(
            StartPull(
                number=1,
                pull=5,
                url=camera.url,
                username="op" if password else "",
                password=password,
                addresses=("127.0.0.1",),
                transport=transport,
                video_source=VIDEO,
                audio_source=AUDIO,
            )
        )
        assert problem == ""

    def said(self, **facts: object) -> bool:
        return any(all(getattr(state, k) == v for k, v in facts.items()) for state in self.states)

    def seen(self) -> list[tuple[int, float]]:
        """What the pictures that the viewer got say of themselves."""
        decoder = av.CodecContext.create("h264", "r")
        found = []
        unit = b""
        for packet in sorted(self.viewer.of(501), key=lambda packet: packet.sequence):
            for piece in pieces(packet.payload):
                unit += b"\0\0\0\1" + piece.unit() if piece.first else piece.body
            if packet.marker:
                for frame in decoder.decode(av.Packet(unit)):
                    found.append(colour_code.read(frame.to_ndarray(format="gray")))
                unit = b""
        return [code for code in found if code is not None]


@pytest.fixture
async def pulling(tmp_path: Path) -> AsyncIterator[Pulling]:
    made = Pulling(tmp_path)
    yield made
    made.task.cancel()
    await asyncio.gather(made.task, return_exceptions=True)
    made.bench.close()


@pytest.mark.parametrize(("transport", "audio"), [("tcp", "pcma"), ("udp", "aac")])
async def test_picture_arrives_untouched_and_sound_as_opus(
    pulling: Pulling, transport: str, audio: str
) -> None:
    async with SimulatedCamera(CameraSettings(scene=SCENE, audio=audio)) as camera:
        pulling.start(camera, transport=transport)
        await until(lambda: len(pulling.viewer.of(501)) > 60 and len(pulling.viewer.of(502)) > 60, 20)
    seen = pulling.seen()
    assert {number for number, _ in seen} == {77}
    assert len({drawn for _, drawn in seen}) > 10
    assert abs(colour_code.age(seen[-1][1], time.time())) < 10
    assert pulling.said(state="live", video_codec="h264", b_frames=False)
    opus = av.CodecContext.create("libopus", "r")
    samples = sum(
        frame.samples for packet in pulling.viewer.of(502) for frame in opus.decode(av.Packet(packet.payload))
    )
    assert samples >= 60 * 960


async def test_camera_that_goes_away_comes_back(pulling: Pulling) -> None:
    settings = CameraSettings(scene=SCENE, audio="none")
    async with SimulatedCamera(settings) as camera:
        pulling.start(camera)
        await until(lambda: len(pulling.viewer.of(501)) > 20, 20)
    await until(lambda: pulling.said(state="retrying"), 15)
    before = len(pulling.viewer.of(501))
    async with SimulatedCamera(CameraSettings(scene=SCENE, audio="none", port=camera.port)):
        await until(lambda: len(pulling.viewer.of(501)) > before + 40, 30)
    sequences = [packet.sequence for packet in pulling.viewer.of(501)]
    assert [b - a for a, b in itertools.pairwise(sequences)].count(1) == len(sequences) - 1


async def test_wrong_password_is_said_and_retried_slowly(pulling: Pulling) -> None:
    async with SimulatedCamera(CameraSettings(scene=SCENE, user="op", password="right")) as camera:
        pulling.start(camera, password="wrong")
        await until(lambda: pulling.said(error="unauthorized"), 15)
    refused = next(state for state in pulling.states if state.error == "unauthorized")
    assert refused.retry_in >= 50
    assert "password" in refused.detail
    assert "wrong" not in refused.detail


async def test_b_frames_are_said_in_words(pulling: Pulling) -> None:
    async with SimulatedCamera(CameraSettings(scene=SCENE, video="h264-bframes", audio="none")) as camera:
        pulling.start(camera)
        await until(lambda: pulling.said(state="live", error="b_frames", b_frames=True), 20)


async def test_a_codec_nobody_can_show_is_refused_with_its_name(pulling: Pulling) -> None:
    async with SimulatedCamera(CameraSettings(scene=SCENE, video="mjpeg", audio="none")) as camera:
        pulling.start(camera)
        await until(lambda: pulling.said(error="codec"), 15)
    assert any("mjpeg" in state.detail for state in pulling.states)


async def test_nothing_listens(pulling: Pulling) -> None:
    async with SimulatedCamera(CameraSettings(scene=SCENE)) as camera:
        pass
    pulling.start(camera)
    await until(lambda: pulling.said(state="retrying", error="refused"), 15)


async def test_redirect_is_not_followed(pulling: Pulling) -> None:
    reached = []

    async def elsewhere(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(True)
        writer.close()

    async def camera(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            f"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:{other_port}/x\r\n\r\n".encode()
        )
        await writer.drain()
        await reader.read(1)
        writer.close()

    other = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    other_port = other.sockets[0].getsockname()[1]
    lying = await asyncio.start_server(camera, "127.0.0.1", 0)
    problem = pulling.pulls.start(
        StartPull(
            number=1,
            pull=6,
            url=f"rtsp://127.0.0.1:{lying.sockets[0].getsockname()[1]}/live",
            username="",
            password="",
            addresses=("127.0.0.1",),
            transport="tcp",
            video_source=VIDEO,
            audio_source=AUDIO,
        )
    )
    assert problem == ""
    await until(lambda: pulling.said(error="not_admitted"), 15)
    assert reached == []
    for server in (other, lying):
        server.close()
