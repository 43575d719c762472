"""The gate: what it takes to be served at all (first run, limits, cookies, CSRF, bodies), and what answers carry."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from server.auth.permissions import Role
from support.site import PASSWORD, Site, open_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with open_site(tmp_path, logins_per_minute=1000) as opened:
        yield opened


async def code_of(answer: aiohttp.ClientResponse) -> tuple[int, str]:
    return answer.status, (await answer.json())["error"]["code"]


async def post(site: Site, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with site.client().post(path, json=body, headers={"Origin": site.url, **headers}) as answer:
        return answer.status, await answer.json()


async def set_up(site: Site, code: str = "", **body: str) -> tuple[int, Any]:
    wanted = {"code": code or site.shown_codes[-1], "username": "chief", "password": PASSWORD} | body
    return await post(site, "/api/setup", wanted)


# ---- first run


async def test_before_set_up_only_what_must_answer_does(site: Site) -> None:
    client = site.client()
    for path, status in (
        ("/live", 200),
        ("/ready", 503),
        ("/setup", 200),
        ("/static/assets/a-1.js", 200),
        ("/ca", 200),
    ):
        async with client.get(path) as answer:
            assert answer.status == status, path
    for path in ("/wall", "/login", "/m", "/j/" + "A" * 22):
        async with client.get(path, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (303, "/setup"), path
    for path in ("/api/me", "/metrics"):
        async with client.get(path) as answer:
            assert await code_of(answer) == (403, "not_set_up"), path
    assert (await post(site, "/api/login", {"username": "a", "password": "b"}))[1]["error"][
        "code"
    ] == "not_set_up"
    async with client.post("/whip", data="v=0", headers={"Content-Type": "application/sdp"}) as answer:
        assert answer.status == 401  # devices are answered: this one has no token


async def test_set_up_once_with_the_code(site: Site) -> None:
    status, said = await set_up(site, code="0000-0000-0000")
    assert (status, said["error"]["code"], said["error"]["field"]) == (403, "wrong_code", "code")
    status, said = await set_up(site, password="short")
    assert (status, said["error"]["code"]) == (400, "weak_password")
    status, said = await set_up(site, username="a b")
    assert (status, said["error"]["field"]) == (400, "username")
    assert not site.setup.done
    status, said = await set_up(site, name="总值班\u202e\u0000")
    assert (status, said["role"], said["name"]) == (200, "admin", "总值班")
    status, said = await set_up(site)
    assert (status, said["error"]["code"]) == (409, "already_set_up")
    audit = [(entry.action, entry.result) for entry in await site.people.audit.newest()]
    assert audit == [("login", "ok"), ("user.add", "ok"), ("setup", "wrong_code")]


async def test_two_people_set_up_at_once_and_one_wins(site: Site) -> None:
    results = await asyncio.gather(set_up(site, username="one"), set_up(site, username="two"))
    assert sorted(status for status, _ in results) == [200, 409]
    assert len(await site.people.users.all()) == 1


async def test_guessing_the_code_is_slowed_and_changes_it(site: Site) -> None:
    seen = [(await set_up(site, code=f"0000-0000-{number:04}"))[1]["error"]["code"] for number in range(8)]
    assert seen[:6] == ["wrong_code"] * 6
    assert set(seen[6:]) == {"too_many"}
    for _ in range(10):
        site.setup.code.check("wrong", site.people.clock.now())
    site.setup.tick()
    assert len(site.shown_codes) == 2
    assert site.shown_codes[0] != site.shown_codes[1]


# ---- logging in


async def test_cookie_has_every_protection(site: Site) -> None:
    async with site.client().post(
        "/api/setup",
        json={"code": site.shown_codes[0], "username": "chief", "password": PASSWORD},
        headers={"Origin": site.url},
    ) as answer:
        (line,) = answer.headers.getall("Set-Cookie")
    cookie = SimpleCookie(line)["__Host-fengsui"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"]) == (True, True, "Strict")
    assert (cookie["path"], cookie["domain"]) == ("/", "")
    assert len(cookie.value) == 43


async def test_a_new_log_in_ends_the_session_it_came_with(site: Site) -> None:
    await set_up(site)
    before = await site.log_in(Role.ADMIN)
    credentials = {"username": "chief", "password": PASSWORD}
    status, said = await post(site, "/api/login", credentials, **before)
    assert status == 200
    assert said["csrf"] != before["X-Fengsui-CSRF"]
    async with site.client().get("/api/me", headers=before) as answer:
        assert await code_of(answer) == (401, "not_logged_in")


async def test_a_made_up_session_is_nobody(site: Site) -> None:
    await set_up(site)
    for value in ("", "x", "A" * 43, "A" * 5000):
        async with site.client().get("/api/me", headers={"Cookie": f"__Host-fengsui={value}"}) as answer:
            assert await code_of(answer) == (401, "not_logged_in")


async def test_wrong_log_ins_look_the_same_and_slow_down_the_account_and_the_address(site: Site) -> None:
    await set_up(site)
    answers = [
        await post(site, "/api/login", {"username": name, "password": "wrong password 1"})
        for name in ("chief", "nobody", "chief", "nobody", "chief", "chief")
    ]
    assert [status for status, _ in answers] == [401] * 6
    assert len({json.dumps(said) for _, said in answers}) == 1
    status, said = await post(site, "/api/login", {"username": "chief", "password": PASSWORD})
    assert (status, said["error"]["code"]) == (429, "too_many")
    assert 0 < said["error"]["retryAfter"] <= 2
    await asyncio.sleep(said["error"]["retryAfter"] + 0.1)
    status, said = await post(site, "/api/login", {"username": "chief", "password": PASSWORD})
    assert status == 200
    failed = [entry for entry in await site.people.audit.newest() if entry.result == "wrong_credentials"]
    assert len(failed) == 6


async def test_log_ins_have_a_rate(tmp_path: Path) -> None:
    async with open_site(tmp_path, logins_per_minute=3) as site:
        await set_up(site)
        statuses = [
            (await post(site, "/api/login", {"username": f"user{number}", "password": "x" * 12}))[0]
            for number in range(4)
        ]
    assert statuses == [401, 401, 429, 429]  # the set-up counted, too


async def test_requests_have_a_rate_per_address(tmp_path: Path) -> None:
    async with open_site(tmp_path, requests_per_minute=20) as site:
        client = site.client()
        statuses = []
        for _ in range(25):
            async with client.get("/live") as answer:
                statuses.append(answer.status)
        assert statuses[:20] == [200] * 20
        assert statuses[22:] == [429] * 3
        assert int(answer.headers["Retry-After"]) >= 1
        other = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=site.ssl_context(), local_addr=("127.0.0.2", 0))
        )
        async with other, other.get(site.url + "/live") as answer:
            assert answer.status == 200


# ---- CSRF (H27)


@pytest.mark.parametrize(
    "changed",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:{port}"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "https://127.0.0.1:{port}/"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"X-Fengsui-CSRF": ""},
        {"X-Fengsui-CSRF": "A" * 43},
    ],
)
async def test_a_changing_request_from_elsewhere_is_refused(site: Site, changed: dict[str, str]) -> None:
    who = await site.log_in(Role.ADMIN)
    wrong = who | {name: value.format(port=site.port) for name, value in changed.items()}
    if wrong["Origin"] == "":
        del wrong["Origin"]
    async with site.client().post("/api/logout", headers=wrong) as answer:
        assert await code_of(answer) == (403, "forbidden")
    async with site.client().post("/api/logout", headers=who) as answer:
        assert answer.status == 200


async def test_a_token_of_another_session_is_refused(site: Site) -> None:
    mine, other = await site.log_in(Role.ADMIN), await site.log_in(Role.ADMIN)
    mixed = mine | {"X-Fengsui-CSRF": other["X-Fengsui-CSRF"]}
    async with site.client().post("/api/logout", headers=mixed) as answer:
        assert await code_of(answer) == (403, "forbidden")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b'{"username":"a","password":"b"}'),
        ("text/plain", b'{"username":"a","password":"b"}'),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("", b'{"username":"a","password":"b"}'),
    ],
)
async def test_only_json_is_taken(site: Site, content_type: str, body: bytes) -> None:
    await site.log_in(Role.ADMIN)
    headers = {"Origin": site.url, "Content-Type": content_type}
    if not content_type:
        headers.pop("Content-Type")
    async with site.client(skip_auto_headers=["Content-Type"]).post(
        "/api/login", data=body, headers=headers
    ) as answer:
        assert answer.status == 415


async def test_get_changes_nothing(site: Site) -> None:
    who = await site.log_in(Role.ADMIN)
    for path in ("/api/logout", "/api/login", "/api/setup"):
        async with site.client().get(path, headers=who) as answer:
            assert answer.status == 405
            assert answer.headers["Allow"] == "POST"


# ---- bodies and paths


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"username": 1, "password": "b"}', 400),
        (b'{"username": "a", "password": "b", "role": "admin"}', 400),
        (b'{"username": "' + b"\xff" + b'", "password": "b"}', 400),
        (b"[" * 4000, 400),
        (b" " * 4097, 413),
        (b" " * 300_000, 413),
    ],
)
async def test_bad_bodies(site: Site, body: bytes, status: int) -> None:
    await site.log_in(Role.ADMIN)
    headers = {"Origin": site.url, "Content-Type": "application/json"}
    async with site.client().post("/api/login", data=body, headers=headers) as answer:
        assert answer.status == status


async def test_a_body_that_was_packed_is_refused(site: Site) -> None:
    """H23"""
    await site.log_in(Role.ADMIN)
    headers = {"Origin": site.url, "Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with site.client().post("/api/login", data=b"\x1f\x8b" + bytes(100), headers=headers) as answer:
        assert answer.status in (400, 415)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../../etc/passwd",
        "/static/..%2f..%2fetc%2fpasswd",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/%00",
        "/static//etc/passwd",
        "/static/assets/a-1.js%00.png",
        "/static/C:%5cwindows",
        "/s/../live/x",
        "/whep/..%2f..%2flive",
        "/nothing",
    ],
)
async def test_paths_lead_nowhere_else(site: Site, path: str) -> None:
    """H24"""
    await site.log_in(Role.ADMIN)
    reader, writer = await site.raw()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert answer.split(b" ")[1] in (b"400", b"404")
    assert b"root:" not in answer


# ---- what every answer carries


async def test_every_answer_carries_the_policy(site: Site) -> None:
    who = await site.log_in(Role.ADMIN)
    for path in (
        "/live",
        "/login",
        "/wall",
        "/static/assets/a-1.js",
        "/api/me",
        "/nothing",
        "/j/" + "A" * 22,
    ):
        async with site.client().get(path, headers=who, allow_redirects=False) as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert "frame-ancestors 'none'" in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert "camera=(self)" in answer.headers["Permissions-Policy"]
            assert "Server" not in answer.headers
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert answer.headers["Cache-Control"] in ("no-store", "public, max-age=31536000, immutable")


async def test_a_fault_of_ours_tells_nothing(tmp_path: Path) -> None:
    from aiohttp import web

    from server.api.table import PUBLIC, Route

    async def broken(request: web.Request) -> web.Response:
        raise RuntimeError("secret detail")

    row = Route(method="GET", path="/broken", handler=broken, action=PUBLIC, before_setup=True)
    async with open_site(tmp_path, extra=[row]) as site, site.client().get("/broken") as answer:
        assert await code_of(answer) == (500, "internal")
        assert "secret detail" not in await answer.text()


# ---- metrics (H31)


async def test_metrics_need_a_session_or_the_token(site: Site) -> None:
    admin, officer = await site.log_in(Role.ADMIN), await site.log_in(Role.DISPATCHER)
    token = (site.folder / "data" / "metrics.token").read_text().strip()
    for headers, status in (
        ({}, 401),
        (officer, 403),
        (admin, 200),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {token}"}, 200),
        ({"Authorization": f"Basic {token}"}, 401),
        ({"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1"}, 401),
    ):
        async with site.client().get("/metrics", headers=headers) as answer:
            assert answer.status == status, headers
            if status == 200:
                assert "fengsui_http_accepted_total" in await answer.text()
