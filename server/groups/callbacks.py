"""Call-back requests (回呼请求): who wants to be called back, how often it asked, and who deals with it."""

from __future__ import annotations

from typing import Final

import msgspec
from sqlalchemy import delete, insert, select

from server.model.clock import Clock
from server.model.errors import Conflict, NotFound, TooMany
from server.model.ids import UnitId
from server.model.uuid7 import new_id
from server.signalling.talk import CallBack
from server.state import EntityStore
from server.storage.engine import Database
from server.storage.tables import callbacks

MAX_OPEN: Final = 500
SHOWN_AFTER: Final = 3600.0  # s that a finished one stays in sight


class CallBacks:
    """`load` first; `tick` now and then. All that write raise StorageAway."""

    def __init__(self, database: Database, store: EntityStore, clock: Clock) -> None:
        self._database = database
        self._store = store
        self._clock = clock
        self._known: dict[str, CallBack] = {}

    async def load(self) -> None:
        """Those that are open, and those finished a while ago."""
        since = self._clock.wallclock() - SHOWN_AFTER
        async with self._database.read() as connection:
            rows = (
                await connection.execute(
                    select(callbacks).where(callbacks.c.done.is_(None) | (callbacks.c.done > since))
                )
            ).all()
        for row in rows:
            self._take(msgspec.json.decode(row.body, type=CallBack))

    async def ask(self, *, unit: UnitId, user: str, name: str, group: str, text: str) -> None:
        """One open request for each who asks; asked again it counts up and is nobody's again. Raises TooMany."""
        now = self._clock.wallclock()
        open_ones = [one for one in self._known.values() if one.done is None]
        found = next((one for one in open_ones if (one.unit, one.user) == (unit, user)), None)
        if found is not None:
            request = msgspec.structs.replace(
                found, times=found.times + 1, at=now, text=text or found.text, group=group or found.group
            )
        elif len(open_ones) >= MAX_OPEN:
            raise TooMany("too many call-backs are waiting", retry_after=60.0)
        else:
            request = CallBack(
                id=new_id(now), name=name, unit=unit, user=user, group=group, text=text, at=now
            )
        await self._write(request)

    async def take(self, request: str, officer: str, *, done: bool) -> None:
        """Raises NotFound, Conflict (it is finished)."""
        found = self._known.get(request)
        if found is None:
            raise NotFound("there is no such call-back", field="callback")
        if found.done is not None:
            raise Conflict("this call-back is finished", field="callback")
        await self._write(
            msgspec.structs.replace(found, taken_by=officer, done=self._clock.wallclock() if done else None)
        )

    async def _write(self, request: CallBack) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(callbacks).where(callbacks.c.id == request.id))
            await connection.execute(
                insert(callbacks).values(
                    id=request.id,
                    at=request.at,
                    done=request.done,
                    body=msgspec.json.encode(request).decode(),
                )
            )
        self._take(request)

    def _take(self, request: CallBack) -> None:
        self._known[request.id] = request
        self._store.put(request)

    def tick(self) -> None:
        """Finished ones leave after a while."""
        now = self._clock.wallclock()
        for request in list(self._known.values()):
            if request.done is not None and now - request.done > SHOWN_AFTER:
                del self._known[request.id]
                self._store.remove("callback", request.id)

    def statistics(self) -> dict[str, object]:
        return {"open": sum(1 for request in self._known.values() if request.done is None)}
