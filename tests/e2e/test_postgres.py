"""The whole server on PostgreSQL: set-up, log-in, a group, words that are recorded and found, a restart."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from support.postgres_server import PostgresServer
from support.running_server import running_server
from support.voice_client import Radio, has, phone_token, radio
from support.waiting import until

pytestmark = pytest.mark.e2e


async def recorded(officer: Radio, group: str) -> dict[str, Any]:
    """The newest spurt of a group once it is ready to be played."""
    found: list[dict[str, Any]] = []

    async with asyncio.timeout(10):
        while not (found and found[0]["state"] == "ready"):
            found = (await officer.do("spurt.search", groups=[group], limit=10))["spurts"]
            await asyncio.sleep(0.05)
    return found[0]


async def test_from_set_up_to_words_that_are_found_again(postgres: PostgresServer) -> None:
    url = postgres.new_database()
    async with running_server(storage={"url": url}) as server, AsyncExitStack() as stack:
        admin = await server.setup_admin()
        await server.add_user("wang", "dispatcher")
        officer: Radio = await stack.enter_async_context(radio(server, admin, pitch=700.0))
        token = await phone_token(officer, "一号")
        phone: Radio = await stack.enter_async_context(radio(server, token=token, pitch=1000.0))
        group = (await officer.do("group.create", name="搜救", members=[{"kind": "role", "id": "guest"}]))[
            "group"
        ]
        await until(lambda: group in phone.entities["group"])
        for each in (phone, officer):
            await each.tune("搜救")
        assert (await phone.press("搜救"))[0]["state"] == "granted"
        await until(lambda: has(officer.ears.all(), 1000.0))
        await phone.let_go()
        spurt = await recorded(officer, group)
        assert (spurt["talker"]["name"], spurt["duration"] > 0.05) == ("一号", True)
        async with admin.client.get(f"{server.url}/recordings/{spurt['id']}") as answer:
            assert answer.status == 200
            assert (await answer.read()).startswith(b"OggS")
        alarm = (await phone.do("emergency.start", key="k" * 64))["alarm"]  # as long as a key may be
        assert (await phone.do("emergency.start", key="k" * 64))["alarm"] == alarm
        await phone.do("floor.release")
        audited = await officer.do("audit.read", limit=50)
        assert (audited["verified"], audited["firstBad"]) == (True, 0)
        assert {"alarm.raise", "group.create", "login"} <= {entry["action"] for entry in audited["entries"]}
        assert not (server.data / "fengsui.sqlite3").exists()
        await stack.aclose()
        assert await server.stop() == 0
        await server.restart()
        async with radio(server, await server.login(), path=False) as again:
            assert again.entities["group"][group]["name"] == "搜救"
            assert again.entities["alarm"][alarm]["times"] == 1
            found = (await again.do("spurt.search", groups=[group]))["spurts"]
            assert spurt["id"] in [one["id"] for one in found]
