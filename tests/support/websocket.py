"""The WebSocket shell on a real port of the loopback, in this process, and clients of it.

`Tab` is a well-behaved client; `RawSocket` speaks frames (RFC 6455 5.2), so that it can behave badly.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from server.api.middleware import COOKIE, Gate
from server.api.origins import Origins
from server.api.table import Table
from server.signalling.websocket import WebSockets
from support.control import Control, RunningClock, control

PATIENCE: Final = 5.0  # s


@dataclass(kw_only=True)
class Desk:
    """A server's WebSockets and what stands behind them."""

    centre: Control
    sockets: WebSockets
    service: asyncio.Task[None]
    port: int
    tabs: list[Tab] = field(default_factory=list)

    @property
    def origin(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    async def tab(self, *, cookie: str = "", token: str = "", client: str = "", **fields: Any) -> Tab:
        """Connect and say hello; what came in answer is in `Tab.got`."""
        tab = await self.connect(cookie=cookie)
        tab.client = client or tab.client
        await tab.hello(token=token, **fields)
        return tab

    async def connect(self, *, cookie: str = "", origin: str | None = "own") -> Tab:
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        if origin is not None:
            headers["Origin"] = self.origin if origin == "own" else origin
        http = aiohttp.ClientSession()
        try:
            socket = await http.ws_connect(
                f"http://127.0.0.1:{self.port}/ws", headers=headers, autoclose=True, max_msg_size=0
            )
        except BaseException:
            await http.close()
            raise
        tab = Tab(http=http, socket=socket)
        self.tabs.append(tab)
        return tab

    async def raw(self, cookie: str = "") -> RawSocket:
        return await RawSocket.open(self.port, self.origin, cookie)


@dataclass(kw_only=True)
class Tab:
    """One page: keeps what it was told."""

    http: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse
    client: str = field(default_factory=lambda: base64.b16encode(os.urandom(12)).decode())
    got: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None  # as the server said it
    _pinging: asyncio.Task[None] | None = None
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def hello(self, *, token: str = "", **fields: Any) -> None:
        await self.send({"type": "hello", "schema": 1, "client": self.client, "token": token, **fields})
        self._pinging = asyncio.create_task(self._ping())
        if (await self.next())["type"] == "hello" and not self.got[-1]["resumed"]:
            while (await self.next())["type"] != "snapshot":
                pass

    async def _ping(self) -> None:
        """As pages do, also while a test waits for something else."""
        while not self.socket.closed:
            await asyncio.sleep(2.0)
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self.send({"type": "ping", "t": 0})

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send_str(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        """The next message, also kept in `got`. Raises EOFError when the server closed."""
        async with asyncio.timeout(PATIENCE):
            message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.CLOSE:
            self.close_code = message.data
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise EOFError(f"closed: {message.type.name} {self.close_code}")
        self.got.append(json.loads(message.data))
        return self.got[-1]

    async def until(self, type: str, **fields: Any) -> dict[str, Any]:
        """The next message of this type with these fields."""
        while True:
            message = await self.next()
            if message["type"] == type and all(message.get(name) == value for name, value in fields.items()):
                return message

    async def command(self, type: str, *, id: str = "", **fields: Any) -> dict[str, Any]:
        """Send a command; its reply."""
        command = id or f"c{next(self._ids)}"
        await self.send({"type": type, "id": command, **fields})
        return await self.until("reply", id=command)

    async def ended(self) -> tuple[str, int | None]:
        """The goodbye's reason and the close code."""
        reason = (await self.until("goodbye"))["reason"]
        try:
            while True:
                await self.next()
        except EOFError:
            return reason, self.close_code

    async def change(self, kind: str, id: str, when: Callable[[Any], object] = lambda _: True) -> Any:
        """The next value that a delta tells of an entity and that is as asked."""
        while True:
            for change in (await self.until("delta"))["changes"]:
                if (change["kind"], change["id"]) == (kind, id) and when(change["value"]):
                    return change["value"]

    async def close(self) -> None:
        if self._pinging is not None:
            self._pinging.cancel()
        await self.socket.close()
        await self.http.close()

    async def vanish(self) -> None:
        """Gone without a word."""
        if self._pinging is not None:
            self._pinging.cancel()
        await self.http.close()


@dataclass(kw_only=True)
class RawSocket:
    """A WebSocket whose frames are made by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    head: str

    @classmethod
    async def open(cls, port: int, origin: str, cookie: str) -> RawSocket:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            (
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nOrigin: {origin}\r\n"
                f"Sec-WebSocket-Extensions: permessage-deflate\r\nCookie: {COOKIE}={cookie}\r\n\r\n"
            ).encode()
        )
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        return cls(reader=reader, writer=writer, head=head)

    def frame(self, payload: bytes, *, opcode: int = 1, fin: bool = True, reserved: int = 0) -> None:
        """Send one masked frame."""
        mask = os.urandom(4)
        size = len(payload)
        first = (0x80 if fin else 0) | reserved | opcode
        if size < 126:
            head = struct.pack("!BB", first, 0x80 | size)
        elif size < 65_536:
            head = struct.pack("!BBH", first, 0x80 | 126, size)
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, size)
        repeated = mask * (size // 4 + 1)
        body = (int.from_bytes(payload) ^ int.from_bytes(repeated[:size])).to_bytes(size) if size else b""
        self.writer.write(head + mask + body)

    def message(self, message: dict[str, Any]) -> None:
        self.frame(json.dumps(message).encode())

    async def receive(self) -> tuple[int, bytes]:
        """The next frame: opcode and payload. Raises IncompleteReadError at the end."""
        async with asyncio.timeout(PATIENCE):
            first, size = await self.reader.readexactly(2)
            assert first & 0x70 == 0, "compressed"
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            return first & 0x0F, await self.reader.readexactly(size)

    async def closed(self) -> int:
        """Read until the server closes; its close code."""
        while True:
            opcode, payload = await self.receive()
            if opcode == 8:
                return int.from_bytes(payload[:2])

    async def gone(self) -> None:
        """Read until the connection ends."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while await self.reader.read(65_536):
                    pass

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def desk(folder: Path, *, per_credential: int = 20) -> AsyncIterator[Desk]:
    """The shell with its gate, as the server composes them, but plain HTTP."""
    async with control(folder, clock=RunningClock()) as centre:
        origins = Origins("")
        centre.services.clients = type(centre.services.clients)(per_credential=per_credential)
        sockets = WebSockets(
            centre.services, origins, centre.events, public_url="", name="烽燧", level="county", version="1"
        )
        app = web.Application()
        table = Table(sockets.routes())
        table.install(app)
        Gate(
            table,
            centre.sessions,
            origins,
            centre.clock,
            set_up=lambda: True,
            requests_per_minute=100_000,
            body_timeout=5.0,
        ).install(app)
        app.on_shutdown.append(sockets.shutdown)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = int(runner.addresses[0][1])
        origins.update(["127.0.0.1"], port)
        services = [
            asyncio.create_task(run()) for run in (sockets.run, centre.roster.run, centre.catalogue.run)
        ]
        made = Desk(centre=centre, sockets=sockets, service=services[0], port=port)
        try:
            yield made
        finally:
            for tab in made.tabs:
                await tab.close()
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)
            await runner.cleanup()
