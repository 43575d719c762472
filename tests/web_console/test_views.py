"""Which page a visitor gets, or where to; what a page carries; how assets are served. Over real sockets."""

from __future__ import annotations

import gzip
import html.parser
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from web_console.assets import Asset, Entry, FrontEnd
from web_console.views import PageState, PageUser, next_page, page_routes

OFFICER = PageUser(id="u1", name="李明", role="dispatcher", permissions=("stream.watch", "link.create"))
RESCUER = PageUser(id="u2", name="张强", role="field", permissions=("stream.publish",))
STATE = PageState(
    set_up=True,
    user=None,
    csrf="",
    server_name="陇南市应急指挥中心",
    level="city",
    version="0.1.0",
    language="zh-CN",
    password_min_length=12,
    join_link_hours=12.0,
    max_join_link_hours=168.0,
)
SCRIPT = b"export {};" * 100
FRONT_END = FrontEnd(
    assets={
        "assets/console-1.js": Asset(
            body=SCRIPT, packed=gzip.compress(SCRIPT), content_type="text/javascript", hashed=True
        ),
        "favicon.svg": Asset(body=b"<svg/>", packed=None, content_type="image/svg+xml", hashed=False),
    },
    entries={
        name: Entry(
            script=f"/static/assets/{name}-1.js",
            preload=("/static/assets/shared-2.js",),
            styles=(f"/static/assets/{name}-3.css",),
        )
        for name in ("console", "enter", "phone")
    },
)


class Site:
    def __init__(self) -> None:
        self.state = STATE
        self.client: TestClient[web.Request, web.Application]

    async def get(self, path: str) -> tuple[int, str, str]:
        """Status, where it sends one, body."""
        async with self.client.get(path, allow_redirects=False) as answer:
            return answer.status, answer.headers.get("Location", ""), await answer.text()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    app = web.Application()

    async def state_of(request: web.Request) -> PageState:
        return made.state

    for page in page_routes(app, FRONT_END, state_of):
        app.router.add_get(page.path, page.handler)
    async with TestClient(TestServer(app)) as client:
        made.client = client
        yield made


