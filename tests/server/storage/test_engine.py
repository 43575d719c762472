"""The database: one writer, durable, and nobody else waits when it is locked (P17, P18)."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import create_engine, insert, select
from sqlalchemy.exc import IntegrityError

from server.storage.changes import ChangeWatch, bump
from server.storage.engine import Database, StorageAway, StorageBroken, database_url, open_database
from server.storage.migrations import HEAD, configuration
from server.storage.tables import metadata, settings, units
from support.waiting import until

ROOT = Path(__file__).resolve().parents[3]


async def put(database: Database, key: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(settings).values(key=key, value="x"))


async def put_half(database: Database, key: str) -> None:
    async with database.write() as connection:
        await connection.execute(insert(settings).values(key=key, value="x"))
        await bump(connection)
        raise RuntimeError("half way")


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


async def test_a_block_is_one_transaction(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        with pytest.raises(RuntimeError, match="half way"):
            await put_half(database, "a")
        await put(database, "b")
        with pytest.raises(IntegrityError):
            await put(database, "b")
        with pytest.raises(IntegrityError):
            async with database.write() as connection:
                await connection.exec_driver_sql(
                    "INSERT INTO streams (id, device_id, channel, name) VALUES ('s', 'nobody', 'main', 'n')"
                )
        assert await keys(database) == ["b"]


async def test_many_writers_and_readers_at_once(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        writers = [put(database, f"{number:03}") for number in range(100)]
        await asyncio.gather(*writers, *(keys(database) for _ in range(50)))
        assert await keys(database) == [f"{number:03}" for number in range(100)]


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


async def test_a_cancelled_writer_leaves_the_database_usable(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        for number in range(10):
            task = asyncio.create_task(put(database, f"c{number}"))
            await asyncio.sleep(0.0005 * number)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await put(database, "after")
        assert "after" in await keys(database)


WRITER = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import insert
from server.storage.engine import open_database
from server.storage.tables import settings

async def main():
    async with open_database("", Path(sys.argv[1])) as database:
        for number in range(100000):
            async with database.write() as connection:
                await connection.execute(insert(settings).values(key=f"{number:06}", value="x"))
            print(f"{number:06}", flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill(tmp_path: Path) -> None:
    for turn in range(3):
        folder = tmp_path / str(turn)
        folder.mkdir()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, str(folder)), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(20 + turn)]
        process.kill()
        acknowledged += [
            line.decode() for line in (await process.stdout.read()).split(b"\n") if len(line) == 6
        ]
        await process.wait()
        async with open_database("", folder) as database:
            stored = await keys(database)
        assert stored[: len(acknowledged)] == acknowledged
        assert len(stored) <= len(acknowledged) + 1


async def test_changes_of_another_process_are_seen(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as ours, open_database("", tmp_path) as theirs:
        watch = ChangeWatch(ours)
        seen: list[int] = []

        async def look() -> None:
            async with ours.read() as connection:
                seen.append(len((await connection.execute(select(units))).all()))

        watch.subscribe(look)
        await watch.poll()
        await watch.poll()
        assert seen == [0]
        async with theirs.write() as connection:
            await connection.execute(insert(units).values(id="u1", name="一号", kind="rescuer", number=1))
            await bump(connection)
        await watch.poll()
        assert seen == [0, 1]
        with pytest.raises(RuntimeError, match="half way"):
            await put_half(theirs, "a")
        await watch.poll()
        assert seen == [0, 1]


async def test_a_listener_that_fails_is_asked_again(tmp_path: Path) -> None:
    async with open_database("", tmp_path) as database:
        watch = ChangeWatch(database)
        calls: list[str] = []

        async def fails_once() -> None:
            calls.append("fails")
            if len(calls) == 1:
                raise RuntimeError("once")

        async def fine() -> None:
            calls.append("fine")

        watch.subscribe(fails_once)
        watch.subscribe(fine)
        await watch.poll()
        await watch.poll()
        await watch.poll()
        assert calls == ["fails", "fine", "fails", "fine"]


def test_migrations_make_what_the_tables_say(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from server.storage.migrations import upgrade

    engine = create_engine(f"sqlite:///{tmp_path}/a.sqlite3")
    with engine.begin() as connection:
        upgrade(connection)
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []
        assert ScriptDirectory.from_config(configuration(connection)).get_heads() == [HEAD]
        upgrade(connection)
    engine.dispose()


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
    with pytest.raises(StorageBroken, match="driver"):
        async with open_database("nosuch://a/b", tmp_path):
            pass
    (tmp_path / "fengsui.sqlite3").write_bytes(b"not a database" * 500)
    with pytest.raises(StorageBroken, match="cannot be opened"):
        async with open_database("", tmp_path):
            pass
