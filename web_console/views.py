"""Pages and assets over HTTP: which page a visitor gets, or where to go instead.

A page is a shell: hashed assets and the initial state as a JSON block. Nothing in it is inline script or style, so a
policy of `script-src 'self'; style-src 'self'` fits. Pages carry no data beyond who is logged in; that comes over the
WebSocket, where it is asked for and permitted one by one. So every page is public, and sends on whoever cannot use it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import web

from web_console.assets import HERE, PREFIX, FrontEnd

Language = Literal["zh-CN", "en"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

CONSOLE_PATHS: Final = ("/wall", "/radio", "/health", "/admin/audit")
WATCH: Final = "stream.watch"  # the permission without which the console shows nothing
YEAR: Final = 365 * 86400

_ENVIRONMENT: Final = web.AppKey("web_console_jinja2", jinja2.Environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageUser:
    """Who is logged in, for the page's first paint."""

    id: str
    name: str
    role: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageState:
    """What a page must know before it has asked anything. `csrf`: for the header X-Fengsui-CSRF, "" = none."""

    set_up: bool
    user: PageUser | None
    csrf: str
    server_name: str
    level: str  # province | city | county | township | vehicle
    version: str
    language: Language
    password_min_length: int
    join_link_hours: float
    max_join_link_hours: float


StateOf = Callable[[web.Request], Awaitable[PageState]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRoute:
    """One GET route. All are public and answer before set-up too."""

    path: str
    handler: Handler


def page_routes(app: web.Application, front_end: FrontEnd, state_of: StateOf) -> tuple[PageRoute, ...]:
    """Every page and asset. Prepares `app` for their templates; the caller adds the routes.

    `state_of` answers for one request; it must not raise for a visitor who is not logged in.
    """
    aiohttp_jinja2.setup(
        app,
        app_key=_ENVIRONMENT,
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    pages = _Pages(front_end, state_of)
    return (
        PageRoute(path="/", handler=pages.root),
        *(PageRoute(path=path, handler=pages.console) for path in CONSOLE_PATHS),
        PageRoute(path="/setup", handler=pages.setup),
        PageRoute(path="/login", handler=pages.login),
        PageRoute(path="/m", handler=pages.phone),
        PageRoute(path="/j/{token}", handler=pages.phone),
        PageRoute(path=PREFIX + "{path:.+}", handler=pages.asset),
    )


def home_of(user: PageUser) -> str:
    """Where somebody starts after log-in."""
    return CONSOLE_PATHS[0] if WATCH in user.permissions else "/m"


def next_page(wanted: str, user: PageUser | None) -> str:
    """Where to go after log-in: only ever one of our own pages. "" = decide when it is known who logs in."""
    if wanted in (*CONSOLE_PATHS, "/m"):
        return wanted
    return home_of(user) if user else ""


class _Pages:
    def __init__(self, front_end: FrontEnd, state_of: StateOf) -> None:
        self._front_end = front_end
        self._state_of = state_of

    async def root(self, request: web.Request) -> web.StreamResponse:
        state = await self._state_of(request)
        return _send_to(home_of(state.user) if state.user else CONSOLE_PATHS[0])

    async def console(self, request: web.Request) -> web.StreamResponse:
        state = await self._state_of(request)
        if not state.set_up:
            return _send_to("/setup")
        if state.user is None:
            return _send_to("/login?" + urlencode({"next": request.path}))
        if WATCH not in state.user.permissions:
            return _send_to(home_of(state.user))
        return self._page(request, "console", state)

    async def setup(self, request: web.Request) -> web.StreamResponse:
        state = await self._state_of(request)
        return _send_to("/login") if state.set_up else self._page(request, "enter", state)

    async def login(self, request: web.Request) -> web.StreamResponse:
        state = await self._state_of(request)
        if not state.set_up:
            return _send_to("/setup")
        wanted = next_page(request.query.get("next", ""), state.user)
        return _send_to(wanted) if state.user else self._page(request, "enter", state, wanted)

    async def phone(self, request: web.Request) -> web.StreamResponse:
        """Also for nobody: the page itself keeps a join link's secret and shows it to the WebSocket only."""
        state = await self._state_of(request)
        return self._page(request, "phone", state) if state.set_up else _send_to("/setup")

    async def asset(self, request: web.Request) -> web.StreamResponse:
        asset = self._front_end.assets.get(request.match_info["path"])
        if asset is None:
            raise web.HTTPNotFound
        response = web.Response(body=asset.body, content_type=asset.content_type)
        if asset.content_type.startswith("text/"):
            response.charset = "utf-8"
        if asset.packed is not None:
            response.headers["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("Accept-Encoding", ""):
                response.body = asset.packed
                response.headers["Content-Encoding"] = "gzip"
        response.headers["Cache-Control"] = (
            f"public, max-age={YEAR}, immutable" if asset.hashed else "public, max-age=3600"
        )
        return response

    def _page(self, request: web.Request, name: str, state: PageState, wanted: str = "") -> web.Response:
        response = aiohttp_jinja2.render_template(
            f"{name}.html",
            request,
            {
                "language": state.language,
                "title": state.server_name,
                "entry": self._front_end.entries[name],
                "initial": _json_block(state, wanted),
            },
            app_key=_ENVIRONMENT,
        )
        response.headers["Cache-Control"] = "no-store"
        response.headers["Referrer-Policy"] = "no-referrer"  # an address may hold a join link's secret
        return response


def _json_block(state: PageState, wanted: str) -> str:
    """The initial state as it stands in the script block; nothing in it can end the block."""
    user = state.user
    text = json.dumps(
        {
            "setUp": state.set_up,
            "user": user
            and {"id": user.id, "name": user.name, "role": user.role, "permissions": list(user.permissions)},
            "csrf": state.csrf,
            "server": {"name": state.server_name, "level": state.level, "version": state.version},
            "language": state.language,
            "passwordMinLength": state.password_min_length,
            "joinLinkHours": state.join_link_hours,
            "maxJoinLinkHours": state.max_join_link_hours,
            "next": wanted,
        },
        ensure_ascii=True,
        separators=(",", ":"),
    )
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _send_to(path: str) -> web.Response:
    return web.Response(status=303, headers={"Location": path, "Cache-Control": "no-store"})
