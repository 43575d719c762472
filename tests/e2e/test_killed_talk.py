"""P15 through a whole talk run: all of the server is killed while somebody speaks; then the words are found again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from support.running_server import Account, RunningServer, family, running_server
from support.talking import decoding_complaints, loudness, pitch, probed, samples
from support.voice_client import Radio, has, phone_token, radio
from support.waiting import until

pytestmark = pytest.mark.e2e
EVERYBODY = "全员"
PITCH = 1000.0


async def killed_while_talking(server: RunningServer, admin: Account, after: float) -> float:
    """Somebody speaks for so long, then everything of the server dies at once; s of words sent until then."""
    async with AsyncExitStack() as stack:
        officer: Radio = await stack.enter_async_context(radio(server, admin))
        token = await phone_token(officer, f"{after:.6f} 号")
        phone: Radio = await stack.enter_async_context(radio(server, token=token, pitch=PITCH))
        for each in (phone, officer):
            await each.tune(EVERYBODY)
        assert (await phone.press(EVERYBODY))[0]["state"] == "granted"
        await until(lambda: has(officer.ears.all(), PITCH))
        await asyncio.sleep(max(0.0, phone.microphone.pressed_at + after - time.monotonic()))
        for pid in family(server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        spoken = time.monotonic() - phone.microphone.pressed_at
        phone.microphone.stop_speaking()
        await server.process.wait()
    return spoken


async def found_again(server: RunningServer, admin: Account, began: float) -> dict[str, Any]:
    """The newest spurt once it is no longer said to go on; at most 10 s after the start."""
    async with radio(server, admin, path=False) as officer:
        while True:
            (newest, *_) = (await officer.do("spurt.search", limit=5))["spurts"]
            if newest["state"] != "recording":
                assert time.monotonic() - began < 10.0
                found: dict[str, Any] = newest
                return found
            assert time.monotonic() - began < 20.0
            await asyncio.sleep(0.1)


async def kills(tmp_path: Path, count: int) -> None:
    chance = random.Random(15)
    async with running_server(server={"log_level": "warning"}) as server:
        admin = await server.setup_admin()
        for run in range(count):
            after = chance.uniform(1.2, 3.5)
            spoken = await killed_while_talking(server, admin, after)
            await server.restart()
            began = time.monotonic()
            admin = await server.login()
            spurt = await found_again(server, admin, began)
            assert (spurt["state"], spurt["talker"]["name"]) == ("cut", f"{after:.6f} 号")
            file = tmp_path / f"{run}.ogg"
            async with admin.client.get(f"{server.url}/recordings/{spurt['id']}") as answer:
                assert answer.status == 200
                file.write_bytes(await answer.read())
            print(f"{spoken:.2f} s spoken, {spurt['duration']:.2f} s recorded")
            assert spoken - 1.0 <= spurt["duration"] <= spoken + 0.1
            assert abs(probed(file) - spurt["duration"]) < 0.03
            assert decoding_complaints(file) == ""
            sound = samples(file)
            assert loudness(sound, 0.0, 0.1) > 0.1
            assert abs(pitch(sound, 0.1, spurt["duration"]) - PITCH) < 3


async def test_the_words_of_a_talker_survive_the_death_of_the_server(tmp_path: Path) -> None:
    await kills(tmp_path, 2)


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_fifty_deaths(tmp_path: Path) -> None:
    await kills(tmp_path, 50)
