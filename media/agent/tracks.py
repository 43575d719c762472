"""What an agent can publish: a simulated scene, a file, a capture device or an RTSP camera."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

import av
from aiortc import MediaStreamTrack
from aiortc.contrib.media import MediaPlayer

from media.agent.scene import SAMPLE_RATE, Scene

LOCAL_TIME = ZoneInfo("Asia/Shanghai")
AUDIO_FRAME = SAMPLE_RATE // 50  # 20 ms


class SourceError(Exception):
    """The thing to publish cannot be opened: `source` and the reason in words."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"cannot open {source}: {reason}")
        self.source = source
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Tracks:
    """What was opened. Either may be None, not both. `close` releases the device or file."""

    video: MediaStreamTrack | None
    audio: MediaStreamTrack | None
    close: Callable[[], None]


class SceneVideo(MediaStreamTrack):
    """A scene in real time at `rate` pictures a second; late pictures are skipped, never queued."""

    kind = "video"

    def __init__(self, scene: Scene, rate: int) -> None:
        super().__init__()
        self._scene = scene
        self._rate = rate
        self._start = time.monotonic()
        self._count = 0

    async def recv(self) -> av.VideoFrame:
        due = self._start + self._count / self._rate
        late = time.monotonic() - due
        if late < 0:
            await asyncio.sleep(-late)
        elif late > 1 / self._rate:
            self._count += int(late * self._rate)
        wallclock = time.time()
        clock = datetime.fromtimestamp(wallclock, LOCAL_TIME).strftime("%H:%M:%S.%f")[:-5]
        frame = av.VideoFrame.from_ndarray(self._scene.frame(wallclock, clock), format="rgb24").reformat(
            format="yuv420p"
        )
        frame.pts = self._count * 90_000 // self._rate
        frame.time_base = fractions.Fraction(1, 90_000)
        self._count += 1
        return frame


class SceneAudio(MediaStreamTrack):
    """A scene's tone in real time, 20 ms frames."""

    kind = "audio"

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene
        self._start = time.monotonic()
        self._samples = 0

    async def recv(self) -> av.AudioFrame:
        wait = self._start + self._samples / SAMPLE_RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        frame = av.AudioFrame(format="s16", layout="mono", samples=AUDIO_FRAME)
        frame.planes[0].update(self._scene.tone(self._samples, AUDIO_FRAME).tobytes())
        frame.sample_rate = SAMPLE_RATE
        frame.pts = self._samples
        frame.time_base = fractions.Fraction(1, SAMPLE_RATE)
        self._samples += AUDIO_FRAME
        return frame


def open_scene(scene: Scene, rate: int = 15) -> Tracks:
    return Tracks(video=SceneVideo(scene, rate), audio=SceneAudio(scene), close=lambda: None)


def open_source(source: str) -> Tracks:
    """Open a file (looped), `/dev/videoN` (V4L2) or an `rtsp://` address. Blocks for up to 10 s.

    Raises:
        SourceError: it is not there, cannot be read or has neither sound nor picture.
    """
    options: dict[str, str] = {}
    form: str | None = None
    loop = False
    if source.startswith(("rtsp://", "rtsps://")):
        options = {"rtsp_transport": "tcp", "timeout": "10000000"}
    elif source.startswith("/dev/"):
        form, options = "v4l2", {"video_size": "1280x720", "framerate": "25"}
    elif "://" in source:
        raise SourceError(
            source.split("://", 1)[0] + "://…", "only files, /dev/video… and rtsp:// can be published"
        )
    else:
        loop = True
    try:
        player = MediaPlayer(source, format=form, options=options, loop=loop)
    except (av.FFmpegError, OSError) as error:
        raise SourceError(_without_password(source), str(error.strerror or error)) from error
    if player.video is None and player.audio is None:
        raise SourceError(_without_password(source), "there is neither picture nor sound in it")

    def close() -> None:
        for track in (player.video, player.audio):
            if track is not None:
                track.stop()

    return Tracks(video=player.video, audio=player.audio, close=close)


def _without_password(source: str) -> str:
    scheme, separator, rest = source.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else source
