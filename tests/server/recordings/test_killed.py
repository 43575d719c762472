"""P15: the whole server killed at random times; the next start plays and finds what was said to within a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from server.clock import SystemClock
from server.model.ids import SpurtId
from server.recordings.index import SpurtIndex
from server.recordings.recorder import SpurtRecorder
from server.recordings.spurts import SpurtState
from server.recordings.verify import verify
from server.storage.engine import open_database
from support.processes import children, until_gone
from support.talking import decoding_complaints, loudness, pitch, probed, samples
from support.waiting import until

ROOT = Path(__file__).resolve().parents[3]
SERVER = ROOT / "tests" / "support" / "recording_server.py"


async def killed(folder: Path, after: float, *, everything: bool) -> tuple[SpurtId, float]:
    """A server that was killed `after` s of speech: the spurt, and s that were sent indeed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVER),
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
    )
    assert process.stdout is not None
    told = json.loads(await asyncio.wait_for(process.stdout.readline(), 30))
    control, media = told["pids"]
    sent = 0
    while sent * 0.02 < after:
        sent = int(await process.stdout.readline())
    workers = children(media)
    for pid in (control, media, *workers) if everything else (control,):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    while line := await process.stdout.readline():
        sent = int(line)
    await process.wait()
    for pid in workers:  # the recorder that is left closes its file, as it would while a server starts
        await until_gone(pid, 5.0)
    return SpurtId(told["spurt"]), sent * 0.02


async def once(folder: Path, after: float, *, everything: bool) -> None:
    os.makedirs(folder)
    spurt_id, sent = await killed(folder, after, everything=everything)
    async with open_database("", folder) as database:
        index = SpurtIndex(database)
        recorder = SpurtRecorder(index, SystemClock(), folder / "recordings")
        changed: list[object] = []
        recorder.on_changed(changed.append)
        tasks = [asyncio.create_task(run()) for run in (index.run, recorder.run)]
        began = time.monotonic()
        await until(lambda: changed, 10.0)
        assert time.monotonic() - began < 10.0
        spurt = await recorder.get(spurt_id)
        assert spurt is not None
        assert (spurt.state, spurt.detail) == (SpurtState.CUT, "server_stopped")
        file = folder / "recordings" / spurt.path
        assert abs(probed(file) - spurt.duration) < 0.03
        assert sent - 1.0 <= spurt.duration <= sent + 0.1
        if not everything:
            assert spurt.duration >= sent - 0.1
        assert decoding_complaints(file) == ""
        sound = samples(file)
        assert loudness(sound, 0.0, 0.02) > 0.1
        assert abs(pitch(sound, 0.0, spurt.duration) - 440) < 2
        assert (await verify(folder / "recordings", spurt)).problem == ""
        found = await recorder.latest("g1")
        assert found is not None
        assert found.id == spurt_id
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("everything", [True, False])
async def test_the_server_is_killed(tmp_path: Path, everything: bool) -> None:
    chance = random.Random(15)
    for run in range(5 if everything else 2):
        await once(tmp_path / str(run), chance.uniform(1.2, 3.0), everything=everything)
