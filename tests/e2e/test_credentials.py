"""Tokens in the running server: who may publish and watch, and that a revoked device is gone from the air (H28)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator

import aiohttp
from aiortc.mediastreams import MediaStreamError

from media.agent.scene import Scene
from media.agent.tracks import open_scene
from media.agent.whip import WhipSession
from support.media_site import Player
from support.running_server import Account, RunningServer, running_server


@contextlib.asynccontextmanager
async def publishing(server: RunningServer, token: str, number: int) -> AsyncIterator[WhipSession]:
    tracks = open_scene(Scene(name=f"unit {number}", number=number, width=320, height=180))
    session = WhipSession(server.client(), server.url + "/whip", token, None)
    try:
        await session.open(tracks, "vp8")
        yield session
    finally:
        with contextlib.suppress(Exception):
            await session.close()
        tracks.close()


def stream_of(server: RunningServer, device: str) -> str:
    """The stream of a device's main channel."""
    query = "SELECT streams.id FROM streams JOIN devices ON devices.id = device_id WHERE devices.name = ?"
    with sqlite3.connect(server.data / "fengsui.sqlite3") as raw:
        return str(raw.execute(query, (device,)).fetchone()[0])


async def stream_token(admin: Account, stream: str, direction: str) -> str:
    async with await admin.post(f"/api/streams/{stream}/token", {"direction": direction}) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["token"])


async def refusal(client: aiohttp.ClientSession, url: str, token: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
    async with client.post(url, data=b"v=0\r\n", headers=headers) as answer:
        return answer.status, str((await answer.json())["code"])


async def until_live(server: RunningServer, stream: str, token: str) -> Player:
    """A player that was let in; it is not before the first key frame."""
    ends = time.monotonic() + 20
    while True:
        player = Player(server.client(), f"{server.url}/whep/{stream}", token)
        try:
            return await player.__aenter__()
        except AssertionError:
            await player.peer.close()
            assert time.monotonic() < ends
            await asyncio.sleep(0.1)


async def until_dark(player: Player) -> None:
    """Returns when no picture came for a second."""
    with contextlib.suppress(TimeoutError, MediaStreamError):
        while True:
            await player.picture(within=1.0)


async def test_tokens_open_what_they_name_and_nothing_after_their_device_is_revoked() -> None:
    async with running_server() as server:
        admin = await server.setup_admin()
        mine = await server.add_device("头盔一", "一号员")
        other = await server.add_device("头盔二", "二号员")
        stream = stream_of(server, "头盔一")
        whep, client = f"{server.url}/whep/{stream}", server.client()
        async with publishing(server, mine, 77):
            player = await until_live(server, stream, mine)
            assert (await player.code())[0] == 77
            guest = await until_live(server, stream, await stream_token(admin, stream, "play"))
            assert (await guest.code())[0] == 77

            assert await refusal(client, whep, other) == (403, "forbidden")
            assert await refusal(client, whep, await stream_token(admin, stream, "publish")) == (
                403,
                "forbidden",
            )
            assert await refusal(client, server.url + "/whip", await stream_token(admin, stream, "play")) == (
                403,
                "forbidden",
            )
            assert await refusal(client, whep, mine[:-1] + ("A" if mine[-1] != "A" else "B")) == (
                401,
                "not_logged_in",
            )
            assert (await refusal(client, server.url + "/whip", ""))[0] == 401

            await server.cli("device", "revoke", "头盔一")
            revoked = time.monotonic()
            for watching in (player, guest):
                await until_dark(watching)
            assert time.monotonic() - revoked < 8.0
            for url in (whep, server.url + "/whip"):
                assert await refusal(client, url, mine) == (403, "revoked")
            async with await admin.post(f"/api/streams/{stream}/token", {"direction": "play"}) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (403, "revoked")
            await player.peer.close()
            await guest.peer.close()
        for secret in (mine, other):
            assert secret[-20:] not in server.log()
