"""P16 through the running server: what is being said when the disk is full is recorded on when there is room again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from server.recordings.ogg import probe
from support.running_server import running_server
from support.small_disk import mounted
from support.voice_client import Radio, phone_token, radio
from support.waiting import until

pytestmark = pytest.mark.e2e
EVERYBODY = "全员"
MIB = 1024 * 1024
PATIENCE = 40.0  # s; four times what is promised


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 48 MiB, of which 20 are left to others."""
    with mounted(tmp_path / "small", "48m") as folder:
        yield folder


async def spurts_when(officer: Radio, good: Any) -> list[dict[str, Any]]:
    """The recordings, oldest first, once they are so."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = list(reversed((await officer.do("spurt.search"))["spurts"]))
        if good(found):
            return found
        assert time.monotonic() < deadline, [(one["state"], one["detail"], one["duration"]) for one in found]


async def test_a_recording_goes_on_when_there_is_room_again(small_disk: Path) -> None:
    recordings = {"folder": str(small_disk / "recordings"), "min_free_mb": 0}
    async with (
        running_server(recordings=recordings, talk={"talk_limit": 120.0}) as server,
        AsyncExitStack() as stack,
    ):
        admin = await server.setup_admin()
        officer: Radio = await stack.enter_async_context(radio(server, admin, pitch=700.0))
        token = await phone_token(officer, "一号")
        talker: Radio = await stack.enter_async_context(radio(server, token=token, pitch=1000.0))
        for each in (officer, talker):
            await each.tune(EVERYBODY)
        assert (await talker.press(EVERYBODY))[0]["state"] == "granted"
        await spurts_when(officer, lambda found: [one["state"] for one in found] == ["recording"])
        await until(lambda: any(one.stat().st_size > 2000 for one in small_disk.rglob("*.ogg")))
        filler = small_disk / "filler"
        filler.write_bytes(bytes(32 * MIB))
        (cut,) = await spurts_when(officer, lambda found: [one["state"] for one in found] == ["cut"])
        assert cut["detail"] == "disk_full"
        filler.unlink()
        freed = time.monotonic()
        _, again = await spurts_when(
            officer, lambda found: [one["state"] for one in found] == ["cut", "recording"]
        )
        assert time.monotonic() - freed < PATIENCE
        assert again["after"] == cut["id"]
        assert again["gap"] > 0
        assert talker.floor(EVERYBODY)["state"] == "taken"  # nobody who talks has noticed
        await until(lambda: time.time() > again["started"] + 1.0)  # something is said into it
        await talker.let_go()
        _, whole = await spurts_when(
            officer, lambda found: [one["state"] for one in found] == ["cut", "ready"]
        )
        for one in (cut, whole):
            async with admin.client.get(f"{server.url}/recordings/{one['id']}") as answer:
                assert probe(await answer.read()).duration > 0
