"""Voices recorded for real: SRTP from a peer, the media process, its worker, a file that other programs play."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media.protocol import RecordingState, StartRecording, StopRecording
from media.settings import MediaSettings
from support.counting_peer import CountingPeer, MakePeer
from support.processes import children, until_gone
from support.relay_by_hand import Relay, spawned_relay
from support.talking import (
    RED_TYPE,
    Talker,
    decoding_complaints,
    loudness,
    pitch,
    probed,
    redundant,
    samples,
    tone,
)


@contextlib.asynccontextmanager
async def recording_relay(folder: Path) -> AsyncIterator[Relay]:
    settings = MediaSettings(statistics_interval=0.25, recordings=str(folder), log_level="warning")
    async with spawned_relay(settings) as relay:
        yield relay


@pytest.fixture
async def relay(tmp_path: Path) -> AsyncIterator[Relay]:
    async with recording_relay(tmp_path / "recordings") as relay:
        yield relay


def worker_of(media: int) -> int:
    """The recorder among a media process's children."""
    for child in children(media):
        if b"media.egress.recorder" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return 0


async def until_ready(relay: Relay, talker: Talker) -> None:
    """Until the worker reads the tap: a recording that nobody speaks into has begun."""
    request = StartRecording(number=0, recording="probe", source=999, path="probe.ogg")
    assert (await relay.media.request(request)).error == ""
    await relay.until(lambda: talker.state("probe", "started") is not None)
    await relay.media.request(StopRecording(number=0, recording="probe"))
    await talker.over("probe")


async def test_a_spurt_is_a_file_that_other_programs_play(
    relay: Relay, peers: MakePeer, tmp_path: Path
) -> None:
    talker = await Talker.open(relay, peers())
    await until_ready(relay, talker)
    speaking = asyncio.create_task(talker.say(tone(3.0)))
    await asyncio.sleep(0.3)  # held: the key was pressed, the grant comes late
    await talker.record("spurt-1", "2026-11-23/abc.ogg")
    await speaking
    await talker.until_tapped(150)  # the held packets leave first, a little faster
    await talker.release("spurt-1")
    told = await talker.over("spurt-1")
    path = tmp_path / "recordings" / "2026-11-23" / "abc.ogg"
    assert told.state == "ended", told
    assert told.detail == ""
    assert (told.bytes, told.sha256) == (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())
    assert abs(told.duration - 3.0) <= 0.001  # not one packet is missing
    assert abs(probed(path) - 3.0) <= 0.06
    assert decoding_complaints(path) == ""
    sound = samples(path)
    assert abs(pitch(sound, 0.0, 0.02) - 440) < 25
    assert abs(pitch(sound, 0.5, 2.5) - 440) < 1
    assert loudness(sound, 0.0, 0.02) > 0.1
    assert abs(told.began - path.stat().st_ctime) < 10
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    started = talker.state("spurt-1", "started")
    assert started is not None


async def test_what_is_lost_is_filled_from_the_redundancy_and_gaps_stay_as_long_as_they_were(
    relay: Relay, peers: MakePeer, tmp_path: Path
) -> None:
    talker = await Talker.open(relay, peers())
    await until_ready(relay, talker)
    await talker.record("r", "r.ogg")
    await talker.say(redundant(tone(1.0)), RED_TYPE, lost=(10, 20, 30, 31, 32, 33, 34, 35))
    talker.pause(1.0)
    await asyncio.sleep(1.0)
    await talker.say(redundant(tone(0.5, 880.0)), RED_TYPE)
    await talker.release("r")
    told = await talker.over("r")
    path = tmp_path / "recordings" / "r.ogg"
    assert told.state == "ended", told
    assert abs(probed(path) - 2.5) <= 0.06
    assert decoding_complaints(path) == ""
    sound = samples(path)
    assert loudness(sound, 0.2, 0.22) > 0.15  # number 10 came with number 11
    assert loudness(sound, 0.65, 0.69) < 0.01  # 30 to 34 did not come at all
    assert loudness(sound, 1.1, 1.9) < 0.001
    assert abs(pitch(sound, 2.05, 2.45) - 880) < 2
    assert loudness(sound, 1.9, 1.99) < 0.001  # the pause is not a packet longer or shorter


async def test_many_at_once_each_get_their_own(relay: Relay, peers: MakePeer, tmp_path: Path) -> None:
    talkers = [await Talker.open(relay, peers(), number) for number in range(1, 6)]
    await until_ready(relay, talkers[0])
    for talker in talkers:
        await talker.record(f"r{talker.source}", f"{talker.source}.ogg")
    await asyncio.gather(*(talker.say(tone(1.0, 300.0 * talker.source)) for talker in talkers))
    for talker in talkers:
        await talker.release(f"r{talker.source}")
    for talker in talkers:
        told = await talker.over(f"r{talker.source}")
        assert (told.state, round(told.duration, 3)) == ("ended", 1.0)
        sound = samples(tmp_path / "recordings" / f"{talker.source}.ogg")
        assert abs(pitch(sound, 0.1, 0.9) - 300.0 * talker.source) < 2


