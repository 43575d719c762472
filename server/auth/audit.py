"""The audit log: append-only rows, each with the hash of the one before it.

An entry's hash covers every field and the previous hash, so a changed, removed or inserted entry shows at the first bad
sequence number. The head (last number and hash) is kept apart in `settings`, so that cutting the end off shows too.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

import msgspec
from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.model.clock import Clock
from server.storage.engine import Database
from server.storage.tables import audit, settings

FIRST: Final = "0" * 64  # "previous" of entry 1
HEAD: Final = "audit.head"
CHUNK: Final = 500
LOWEST: Final = -(2**62)  # below any number that somebody could insert

LIMITS: Final = {"actor": 256, "action": 64, "object": 256, "result": 64, "address": 64, "detail": 2000}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """`time` wallclock s; `monotonic` s of the process that wrote it; `result` "ok" or an error code."""

    seq: int
    time: float
    monotonic: float
    actor: str
    action: str
    object: str
    result: str
    address: str
    detail: str
    previous: str
    hash: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`first_bad` 0 = the whole chain holds; `problem` says what is wrong with that entry."""

    entries: int
    head: str
    first_bad: int = 0
    problem: str = ""


def hash_of(entry: Entry) -> str:
    """SHA-256 over all fields but the hash itself, in hex."""
    fields = [getattr(entry, name) for name in Entry.__struct_fields__ if name != "hash"]
    return hashlib.sha256(json.dumps(fields, ensure_ascii=True, separators=(",", ":")).encode()).hexdigest()


class Audit:
    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._appended = 0

    async def append(
        self,
        *,
        actor: str,
        action: str,
        object: str = "",
        result: str = "ok",
        address: str = "",
        detail: str = "",
    ) -> int:
        """Write an entry; it is on the disk when this returns its number. Raises StorageAway."""
        async with self._database.write() as connection:
            return await self.append_in(
                connection,
                actor=actor,
                action=action,
                object=object,
                result=result,
                address=address,
                detail=detail,
            )

    async def append_in(
        self,
        connection: AsyncConnection,
        *,
        actor: str,
        action: str,
        object: str = "",
        result: str = "ok",
        address: str = "",
        detail: str = "",
    ) -> int:
        """The same inside the caller's `write` block, so that the deed and its entry are one."""
        last = (
            await connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1))
        ).first()
        said = {
            "actor": actor,
            "action": action,
            "object": object,
            "result": result,
            "address": address,
            "detail": detail,
        }
        entry = Entry(
            seq=last.seq + 1 if last else 1,
            time=self._clock.wallclock(),
            monotonic=self._clock.now(),
            previous=last.hash if last else FIRST,
            hash="",
            **{name: _storable(value, LIMITS[name]) for name, value in said.items()},
        )
        entry = msgspec.structs.replace(entry, hash=hash_of(entry))
        await connection.execute(insert(audit).values(msgspec.structs.asdict(entry)))
        await connection.execute(delete(settings).where(settings.c.key == HEAD))
        await connection.execute(insert(settings).values(key=HEAD, value=f"{entry.seq}:{entry.hash}"))
        self._appended += 1
        return entry.seq

    async def newest(self, *, before: int = 0, limit: int = 100) -> list[Entry]:
        """Newest first, those with a number below `before` (0 = from the end). Raises StorageAway."""
        query = select(audit).order_by(audit.c.seq.desc()).limit(max(1, min(limit, 1000)))
        if before > 0:
            query = query.where(audit.c.seq < before)
        async with self._database.read() as connection:
            return [Entry(**row._asdict()) for row in (await connection.execute(query)).all()]

    async def verify(self) -> Verdict:
        """Walk the whole chain. Raises StorageAway."""
        previous, expected, last = FIRST, 1, LOWEST
        async with self._database.read() as connection:
            while True:
                query = select(audit).where(audit.c.seq > last).order_by(audit.c.seq).limit(CHUNK)
                rows = (await connection.execute(query)).all()
                for row in rows:
                    problem = _problem(row._asdict(), expected, previous)
                    if problem:
                        return Verdict(
                            entries=expected - 1, head=previous, first_bad=expected, problem=problem
                        )
                    previous, expected, last = row.hash, expected + 1, row.seq
                if len(rows) < CHUNK:
                    break
            head = (await connection.execute(select(settings.c.value).where(settings.c.key == HEAD))).scalar()
        if head != (f"{expected - 1}:{previous}" if expected > 1 else None):
            return Verdict(
                entries=expected - 1,
                head=previous,
                first_bad=expected,
                problem=f"the chain ends here, but its head is noted as {str(head)[:32]!r}",
            )
        return Verdict(entries=expected - 1, head=previous)

    def statistics(self) -> dict[str, object]:
        return {"appended_total": self._appended}


def _problem(row: dict[str, object], expected: int, previous: str) -> str:
    try:
        # SQLAlchemy's column names are a kind of str that msgspec does not take
        entry = msgspec.convert({str(name): value for name, value in row.items()}, Entry)
    except msgspec.ValidationError as error:
        return f"a field has the wrong kind: {error}"
    if entry.seq != expected:
        return f"missing; the next one is number {entry.seq}"
    if entry.previous != previous:
        return "it does not follow the entry before it"
    if entry.hash != hash_of(entry):
        return "it was changed after it was written"
    return ""


def _storable(value: str, limit: int) -> str:
    """Cut, and without what a database refuses in a text."""
    return value[:limit].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
