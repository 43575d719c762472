"""A simulated IP camera: a scene served by GStreamer's RTSP server in a child process."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from media.agent.scene import Scene
from media.agent.tracks import LOCAL_TIME

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has gi
SERVER = Path(__file__).with_name("rtsp_server.py")


class CameraUnavailable(Exception):
    """GStreamer's RTSP server cannot be started; says what to install."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """`video`: h264, h264-bframes or mjpeg; `audio`: none, pcma, pcmu or aac. With `user` it asks for digest log-in."""

    scene: Scene
    port: int = 0
    video: str = "h264"
    audio: str = "pcma"
    user: str = ""
    password: str = ""
    rate: int = 15


class SimulatedCamera:
    """`async with SimulatedCamera(settings) as camera`: serves until the block ends. `camera.url` has no password."""

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._process: asyncio.subprocess.Process | None = None
        self._feeder: asyncio.Task[None] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    @property
    def password(self) -> str:
        return self._settings.password

    async def __aenter__(self) -> SimulatedCamera:
        s = self._settings
        arguments = {
            "--port": str(s.port),
            "--width": str(s.scene.width),
            "--height": str(s.scene.height),
            "--rate": str(s.rate),
            "--video": s.video,
            "--audio": s.audio,
            "--user": s.user,
        }
        self._process = await asyncio.create_subprocess_exec(
            SYSTEM_PYTHON,
            str(SERVER),
            *(f"{name}={value}" for name, value in arguments.items()),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stdin is not None  # noqa: S101  asked for above
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(s.password.encode() + b"\n")
        line = await asyncio.wait_for(self._process.stdout.readline(), 20)
        if not line.strip().isdigit():
            reason = await self._stderr()
            await self.__aexit__()
            raise CameraUnavailable(
                "the simulated camera needs GStreamer's RTSP server "
                f"(Debian: python3-gst-1.0 gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-ugly): {reason}"
            )
        self.port = int(line)
        self._feeder = asyncio.create_task(self._feed(self._process.stdin))
        return self

    async def _stderr(self) -> str:
        assert self._process is not None  # noqa: S101  only called after the start
        assert self._process.stderr is not None  # noqa: S101
        return (await self._process.stderr.read(2000)).decode(errors="replace").strip()[-300:]

    async def _feed(self, pipe: asyncio.StreamWriter) -> None:
        s = self._settings
        start, count = time.monotonic(), 0
        while True:
            now = time.time()
            clock = datetime.fromtimestamp(now, LOCAL_TIME).strftime("%H:%M:%S.%f")[:-5]
            try:
                pipe.write(s.scene.frame(now, clock).tobytes())
                await pipe.drain()
            except ConnectionError:
                return  # the server process has gone
            count += 1
            await asyncio.sleep(max(0.0, start + count / s.rate - time.monotonic()))

    async def __aexit__(self, *_: object) -> None:
        if self._feeder is not None:
            self._feeder.cancel()
            await asyncio.gather(self._feeder, return_exceptions=True)
        if self._process is not None:
            if self._process.returncode is None:
                self._process.terminate()
            await self._process.communicate()  # reads to the end, so that the pipes close
