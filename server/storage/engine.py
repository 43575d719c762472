"""The database: readers side by side, one writer, nothing on the event loop.

SQLite (the default) runs in WAL mode with synchronous=FULL: what a `write` block committed is on the disk. The drivers
work in their own threads, so a database that is locked or slow keeps its callers waiting and nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from server.model.errors import Unavailable
from server.start_error import StartError
from server.storage.migrations import upgrade

BUSY_TIMEOUT: Final = 30.0  # s that SQLite waits for another process's lock
MAX_WAITING_WRITES: Final = 1000  # more are refused, never dropped after they were accepted
READERS: Final = 4
DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}


class StorageAway(Unavailable):
    """The database does not answer, is locked for too long, is full, or too much waits for it."""

    code = "storage_away"


class StorageBroken(StartError):
    """The database cannot be opened at all."""


class Database:
    """Opened by `open_database`.

    `read` for SELECTs, `write` for everything else; both are one transaction that is committed when the block ends
    without an exception. Do not wait for anything but the database inside a `write` block.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._refused = 0
        self._failed = 0
        self._writes = 0
        self._readers = _engine(url, size=READERS, begin="BEGIN")
        self._writer = _engine(url, size=1, begin="BEGIN IMMEDIATE")

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database. Raises StorageAway."""
        with self._failures():
            async with self._readers.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """The one writing transaction of this process. Raises StorageAway (at once when too many wait)."""
        if self._waiting >= MAX_WAITING_WRITES:
            self._refused += 1
            raise StorageAway("too many writes are waiting for the database", retry_after=2.0)
        self._waiting += 1
        try:
            with self._failures():
                async with self._writing, self._writer.begin() as connection:
                    yield connection
            self._writes += 1
        finally:
            self._waiting -= 1

    async def migrate(self) -> None:
        """Bring the tables to this version's form. Raises StorageAway, StorageBroken."""
        async with self.write() as connection:
            await connection.run_sync(_upgrade)

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()

    def statistics(self) -> dict[str, object]:
        return {
            "writes_total": self._writes,
            "writes_waiting": self._waiting,
            "writes_refused_total": self._refused,
            "failures_total": self._failed,
        }

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if error.__class__.__name__ == "IntegrityError":
                raise  # the caller's business: a name that is taken
            self._failed += 1
            raise StorageAway(f"the database failed: {error.orig}") from error
        except OSError as error:
            self._failed += 1
            raise StorageAway(f"the database is away: {error}") from error


def _upgrade(connection: Connection) -> None:
    upgrade(connection)


def _engine(url: URL, *, size: int, begin: str) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_size=size, max_overflow=0, pool_pre_ping=True, pool_timeout=30)
    engine = create_async_engine(url, pool_size=size, max_overflow=0, pool_timeout=BUSY_TIMEOUT + 30)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: SqliteConnection, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves, see below
        cursor = connection.cursor()
        for pragma in (
            f"busy_timeout={int(BUSY_TIMEOUT * 1000)}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql(
            begin
        )  # IMMEDIATE: a write never fails half way for a lock it did not take

    return engine


def database_url(url: str, folder: Path) -> URL:
    """`url` of the configuration with our driver, or SQLite in `folder`. Raises StorageBroken."""
    if not url:
        return URL.create(DRIVERS["sqlite"], database=str(folder / "fengsui.sqlite3"))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StorageBroken("storage.url is no database address", 'write e.g. "postgresql://…"') from error
    if parsed.drivername in DRIVERS:
        parsed = parsed.set(drivername=DRIVERS[parsed.drivername])
    return parsed


@contextlib.asynccontextmanager
async def open_database(url: str, folder: Path) -> AsyncIterator[Database]:
    """The database with its tables up to date; a new SQLite file has mode 0600. Raises StorageBroken."""
    parsed = database_url(url, folder)
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(parsed.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        database = Database(parsed)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise StorageBroken(
            f"no driver for the database {parsed.drivername!r} is installed",
            'install it, for PostgreSQL with: pip install "fengsui[postgres]"',
        ) from error
    try:
        try:
            await database.migrate()
        except (StorageAway, SQLAlchemyError) as error:
            shown = parsed.render_as_string(hide_password=True)
            raise StorageBroken(
                f"the database {shown} cannot be opened: {error}",
                "look at storage.url, the server it names, and the data folder's owner",
            ) from error
        yield database
    finally:
        await database.close()
