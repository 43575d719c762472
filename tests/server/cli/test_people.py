"""`fengsui user|device|group|audit`, with and without a server: passwords and tokens only where they must be."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from support.running_server import PASSWORD, run_cli

pytestmark = pytest.mark.e2e


class Here:
    """A data folder and the command line over it."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "fengsui.toml"
        self.config.write_text(f'[server]\ndata = "{folder}/data"\n')
        self.data = folder / "data"

    async def run(self, *arguments: str, stdin: str = "") -> tuple[int, str, str]:
        return await run_cli(*arguments, "--config", str(self.config), stdin=stdin)

    def files_with(self, secret: bytes) -> list[Path]:
        return [path for path in self.data.rglob("*") if path.is_file() and secret in path.read_bytes()]

    async def must(self, *arguments: str, stdin: str = "") -> str:
        code, out, err = await self.run(*arguments, stdin=stdin)
        assert code == 0, err
        return out


@pytest.fixture
def here(tmp_path: Path) -> Here:
    return Here(tmp_path)


async def test_accounts(here: Here) -> None:
    added = ("user", "add", "Chief", "--role", "admin", "--name", "总值班", "--password-stdin")
    assert await here.must(*added, stdin=PASSWORD + "\n") == "chief can log in as admin\n"
    code, out, err = await here.run(*added, stdin=PASSWORD + "\n")
    assert (code, out, err.strip()) == (1, "", "✗ there is a user 'chief' already")
    code, _, err = await here.run("user", "add", "x1", "--password-stdin", stdin="short\n")
    assert (code, err.strip()) == (1, "✗ a password needs at least 12 characters")
    code, _, err = await here.run("user", "add", "x1", "--role", "root", "--password-stdin", stdin=PASSWORD)
    assert (code, err.strip()) == (1, "✗ a role is one of admin, dispatcher, field")
    listed = await here.must("user", "list")
    assert "chief" in listed
    assert "总值班" in listed
    assert PASSWORD not in listed


async def test_devices(here: Here) -> None:
    code, token, told = await here.run("device", "add", "头盔一", "--unit", "一号员")
    assert code == 0
    assert token.startswith("fsd_")
    assert token.count("\n") == 1
    assert token.strip() not in told
    listed = await here.must("device", "list")
    assert "头盔一" in listed
    assert token.strip().split("_", 2)[2] not in listed
    newer = await here.must("device", "token", "头盔一")
    assert newer != token
    await here.must("device", "revoke", "头盔一")
    assert "revoked" in await here.must("device", "list")
    code, _, err = await here.run("device", "revoke", "头盔二")
    assert (code, err.strip()) == (1, "✗ there is no device '头盔二'")


async def test_cameras(here: Here) -> None:
    camera = ("device", "add", "枪机", "--unit", "大坝", "--kind", "rtsp", "--url")
    out = await here.must(
        *camera, "rtsp://10.0.0.9:554/1", "--username", "viewer", "--password-stdin", stdin="Pa55-of-camera\n"
    )
    assert out == ""
    assert not here.files_with(b"Pa55-of-camera")
    await here.must("device", "revoke", "枪机")
    code, _, err = await here.run(*camera, "rtsp://viewer:secret@10.0.0.9/1")
    assert code == 1
    assert "apart from the address" in err
    code, _, err = await here.run("device", "add", "x", "--unit", "y", "--kind", "rtsp")
    assert (code, "--url" in err) == (1, True)
    code, _, err = await here.run("device", "add", "x", "--unit", "y", "--url", "rtsp://10.0.0.9/")
    assert (code, "--kind rtsp" in err) == (1, True)


async def test_everything_is_in_the_audit_log_and_an_edit_shows(here: Here) -> None:
    await here.must("user", "add", "chief", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    await here.must("device", "add", "a", "--unit", "b")
    assert "2 entries, whole" in await here.must("audit", "verify")
    shown = await here.must("audit", "show")
    for word in ("user.add", "device.add", "audit.verify", "cli:"):
        assert word in shown
    with sqlite3.connect(here.data / "fengsui.sqlite3") as raw:
        raw.execute("UPDATE audit SET actor = 'somebody else' WHERE seq = 2")
    code, out, err = await here.run("audit", "verify")
    assert (code, out) == (1, "")
    assert err.startswith("entry 2 is bad: it was changed")


async def test_no_command_and_unknown_commands_explain_themselves(here: Here) -> None:
    code, out, _ = await run_cli()
    assert "serve" in out
    assert "device" in out
    assert code in (0, 2)
    code, _, err = await run_cli("fly")
    assert code == 2
    assert "No such command" in err
    code, _, err = await here.run("user", "add", "x", "--password", "secret")
    assert code == 2
    assert "No such option" in err


async def test_groups(here: Here) -> None:
    assert (
        await here.must("group", "add", "搜救一组", "--role", "guest", "--role", "field")
        == "搜救一组 is there\n"
    )
    assert "搜救一组" in await here.must("group", "list")
    code, _, err = await here.run("group", "add", "x", "--role", "king")
    assert (code, err.strip()) == (
        1,
        "✗ there is no role 'king': admin, device, dispatcher, field, guest",
    )
    member = ("group", "member", "搜救一组")
    await here.must(*member, "--role", "field", "--unit", "u-1", "--priority", "9")
    await here.must(*member, "--unit", "u-1", "--listen-only")
    await here.must(*member, "--role", "guest", "--remove")
    assert "role field (9), unit u-1 (9, listens)" in await here.must("group", "list")
    shown = await here.must("audit", "show")
    for line in (
        "搜救一组: +unit u-1 priority 9, role field priority 9",
        "搜救一组: unit u-1 priority 9 listens",
        "搜救一组: -role guest",
    ):
        assert line in shown.replace("\n", "")
    for wrong, told in (
        (("--priority", "9"), "say who"),
        (("--unit", "u-2", "--remove"), "unit u-2 is no member of 搜救一组"),
        (("--unit", "u-1", "--remove", "--talk"), "--remove goes alone"),
    ):
        code, _, err = await here.run(*member, *wrong)
        assert (code, told in err) == (1, True), err
    code, _, err = await here.run("group", "delete", "全呼", "--reason", "x")
    assert (code, err.strip()) == (1, "✗ the all-call group stays")
    assert await here.must("group", "delete", "2", "--reason", "演练结束") == "搜救一组 has ended\n"
    code, _, err = await here.run("group", "delete", "搜救一组", "--reason", "x")
    assert code == 1
