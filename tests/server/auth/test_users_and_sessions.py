"""Accounts and their log-ins, over a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.auth.audit import Audit
from server.auth.passwords import Passwords, WeakPassword
from server.auth.permissions import Role
from server.auth.sessions import Sessions
from server.auth.users import AlreadySetUp, User, Users, canonical, checked_username
from server.model.errors import BadRequest, Conflict, NotFound
from server.storage.engine import Database
from support.clock import FakeClock

PASSWORD = "correct horse battery"


@pytest.fixture
async def users(database: Database, audit: Audit, clock: FakeClock) -> AsyncIterator[Users]:
    passwords = Passwords()
    yield Users(database, audit, passwords, clock, password_min_length=12, server_name="烽燧")
    passwords.close()


@pytest.fixture
def sessions(database: Database, clock: FakeClock) -> Sessions:
    return Sessions(database, clock, idle=12 * 3600.0, absolute=24 * 3600.0)


async def chief(users: Users) -> User:
    return await users.add(username="Chief", name="总值班", password=PASSWORD, role=Role.ADMIN, actor="test")


async def officer(users: Users, name: str = "officer") -> User:
    return await users.add(username=name, name="", password=PASSWORD, role=Role.DISPATCHER, actor="test")


# ---- users


async def test_an_account_logs_in_under_any_spelling_of_its_name(users: Users, audit: Audit) -> None:
    assert not await users.admin_exists()
    user = await chief(users)
    assert await users.admin_exists()
    assert (user.username, user.name, user.role) == ("chief", "总值班", "admin")
    for spelling in ("chief", "CHIEF", " Chief ", "\uff43hief"):
        assert await users.authenticate(spelling, PASSWORD) == user
    assert await users.authenticate("chief", PASSWORD + "x") is None
    assert await users.authenticate("nobody", PASSWORD) is None
    assert [entry.action for entry in await audit.newest()] == ["user.add"]
    assert PASSWORD not in str(await audit.newest())


@pytest.mark.parametrize("name", ["", "a", "x" * 33, "a b", "a\nb", "<script>", "a\u202eb", "../etc"])
def test_names_that_nobody_may_have(name: str) -> None:
    with pytest.raises(BadRequest):
        checked_username(name)


@pytest.mark.parametrize("name", ["li", "张伟", "zhang.wei", "zhang_wei-2@county"])
def test_names_that_people_have(name: str) -> None:
    assert checked_username(name) == canonical(name)


async def test_names_are_unique_and_passwords_good(users: Users) -> None:
    await chief(users)
    with pytest.raises(Conflict):
        await users.add(username="CHIEF", name="", password=PASSWORD, role=Role.FIELD, actor="test")
    with pytest.raises(WeakPassword):
        await users.add(username="other", name="", password="short", role=Role.FIELD, actor="test")
    with pytest.raises(WeakPassword):
        await users.set_password("chief", "chief123456789", actor="test")
    assert [user.username for user in await users.all()] == ["chief"]


async def test_of_two_first_administrators_one_wins(users: Users) -> None:
    async def first(name: str) -> User:
        return await users.add(
            username=name, name="", password=PASSWORD, role=Role.ADMIN, actor="setup", first=True
        )

    results = await asyncio.gather(first("one"), first("two"), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["AlreadySetUp", "User"]
    with pytest.raises(AlreadySetUp):
        await first("three")


async def test_the_last_administrator_stays(users: Users) -> None:
    await chief(users)
    with pytest.raises(Conflict):
        await users.set_disabled("chief", True, actor="test")
    with pytest.raises(Conflict):
        await users.set_role("chief", Role.FIELD, actor="test")
    assert await users.authenticate("chief", PASSWORD)
    await users.add(username="second", name="", password=PASSWORD, role=Role.ADMIN, actor="test")
    await users.set_disabled("chief", True, actor="test")
    assert await users.authenticate("chief", PASSWORD) is None
    await users.set_disabled("chief", False, actor="test")
    assert await users.authenticate("chief", PASSWORD)


async def test_a_new_password_replaces_the_old(users: Users) -> None:
    await officer(users)
    await users.set_password("officer", "another horse battery", actor="test")
    assert await users.authenticate("officer", PASSWORD) is None
    assert await users.authenticate("officer", "another horse battery")
    with pytest.raises(NotFound):
        await users.set_password("nobody", PASSWORD, actor="test")


# ---- sessions


@pytest.mark.parametrize("storage_url", [""])  # it looks into the files
async def test_a_session_is_found_by_its_secret_only(
    users: Users, sessions: Sessions, tmp_path: Path
) -> None:
    user = await chief(users)
    secret, session = await sessions.open(user, address="10.0.0.9", agent="browser")
    assert len(secret) == 43
    assert sessions.find(secret) is session
    assert sessions.find(session.id) is None
    assert sessions.find(session.token_hash) is None
    assert sessions.find("") is None
    assert (session.principal.role, session.principal.session) == (Role.ADMIN, session.id)
    for name in ("fengsui.sqlite3", "fengsui.sqlite3-wal"):
        assert secret.encode() not in (tmp_path / name).read_bytes()


async def test_idle_and_absolute_time_end_a_session(
    users: Users, sessions: Sessions, clock: FakeClock
) -> None:
    ended: list[tuple[str, str]] = []
    sessions.on_end(lambda session, reason: ended.append((session, reason)))
    user = await chief(users)
    secret, session = await sessions.open(user, address="", agent="")
    clock.advance(12 * 3600 - 1)
    assert sessions.find(secret)
    clock.advance(11 * 3600)
    assert sessions.find(secret)
    clock.advance(3600 + 1)
    assert sessions.find(secret) is None
    await sessions.expire()
    assert ended == [(session.id, "expired")]
    idle, _ = await sessions.open(user, address="", agent="")
    clock.advance(12 * 3600)
    assert sessions.find(idle) is None


async def test_a_wall_clock_that_jumps_ends_nothing(
    users: Users, sessions: Sessions, clock: FakeClock
) -> None:
    secret, _ = await sessions.open(await chief(users), address="", agent="")
    for jump in (3600.0, -3600.0, 86400.0 * 400):
        clock.wall = jump
        await sessions.expire()
        await sessions.reload()
        assert sessions.find(secret)


async def test_sessions_survive_a_restart_with_when_they_were_seen(
    users: Users, sessions: Sessions, database: Database, clock: FakeClock
) -> None:
    user = await chief(users)
    secret, _ = await sessions.open(user, address="10.0.0.9", agent="browser")
    clock.advance(11 * 3600)
    assert sessions.find(secret)
    await sessions.write_seen()
    clock.advance(11 * 3600)
    again = Sessions(database, clock, idle=12 * 3600.0, absolute=24 * 3600.0)
    await again.load()
    found = again.find(secret)
    assert found is not None
    assert (found.username, found.address, found.agent) == ("chief", "10.0.0.9", "browser")
    clock.advance(2 * 3600)
    third = Sessions(database, clock, idle=12 * 3600.0, absolute=24 * 3600.0)
    await third.load()
    assert third.find(secret) is None


@pytest.mark.parametrize("how", ["password", "role", "disable"])
async def test_what_ends_an_accounts_sessions(users: Users, sessions: Sessions, how: str) -> None:
    ended: list[str] = []
    sessions.on_end(lambda _session, reason: ended.append(reason))
    await chief(users)
    secret, _ = await sessions.open(await officer(users), address="", agent="")
    other, _ = await sessions.open(await officer(users, "other"), address="", agent="")
    if how == "password":
        await users.set_password("officer", "another horse battery", actor="cli")
    elif how == "role":
        await users.set_role("officer", Role.FIELD, actor="cli")
    else:
        await users.set_disabled("officer", True, actor="cli")
    assert sessions.find(secret), "only a reload tells"
    await sessions.reload()
    assert sessions.find(secret) is None
    assert sessions.find(other)
    assert ended == ["revoked"]


async def test_the_twenty_first_session_replaces_the_one_seen_least(
    users: Users, sessions: Sessions, clock: FakeClock
) -> None:
    user = await chief(users)
    secrets = []
    for _ in range(20):
        clock.advance(1.0)
        secrets.append((await sessions.open(user, address="", agent=""))[0])
    clock.advance(1.0)
    assert sessions.find(secrets[0])
    clock.advance(1.0)
    await sessions.open(user, address="", agent="")
    assert sessions.find(secrets[0])
    assert sessions.find(secrets[1]) is None
    assert len(sessions.all(user.id)) == 20


async def test_ending_a_session_is_once_and_final(users: Users, sessions: Sessions) -> None:
    secret, session = await sessions.open(await chief(users), address="", agent="")
    await sessions.end(session.id, "logged_out")
    assert sessions.find(secret) is None
    with pytest.raises(NotFound):
        await sessions.end(session.id, "logged_out")
    await sessions.reload()
    assert sessions.find(secret) is None


async def test_reloading_while_people_log_in_loses_nobody(users: Users, sessions: Sessions) -> None:
    user = await chief(users)

    async def log_in() -> str:
        return (await sessions.open(user, address="", agent=""))[0]

    results = await asyncio.gather(*(job() for _ in range(8) for job in (log_in, sessions.reload)))
    assert all(sessions.find(secret) for secret in results if isinstance(secret, str))
