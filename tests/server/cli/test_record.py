"""`fengsui record` as an officer of the law uses it: find, hold, export, and check what was handed over."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
import subprocess
from pathlib import Path

import msgspec
import pytest

from server.recordings import files
from server.recordings.export import table_of
from server.recordings.index import SpurtIndex
from server.recordings.spurts import Spurt, SpurtGroup, SpurtState
from server.storage.engine import open_database
from support.running_server import run_cli
from support.spurts import FIRE, FLOOD, ogg, put_file, spurt

pytestmark = pytest.mark.e2e

T = 1_790_000_000.0


class Archive:
    """A data folder with recordings."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "fengsui.toml"
        self.config.write_text(f'[server]\nname = "文县"\ndata = "{folder}/data"\n')
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        self.rows: list[Spurt] = []

    async def add(
        self, started: float, name: str, group: SpurtGroup, *, emergency: bool = False, seconds: float = 2.0
    ) -> Spurt:
        data, path = ogg(seconds), files.new_path(started)
        put_file(self.data / "recordings", path, data)
        made = msgspec.structs.replace(
            spurt(started, name=name, groups=(group,), emergency=emergency),
            state=SpurtState.READY,
            ended=started + seconds,
            path=path,
            duration=seconds,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        async with open_database("", self.data) as database:
            index = SpurtIndex(database)
            index.put(made)
            await index.finish()
        self.rows.append(made)
        return made

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        return await run_cli("record", *arguments, "--config", str(self.config))

    async def must(self, *arguments: str) -> str:
        code, out, err = await self.run(*arguments)
        assert code == 0, err
        return out

    async def now(self, which: Spurt) -> Spurt:
        async with open_database("", self.data) as database:
            found = await SpurtIndex(database).get(which.id)
        assert found is not None
        return found


@pytest.fixture
async def archive(tmp_path: Path) -> Archive:
    made = Archive(tmp_path)
    await made.add(T, "张伟", FIRE)
    await made.add(T + 60, "=cmd()", FLOOD)
    await made.add(T + 120, "李娜", FIRE, emergency=True)
    return made


async def test_search_hold_and_release(archive: Archive) -> None:
    first, _, last = archive.rows
    listed = await archive.must("list")
    assert [row.id in listed for row in archive.rows] == [True, True, True]
    for wanted, found in (
        (("--group", FIRE.id), [True, False, True]),
        (("--talker", "李"), [False, False, True]),
        (("--emergency",), [False, False, True]),
        (("--until", "2000-01-01 00:00"), [False, False, False]),
    ):
        out = await archive.must("list", *wanted)
        assert [row.id in out for row in archive.rows] == found, wanted
    code, _, err = await archive.run("list", "--since", "yesterday")
    assert (code, "no time" in err) == (1, True)

    code, _, err = await archive.run("hold", first.id, "--reason", " ")
    assert (code, err.strip()) == (1, "✗ say why")
    assert (
        await archive.must("hold", first.id[-12:], last.id, "--reason", "事故调查") == "2 held as evidence\n"
    )
    held = await archive.now(first)
    assert (held.hold, held.held_why, held.held_by.startswith("cli:")) == (True, "事故调查", True)
    out = await archive.must("list", "--held")
    assert [row.id in out for row in archive.rows] == [True, False, True]
    assert await archive.must("release", last.id, "--reason", "无关") == "1 released\n"
    assert not (await archive.now(last)).hold
    code, _, err = await archive.run("hold", "no-such-recording", "--reason", "x")
    assert (code, "0 recordings are called" in err) == (1, True)


def check_sums(folder: Path) -> None:
    """As whoever got it does, without anything of ours."""
    command = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


async def test_an_export_proves_itself(archive: Archive, tmp_path: Path) -> None:
    to = tmp_path / "handed over"
    out = await archive.must("export", "--to", str(to), "--reason", "事故调查", "--until", "2100-01-01")
    assert out == f"3 recordings are in {to}\n"
    assert stat.S_IMODE(to.stat().st_mode) == 0o700
    names = sorted(each.name for each in to.iterdir())
    assert names[-3:] == ["SHA256SUMS", "index.csv", "index.json"]
    assert all(each.stat().st_mode & 0o077 == 0 for each in to.iterdir())
    for row in archive.rows:
        (file,) = to.glob(f"*-{row.id}.ogg")
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row.sha256
    check_sums(to)

    index = json.loads((to / "index.json").read_text())
    assert (index["server"], index["reason"], len(index["recordings"])) == ("文县", "事故调查", 3)
    assert len(index["audit"]["hash"]) == 64
    code, shown, _ = await run_cli("audit", "show", "--config", str(archive.config))
    assert (code, "recording.export" in shown) == (0, True)
    table = list(csv.DictReader((to / "index.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [row["talker"] for row in table] == ["李娜", "'=cmd()", "张伟"]

    code, out, _ = await run_cli("record", "verify", str(to))
    assert (code, out) == (0, "every file is as it was exported\n")
    (file,) = to.glob(f"*-{archive.rows[0].id}.ogg")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    (gone,) = to.glob(f"*-{archive.rows[1].id}.ogg")
    gone.unlink()
    code, _, err = await run_cli("record", "verify", str(to))
    assert (code, sorted(err.split())) == (1, sorted(f"{file.name}: changed {gone.name}: missing".split()))

    code, _, err = await archive.run("export", "--to", str(to), "--reason", "x")
    assert (code, "is not empty" in err) == (1, True)


async def test_what_is_not_as_it_was_recorded_is_said(archive: Archive, tmp_path: Path) -> None:
    first, second, third = archive.rows
    (archive.data / "recordings" / first.path).unlink()
    os.truncate(archive.data / "recordings" / second.path, 100)
    to = tmp_path / "out"
    code, out, err = await archive.run("export", "--to", str(to), "--reason", "x")
    assert (code, out) == (1, f"2 recordings are in {to}\n")
    assert sorted(err.splitlines()) == sorted([f"{second.id}: changed", f"{first.id}: missing"])
    code, out, err = await archive.run("export", third.id, "--to", str(tmp_path / "one"), "--reason", "x")
    assert (code, out) == (0, f"1 recordings are in {tmp_path}/one\n")


def test_an_empty_table_has_its_head() -> None:
    assert table_of([]).startswith("file,id,started,seconds,talker")
