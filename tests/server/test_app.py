"""The real server: starts, says where it is, stops; and every reason not to start is a sentence with a remedy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from support.processes import children
from support.running_server import PASSWORD, run_cli, running_server

pytestmark = pytest.mark.e2e


async def test_from_set_up_to_log_out() -> None:
    async with running_server() as server:
        client = server.client()
        async with client.get(server.url + "/live") as answer:
            assert (answer.status, await answer.json()) == (200, {"live": True})
        async with client.get(server.url + "/ready") as answer:
            assert answer.status == 503
            assert (await answer.json())["parts"]["setup"] == "needs-set-up"
        async with client.get(server.url + "/api/me") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (403, "not_set_up")

        admin = await server.setup_admin()
        assert admin.me["role"] == "admin"
        async with admin.client.get(server.url + "/api/me") as answer:
            assert await answer.json() == admin.me
        async with client.get(server.url + "/api/me") as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (401, "not_logged_in")

        async with await admin.post("/api/logout") as answer:
            assert answer.status == 200
        async with admin.client.get(server.url + "/api/me") as answer:
            assert answer.status == 401

        again = await server.login()
        assert again.me["id"] == admin.me["id"]
        assert again.me["csrf"] != admin.me["csrf"]
        assert server.setup_code not in server.log().replace(f"minutes: {server.setup_code}", "", 1)
        assert await server.stop() == 0


async def test_sessions_and_data_survive_kill() -> None:
    async with running_server() as server:
        admin = await server.setup_admin()
        await server.add_device("头盔一", unit="一号员")
        assert await server.stop(signal.SIGKILL) == -9
        await server.restart()
        async with admin.client.get(server.url + "/api/me") as answer:
            assert (await answer.json())["username"] == "chief"
        assert "头盔一" in await server.cli("device", "list")
        assert "whole" in await server.cli("audit", "verify")


async def test_accounts_changed_beside_the_server_count_within_a_second() -> None:
    async with running_server() as server:
        await server.setup_admin()
        officer = await server.add_user("officer", "dispatcher")
        assert "stream.watch" in officer.me["permissions"]
        await server.cli("user", "role", "officer", "field")
        await _until_logged_out(officer.client, server.url)
        officer = await server.login("officer")
        assert "stream.watch" not in officer.me["permissions"]
        await server.cli("user", "disable", "officer")
        await _until_logged_out(officer.client, server.url)
        async with server.client().post(
            server.url + "/api/login",
            json={"username": "officer", "password": PASSWORD},
            headers={"Origin": server.url},
        ) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (401, "wrong_credentials")
        code, _, err = await run_cli("user", "disable", "chief", "--config", str(server.config))
        assert (code, err.strip()) == (1, "✗ 'chief' is the last administrator")


async def _until_logged_out(client: aiohttp.ClientSession, url: str) -> None:
    began = time.monotonic()
    while True:
        async with client.get(url + "/api/me") as answer:
            if answer.status == 401:
                return
        assert time.monotonic() - began < 4.0
        await asyncio.sleep(0.05)


async def test_stops_in_time_with_connections_open() -> None:
    async with running_server() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.ssl_context())
        writer.write(b"GET /live HTTP/1.1\r\nHost: a\r\n")
        began = time.monotonic()
        assert await server.stop() == 0
        assert time.monotonic() - began < 5.0
        assert await reader.read() == b""
        writer.close()


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


async def refused(config: str) -> str:
    """What the server says when it does not start."""
    code, out, err = await run_cli("serve", "--config", config)
    assert code == 2, out + err
    assert "Traceback" not in out + err, out + err
    assert "→" in err
    return err


async def test_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = await refused(
            write(
                tmp_path / "a.toml",
                f'[server]\ndata = "{tmp_path}/d"\n[http]\nhost = "127.0.0.1"\nport = {port}',
            )
        )
    assert f"TCP port {port} of 127.0.0.1 is in use by another program" in said
    assert "http.port" in said


async def test_broken_configuration(tmp_path: Path) -> None:
    said = await refused(write(tmp_path / "a.toml", "[http]\nprot = 1"))
    assert "a.toml, line 2: http.prot: there is no such key" in said
    assert "did you mean port?" in said


async def test_data_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "d").write_text("")
    said = await refused(write(tmp_path / "a.toml", f'[server]\ndata = "{tmp_path}/d"\n[http]\nport = 0'))
    assert "cannot be written" in said
    assert "server.data" in said


async def test_second_server_on_the_same_data() -> None:
    async with running_server() as server:
        said = await refused(str(server.config))
        assert f"another server (process {server.pid})" in said


async def test_certificate_that_does_not_fit(tmp_path: Path) -> None:
    for name in ("chain.pem", "key.pem"):
        (tmp_path / name).write_text("no certificate")
        (tmp_path / name).chmod(0o600)
    said = await refused(
        write(
            tmp_path / "a.toml",
            f'[server]\ndata = "{tmp_path}/d"\n[http]\nport = 0\n'
            f'[tls]\ncertificate = "{tmp_path}/chain.pem"\nkey = "{tmp_path}/key.pem"',
        )
    )
    assert "TLS certificate" in said


async def test_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "fengsui.sqlite3").write_bytes(
        b"this is no database, but long enough to look like one" * 40
    )
    said = await refused(write(tmp_path / "a.toml", f'[server]\ndata = "{tmp_path}/d"\n[http]\nport = 0'))
    assert "database" in said


async def test_ready_line_is_one_json_object() -> None:
    async with running_server() as server:
        assert set(server.ready) >= {"http_port", "setup_code", "spki", "urls", "pid"}
        assert json.dumps(server.ready)
        assert f"https://127.0.0.1:{server.port}" in server.ready["urls"]
        assert len(server.setup_code) == 14


async def test_media_port_in_use(tmp_path: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = await refused(
            write(
                tmp_path / "a.toml",
                f'[server]\ndata = "{tmp_path}/d"\n[http]\nport = 0\n'
                f'[media]\nhost = "127.0.0.1"\nudp_port = {port}\ntcp_port = 0',
            )
        )
    assert f"{port}/udp" in said
    assert "media.udp_port" in said


async def test_a_media_process_that_dies_is_started_again() -> None:
    async with running_server() as server:
        client = server.client()
        before = children(server.pid)
        assert before
        for child in before:
            os.kill(child, signal.SIGKILL)
        began = time.monotonic()
        seen = set()
        while True:
            async with client.get(server.url + "/ready") as answer:
                media = (await answer.json())["parts"]["media"]
            seen.add(media)
            if media == "ok" and "away" in seen:
                break
            assert time.monotonic() - began < 20.0
            await asyncio.sleep(0.02)
        now = children(server.pid)
        assert now
        assert not set(before) & set(now)
        admin = await server.setup_admin()
        async with admin.client.get(server.url + "/metrics") as answer:
            assert "fengsui_media_process_restarts_total 1.0" in await answer.text()
        assert await server.stop() == 0


async def test_redis_that_is_not_there_keeps_nothing_from_working(tmp_path: Path) -> None:
    async with running_server(bus={"url": f"unix://{tmp_path}/none.sock"}) as server:
        admin = await server.setup_admin()
        async with admin.client.get(server.url + "/ready") as answer:
            assert answer.status == 200
        async with admin.client.get(server.url + "/metrics") as answer:
            assert "fengsui_bus_connected 0.0" in await answer.text()
        assert await server.stop() == 0
