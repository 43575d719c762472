"""The HTTPS server: table, gate and listener around one aiohttp application."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Final

from aiohttp import web

from server.api.listener import Listener
from server.api.middleware import Gate
from server.api.origins import Origins
from server.api.table import Route, Table
from server.auth.sessions import Sessions
from server.config import HttpSection, LimitsSection
from server.model.clock import Clock

DRAIN: Final = 3.0  # s for requests in flight and goodbyes when stopping
KEEP_ALIVE: Final = 75.0  # s that an idle connection is kept
MAX_LINE: Final = 8190  # of a request's head: its first line, and each field
MAX_FIELDS: Final = 64


class HttpServer:
    """`prepare`, then `run` until cancelled; `drain` before that, to let people finish."""

    def __init__(
        self,
        app: web.Application,
        rows: Iterable[Route],
        sock: socket.socket,
        tls: ssl.SSLContext,
        origins: Origins,
        sessions: Sessions,
        clock: Clock,
        *,
        set_up: Callable[[], bool],
        http: HttpSection,
        limits: LimitsSection,
    ) -> None:
        table = Table(rows)
        table.install(app)
        self.gate = Gate(
            table,
            sessions,
            origins,
            clock,
            set_up=set_up,
            requests_per_minute=limits.requests_per_minute,
            body_timeout=http.idle_timeout,
        )
        self.gate.install(app)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_FIELDS,
            lingering_time=2.0,
            shutdown_timeout=DRAIN / 2,
        )
        self.listener = Listener(
            sock,
            self._runner,
            tls,
            origins,
            idle_timeout=http.idle_timeout,
            max_connections=http.max_connections,
            max_per_address=http.max_connections_per_address,
        )
        self.gate.guard = self.listener

    async def prepare(self) -> None:
        """Freeze the application; nothing is accepted yet."""
        await self._runner.setup()

    async def run(self) -> None:
        """Accept until cancelled."""
        await self.listener.run()

    async def drain(self) -> None:
        """Accept nothing more, say goodbye, let requests in flight end; what has not within `DRAIN` is cut."""
        self.listener.stop_accepting()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._runner.cleanup(), DRAIN)
