"""Listening over HTTP: ranges, while it grows, who may, what is written down, and paths that lead elsewhere (H24)."""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server.auth.permissions import Role
from server.model.ids import SpurtId
from server.recordings.index import SpurtIndex
from server.recordings.spurts import Spurt, SpurtGroup, SpurtState
from server.storage.engine import open_database
from support.site import Site, open_site
from support.spurts import FLOOD, ogg, put_file, spurt
from support.waiting import until

T = float(int(time.time()) - 3600)


ERASED = msgspec.structs.replace(
    spurt(T - 60, groups=(SpurtGroup(id="g-old", name="旧组"),)), state=SpurtState.ERASED, path="erased.ogg"
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Its last run died between the row of an erased recording and its file: once that is gone, all is looked at."""
    data = tmp_path / "data"
    put_file(data / "recordings", ERASED.path, ogg(2.0))
    data.chmod(0o700)
    async with open_database("", data) as database:
        index = SpurtIndex(database)
        index.put(ERASED)
        await index.finish()
    left = data / "recordings" / ERASED.path
    async with open_site(tmp_path, requests_per_minute=100_000) as site:
        await site.log_in(Role.ADMIN)  # now it is set up
        await until(lambda: not left.exists())
        yield site


async def kept(site: Site, path: str = "2026-11-23/" + "ab" * 16 + ".ogg", **fields: object) -> Spurt:
    """A recording of 2 s in the index and on the disk."""
    data = ogg(2.0)
    if path and ".." not in path and not path.startswith("/"):
        put_file(site.folder / "data" / "recordings", path, data)
    values: dict[str, object] = {
        "state": SpurtState.READY,
        "ended": T + 2.0,
        "path": path,
        "duration": 2.0,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        **fields,
    }
    made = msgspec.structs.replace(spurt(T), **values)
    index = SpurtIndex(site.people.database)
    index.put(made)
    await index.finish()
    return made


async def test_listening_with_ranges(site: Site) -> None:
    made, data = await kept(site), ogg(2.0)
    headers = await site.log_in(Role.DISPATCHER)
    client = site.client()
    async with client.get(f"/recordings/{made.id}", headers=headers) as answer:
        assert answer.status == 200
        assert await answer.read() == data
        assert answer.headers["Content-Type"] == "audio/ogg"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(T)) + f"-{made.id[:8]}.ogg"
        assert answer.headers["Content-Disposition"] == f'inline; filename="{name}"'
    for asked, status, body in (
        ("bytes=0-9", 206, data[:10]),
        ("bytes=100-", 206, data[100:]),
        ("bytes=-50", 206, data[-50:]),
        (f"bytes={len(data)}-", 416, None),
    ):
        async with client.get(f"/recordings/{made.id}", headers={**headers, "Range": asked}) as answer:
            assert answer.status == status, asked
            if body is not None:
                assert await answer.read() == body
                assert answer.headers["Content-Type"] == "audio/ogg"


async def test_listening_is_written_down_once_a_minute(site: Site) -> None:
    made = await kept(site)
    first, second = await site.log_in(Role.DISPATCHER), await site.log_in(Role.ADMIN)
    for headers in (first, first, second, first):
        async with site.client().get(
            f"/recordings/{made.id}", headers={**headers, "Range": "bytes=0-9"}
        ) as answer:
            assert answer.status == 206
    entries = [entry for entry in await site.people.audit.newest() if entry.action == "recording.play"]
    assert [(entry.object, entry.actor.split(":")[0]) for entry in entries] == [
        (made.id, "admin"),
        (made.id, "dispatcher"),
    ]


async def test_what_is_still_recorded_is_served_as_far_as_it_is(site: Site) -> None:
    made = await kept(site, state=SpurtState.RECORDING, ended=None)
    headers = await site.log_in(Role.DISPATCHER)
    file = site.folder / "data" / "recordings" / made.path
    for size in (200, 400):
        file.write_bytes(ogg(2.0)[:size])
        async with site.client().get(f"/recordings/{made.id}", headers=headers) as answer:
            assert len(await answer.read()) == size


@pytest.mark.parametrize(
    "path",
    [
        "../fengsui.sqlite3",
        "/etc/passwd",
        "x/../../secret.ogg",
        "link.ogg",
        "linked/x.ogg",
        "missing.ogg",
        "",
    ],
)
async def test_an_index_that_names_something_else_serves_nothing(site: Site, path: str) -> None:
    """H24: even when somebody wrote into the database."""
    root = site.folder / "data" / "recordings"
    root.mkdir(exist_ok=True)
    outside = put_file(site.folder / "elsewhere", "x.ogg", b"secret")
    (site.folder / "data" / "secret.ogg").write_bytes(b"secret")
    made = await kept(site, path="")
    made = msgspec.structs.replace(made, path=path)
    index = SpurtIndex(site.people.database)
    index.put(made)
    await index.finish()
    (root / "link.ogg").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    headers = await site.log_in(Role.ADMIN)
    async with site.client().get(f"/recordings/{made.id}", headers=headers) as answer:
        assert answer.status == 404
        assert b"secret" not in await answer.read()


@pytest.mark.parametrize(
    "address",
    [
        "/recordings/0198f7a2-aaaa-7bbb-8ccc-ddddeeee0000",
        "/recordings/..%2f..%2fetc%2fpasswd",
        "/recordings/%2e%2e/fengsui.sqlite3",
        "/recordings/2026-11-23/" + "ab" * 16 + ".ogg",
        "/recordings/0198f7a2-aaaa-7bbb-8ccc-ddddeeee00%00",
        "/recordings/" + "A" * 36,
    ],
)
async def test_addresses_that_are_no_recording(site: Site, address: str) -> None:
    await kept(site)
    headers = await site.log_in(Role.ADMIN)
    async with site.client().get(f"{site.url}{address}", headers=headers, allow_redirects=False) as answer:
        assert answer.status == 404


async def test_who_may_not_hear_is_not_told_what_there_is(site: Site) -> None:
    made = await kept(site)
    await site.log_in(Role.ADMIN)
    headers = await site.log_in(Role.FIELD)
    for address in (f"/recordings/{made.id}", "/recordings/0198f7a2-aaaa-7bbb-8ccc-ddddeeee0000"):
        async with site.client().get(address, headers=headers) as answer:
            assert answer.status == 403
        async with site.client().get(address) as answer:
            assert answer.status == 401


async def test_search(site: Site) -> None:
    first = await kept(site)
    second = await kept(site, path="b.ogg", id=SpurtId(first.id[:-1] + "z"), groups=(FLOOD,))
    headers = await site.log_in(Role.DISPATCHER)
    for query, found in (
        ("", [second.id, first.id, ERASED.id]),
        ("group=g-flood", [second.id]),
        ("group=g-flood&group=g-fire&limit=1", [second.id]),
        ("text=%E6%B6%88%E9%98%B2", [first.id]),
        (f"since={T + 1}", []),
        ("emergency=true", []),
    ):
        async with site.client().get(f"/api/recordings?{query}", headers=headers) as answer:
            assert answer.status == 200, query
            told = await answer.json()
            assert [row["id"] for row in told["recordings"]] == found
            assert told["before"] == (second.id if "limit=1" in query else "")
    for query in ("limit=0", "limit=201", "limit=x", "nothing=1", "since=yesterday", "emergency=perhaps"):
        async with site.client().get(f"/api/recordings?{query}", headers=headers) as answer:
            assert answer.status == 400, query


async def test_verify_and_erase(site: Site) -> None:
    made = await kept(site)
    admin = await site.log_in(Role.ADMIN)
    file = site.folder / "data" / "recordings" / made.path
    client = site.client()
    async with client.get(f"/recordings/{made.id}/verify", headers=admin) as answer:
        assert (await answer.json())["problem"] == ""
    file.write_bytes(file.read_bytes().replace(b"\xf8", b"\xf9", 1))
    async with client.get(f"/recordings/{made.id}/verify", headers=admin) as answer:
        assert (await answer.json())["problem"] == "changed"
    for body in ({}, {"reason": " "}, {"reason": "x" * 501}):
        async with client.delete(f"/recordings/{made.id}", headers=admin, json=body) as answer:
            assert answer.status == 400
    async with client.delete(
        f"/recordings/{made.id}", headers=admin, json={"reason": "court order"}
    ) as answer:
        assert answer.status == 200
        assert (await answer.json())["state"] == "erased"
    assert not file.exists()
    async with client.get(f"/recordings/{made.id}", headers=admin) as answer:
        assert answer.status == 404
    async with client.delete(f"/recordings/{made.id}", headers=admin, json={"reason": "again"}) as answer:
        assert answer.status == 404
