"""The simulated camera is a real RTSP server: an ordinary client plays it, and a wrong password is refused."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import quote

import av
import pytest

from media.agent import colour_code
from media.agent.rtsp_camera import CameraSettings, SimulatedCamera
from media.agent.scene import Scene

SCENE = Scene(name="水库大坝", number=9)


def play(url: str, pictures: int) -> list[tuple[int, float] | None]:
    with av.open(url, options={"rtsp_transport": "tcp", "probesize": "65536"}, timeout=15) as container:
        seen = []
        for frame in container.decode(video=0):
            seen.append(colour_code.read(frame.to_ndarray(format="gray")))
            if len(seen) == pictures:
                return seen
    return seen


async def test_camera_with_login_is_played_and_refuses_a_wrong_password() -> None:
    settings = CameraSettings(scene=SCENE, user="op", password="pw 1:x", audio="aac")
    async with SimulatedCamera(settings) as camera:
        with pytest.raises(av.FFmpegError) as refused:
            await asyncio.to_thread(play, camera.url.replace("://", "://op:wrong@"), 1)
        assert "401" in str(refused.value)
        right = camera.url.replace("://", f"://op:{quote(settings.password, safe='')}@")
        seen = await asyncio.to_thread(play, right, 20)
        newest = seen[-1]
        assert newest is not None
        assert newest[0] == 9
        assert abs(colour_code.age(newest[1], time.time())) < 5
        assert len({code for code in seen if code}) > 10
