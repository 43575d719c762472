"""Phones and consoles of the push-to-talk benchmark: their sockets, and sound paths on them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from bench.workers import BenchFailed
from support.sound_path import SoundPath
from support.talk_client import TalkClient, connect
from support.waiting import until

CONNECT_WITHIN: Final = 15.0  # s
AT_ONCE: Final = 6  # clients that come in at the same time


@dataclass(frozen=True, slots=True, kw_only=True)
class TalkSite:
    """Where the server is. `ca`: path of the certificate to trust."""

    url: str
    ca: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """One phone (`token`: its join link's secret) and the group it is in."""

    group: str
    token: str


class TalkSockets:
    """Every WebSocket of one process, over one HTTP client."""

    def __init__(self) -> None:
        self._http: aiohttp.ClientSession | None = None
        self._clients: list[TalkClient] = []

    async def phone(self, site: TalkSite, seat: Seat) -> TalkClient:
        """Said hello, and tuned to its group."""
        client = await self._open(site, "", seat.token)
        await client.do("group.tune", listening=[seat.group], selected=[seat.group])
        return client

    async def console(self, site: TalkSite, cookie: str) -> TalkClient:
        """A desk that sees everything and does nothing."""
        return await self._open(site, cookie, "")

    async def _open(self, site: TalkSite, cookie: str, token: str) -> TalkClient:
        if self._http is None:
            context = ssl.create_default_context(cafile=site.ca)
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=0), cookie_jar=aiohttp.DummyCookieJar()
            )
        client = TalkClient(http=self._http, socket=await connect(self._http, site.url, cookie))
        self._clients.append(client)
        await client.hello(token)
        return client

    async def close(self) -> None:
        await asyncio.gather(*(client.close() for client in self._clients), return_exceptions=True)
        if self._http is not None:
            await self._http.close()


async def open_path(client: TalkClient, path: SoundPath) -> None:
    """Until packets can flow. Raises BenchFailed."""
    answer = await client.do("media.offer", kind="voice", sdp=path.offer())
    client.session = answer["session"]
    path.apply(answer["sdp"])
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await path.peer.connected.wait()
        await until(lambda: client.step in ("dtls", "path"), CONNECT_WITHIN)
    except TimeoutError:
        raise BenchFailed(
            f"a sound path does not connect in {CONNECT_WITHIN:g} s {path.peer.fail_reason}"
        ) from None


async def few_at_once(work: Callable[[Seat], Awaitable[None]], seats: Sequence[Seat]) -> None:
    """In their order, `AT_ONCE` under way. Raises the first failure as BenchFailed."""
    left = iter(seats)

    async def one_after_the_other() -> None:
        for seat in left:
            await work(seat)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, len(seats))):
                tasks.create_task(one_after_the_other())
    except ExceptionGroup as failed:
        if failed.split((BenchFailed, TimeoutError, ConnectionError, AssertionError))[1] is not None:
            raise
        raise BenchFailed(f"a client cannot come in: {failed.exceptions[0]!r}") from None
