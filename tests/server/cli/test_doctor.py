"""`fengsui doctor` finds what is wrong, says the remedy, and finds nothing wrong with what is right."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from server.cli import doctor
from server.config import Config, parse_config
from server.storage.engine import connect_database, open_database
from support.postgres_server import PostgresServer
from support.running_server import ROOT, run_cli, running_server


def config_for(folder: Path, text: str = "") -> Config:
    return parse_config(
        f'[server]\ndata = "{folder}/data"\n[http]\nport = 0\n[media]\nudp_port = 0\ntcp_port = 0\n{text}'
    )


def states(config: Config, name: str) -> list[tuple[str, str, str]]:
    return list(doctor.CHECKS[name](config))


def test_a_fresh_folder_is_well(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    for name in ("ports", "codecs", "disk", "certificate", "file modes"):
        assert {state for state, _, _ in states(config, name)} == {"ok"}, name


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken, socket.socket(type=socket.SOCK_DGRAM) as taken_udp:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        taken_udp.bind(("127.0.0.1", 0))
        config = parse_config(
            f'[server]\ndata = "{tmp_path}"\n[http]\nhost = "127.0.0.1"\nport = {taken.getsockname()[1]}\n'
            f'[media]\nhost = "127.0.0.1"\nudp_port = {taken_udp.getsockname()[1]}\ntcp_port = 0'
        )
        found = states(config, "ports")
    assert [state for state, _, _ in found] == ["fail", "ok", "fail"]
    assert "http.port" in found[0][2]
    assert "media.udp_port" in found[2][2]


def test_files_that_others_can_read(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "secrets.key").write_bytes(bytes(32))
    (data / "secrets.key").chmod(0o644)
    data.chmod(0o755)
    found = states(config_for(tmp_path), "file modes")
    assert [(state, remedy) for state, _, remedy in found] == [
        ("fail", f"chmod 700 {data}"),
        ("fail", f"chmod 600 {data}/secrets.key"),
    ]


@pytest.mark.parametrize(
    ("free", "state"), [(19_999_999, "fail"), (199_999_999, "warn"), (200_000_000, "ok")]
)
def test_room_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _path: usage(10**9, 10**9 - free, free))
    assert [found[0] for found in states(config_for(tmp_path), "disk")] == [state]


def test_a_database_file(tmp_path: Path) -> None:
    config = config_for(tmp_path)
    (found,) = states(config, "database")
    assert (found[0], found[1].startswith("none yet")) == ("ok", True)
    assert not (tmp_path / "data").exists()  # looking makes nothing
    (tmp_path / "data").mkdir()
    asyncio.run(_opened("", tmp_path / "data"))
    (found,) = states(config, "database")
    assert (found[0], found[1].endswith(" answers")) == ("ok", True)
    (tmp_path / "data" / "fengsui.sqlite3").write_bytes(b"not a database" * 500)
    (found,) = states(config, "database")
    assert (found[0], "not a database" in found[1]) == ("fail", True)


async def _opened(url: str, folder: Path, then: str = "") -> None:
    async with open_database(url, folder) as database:
        if then:
            async with database.write() as connection:
                await connection.execute(text(then))


def test_a_postgresql_database(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    config = config_for(tmp_path, f'[storage]\nurl = "{url}"')
    (found,) = states(config, "database")
    assert (found[0], found[1].endswith("the first start makes its tables")) == ("ok", True)
    asyncio.run(_opened(url, tmp_path, "UPDATE alembic_version SET version_num = '0001'"))
    (found,) = states(config, "database")
    assert (found[0], "brings its tables from 0001" in found[1]) == ("ok", True)
    asyncio.run(_changed(url, tmp_path, "UPDATE alembic_version SET version_num = '9999'"))
    (found,) = states(config, "database")
    assert (found[0], "later version (9999)" in found[1]) == ("fail", True)


async def _changed(url: str, folder: Path, statement: str) -> None:
    async with connect_database(url, folder) as database, database.write() as connection:
        await connection.execute(text(statement))


@pytest.mark.parametrize(
    ("url", "problem", "remedy"),
    [
        ("what is this", "no database address", "postgresql://"),
        ("mysql://db/fengsui", "cannot use", "postgresql://"),
        ("postgresql://fengsui:secret@127.0.0.1:1/db", "cannot be used", "storage.url"),
        ("postgresql://fengsui@/db?host=/nowhere", "cannot be used", "storage.url"),
    ],
)
def test_a_database_that_cannot_be_used(tmp_path: Path, url: str, problem: str, remedy: str) -> None:
    (found,) = states(config_for(tmp_path, f'[storage]\nurl = "{url}"'), "database")
    assert found[0] == "fail"
    assert problem in found[1]
    assert remedy in found[2]
    assert "secret" not in found[1]


WITHOUT_DRIVER = """
import sys
sys.modules["asyncpg"] = None  # as where the extra is not installed
from server.cli import main
main()
"""


@pytest.mark.e2e
async def test_a_missing_driver_is_named_with_what_to_install(tmp_path: Path) -> None:
    config = tmp_path / "fengsui.toml"
    config.write_text('[storage]\nurl = "postgresql://fengsui@db/fengsui"')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT_DRIVER, "doctor", "--json", "--config", str(config)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    (found,) = [one for one in json.loads(out)["checks"] if one["check"] == "database"]
    assert found["state"] == "fail"
    assert "driver for PostgreSQL" in found["detail"]
    assert 'pip install "fengsui[postgres]"' in found["remedy"]


def test_a_clock_that_was_never_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_600_000_000.0)
    assert [found[0] for found in states(config_for(tmp_path), "clock")] == ["fail"]


def test_addresses_of_others_are_named(tmp_path: Path) -> None:
    found = states(config_for(tmp_path, 'addresses = ["203.0.113.7"]'), "addresses")
    assert ("warn", "203.0.113.7 is no address of this machine") in [
        (state, what) for state, what, _ in found
    ]
    found = states(config_for(tmp_path, 'addresses = ["127.0.0.1"]'), "addresses")
    assert found[0][0] == "warn"


@pytest.mark.parametrize(
    ("wanted", "built", "state", "words"),
    [
        ("auto", True, "ok", "the native one"),
        ("auto", False, "ok", "the one in Python"),
        ("python", True, "ok", "the one in Python"),
        ("native", False, "fail", "not built here"),
    ],
)
def test_which_engine_will_move_the_packets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, built: bool, state: str, words: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object() if built else None)
    config = parse_config(f'[media]\nengine = "{wanted}"')
    ((found, detail, remedy),) = states(config, "relay engine")
    assert (found, words in detail) == (state, True)
    assert ("Rust" in remedy) is not built


def test_a_check_that_breaks_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_config: Config) -> Any:
        raise RuntimeError("boom")

    monkeypatch.setitem(doctor.CHECKS, "disk", broken)
    found = [finding for finding in doctor.examine(config_for(tmp_path)) if finding.check == "disk"]
    assert [finding.state for finding in found] == ["fail"]
    assert "boom" in found[0].detail


@pytest.mark.e2e
async def test_json_and_exit_codes(tmp_path: Path) -> None:
    broken = tmp_path / "broken.toml"
    broken.write_text("[http]\nprot = 1")
    code, out, _ = await run_cli("doctor", "--json", "--config", str(broken))
    said = json.loads(out)
    assert (code, said["ok"], len(said["checks"])) == (1, False, 1)
    assert said["checks"][0]["remedy"] == "did you mean port?"


@pytest.mark.e2e
async def test_ports_of_our_own_running_server_are_fine() -> None:
    async with running_server() as server:
        server.config.write_text(
            server.config.read_text()
            .replace("port = 0\n[media]", f"port = {server.port}\n[media]")
            .replace("udp_port = 0", f"udp_port = {server.udp_port}")
            .replace("tcp_port = 0", f"tcp_port = {server.tcp_port}")
        )
        said = json.loads(await server.cli("doctor", "--json", check=False))
        ports = [check for check in said["checks"] if check["check"] == "ports"]
        assert [check["state"] for check in ports] == ["ok", "ok", "ok"]
        assert all(f"process {server.pid}" in check["detail"] for check in ports)
