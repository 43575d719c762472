"""The subject: the real server, started as tests start it, with devices of one unit that publish and watch."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

from bench.processes import family, name_of
from bench.signalling import Site
from bench.workers import BenchFailed
from support.running_server import Account, RunningServer, ServerFailed, running_server

CHANNELS_PER_DEVICE: Final = 7  # the server allows 8, and makes one by itself
UNLIMITED: Final = 1_000_000
KNOWN_WITHIN: Final = 10.0  # s from publishing
SNAPSHOT_WITHIN: Final = 10.0  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A running server. `sites`: one per device; any of them may watch what the others publish. `channels`: what they
    may publish, see `shares`."""

    sites: tuple[Site, ...]
    channels: tuple[str, ...]
    server: RunningServer
    admin: Account

    def pids(self) -> tuple[int, ...]:
        """The control process and everything it started: the media process and its workers."""
        return family(self.server.pid)

    def shares(self, channels: tuple[str, ...]) -> list[tuple[Site, tuple[str, ...]]]:
        """Who publishes which of these channels; always the same ones."""
        shared = []
        for index, site in enumerate(self.sites):
            own = self.channels[index * CHANNELS_PER_DEVICE : (index + 1) * CHANNELS_PER_DEVICE]
            some = tuple(name for name in own if name in channels)
            if some:
                shared.append((site, some))
        return shared

    def processes(self) -> dict[str, str]:
        """pid -> what it is, for the report."""
        return {str(pid): name_of(pid) for pid in self.pids()}

    async def paths(self, channels: tuple[str, ...]) -> tuple[str, ...]:
        """Where the streams of these channels are watched. Raises BenchFailed when one is unknown."""
        deadline = time.monotonic() + KNOWN_WITHIN
        while True:
            streams = await _snapshot(self.server, self.admin)
            ids = {str(stream["channel"]): str(stream["id"]) for stream in streams}
            missing = [channel for channel in channels if channel not in ids]
            if not missing:
                return tuple(f"/whep/{ids[channel]}" for channel in channels)
            if time.monotonic() > deadline:
                raise BenchFailed(f"the server knows no stream {', '.join(missing)}")
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def running_subject(publishers: int) -> AsyncIterator[Subject]:
    """A server with devices enough for that many publishers, limits out of the way, media on loopback only.

    Raises BenchFailed when it does not start.
    """
    try:
        async with running_server(
            server={"log_level": "warning"},
            http={"host": "127.0.0.1", "max_connections": 10_000, "max_connections_per_address": 10_000},
            media={"addresses": ["127.0.0.1"], "full_load": 1.0},  # what more costs is what is measured
            limits={
                "requests_per_minute": UNLIMITED,
                "pending_media_per_token": 1000,
                "publishers": 1000,
                "viewers": 10_000,
                "websockets_per_session": 100,
            },
        ) as server:
            admin = await server.setup_admin()
            tokens = [
                await server.add_device(f"bench {number}", "bench")
                for number in range(-(-publishers // CHANNELS_PER_DEVICE))
            ]
            sites = tuple(Site(url=server.url, ca=str(server.ca), token=token) for token in tokens)
            channels = tuple(f"c{number}" for number in range(publishers))
            yield Subject(sites=sites, channels=channels, server=server, admin=admin)
    except ServerFailed as error:
        raise BenchFailed(str(error)) from error


async def _snapshot(server: RunningServer, admin: Account) -> list[dict[str, Any]]:
    """Every stream the server knows, as a console is told at its start."""
    hello = {"type": "hello", "schema": 1, "client": secrets.token_hex(16), "want": ["stream"]}
    async with (
        asyncio.timeout(SNAPSHOT_WITHIN),
        admin.client.ws_connect(f"{server.url}/ws", origin=admin.origin) as socket,
    ):
        await socket.send_json(hello)
        while True:
            message: dict[str, Any] = await socket.receive_json()
            if message["type"] == "snapshot":
                streams: list[dict[str, Any]] = message["streams"]
                return streams
            if message["type"] == "goodbye":
                raise BenchFailed(f"the server refuses a console: {message}")
