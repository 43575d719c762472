"""SQLite's file: private, durable, and nobody else waits when it is locked (P17, P18)."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import time
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from server.storage.engine import Database, StorageAway, StorageBroken, database_url, open_database
from server.storage.tables import settings
from support.waiting import until


async def put(database: Database, key: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(settings).values(key=key, value="x"))


async def keys(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(select(settings.c.key).order_by(settings.c.key))).scalars())


async def test_file_is_private_and_durable(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        assert stat.S_IMODE((tmp_path / "fengsui.sqlite3").stat().st_mode) == 0o600
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)):
            for block in (database.read, database.write):
                async with block() as connection:
                    assert (await connection.exec_driver_sql(f"PRAGMA {pragma}")).scalar() == value
    async with open_database("", tmp_path):
        pass  # a second start finds everything done


async def test_a_lock_of_another_process_holds_only_writers_up(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        await put(database, "before")
        other = sqlite3.connect(tmp_path / "fengsui.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        waiting = [asyncio.create_task(put(database, f"w{number}")) for number in range(20)]
        longest, began, beat = 0.0, time.monotonic(), time.monotonic()
        while time.monotonic() - began < 1.5:
            assert await keys(database) == ["before"]
            await asyncio.sleep(0.01)
            longest, beat = max(longest, time.monotonic() - beat), time.monotonic()
        assert not any(task.done() for task in waiting)
        assert database.statistics()["writes_waiting"] == 20
        assert longest < 0.4
        other.execute("COMMIT")
        freed = time.monotonic()
        await asyncio.gather(*waiting)
        assert time.monotonic() - freed < 8.0
        assert len(await keys(database)) == 21
        other.close()


async def test_too_many_waiting_writes_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.storage.engine.MAX_WAITING_WRITES", 3)
    async with open_database("", tmp_path) as database:
        other = sqlite3.connect(tmp_path / "fengsui.sqlite3", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = [asyncio.create_task(put(database, f"w{number}")) for number in range(3)]
        await until(lambda: database.statistics()["writes_waiting"] == 3)
        with pytest.raises(StorageAway):
            await put(database, "one too many")
        other.execute("ROLLBACK")
        await asyncio.gather(*waiting)
        assert await keys(database) == ["w0", "w1", "w2"]
        assert database.statistics()["writes_refused_total"] == 1
        other.close()


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("", "sqlite+aiosqlite"),
        ("sqlite:////var/lib/fengsui/db", "sqlite+aiosqlite"),
        ("postgresql://fengsui@db/fengsui", "postgresql+asyncpg"),
    ],
)
def test_urls_get_our_drivers(tmp_path: Path, url: str, driver: str) -> None:
    assert database_url(url, tmp_path).drivername == driver


async def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StorageBroken, match="no database address"):
        database_url("what is this", tmp_path)
    with pytest.raises(StorageBroken, match="cannot use"):
        async with open_database("nosuch://a/b", tmp_path):
            pass
    (tmp_path / "fengsui.sqlite3").write_bytes(b"not a database" * 500)
    with pytest.raises(StorageBroken, match="cannot be opened"):
        async with open_database("", tmp_path):
            pass
