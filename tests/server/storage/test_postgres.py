"""What only PostgreSQL can do to us: it is away, stands still, was not made, or a frozen node holds its lock."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from server.storage.changes import ChangeWatch
from server.storage.engine import Database, StorageAway, StorageBroken, open_database
from server.storage.tables import settings
from support.postgres_server import PostgresServer, postgres_server
from support.waiting import until


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Of this module alone."""
    with postgres_server() as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every time-out is a twentieth."""
    for name in ("BUSY_TIMEOUT", "ANSWER_TIMEOUT", "CONNECT_TIMEOUT", "CLOSE_TIMEOUT"):
        monkeypatch.setattr(f"server.storage.engine.{name}", 1.0)


async def put(database: Database, key: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(settings).values(key=key, value="x"))


async def asked(database: Database) -> None:
    async with database.read() as connection:
        await connection.execute(text("SELECT 1"))


async def answers(database: Database) -> bool:
    with contextlib.suppress(StorageAway):
        await asked(database)
        return True
    return False


async def taken(database: Database) -> bool:
    """A write of its own."""
    with contextlib.suppress(StorageAway):
        await put(database, "other")
        return True
    return False


async def test_a_server_that_dies_is_away_and_found_again(server: PostgresServer, tmp_path: Path) -> None:
    async with open_database(server.new_database(), tmp_path) as database:
        await put(database, "before")
        await asked(database)
        watch = ChangeWatch(database)
        watching = asyncio.create_task(watch.run())
        server.kill()
        for _ in range(3):
            with pytest.raises(StorageAway):
                await asked(database)
            with pytest.raises(StorageAway):
                await put(database, "lost")
        await until(lambda: watch.statistics()["failures_total"])
        server.start()
        await put(database, "after")
        async with database.read() as connection:
            stored = (await connection.execute(text("SELECT key FROM settings ORDER BY key"))).scalars().all()
        assert stored == ["after", "before"]
        assert not watching.done()
        watching.cancel()


@pytest.mark.usefixtures("impatient")
async def test_a_server_that_stands_still_holds_nobody_for_ever(
    server: PostgresServer, tmp_path: Path
) -> None:
    """More askers than connections: those that get none hear that the database is away, too."""
    url = server.new_database()
    async with open_database(url, tmp_path) as database:
        await asyncio.gather(*(asked(database) for _ in range(4)))
        server.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            asking = [asked(database) for _ in range(8)]
            failed = await asyncio.gather(*asking, put(database, "a"), return_exceptions=True)
            assert [type(each) for each in failed] == [StorageAway] * 9
            with pytest.raises(StorageBroken):
                async with open_database(url, tmp_path):
                    pass
            assert time.monotonic() - began < 20.0
        finally:
            server.signal(signal.SIGCONT)
        assert await answers(database)
        await put(database, "b")
        server.signal(signal.SIGSTOP)
        closing = time.monotonic()
    server.signal(signal.SIGCONT)
    assert time.monotonic() - closing < 8.0  # 1 s for each of two engines


@pytest.mark.usefixtures("impatient")
async def test_a_node_that_freezes_while_it_writes_gives_the_lock_back(
    server: PostgresServer, tmp_path: Path
) -> None:
    """A revived owner finds its transaction undone (P25)."""
    url = server.new_database()
    async with open_database(url, tmp_path) as frozen, open_database(url, tmp_path) as other:

        async def freeze_and_go_on() -> None:
            async with frozen.write() as connection:
                await connection.execute(insert(settings).values(key="frozen", value="x"))
                async with asyncio.timeout(10):
                    while not await taken(other):
                        pass
                await connection.execute(insert(settings).values(key="too late", value="x"))

        with pytest.raises(StorageAway):
            await freeze_and_go_on()
        async with other.read() as connection:
            assert (await connection.execute(text("SELECT key FROM settings"))).scalars().all() == ["other"]
        await put(frozen, "thawed")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda url: url.replace("/test", "/nosuch"), "does not exist"),
        (lambda url: url.replace("fengsui@", "stranger:secret@"), "stranger"),
        (lambda url: url.split("?")[0] + "?host=/nowhere", "nowhere|No such file"),
        (lambda _: "postgresql://fengsui@127.0.0.1:1/db", "refused|111|failed"),
    ],
)
async def test_what_cannot_be_opened_is_said_in_words(
    server: PostgresServer,
    tmp_path: Path,
    change: object,
    problem: str,
) -> None:
    assert callable(change)
    with pytest.raises(StorageBroken, match=problem) as caught:
        async with open_database(change(server.new_database()), tmp_path):
            pass
    assert "secret" not in str(caught.value)
    assert "storage.url" in caught.value.remedy