class Page(html.parser.HTMLParser):
    """What a browser would find: tags with attributes, and the JSON block."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.json = ""
        self._in_block = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_block = tag == "script" and dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._in_block = False

    def handle_data(self, data: str) -> None:
        if self._in_block:
            self.json += data

    @property
    def initial(self) -> dict[str, Any]:
        found = json.loads(self.json)
        assert isinstance(found, dict)
        return found

    @property
    def script(self) -> str | None:
        return next(attrs["src"] for tag, attrs in self.tags if tag == "script" and "src" in attrs)


@pytest.mark.parametrize(
    ("user", "path", "entry"),
    [
        (OFFICER, "/wall", "console"),
        (OFFICER, "/radio", "console"),
        (OFFICER, "/health", "console"),
        (OFFICER, "/admin/audit", "console"),
        (None, "/login", "enter"),
        (None, "/m", "phone"),
        (None, "/j/Zk3v9Qp1sT7uXy2LwRb8Aw", "phone"),
        (RESCUER, "/m", "phone"),
        (OFFICER, "/m", "phone"),
    ],
)
async def test_pages(site: Site, user: PageUser | None, path: str, entry: str) -> None:
    site.state = replace(STATE, user=user)
    status, _, text = await site.get(path)
    assert status == 200
    assert Page(text).script == f"/static/assets/{entry}-1.js"


@pytest.mark.parametrize(
    ("set_up", "user", "path", "to"),
    [
        (False, None, "/", "/wall"),
        (False, None, "/wall", "/setup"),
        (False, None, "/health", "/setup"),
        (False, None, "/login", "/setup"),
        (False, None, "/m", "/setup"),
        (False, None, "/j/abc", "/setup"),
        (True, None, "/", "/wall"),
        (True, None, "/wall", "/login?next=%2Fwall"),
        (True, None, "/health", "/login?next=%2Fhealth"),
        (True, None, "/admin/audit", "/login?next=%2Fadmin%2Faudit"),
        (True, None, "/setup", "/login"),
        (True, OFFICER, "/", "/wall"),
        (True, OFFICER, "/login", "/wall"),
        (True, OFFICER, "/login?next=/health", "/health"),
        (True, OFFICER, "/login?next=/radio", "/radio"),
        (True, OFFICER, "/login?next=//evil.example/", "/wall"),
        (True, OFFICER, "/login?next=https://evil.example/wall", "/wall"),
        (True, RESCUER, "/", "/m"),
        (True, RESCUER, "/wall", "/m"),
        (True, RESCUER, "/health", "/m"),
        (True, RESCUER, "/admin/audit", "/m"),
        (True, RESCUER, "/login", "/m"),
    ],
)
async def test_who_cannot_use_a_page_is_sent_on(
    site: Site, set_up: bool, user: PageUser | None, path: str, to: str
) -> None:
    site.state = replace(STATE, set_up=set_up, user=user)
    assert (await site.get(path))[:2] == (303, to)


async def test_set_up_is_shown_while_there_is_no_administrator(site: Site) -> None:
    site.state = replace(STATE, set_up=False)
    status, _, text = await site.get("/setup")
    assert status == 200
    page = Page(text)
    assert page.script == "/static/assets/enter-1.js"
    assert page.initial["setUp"] is False
    assert page.initial["passwordMinLength"] == 12


async def test_a_page_carries_who_is_there_and_nothing_that_runs_inline(site: Site) -> None:
    site.state = replace(STATE, user=OFFICER, csrf="token-1")
    _, _, text = await site.get("/wall")
    page = Page(text)
    assert page.initial == {
        "setUp": True,
        "user": {
            "id": "u1",
            "name": "李明",
            "role": "dispatcher",
            "permissions": ["stream.watch", "link.create"],
        },
        "csrf": "token-1",
        "server": {"name": "陇南市应急指挥中心", "level": "city", "version": "0.1.0"},
        "language": "zh-CN",
        "passwordMinLength": 12,
        "joinLinkHours": 12.0,
        "maxJoinLinkHours": 168.0,
        "next": "",
    }
    scripts = [attrs for tag, attrs in page.tags if tag == "script"]
    assert all("src" in attrs or attrs.get("type") == "application/json" for attrs in scripts)
    assert not [tag for tag, _ in page.tags if tag == "style"]
    assert not [attrs for _, attrs in page.tags if any(n == "style" or n.startswith("on") for n in attrs)]
    addresses = [attrs[name] or "" for _, attrs in page.tags for name in ("src", "href") if name in attrs]
    assert len(addresses) == 4
    assert all(address.startswith("/static/") for address in addresses)


async def test_a_name_cannot_leave_the_block_or_the_title(site: Site) -> None:
    name = "</script><script>alert(1)</script><!--&\"'"
    site.state = replace(STATE, server_name=name, user=replace(OFFICER, name=name))
    _, _, text = await site.get("/wall")
    page = Page(text)
    assert page.initial["server"]["name"] == name
    assert page.initial["user"]["name"] == name
    assert len([tag for tag, _ in page.tags if tag == "script"]) == 2


async def test_the_shell_speaks_the_server_s_language(site: Site) -> None:
    site.state = replace(STATE, language="en")
    _, _, text = await site.get("/login")
    assert ("html", {"lang": "en"}) in Page(text).tags
    assert "This page needs JavaScript." in text


async def test_log_in_knows_where_one_wanted_to_go(site: Site) -> None:
    for query, wanted in {"/health": "/health", "//evil.example": "", "/api/logout": "", "": ""}.items():
        _, _, text = await site.get(f"/login?next={query}")
        assert Page(text).initial["next"] == wanted


def test_after_log_in_only_ever_to_one_of_our_own_pages() -> None:
    assert next_page("/m", OFFICER) == "/m"
    assert next_page("/wall/../admin", OFFICER) == "/wall"
    assert next_page("javascript:alert(1)", RESCUER) == "/m"


async def test_pages_are_kept_nowhere_and_tell_nobody_their_address(site: Site) -> None:
    async with site.client.get("/j/secret") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "secret" not in await answer.text()


async def test_assets(site: Site) -> None:
    async with site.client.get("/static/assets/console-1.js", auto_decompress=False) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/javascript"
        assert answer.charset == "utf-8"
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert gzip.decompress(await answer.read()) == SCRIPT
    plain = {"Accept-Encoding": "identity"}
    async with site.client.get("/static/assets/console-1.js", headers=plain) as answer:
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == SCRIPT
    async with site.client.get("/static/favicon.svg") as answer:
        assert answer.headers["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize(
    "path",
    [
        "/static/manifest.json",
        "/static/.source-hash",
        "/static/assets/",
        "/static/assets/none.js",
        "/static/../views.py",
        "/static/%2e%2e/views.py",
        "/static/assets/..%2f..%2fviews.py",
        "/static//etc/passwd",
        "/static/%00",
    ],
)
async def test_nothing_but_what_was_built_is_served(site: Site, path: str) -> None:
    assert (await site.get(path))[0] == 404
