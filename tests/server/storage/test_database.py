"""What every database keeps: one writer, whole transactions, what was acknowledged, the tables of the newest step.

Each test runs on SQLite and on PostgreSQL (P17).
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from server.model.uuid7 import new_id
from server.storage.changes import ChangeWatch, bump
from server.storage.engine import Database, StorageBroken, open_database
from server.storage.identity import system_id
from server.storage.migrations import HEAD, configuration, upgrade, version_of
from server.storage.tables import alarms, metadata, settings, units

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


async def test_a_block_is_one_transaction(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as database:
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


async def test_many_writers_and_readers_at_once(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as database:
        writers = [put(database, f"{number:03}") for number in range(100)]
        await asyncio.gather(*writers, *(keys(database) for _ in range(50)))
        assert await keys(database) == [f"{number:03}" for number in range(100)]


async def test_a_read_block_sees_one_state(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as database:
        await put(database, "a")
        async with database.read() as connection:
            counted = select(func.count()).select_from(settings)
            assert (await connection.execute(counted)).scalar() == 1
            await put(database, "b")
            assert (await connection.execute(counted)).scalar() == 1
        assert await keys(database) == ["a", "b"]


async def test_look_then_write_is_safe_between_processes(storage_url: str, tmp_path: Path) -> None:
    """Two nodes on one database: of all writers one writes at a time."""
    async with (
        open_database(storage_url, tmp_path) as ours,
        open_database(storage_url, tmp_path) as theirs,
    ):
        ids = await asyncio.gather(*(system_id(each, time.time()) for each in (ours, theirs) * 5))
        assert len(set(ids)) == 1

        async def add(database: Database) -> None:
            async with database.write() as connection:
                highest = (await connection.execute(select(func.max(units.c.number)))).scalar() or 0
                await connection.execute(
                    insert(units).values(
                        id=new_id(time.time()), name="一号", kind="rescuer", number=highest + 1
                    )
                )

        await asyncio.gather(*(add(each) for each in (ours, theirs) * 20))
        async with ours.read() as connection:
            numbers = (await connection.execute(select(units.c.number).order_by(units.c.number))).scalars()
            assert list(numbers) == list(range(1, 41))


async def test_two_nodes_start_at_once_on_an_empty_database(storage_url: str, tmp_path: Path) -> None:
    async def start() -> str:
        async with open_database(storage_url, tmp_path) as database:
            return await system_id(database, time.time())

    assert len(set(await asyncio.gather(start(), start(), start()))) == 1


async def test_a_cancelled_writer_leaves_the_database_usable(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as database:
        for number in range(10):
            task = asyncio.create_task(put(database, f"c{number}"))
            await asyncio.sleep(0.0005 * number)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await put(database, "after")
        assert "after" in await keys(database)


async def test_closing_leaves_no_work_and_no_connection(storage_url: str, tmp_path: Path) -> None:
    """Whoever asks is cancelled in the middle of it, more than once, at any step; the database closes all the same."""
    for turn in range(10):
        async with open_database(storage_url, tmp_path) as database:
            asking = [asyncio.create_task(_ask_for_ever(database, turn, number)) for number in range(8)]
            await asyncio.sleep(0.003 * turn)
            for again in range(1 + turn % 3):
                for task in asking:
                    task.cancel()
                    if again:
                        await asyncio.sleep(0)
            async with asyncio.timeout(20):
                await asyncio.gather(*asking, return_exceptions=True)
            assert all(task.cancelled() for task in asking)
            closing = time.monotonic()
        assert time.monotonic() - closing < 4.0
    async with open_database(storage_url, tmp_path) as database:
        await put(database, "after")
        assert "after" in await keys(database)


async def _ask_for_ever(database: Database, turn: int, number: int) -> None:
    count = 0
    while True:
        if number % 4:
            await keys(database)
        else:
            await put(database, f"{turn}-{number}-{count}")
            count += 1


WRITER = """
import asyncio, sys
from pathlib import Path
from sqlalchemy import insert
from server.storage.engine import open_database
from server.storage.tables import settings

async def main():
    async with open_database(sys.argv[1], Path(sys.argv[2])) as database:
        for number in range(100000):
            async with database.write() as connection:
                await connection.execute(insert(settings).values(key=f"{number:06}", value="x"))
            print(f"{number:06}", flush=True)

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(storage_url: str, tmp_path: Path) -> None:
    for turn in range(3):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", WRITER, storage_url, str(tmp_path)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        acknowledged = [(await process.stdout.readline()).decode().strip() for _ in range(20 + turn)]
        process.kill()
        acknowledged += [
            line.decode() for line in (await process.stdout.read()).split(b"\n") if len(line) == 6
        ]
        await process.wait()
        async with open_database(storage_url, tmp_path) as database:
            stored = await keys(database)
            assert stored[: len(acknowledged)] == acknowledged
            assert len(stored) <= len(acknowledged) + 1
            async with database.write() as connection:
                await connection.execute(delete(settings))


async def test_changes_of_another_process_are_seen(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as ours, open_database(storage_url, tmp_path) as theirs:
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


async def test_a_listener_that_fails_is_asked_again(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as database:
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


async def test_migrations_make_what_the_tables_say(storage_url: str, tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    def compared(connection: Connection) -> list[object]:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert ScriptDirectory.from_config(configuration(connection)).get_heads() == [HEAD]
        upgrade(connection)
        return list(compare_metadata(context, metadata))

    async with open_database(storage_url, tmp_path) as database, database.write() as connection:
        assert await connection.run_sync(version_of) == HEAD
        assert await connection.run_sync(compared) == []


async def test_an_older_form_is_brought_up_with_what_was_in_it(storage_url: str, tmp_path: Path) -> None:
    from alembic import command

    def go_back(connection: Connection) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(text(f"DROP TABLE {table.name}"))
        connection.execute(text("DROP TABLE alembic_version"))
        command.upgrade(configuration(connection), "0003")

    async with open_database(storage_url, tmp_path) as database:
        async with database.write() as connection:
            await connection.run_sync(go_back)
            await connection.execute(insert(settings).values(key="kept", value="x"))
            await connection.execute(
                insert(alarms).values(id="a", key="k", state="new", raised=1.0, body="{}")
            )
        async with database.read() as connection:
            assert await connection.run_sync(version_of) == "0003"
    async with open_database(storage_url, tmp_path) as database:
        assert await keys(database) == ["kept"]
        async with database.read() as connection:
            assert await connection.run_sync(version_of) == HEAD
            assert (await connection.execute(select(alarms))).one() == ("a", "k", "new", 1.0, "{}")


async def test_tables_of_a_later_version_are_not_touched(storage_url: str, tmp_path: Path) -> None:
    async with open_database(storage_url, tmp_path) as database, database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StorageBroken, match="its tables have the form 9999"):
        async with open_database(storage_url, tmp_path):
            pass
