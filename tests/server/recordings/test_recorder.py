"""Spurts from grant to file: what media tells, what nobody tells, what an earlier run left, what has to go."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections import namedtuple
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from server.auth.audit import Audit
from server.model.errors import BadRequest, Conflict, NotFound
from server.model.ids import SpurtId
from server.model.ports import RecordingReport
from server.recordings import files
from server.recordings.evidence import Evidence
from server.recordings.index import SpurtIndex
from server.recordings.recorder import TICK, SpurtRecorder
from server.recordings.retention import Retention
from server.recordings.spurts import Spurt, SpurtQuery, SpurtState
from server.recordings.verify import verify
from server.storage.engine import Database, open_database
from support.clock import FakeClock
from support.spurts import FIRE, ogg, put_file, spurt
from support.waiting import until

DAY = 86_400.0
RESERVE = 10 * 1024 * 1024
Usage = namedtuple("Usage", "total used free")


@dataclass(kw_only=True)
class Desk:
    folder: Path
    database: Database
    clock: FakeClock
    index: SpurtIndex
    recorder: SpurtRecorder
    retention: Retention
    evidence: Evidence
    audit: Audit
    changes: list[Spurt]

    def begin(self, **fields: Any) -> tuple[Spurt, str]:
        made = spurt(self.clock.wallclock(), **fields)
        return made, self.recorder.begin(made)

    def report(self, which: Spurt, state: str, **fields: Any) -> None:
        self.recorder.state(RecordingReport(recording=which.id, state=state, **fields))

    def recorded(self, seconds: float = 2.0, age: float = 0.0) -> Spurt:
        """A whole spurt with its file, `age` s old."""
        data = ogg(seconds)
        made = spurt(self.clock.wallclock() - age)
        path = files.new_path(made.started)
        put_file(self.folder, path, data)
        made = msgspec.structs.replace(
            made,
            state=SpurtState.READY,
            ended=made.started + seconds,
            path=path,
            duration=seconds,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        self.index.put(made)
        return made

    async def hold(self, which: Spurt, reason: str = "case 7") -> Spurt:
        return await self.evidence.hold(which.id, reason=reason, actor="admin:1:Li", name="Li", address="")

    async def now(self, which: Spurt) -> Spurt:
        found = await self.recorder.get(which.id)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def open_desk(tmp_path: Path, *, min_free: int = 0, run: bool = True) -> AsyncIterator[Desk]:
    clock, folder = FakeClock(), tmp_path / "recordings"
    folder.mkdir(exist_ok=True)
    async with open_database("", tmp_path) as database:
        index, audit = SpurtIndex(database), Audit(database, clock)
        recorder = SpurtRecorder(index, clock, folder, RESERVE)
        retention = Retention(recorder, index, audit, clock, keep_days=30.0, min_free=min_free)
        evidence = Evidence(index, audit, recorder.changed)
        changes: list[Spurt] = []
        recorder.on_changed(changes.append)
        tasks = [asyncio.create_task(index.run())]
        if run:
            tasks.append(asyncio.create_task(recorder.run()))
        try:
            yield Desk(
                folder=folder,
                database=database,
                clock=clock,
                index=index,
                recorder=recorder,
                retention=retention,
                evidence=evidence,
                audit=audit,
                changes=changes,
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_from_the_grant_to_the_file(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        made, path = desk.begin()
        assert re.fullmatch(r"\d{4}-\d\d-\d\d/[0-9a-f]{32}\.ogg", path)  # 128 bits that nobody can guess
        assert desk.begin()[1] != path
        assert (await desk.recorder.search(SpurtQuery(groups=(FIRE.id,))))[1].state is SpurtState.RECORDING
        desk.report(made, "started")
        desk.recorder.end(made.id, made.started + 2.0)
        recalled = await desk.recorder.latest(FIRE.id)
        assert recalled is not None
        assert recalled.id == made.id  # before media has closed the file
        desk.report(made, "ended", began=made.started - 0.3, duration=2.1, bytes=9000, sha256="ab" * 32)
        desk.report(made, "ended", duration=9.9, sha256="cd" * 32)  # once is enough
        found = await desk.now(made)
        assert found == msgspec.structs.replace(
            made,
            path=path,
            state=SpurtState.READY,
            ended=made.started + 2.0,
            began=made.started - 0.3,
            duration=2.1,
            bytes=9000,
            sha256="ab" * 32,
        )
        assert [each.state.value for each in desk.changes if each.id == made.id] == [
            "recording",
            "recording",
            "ready",
        ]


async def test_without_a_folder_nothing_is_recorded(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        recorder = SpurtRecorder(SpurtIndex(database), FakeClock(), None)
        assert recorder.begin(spurt(1.0)) == ""
        assert await recorder.search(SpurtQuery()) == ()


@pytest.mark.parametrize(
    ("report", "state", "detail"),
    [
        ({"state": "failed", "detail": "disk_full", "duration": 1.0, "sha256": "ab"}, "cut", "disk_full"),
        ({"state": "failed", "detail": "disk_full", "sha256": "ab"}, "lost", "disk_full"),
        ({"state": "ended", "sha256": "ab"}, "lost", "no_packets"),
        ({"state": "ended", "duration": 1.0, "sha256": "ab"}, "ready", ""),
    ],
)
async def test_what_media_tells_of_an_end(
    tmp_path: Path, report: dict[str, Any], state: str, detail: str
) -> None:
    async with open_desk(tmp_path) as desk:
        made, _ = desk.begin()
        desk.recorder.state(RecordingReport(recording=made.id, **report))
        found = await desk.now(made)
        assert (found.state.value, found.detail, found.ended is not None) == (state, detail, True)
        assert desk.recorder.disk_full == (detail == "disk_full")


async def test_when_media_dies_the_files_themselves_are_asked(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        cut, whole, lost, empty = (desk.begin() for _ in range(4))
        put_file(desk.folder, cut[1], ogg(3.0, over=False) + b"OggS half a page")
        put_file(desk.folder, whole[1], ogg(2.0))
        put_file(desk.folder, empty[1], b"")
        for made, _ in (cut, whole, lost, empty):
            desk.report(made, "failed", detail="media_restarted")
        assert (await desk.now(cut[0])).state is SpurtState.RECORDING  # its recorder may still write
        desk.clock.advance(2.0)
        await until(
            lambda: len([each for each in desk.changes if each.state is not SpurtState.RECORDING]) == 4
        )
        found = [await desk.now(made) for made, _ in (cut, whole, lost, empty)]
        assert [each.state.value for each in found] == ["cut", "cut", "lost", "lost"]
        assert [round(each.duration, 1) for each in found] == [3.0, 2.0, 0.0, 0.0]
        assert found[0].sha256 == hashlib.sha256((desk.folder / cut[1]).read_bytes()).hexdigest()
        assert (await verify(desk.folder, found[0])).problem == ""


async def test_an_end_that_nobody_tells_is_found_out(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        made, path = desk.begin()
        put_file(desk.folder, path, ogg(2.0))
        desk.recorder.end(made.id, made.started + 2.0)
        desk.clock.advance(9.0)
        await asyncio.sleep(2.5 * TICK)  # it looks twice
        assert (await desk.now(made)).state is SpurtState.RECORDING
        desk.clock.advance(2.0)
        await until(lambda: desk.changes[-1].state is SpurtState.READY)


async def test_what_an_earlier_run_left_is_found_within_ten_seconds(tmp_path: Path) -> None:
    """P15, and files without a row."""
    async with open_desk(tmp_path) as desk:
        cut, ended, lost = (desk.begin() for _ in range(3))
        desk.recorder.end(ended[0].id, ended[0].started + 2.0)
        await desk.index.flush()
        erased = desk.recorded()
        await desk.retention.erase(erased.id, actor="admin", address="", reason="test")
        put_file(desk.folder, erased.path, ogg(1.0))  # as if the server had died before the file went
    put_file(desk.folder, cut[1], ogg(3.0, over=False))
    put_file(desk.folder, ended[1], ogg(2.0))
    orphan = "0198f7a2-aaaa-7bbb-8ccc-ddddeeeeffff"
    tags = (("RECORDING", orphan), ("STARTED", "1700000000.5"))
    put_file(desk.folder, "2026-01-01/orphan.ogg", ogg(1.5, tags=tags))
    put_file(desk.folder, "2026-01-01/broken.ogg", b"not ogg at all")
    put_file(desk.folder, "2026-01-01/notes.txt", b"somebody's")
    async with open_desk(tmp_path) as desk:
        running, path = desk.begin()
        put_file(desk.folder, path, ogg(0.5, over=False))
        await until(lambda: len(desk.changes) >= 5, 10.0)
        found = [await desk.now(made) for made, _ in (cut, ended, lost)]
        assert [(each.state.value, each.detail) for each in found] == [
            ("cut", "server_stopped"),
            ("ready", ""),
            ("lost", "server_stopped"),
        ]
        assert found[0].ended == found[0].started + 2.98  # the last packet of 20 ms had no page yet
        one = await desk.recorder.get(SpurtId(orphan))
        assert one is not None
        assert (one.state.value, one.detail, one.started, one.duration) == (
            "cut",
            "orphan",
            1700000000.5,
            1.5,
        )
        assert (await desk.now(running)).state is SpurtState.RECORDING  # of this run
        assert not (desk.folder / erased.path).exists()
        assert (desk.folder / "2026-01-01/broken.ogg").exists()


async def test_one_flipped_byte_is_noticed(tmp_path: Path) -> None:
    async with open_desk(tmp_path, run=False) as desk:
        made = desk.recorded()
        file = desk.folder / made.path
        assert (await verify(desk.folder, made)).problem == ""
        data = file.read_bytes()
        for at in range(0, len(data), 37):
            file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            assert (await verify(desk.folder, made)).problem == "changed"
        file.write_bytes(data + b"\0")
        assert (await verify(desk.folder, made)).problem == "size"
        file.unlink()
        assert (await verify(desk.folder, made)).problem == "missing"


async def test_old_ones_go_and_held_ones_stay(tmp_path: Path) -> None:
    async with open_desk(tmp_path, run=False) as desk:
        old, held, young = desk.recorded(age=31 * DAY), desk.recorded(age=40 * DAY), desk.recorded(age=DAY)
        await desk.hold(held)
        await desk.index.flush()
        assert await desk.retention.sweep()
        gone = await desk.now(old)
        assert (gone.state.value, gone.erased_by, gone.erased_why) == ("erased", "retention", "age")
        assert gone.sha256 == old.sha256  # the proof of what it was
        assert not (desk.folder / old.path).exists()
        assert not (desk.folder / old.path).parent.exists()
        for kept in (held, young):
            assert (desk.folder / kept.path).exists()
        assert [entry.action for entry in await desk.audit.newest()] == ["recording.erase", "recording.hold"]


async def test_the_oldest_go_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_desk(tmp_path, run=False, min_free=1000) as desk:
        made = [desk.recorded(age=(10 - number) * DAY) for number in range(6)]
        await desk.hold(made[0])
        await desk.index.flush()

        def usage(_: object) -> Usage:
            return Usage(10_000, 0, 700 + 100 * sum(not (desk.folder / each.path).exists() for each in made))

        monkeypatch.setattr("server.recordings.files.shutil.disk_usage", usage)
        assert await desk.retention.sweep()
        there = [(desk.folder / each.path).exists() for each in made]
        assert there == [True, False, False, False, True, True]
        monkeypatch.setattr("server.recordings.files.shutil.disk_usage", lambda _: Usage(10_000, 0, 0))
        assert not await desk.retention.sweep()  # only what is held is left
        assert [(desk.folder / each.path).exists() for each in made] == [True] + 5 * [False]


async def test_erasing_leaves_a_proof(tmp_path: Path) -> None:
    async with open_desk(tmp_path, run=False) as desk:
        made = desk.recorded()
        await desk.hold(made)
        with pytest.raises(Conflict):
            await desk.retention.erase(made.id, actor="a", address="", reason="r")
        await desk.evidence.release(made.id, reason="closed", actor="admin", address="")
        gone = await desk.retention.erase(
            made.id, actor="admin:1:Li", address="192.0.2.1", reason="by request"
        )
        assert (gone.state.value, gone.erased_by, gone.erased_why) == ("erased", "admin:1:Li", "by request")
        entry = (await desk.audit.newest())[0]
        assert (entry.action, entry.object, entry.address) == ("recording.erase", made.id, "192.0.2.1")
        assert made.sha256 in entry.detail
        assert not (desk.folder / made.path).exists()
        with pytest.raises(NotFound):
            await desk.retention.erase(made.id, actor="a", address="", reason="r")
        running, _ = desk.begin()
        with pytest.raises(Conflict):
            await desk.retention.erase(running.id, actor="a", address="", reason="r")


async def test_evidence_says_who_and_why_and_only_what_can_be_played_is_held(tmp_path: Path) -> None:
    async with open_desk(tmp_path, run=False) as desk:
        made = desk.recorded()
        held = await desk.hold(made, "case 7")
        assert (held.hold, held.held_by, held.held_why) == (True, "Li", "case 7")
        assert await desk.now(made) == held
        assert desk.changes == [held]
        assert await desk.recorder.search(SpurtQuery(held=True)) == (held,)
        assert (await desk.hold(made, "case 8")).held_why == "case 8"
        with pytest.raises(BadRequest):
            await desk.hold(made, " ")
        freed = await desk.evidence.release(made.id, reason="closed", actor="admin:1:Li", address="")
        assert (freed.hold, freed.held_by, freed.held_why) == (False, "", "")
        assert await desk.recorder.search(SpurtQuery(held=True)) == ()
        with pytest.raises(Conflict):
            await desk.evidence.release(made.id, reason="closed", actor="a", address="")
        with pytest.raises(NotFound):
            await desk.hold(spurt(1.0))
        running, _ = desk.begin()
        with pytest.raises(Conflict):
            await desk.hold(running)
        told = [(entry.action, entry.detail) for entry in reversed(await desk.audit.newest())]
        assert told == [
            ("recording.hold", "case 7"),
            ("recording.hold", "case 8"),
            ("recording.release", "closed"),
        ]


async def test_what_another_process_holds_is_not_erased_here(tmp_path: Path) -> None:
    async with open_desk(tmp_path, run=False) as desk:
        old, asked = desk.recorded(age=31 * DAY), desk.recorded()
        await desk.index.flush()
        elsewhere = Evidence(SpurtIndex(desk.database), desk.audit)
        due = await desk.index.erasable(None, 10)
        for each in (old, asked):
            await elsewhere.hold(each.id, reason="case 7", actor="cli:root", name="root", address="")
        await desk.retention._erase_all(due, "age")  # it was read before the other process wrote
        with pytest.raises(Conflict):  # though here it is remembered as not held
            await desk.retention.erase(asked.id, actor="a", address="", reason="r")
        assert all((desk.folder / each.path).exists() for each in (old, asked))
        assert "recording.erase" not in [entry.action for entry in await desk.audit.newest()]


async def test_a_faulty_listener_harms_nobody(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:

        def broken(_: Spurt) -> None:
            raise ZeroDivisionError

        desk.recorder.on_changed(broken)
        made, path = desk.begin()
        assert path
        assert (await desk.now(made)).path == path


async def test_a_full_disk_is_over_when_there_is_room_above_the_reserve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [0]
    monkeypatch.setattr("server.recordings.files.shutil.disk_usage", lambda _: Usage(10**9, 0, free[-1]))
    async with open_desk(tmp_path) as desk:
        made, _ = desk.begin()
        desk.report(made, "failed", detail="disk_full", duration=1.0, sha256="ab")
        assert desk.recorder.full
        for room, full in ((10 * 1024 * 1024, True), (15 * 1024 * 1024, False)):
            free.append(room)
            desk.clock.advance(1.5)
            await until(lambda full=full: desk.recorder.full is full)  # type: ignore[misc]
        assert desk.recorder.disk_full  # for a minute: somebody should know
        desk.clock.advance(60.0)
        assert not desk.recorder.disk_full
