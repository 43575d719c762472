"""The whole HTTP side of the server in this process: real sockets, TLS, gate, sessions and rows; only media is a fake.

Quicker than a server of its own, and a test can look inside and move the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from server.api.health import HealthApi
from server.api.http import HttpServer
from server.api.listener import bind
from server.api.middleware import CSRF_HEADER
from server.api.origins import Origins
from server.api.pages import page_rows
from server.api.session import SessionApi, SetupState
from server.api.table import Route
from server.auth.permissions import Role
from server.auth.sessions import Sessions
from server.auth.setup import SetupCode
from server.auth.tokens import csrf_token
from server.config import Config, HttpSection, LimitsSection
from server.datafolder import metrics_token
from server.dispatch import make_dispatch
from server.media_events import MediaEvents
from server.metrics import Metrics
from server.people import People, open_people
from server.storage.changes import ChangeWatch
from server.tls import Tls
from support.fake_media import FakeMedia
from web_console.assets import Asset, Entry, FrontEnd

PASSWORD = "correct horse battery"
NAMES = ("127.0.0.1", "::1", "localhost")


def console() -> FrontEnd:
    """A front end of one script for all pages."""
    entry = Entry(script="/static/assets/a-1.js", preload=(), styles=())
    script = Asset(body=b"export {};", packed=None, content_type="text/javascript", hashed=True)
    return FrontEnd(
        assets={"assets/a-1.js": script}, entries=dict.fromkeys(("console", "out", "phone", "enter"), entry)
    )


@dataclass(kw_only=True)
class Site:
    http: HttpServer
    people: People
    sessions: Sessions
    setup: SetupState
    tls: Tls
    rows: tuple[Route, ...]
    shown_codes: list[str]
    folder: Path
    _clients: list[aiohttp.ClientSession] = field(default_factory=list)

    @property
    def port(self) -> int:
        return self.http.listener.port

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def ssl_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.folder / "data" / "tls" / "ca.pem")
        return context

    def client(self, **options: Any) -> aiohttp.ClientSession:
        """Keeps its cookies; closed with the site."""
        made = aiohttp.ClientSession(
            base_url=self.url,
            connector=aiohttp.TCPConnector(ssl=self.ssl_context()),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            **options,
        )
        self._clients.append(made)
        return made

    async def raw(
        self, host: str = "127.0.0.1", source: str = ""
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A TLS connection without HTTP; `source`: the loopback address it comes from."""
        local = (source, 0) if source else None
        return await asyncio.open_connection(host, self.port, ssl=self.ssl_context(), local_addr=local)

    async def log_in(self, role: Role) -> dict[str, str]:
        """Headers of a new account's browser: cookie, origin and token."""
        username = f"{role}-{len(await self.people.users.all())}"
        user = await self.people.users.add(
            username=username, name="", password=PASSWORD, role=role, actor="test"
        )
        await self.setup.refresh()
        secret, _ = await self.sessions.open(user, address="127.0.0.1", agent="test")
        return {"Cookie": f"__Host-fengsui={secret}", "Origin": self.url, CSRF_HEADER: csrf_token(secret)}


@contextlib.asynccontextmanager
async def open_site(
    folder: Path, *, extra: Iterable[Route] = (), http: dict[str, Any] | None = None, **limits: Any
) -> AsyncIterator[Site]:
    """`extra` rows beside the real ones; `http` and `limits` are settings of those sections."""
    config = Config.model_validate(
        {"server": {"data": str(folder / "data")}, "http": {"port": 0, **(http or {})}, "limits": limits}
    )
    shown: list[str] = []
    async with open_people(config) as people:
        sock = bind("", 0)
        port = int(sock.getsockname()[1])
        tls = Tls(folder=config.data / "tls", certificate="", key="", names=NAMES)
        origins = Origins("")
        origins.update(NAMES, port)
        sessions = Sessions(people.database, people.clock, idle=3600.0, absolute=7200.0)
        setup = SetupState(people.users, SetupCode(900.0), people.clock, shown.append)
        await setup.refresh()
        setup.tick()
        changes = ChangeWatch(people.database)
        changes.subscribe(sessions.reload)
        changes.subscribe(setup.refresh)
        events = MediaEvents()
        dispatch = await make_dispatch(
            config,
            people,
            FakeMedia(events),
            events,
            media_up=lambda: True,
            sessions=sessions,
            changes=changes,
            origins=origins,
        )
        app = web.Application()
        metrics = Metrics()

        async def well() -> str:
            return ""

        async def set_up() -> str:
            return "" if setup.done else "needs-set-up"

        session_api = SessionApi(
            people.users,
            sessions,
            people.audit,
            setup,
            people.clock,
            logins_per_minute=config.limits.logins_per_minute,
        )
        rows = (
            *session_api.routes(),
            *HealthApi(metrics, {"setup": set_up, "all": well}, tls, metrics_token(config.data)).routes(),
            *dispatch.routes,
            *page_rows(app, console(), config, lambda: setup.done),
            *extra,
        )
        server = HttpServer(
            app,
            rows,
            sock,
            tls.context,
            origins,
            sessions,
            people.clock,
            set_up=lambda: setup.done,
            http=HttpSection.model_validate({"port": 0, **(http or {})}),
            limits=LimitsSection.model_validate(limits),
        )
        metrics.add("http", server.listener.statistics)
        await server.prepare()
        running: list[asyncio.Future[None]] = [asyncio.ensure_future(server.run())]
        running += [asyncio.ensure_future(run()) for run in (changes.run, *dispatch.services.values())]
        site = Site(
            http=server,
            people=people,
            sessions=sessions,
            setup=setup,
            tls=tls,
            rows=rows,
            shown_codes=shown,
            folder=folder,
        )
        try:
            yield site
        finally:
            for client in site._clients:
                await client.close()
            await server.drain()
            for task in reversed(running):
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