async def test_the_next_recording_of_a_source_ends_the_one_before(
    relay: Relay, peers: MakePeer, tmp_path: Path
) -> None:
    talker = await Talker.open(relay, peers())
    await until_ready(relay, talker)
    await talker.record("first", "1.ogg")
    await talker.say(tone(0.5))
    await talker.until_tapped(25)
    await talker.record("second", "2.ogg")
    await talker.say(tone(0.5, 880.0))
    await talker.release("second")
    assert [round((await talker.over(name)).duration, 2) for name in ("first", "second")] == [0.5, 0.5]


BAD_PATHS = (
    "../x.ogg", "/etc/x.ogg", "a/../../x.ogg", "x.txt", "", ".ogg", "a//b.ogg", "a\0.ogg", "link/x.ogg", "./x.ogg",
    "a/./b.ogg", "x.ogg/", "a" * 65 + ".ogg", "C:\\x.ogg", "%2e%2e/x.ogg", "a/b/c/d/e/f.ogg", "x.ogg\n",
)  # fmt: skip


async def test_a_path_that_leads_elsewhere_is_no_path(relay: Relay, peers: MakePeer, tmp_path: Path) -> None:
    """H24."""
    outside, inside = tmp_path / "outside", tmp_path / "recordings"
    outside.mkdir()
    inside.mkdir(exist_ok=True)
    (inside / "link").symlink_to(outside)
    talker = Talker(relay, 1, 1, peers())
    for number, path in enumerate(BAD_PATHS):
        request = StartRecording(number=0, recording=f"bad{number}", source=1, path=path)
        await relay.media.request(request)
        told = await talker.over(f"bad{number}")
        assert (told.state, told.bytes, told.sha256) == ("failed", 0, ""), path
    assert list(outside.iterdir()) == []
    assert [file.name for file in inside.iterdir()] == ["link"]


async def test_a_file_that_exists_is_not_touched(relay: Relay, peers: MakePeer, tmp_path: Path) -> None:
    kept = tmp_path / "recordings" / "kept.ogg"
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(b"evidence")
    talker = Talker(relay, 1, 1, peers())
    await relay.media.request(StartRecording(number=0, recording="r", source=1, path="kept.ogg"))
    assert (await talker.over("r")).state == "failed"
    assert kept.read_bytes() == b"evidence"


async def test_a_worker_that_dies_is_started_again_and_says_what_was_cut(
    relay: Relay, peers: MakePeer, tmp_path: Path
) -> None:
    talker = await Talker.open(relay, peers())
    await until_ready(relay, talker)
    await talker.record("r1", "1.ogg")
    await talker.say(tone(1.5))
    os.kill(worker_of(relay.media.ready.pid), signal.SIGKILL)
    told = await talker.over("r1")
    assert told == RecordingState(recording="r1", state="failed", detail="recorder_died")
    assert 0.5 <= probed(tmp_path / "recordings" / "1.ogg") <= 1.5
    assert decoding_complaints(tmp_path / "recordings" / "1.ogg") == ""
    await talker.record("r2", "2.ogg")  # while there is no worker: it begins late
    await relay.until(lambda: talker.state("r2", "started") is not None)
    await talker.say(tone(1.0))
    await talker.release("r2")
    assert (await talker.over("r2")).state == "ended"
    assert abs(probed(tmp_path / "recordings" / "2.ogg") - 1.0) <= 0.06
    assert await relay.counter("recorder_deaths") == 1


async def killed(folder: Path, peer: CountingPeer, after: float, *, everything: bool) -> float:
    """Records a voice into r.ogg until the media process dies, `everything`: and its worker; s of it that were sent."""
    async with recording_relay(folder) as relay:
        talker = await Talker.open(relay, peer)
        await until_ready(relay, talker)
        await talker.record("r", "r.ogg")
        speaking = asyncio.create_task(talker.say(tone(3.0)))
        await asyncio.sleep(after)
        sent = len(talker.sent_at) * 0.02
        media = relay.media.ready.pid
        worker = worker_of(media)
        for pid in (worker, media) if everything else (media,):
            os.kill(pid, signal.SIGKILL)
        await until_gone(worker, 5.0)
        speaking.cancel()
    return sent


async def test_when_media_dies_files_are_closed_whole(peers: MakePeer, tmp_path: Path) -> None:
    """P15: the media process alone is killed; its worker sees that and writes all it has."""
    for run in range(5):
        folder = tmp_path / str(run)
        sent = await killed(folder, peers(), 0.7 + 0.37 * run, everything=False)
        assert sent - 0.1 <= probed(folder / "r.ogg") <= sent + 0.1
        assert decoding_complaints(folder / "r.ogg") == ""
        assert (folder / "r.ogg").read_bytes()[-3000:].rfind(b"OggS\0\4") > 0  # says that it is over


async def test_killed_with_everything_files_play_to_less_than_a_second_before(
    peers: MakePeer, tmp_path: Path
) -> None:
    """P15: media process and worker die at the same moment."""
    for run in range(5):
        folder = tmp_path / str(run)
        sent = await killed(folder, peers(), 1.1 + 0.31 * run, everything=True)
        assert sent - 1.0 <= probed(folder / "r.ogg") <= sent
        assert decoding_complaints(folder / "r.ogg") == ""
