"""Every route against every role (H30). A route that is not in RULES, or a rule without a route, fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from aiohttp import web

from server.api.table import PUBLIC, Route, Table
from server.auth.permissions import ACCOUNT_ROLES, Action, Role
from support.site import open_site

ALL = "everybody"
OWN = "the handler finds out"  # by a token, or by the first message

# (method, path) -> who gets past the gate. Written out by hand: a new route needs a decision here.
RULES: dict[tuple[str, str], str | set[str]] = {
    ("POST", "/api/setup"): ALL,
    ("POST", "/api/login"): ALL,
    ("POST", "/api/logout"): {"admin", "dispatcher", "field"},
    ("GET", "/api/me"): {"admin", "dispatcher", "field"},
    ("POST", "/api/streams/{stream:[A-Za-z0-9-]{1,64}}/token"): {"admin", "dispatcher"},
    ("GET", "/api/recordings"): {"admin", "dispatcher"},
    ("GET", "/recordings/{recording:[0-9a-f-]{36}}"): {"admin", "dispatcher"},
    ("GET", "/recordings/{recording:[0-9a-f-]{36}}/verify"): {"admin", "dispatcher"},
    ("DELETE", "/recordings/{recording:[0-9a-f-]{36}}"): {"admin"},
    ("GET", "/live"): ALL,
    ("GET", "/ready"): ALL,
    ("GET", "/ca"): ALL,
    ("GET", "/metrics"): OWN,
    ("GET", "/ws"): OWN,
    **{
        (method, path): OWN
        for method in ("POST", "GET", "HEAD", "OPTIONS")
        for path in (
            "/whip",
            "/whip/{channel:[A-Za-z0-9][A-Za-z0-9_.-]{0,31}}",
            "/whep/{stream:[A-Za-z0-9][A-Za-z0-9@_.-]{0,63}}",
        )
    },
    **{
        (method, "/s/{secret:[A-Za-z0-9_-]{16,64}}"): OWN
        for method in ("PATCH", "DELETE", "GET", "HEAD", "OPTIONS")
    },
    **{
        ("GET", path): ALL
        for path in (
            "/",
            "/wall",
            "/radio",
            "/health",
            "/admin/audit",
            "/setup",
            "/login",
            "/m",
            "/j/{token}",
            "/static/{path:.+}",
        )
    },
}

# What rows with their own check answer to somebody without a token: never anything that tells or changes something.
OWN_ANSWERS = {
    ("GET", "/metrics"): {401, 403},
    ("GET", "/ws"): {400, 403},
    **{key: {401} for key in RULES if key[0] in ("POST", "PATCH", "DELETE") and RULES[key] == OWN},
}
# ... but an administrator may read the metrics, HEAD and GET of WHIP only say that it is there.
EXAMPLES = {
    "stream": "0198f7a2-aaaa-7bbb-8ccc-ddddeeeeffff",
    "channel": "main",
    "recording": "0198f7a2-aaaa-7bbb-8ccc-ddddeeeeffff",
    "secret": "A" * 22,
    "token": "A" * 22,
}


def address(path: str) -> str:
    filled = re.sub(
        r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}", lambda match: EXAMPLES.get(match[1], "x"), path
    )
    assert "{" not in filled
    return filled


async def test_every_route_has_a_rule(tmp_path: Path) -> None:
    async with open_site(tmp_path) as site:
        rows = {(row.method, row.path): row for row in site.rows}
    assert sorted(rows) == sorted(RULES)
    for key, row in rows.items():
        wanted = RULES[key]
        if wanted == ALL:
            assert row.action == PUBLIC, key
        elif wanted == OWN:
            assert row.action is None, key
            assert row.why
        else:
            assert row.action in set(Action), key


async def test_every_role_against_every_route(tmp_path: Path) -> None:
    async with open_site(tmp_path, requests_per_minute=100_000, logins_per_minute=10_000) as site:
        client = site.client()
        for who in (None, *ACCOUNT_ROLES):
            for row in site.rows:
                if (row.method, row.path) in (("POST", "/api/setup"), ("POST", "/api/login")):
                    continue  # tests/server/api/test_gate.py
                headers = await site.log_in(Role(who)) if who else {"Origin": site.url}
                if not site.setup.done:
                    await site.log_in(Role.ADMIN)
                body = {"json": {"direction": "play"}} if row.path.startswith("/api/streams") else {}
                async with client.request(
                    row.method, address(row.path), headers=headers, allow_redirects=False, **body
                ) as answer:
                    check(row, who, answer.status)


def check(row: Route, who: Role | None, status: int) -> None:
    key = (row.method, row.path)
    rule = RULES[key]
    seen = f"{key} as {who}: {status}"
    assert status < 500, seen
    if key == ("GET", "/metrics") and who == "admin":
        assert status == 200, seen
    elif key in OWN_ANSWERS:
        assert status in OWN_ANSWERS[key], seen
    elif rule in (ALL, OWN):
        assert status not in (401, 403), seen
    elif who is None:
        assert status == 401, seen
    elif who in rule:
        assert status not in (401, 403), seen
    else:
        assert status == 403, seen


async def test_a_route_beside_the_table_is_refused(tmp_path: Path) -> None:
    async def smuggled(request: web.Request) -> web.Response:
        return web.Response(text="here I am")

    class Smuggler(Table):
        def install(self, app: web.Application) -> None:
            super().install(app)
            app.router.add_get("/smuggled", smuggled)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.api.http.Table", Smuggler)
        async with open_site(tmp_path) as site:
            admin = await site.log_in(Role.ADMIN)
            async with site.client().get("/smuggled", headers=admin) as answer:
                assert answer.status == 403
                assert "here I am" not in await answer.text()


def test_a_row_needs_an_action_or_a_reason() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    with pytest.raises(ValueError, match="does not say why"):
        Route(method="GET", path="/x", handler=handler, action=None)
    row = Route(method="GET", path="/x", handler=handler, action=PUBLIC)
    with pytest.raises(ValueError, match="twice"):
        Table([row, row]).install(web.Application())
