"""`fengsui doctor` finds what is wrong, says the remedy, and finds nothing wrong with what is right."""

from __future__ import annotations

import json
import socket
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from server.cli import doctor
from server.config import Config, parse_config
from support.running_server import run_cli, running_server


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
