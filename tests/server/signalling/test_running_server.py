"""The WebSocket protocol of the real server: TLS, cookie, command line beside it, death and restart."""

from __future__ import annotations

import asyncio
import json
import signal
from typing import Any

import aiohttp
import pytest

from support.running_server import Account, RunningServer, running_server
from support.websocket import Tab

pytestmark = pytest.mark.e2e


async def connect(server: RunningServer, cookie: str = "", **fields: Any) -> Tab:
    """A page's WebSocket, after its hello."""
    http = server.client()
    headers = {"Origin": server.url} | ({"Cookie": cookie} if cookie else {})
    socket = await http.ws_connect(server.url.replace("https", "wss") + "/ws", headers=headers)
    tab = Tab(http=http, socket=socket)
    await tab.hello(**fields)
    return tab


async def console(server: RunningServer, account: Account, **fields: Any) -> Tab:
    return await connect(
        server, account.cookie, want=["unit", "device", "stream", "link", "health"], **fields
    )


async def named(tab: Tab, kind: str, name: str) -> dict[str, Any]:
    """The entity of that name, now or as soon as a delta tells of it."""
    lists = {"unit": "units", "device": "devices", "stream": "streams"}
    snapshot = next(message for message in reversed(tab.got) if message["type"] == "snapshot")
    for value in snapshot[lists[kind]]:
        if value["name"] == name:
            return dict(value)
    while True:
        for change in (await tab.until("delta"))["changes"]:
            if change["kind"] == kind and change["value"] and change["value"]["name"] == name:
                return dict(change["value"])


async def test_a_foreign_page_is_refused() -> None:
    async with running_server() as server:
        admin = await server.setup_admin()
        for origin in ("https://evil.example", "null", ""):
            headers = {"Cookie": admin.cookie} | ({"Origin": origin} if origin else {})
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.client().ws_connect(server.url + "/ws", headers=headers)
            assert refused.value.status == 403


async def test_a_day_of_a_link_a_device_and_a_restart() -> None:
    async with running_server() as server:
        admin = await server.setup_admin()
        desk = await console(server, admin)
        assert desk.got[0]["user"]["role"] == "admin"
        assert {row["id"] for row in desk.got[1]["health"]} >= {"media", "disk", "storage"}

        # a device of the command line shows within a second, and so does its end
        loop = asyncio.get_running_loop()
        await server.add_device("头盔一", "一号员")
        began = loop.time()
        stream = await named(desk, "stream", "头盔一")
        assert loop.time() - began < 2.0
        assert (stream["state"], stream["cause"]) == ("offline", "never_connected")
        await server.cli("device", "revoke", "头盔一")
        await desk.change("device", stream["device"], lambda device: device["revoked"])

        # a phone by a link
        made = (await desk.command("link.create", name="三号车", hours=1))["result"]
        assert made["url"].startswith(f"{server.url}/j/")
        secret = made["url"].rsplit("/", 1)[1]
        phone = await connect(server, token=secret)
        assert phone.got[0]["user"]["role"] == "guest"
        now = phone.got[0]["server"]["time"]
        position = {"key": "p1", "lat": 31.2, "lon": 121.5, "time": now}
        assert (await phone.command("position.report", positions=[position]))["result"]["stored"] == 1
        unit = await desk.change("unit", made["link"]["unit"], lambda unit: unit["position"])
        assert unit["position"]["lat"] == 31.2
        refused = await phone.command("media.offer", kind="phone", sdp="v=0\r\n")
        assert refused["error"]["code"].startswith(("sdp_", "bad_sdp"))

        # kill -9: what was acknowledged is there, log-in and link are good, revisions are of another run (P17, P27)
        rev = desk.got[-1].get("rev", desk.got[1]["rev"])
        await server.stop(signal.SIGKILL)
        began = loop.time()
        await server.restart()
        assert loop.time() - began < 20.0
        again = await console(server, admin, rev=rev)
        assert again.got[0]["resumed"] is False
        units = {unit["name"]: unit for unit in again.got[1]["units"]}
        assert units["三号车"]["position"]["lat"] == 31.2
        phone = await connect(server, token=secret)
        stored = await phone.command("position.report", positions=[position])
        assert stored["result"]["stored"] == 1  # sent again, there once

        # the end of the link
        assert (await again.command("link.revoke", link=made["link"]["id"]))["ok"]
        assert (await phone.ended())[0] == "revoked"
        page = (await again.command("audit.read"))["result"]
        assert page["verified"] is True
        acts = [entry["action"] for entry in page["entries"] if entry["action"].startswith("link.")]
        assert (acts[0], acts[-1]) == ("link.revoke", "link.create")
        assert secret not in json.dumps(page)
        assert secret not in server.log()

        # log-out elsewhere
        await admin.post("/api/logout")
        assert (await again.ended())[0] == "logged_out"
        assert "Traceback" not in server.log()


async def test_a_stopping_server_says_goodbye() -> None:
    async with running_server() as server:
        admin = await server.setup_admin()
        desk = await console(server, admin)
        stopping = asyncio.create_task(server.stop())
        assert await desk.ended() == ("restarting", 1012)
        assert await stopping == 0
