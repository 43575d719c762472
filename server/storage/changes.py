"""How a running server learns what another process wrote: one counter, bumped in the transaction that writes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.storage.engine import Database, StorageAway
from server.storage.tables import changes

POLL: Final = 0.4  # s; a revocation must end live media within 2 s

log = structlog.get_logger("server.storage.changes")

Listener = Callable[[], Awaitable[None]]


async def bump(connection: AsyncConnection) -> None:
    """Say, inside a `write` block, that users, units, devices, streams or links are different."""
    await connection.execute(update(changes).values(counter=changes.c.counter + 1))


class ChangeWatch:
    """Calls its listeners, one after another, whenever the counter moved. Each reads anew what it keeps."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: list[Listener] = []
        self._seen = -1
        self._failed = 0
        self._changed = 0

    def subscribe(self, listener: Listener) -> None:
        self._listeners.append(listener)

    async def run(self) -> None:
        """Poll until cancelled. A listener's failure is counted and logged, and it is called again at the next poll."""
        while True:
            try:
                await self.poll()
            except StorageAway as error:
                self._failed += 1
                log.warning("cannot look for changes", error=str(error))
            await asyncio.sleep(POLL)

    async def poll(self) -> None:
        """Look once. Raises StorageAway."""
        async with self._database.read() as connection:
            counter = (await connection.execute(select(changes.c.counter))).scalar_one()
        if counter == self._seen:
            return
        first, done = self._seen == -1, True
        for listener in self._listeners:
            try:
                await listener()
            except Exception:
                self._failed += 1
                done = False
                log.exception("a listener failed on a change")
        if done:
            self._seen = counter
        if not first:
            self._changed += 1

    def statistics(self) -> dict[str, object]:
        return {"seen_total": self._changed, "failures_total": self._failed}
