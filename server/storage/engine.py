"""The database: readers side by side, one writer, nothing on the event loop.

SQLite (the default) runs in WAL mode with synchronous=FULL: what a `write` block committed is on the disk. Its driver
works in threads of its own, so a database that is locked or slow keeps its callers waiting and nobody else.

PostgreSQL keeps the same promises: a `read` block sees one state (REPEATABLE READ), and of all processes that use the
database one writes at a time (an advisory lock that ends with its transaction). So "look, then write" inside a `write`
block is safe everywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from typing import Any, Final

import structlog
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoneFree
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from server.model.errors import Unavailable
from server.start_error import StartError
from server.storage.migrations import UnknownTables, upgrade

BUSY_TIMEOUT: Final = 30.0  # s that a write waits for another process's lock
ANSWER_TIMEOUT: Final = 60.0  # s in which PostgreSQL must answer
CONNECT_TIMEOUT: Final = 10.0  # s in which it must take a connection
CLOSE_TIMEOUT: Final = 5.0  # s that `close` waits for what is under way
MAX_WAITING_WRITES: Final = 1000  # more are refused, never dropped after they were accepted
READERS: Final = 4
PAGE_CACHE: Final = 512  # KiB that each SQLite connection keeps; the system's cache is behind it
DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
WRITER_LOCK: Final = 0x66656E67  # "feng": the advisory lock of whoever writes

log = structlog.get_logger("server.storage")


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
        make = _sqlite_engine if self.is_sqlite else _postgres_engine
        self._readers = make(url, size=READERS, writes=False)
        self._writer = make(url, size=1, writes=True)

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

    @property
    def shown(self) -> str:
        """Its address without the password."""
        return self.url.render_as_string(hide_password=True)

    async def migrate(self) -> None:
        """Bring the tables to this version's form. Raises StorageAway, UnknownTables."""
        async with self.write() as connection:
            await connection.run_sync(upgrade)

    async def close(self) -> None:
        """Give the connections back; one that does not end in time is left behind."""
        for engine in (self._readers, self._writer):
            try:
                await asyncio.wait_for(engine.dispose(), CLOSE_TIMEOUT)
            except TimeoutError:
                log.warning("a database connection does not end; it is left behind")

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
        except IntegrityError:
            raise  # the caller's business: a name that is taken
        except DBAPIError as error:
            self._failed += 1
            raise StorageAway(f"the database failed: {error.orig}") from error
        except NoneFree as error:
            self._failed += 1
            raise StorageAway("the database is too slow: no connection became free") from error
        except OSError as error:
            self._failed += 1
            raise StorageAway(f"the database is away: {error}") from error


def _sqlite_engine(url: URL, *, size: int, writes: bool) -> AsyncEngine:
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
            f"cache_size=-{PAGE_CACHE}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begun(connection: Connection) -> None:
        # IMMEDIATE: a write never fails half way for a lock it did not take
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL, *, size: int, writes: bool) -> AsyncEngine:
    waiting = f"{int(BUSY_TIMEOUT * 1000)}ms"
    settings: dict[str, Any] = {
        "application_name": "fengsui",
        "lock_timeout": waiting,
        "idle_in_transaction_session_timeout": waiting,  # a process that stands still gives the writer's lock back
    }
    engine = create_async_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT,
        pool_pre_ping=True,
        isolation_level="READ COMMITTED" if writes else "REPEATABLE READ",
        connect_args={
            "timeout": CONNECT_TIMEOUT,
            "command_timeout": ANSWER_TIMEOUT,
            "server_settings": settings,
        },
    )
    if writes:

        @event.listens_for(engine.sync_engine, "begin")
        def begun(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

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
    if parsed.drivername not in DRIVERS.values():
        raise StorageBroken(
            f"storage.url names {parsed.drivername!r}, which Fengsui cannot use",
            'write "postgresql://…", or leave it empty for SQLite',
        )
    return parsed


@contextlib.asynccontextmanager
async def connect_database(url: str, folder: Path) -> AsyncIterator[Database]:
    """The database as it is: nothing is asked of it yet. Raises StorageBroken."""
    parsed = database_url(url, folder)
    try:
        database = Database(parsed)
    except ModuleNotFoundError as error:
        raise StorageBroken(
            f"the driver for PostgreSQL is not installed: {error.name}",
            'install it with: pip install "fengsui[postgres]"',
        ) from error
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def open_database(url: str, folder: Path) -> AsyncIterator[Database]:
    """The database with its tables up to date; a new SQLite file has mode 0600. Raises StorageBroken."""
    async with connect_database(url, folder) as database:
        if database.is_sqlite and database.url.database:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(database.url.database, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        try:
            await database.migrate()
        except (StorageAway, SQLAlchemyError, UnknownTables) as error:
            raise StorageBroken(
                f"the database {database.shown} cannot be opened: {error}",
                "look at storage.url, the server it names, and the data folder's owner",
            ) from error
        yield database
