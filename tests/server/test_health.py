"""Rows of /health say what is wrong and what to do, and go back when it is well; /ready follows."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import namedtuple
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest

from server.health import Health
from server.model.ports import RecordingReport
from server.recordings.index import SpurtIndex
from server.recordings.recorder import SpurtRecorder
from server.state import EntityStore
from server.storage.engine import Database, open_database
from server.tls import CertificateInfo
from support.clock import FakeClock
from support.spurts import spurt


class World:
    """What the rows look at; a test breaks it."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        bus: Callable[[], Mapping[str, object]] | None = None,
        recorder: SpurtRecorder | None = None,
    ) -> None:
        self.media_up = True
        self.restarts = 0
        self.set_up = True
        self.stalls = 0
        self.cut_off = 0
        self.clock = FakeClock()
        self.not_after = self.clock.wallclock() + 100 * 86400.0
        self.health = Health(
            EntityStore(1),
            self.clock,
            data=folder,
            database=database,
            media_up=lambda: self.media_up,
            media_restarts=lambda: self.restarts,
            set_up=lambda: self.set_up,
            certificate=lambda: CertificateInfo(
                fingerprint="", spki="", names=(), not_before=0.0, not_after=self.not_after, own_ca=False
            ),
            loop=lambda: {"stalls_total": self.stalls},
            bus=bus,
            recorder=recorder,
            clients=lambda: {"connections": 2, "goodbye_too_slow_total": self.cut_off},
        )

    async def rows(self) -> dict[str, tuple[str, str]]:
        """State and remedy of each row."""
        found = {}
        for name, (_, check) in self.health._rows.items():
            finding = await check()
            self.health._note(name, finding)
            found[name] = (finding.state, finding.remedy)
        return found

    async def ready(self) -> dict[str, str]:
        return {name: word for name, check in self.health.checks.items() if (word := await check())}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_database("", tmp_path) as database:
        yield World(tmp_path, database)


async def test_all_is_well(world: World) -> None:
    rows = await world.rows()
    assert {state for state, _ in rows.values()} == {"ok"}
    assert set(rows) == {"media", "storage", "disk", "certificate", "clock", "loop", "cameras", "clients"}
    assert await world.ready() == {}
    assert world.health.statistics() == {"not_well": 0, "became_bad_total": 0}


async def test_media_away_and_back(world: World) -> None:
    world.media_up = False
    assert (await world.rows())["media"][0] == "error"
    assert await world.ready() == {"media": "away"}
    world.media_up, world.restarts = True, 1
    assert (await world.rows())["media"][0] == "warning"
    world.clock.advance(601.0)
    assert (await world.rows())["media"][0] == "ok"
    assert world.health.statistics() == {"not_well": 0, "became_bad_total": 2}


@pytest.mark.parametrize(("free", "state"), [(199_999_999, "warning"), (19_999_999, "error")])
async def test_disk(world: World, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(10**9, 10**9 - free, free))
    assert (await world.rows())["disk"][0] == state
    assert (await world.ready()) == ({"disk": "full"} if state == "error" else {})
    assert any("MB free" in warning for warning in world.health.warnings())


@pytest.mark.parametrize(("days", "state"), [(15, "ok"), (13, "warning"), (-1, "error")])
async def test_certificate(world: World, days: int, state: str) -> None:
    world.not_after = world.clock.wallclock() + days * 86400.0 + 60
    assert (await world.rows())["certificate"][0] == state


async def test_a_clock_that_was_never_set(world: World) -> None:
    world.clock.wall = -40 * 365 * 86400.0
    assert (await world.rows())["clock"][0] == "warning"
    assert any("clock" in warning for warning in world.health.warnings())


async def test_clients_that_were_cut_off_are_told_for_ten_minutes(world: World) -> None:
    world.cut_off = 1
    assert (await world.rows())["clients"][0] == "warning"
    world.clock.advance(601.0)
    assert (await world.rows())["clients"][0] == "ok"


async def test_redis_away_is_told_where_there_is_one(tmp_path: Path) -> None:
    connected = True
    async with open_database("", tmp_path) as database:
        world = World(tmp_path, database, bus=lambda: {"connected": connected})
        assert (await world.rows())["bus"] == ("ok", "")
        connected = False
        state, remedy = (await world.rows())["bus"]
        assert state == "error"
        assert "bus.url" in remedy


async def test_stalls_are_told_once(world: World) -> None:
    world.stalls = 3
    assert (await world.rows())["loop"][0] == "warning"
    assert (await world.rows())["loop"][0] == "ok"


async def test_not_set_up_is_not_ready(world: World) -> None:
    world.set_up = False
    assert await world.ready() == {"setup": "needs-set-up"}


async def test_a_locked_database_is_well_because_reading_goes_on(world: World, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "fengsui.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert (await asyncio.wait_for(world.rows(), 5))["storage"][0] == "ok"
    other.execute("ROLLBACK")
    other.close()


async def test_room_for_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P16: told at 10 % and at 5 %, and when a recording ended for want of room."""
    usage = namedtuple("usage", "total used free")
    async with open_database("", tmp_path) as database:
        recorder = SpurtRecorder(SpurtIndex(database), FakeClock(), tmp_path / "recordings")
        world = World(tmp_path, database, recorder=recorder)
        for free, state in ((50, "ok"), (11, "ok"), (9, "warning"), (6, "warning"), (4, "error")):
            told = usage(100 * 10**9, 0, free * 10**9)
            monkeypatch.setattr("server.recordings.files.shutil.disk_usage", lambda _, told=told: told)
            found, remedy = (await world.rows())["recordings"]
            assert (found, bool(remedy)) == (state, state != "ok")
        monkeypatch.undo()
        made = spurt(1.0)
        recorder.begin(made)
        recorder.state(RecordingReport(recording=made.id, state="failed", detail="disk_full", sha256="ab"))
        assert (await world.rows())["recordings"][0] == "error"


async def test_without_recordings_there_is_no_row(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        recorder = SpurtRecorder(SpurtIndex(database), FakeClock(), None)
        assert "recordings" not in await World(tmp_path, database, recorder=recorder).rows()
