"""The index of talk spurts: told at once, written behind, searched in both. No speaker waits for the database."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import ColumnElement, and_, delete, exists, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.model.errors import BadRequest
from server.model.ids import DeviceId, SpurtId, UnitId, UserId
from server.recordings.spurts import (
    MAX_PAGE,
    WITH_FILE,
    Place,
    Spurt,
    SpurtGroup,
    SpurtQuery,
    SpurtState,
    Talker,
    matches,
)
from server.storage.engine import Database, StorageAway
from server.storage.tables import spurt_groups, spurts

MAX_WAITING: Final = 10_000  # spurts not yet written; of more the oldest is dropped, counted and logged
REMEMBERED: Final = 1_000  # newest spurts, for instant recall
BATCH: Final = 200  # rows of one transaction
RETRY: Final = 0.5  # s after the database was away
GATHER: Final = 0.1  # s between transactions: with 50 busy groups a dozen forms leave together

log = structlog.get_logger("server.recordings")


class SpurtIndex:
    """`put` from anywhere at once; `run` writes, at once when it was quiet. Of one spurt only its newest form waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: OrderedDict[SpurtId, Spurt] = OrderedDict()
        self._writing: dict[SpurtId, Spurt] = {}
        self._recent: OrderedDict[SpurtId, Spurt] = OrderedDict()
        self._news = asyncio.Event()
        self._written = asyncio.Event()
        self._dropped = 0
        self._rows = 0
        self._failed = 0

    def put(self, spurt: Spurt) -> None:
        """Index a spurt, or its new form."""
        self._remember(spurt)
        if spurt.id not in self._waiting and len(self._waiting) >= MAX_WAITING:
            lost, _ = self._waiting.popitem(last=False)
            self._dropped += 1
            log.error("the index is too slow: a spurt is not in it", spurt=lost)
        self._waiting[spurt.id] = spurt
        self._news.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                try:
                    await self._write_some()
                except StorageAway as error:
                    self._failed += 1
                    log.warning("spurts wait for the database", waiting=len(self._waiting), error=str(error))
                    await asyncio.sleep(RETRY)
            self._written.set()
            self._written = asyncio.Event()
            await asyncio.sleep(GATHER)

    async def finish(self) -> None:
        """Write what waits, once `run` has ended. Raises StorageAway."""
        while self._waiting:
            await self._write_some()

    async def flush(self) -> None:
        """Until everything put so far is on the disk; for ever when `run` does not run."""
        while self._waiting or self._writing:
            await self._written.wait()

    async def change(
        self,
        ids: Sequence[SpurtId],
        form: Callable[[Spurt], Spurt | None],
        also: Callable[[AsyncConnection, Sequence[Spurt]], Awaitable[object]],
    ) -> list[Spurt]:
        """Give spurts a new form now, each made of what is on the disk: another process may have written it.

        `form` None = this one stays. In one transaction with what `also` does to those that changed, which are
        returned. Ids that nobody knows are left out. Raises StorageAway, and what `form` and `also` raise; then
        nothing is different.
        """
        taken: list[Spurt] = []
        try:
            async with self._database.write() as connection:
                stored = {spurt.id: spurt for spurt in await _select(connection, spurts.c.id.in_(ids))}
                known = stored | {spurt: value for spurt, value in self._known().items() if spurt in ids}
                changed = [new for spurt in ids if spurt in known and (new := form(known[spurt])) is not None]
                if changed:
                    await _write(connection, changed)
                    await also(connection, changed)
                for spurt in (one.id for one in changed):
                    for waiting in (self._waiting, self._writing):
                        if spurt in waiting:
                            taken.append(waiting.pop(spurt))
        except BaseException:
            for value in taken:
                self.put(value)
            raise
        for value in changed:
            self._remember(value)
        return changed

    # ------------------------------------------------------------------ reading

    async def get(self, spurt: SpurtId) -> Spurt | None:
        """Raises StorageAway."""
        found = self._known().get(spurt) or self._recent.get(spurt)
        if found is not None:
            return found
        rows = await self._read(spurts.c.id == spurt, limit=1)
        return rows[0] if rows else None

    async def search(self, query: SpurtQuery) -> tuple[Spurt, ...]:
        """Newest first. Raises StorageAway, BadRequest."""
        if not 1 <= query.limit <= MAX_PAGE:
            raise BadRequest(f"limit must be 1 to {MAX_PAGE}", field="limit")
        if any("\0" in text for text in (query.text, query.unit, query.user, query.before, *query.groups)):
            return ()  # nothing has that in it, and PostgreSQL takes no such text
        known = self._known()
        rows = await self._read(_conditions(query), limit=query.limit + len(known))
        found = [spurt for spurt in known.values() if matches(spurt, query)]
        found += [spurt for spurt in rows if spurt.id not in known]
        found.sort(key=lambda spurt: spurt.id, reverse=True)
        return tuple(found[: query.limit])

    async def latest(self, group: str, before: SpurtId | None) -> Spurt | None:
        """The newest of a group that is over and has a file. Raises StorageAway."""
        recent = [
            spurt
            for spurt in self._recent.values()
            if (before is None or spurt.id < before) and _recallable(spurt) and _heard(spurt, group)
        ]
        if recent:
            return max(recent, key=lambda spurt: spurt.id)
        query = SpurtQuery(groups=(group,), before=before or "")
        playable = spurts.c.state.in_([state.value for state in WITH_FILE])
        rows = await self._read(
            and_(_conditions(query), playable, spurts.c.ended.is_not(None)), limit=1 + len(self._recent)
        )
        return next((spurt for spurt in rows if spurt.id not in self._recent), None)

    async def in_state(self, state: SpurtState, limit: int) -> list[Spurt]:
        """The oldest rows first. Raises StorageAway."""
        return await self._read(spurts.c.state == state.value, limit=limit, newest=False)

    async def ending(self, end: str) -> list[Spurt]:
        """Those whose id ends so, two at most. Raises StorageAway."""
        return await self._read(spurts.c.id.endswith(end, autoescape=True), limit=2)

    async def erasable(self, before: float | None, limit: int) -> list[Spurt]:
        """The oldest with a file that nothing holds, started before a time. Raises StorageAway."""
        states = [SpurtState.READY.value, SpurtState.CUT.value]
        wanted = and_(spurts.c.state.in_(states), spurts.c.hold.is_(False))
        if before is not None:
            wanted = and_(wanted, spurts.c.started < before)
        return await self._read(wanted, limit=limit, newest=False)

    async def known_paths(self) -> dict[str, SpurtState]:
        """Every path that belongs to a spurt. Raises StorageAway."""
        async with self._database.read() as connection:
            rows = (await connection.execute(select(spurts.c.path, spurts.c.state))).all()
        known = {str(row.path): SpurtState(row.state) for row in rows if row.path}
        return known | {
            spurt.path: spurt.state for spurt in (*self._recent.values(), *self._known().values())
        }

    def statistics(self) -> dict[str, object]:
        return {
            "waiting": len(self._waiting) + len(self._writing),
            "written_total": self._rows,
            "dropped_total": self._dropped,
            "failures_total": self._failed,
        }

    # ------------------------------------------------------------------ inside

    def _known(self) -> Mapping[SpurtId, Spurt]:
        """What the database does not have in this form yet."""
        return {**self._writing, **self._waiting}

    def _remember(self, spurt: Spurt) -> None:
        self._recent[spurt.id] = spurt
        while len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)

    async def _write_some(self) -> None:
        """One transaction. What it carries goes back to those that wait, unless there is something newer."""
        for _ in range(min(BATCH, len(self._waiting))):
            spurt, value = self._waiting.popitem(last=False)
            self._writing[spurt] = value
        try:
            async with self._database.write() as connection:
                await _write(connection, list(self._writing.values()))  # as they are now that it is our turn
            self._rows += len(self._writing)
        except BaseException:
            for spurt, value in reversed(self._writing.items()):
                if spurt not in self._waiting:
                    self._waiting[spurt] = value
                    self._waiting.move_to_end(spurt, last=False)
            raise
        finally:
            self._writing.clear()

    async def _read(self, wanted: ColumnElement[bool], *, limit: int, newest: bool = True) -> list[Spurt]:
        order = spurts.c.id.desc() if newest else spurts.c.started
        async with self._database.read() as connection:
            return await _select(connection, wanted, order, limit)


def _recallable(spurt: Spurt) -> bool:
    return spurt.state in WITH_FILE and spurt.ended is not None


def _heard(spurt: Spurt, group: str) -> bool:
    return any(each.id == group for each in spurt.groups)


def _conditions(query: SpurtQuery) -> ColumnElement[bool]:
    of_spurt = spurt_groups.c.spurt_id == spurts.c.id
    text = query.text.strip()
    wanted: list[tuple[object, ColumnElement[bool]]] = [
        (query.groups, exists().where(of_spurt, spurt_groups.c.group_id.in_(query.groups))),
        (query.unit, or_(spurts.c.unit_id == query.unit, spurts.c.peer_unit_id == query.unit)),
        (query.user, or_(spurts.c.user_id == query.user, spurts.c.peer_user_id == query.user)),
        (
            text,
            or_(
                spurts.c.talker.icontains(text, autoescape=True),
                spurts.c.peer.icontains(text, autoescape=True),
                exists().where(of_spurt, spurt_groups.c.name.icontains(text, autoescape=True)),
            ),
        ),
        (query.since is not None, spurts.c.started >= (query.since or 0.0)),
        (query.until is not None, spurts.c.started < (query.until or 0.0)),
        (query.emergency, spurts.c.emergency.is_(True)),
        (query.held, spurts.c.hold.is_(True)),
        (query.before, spurts.c.id < query.before),
    ]
    return and_(spurts.c.id != "", *(condition for asked, condition in wanted if asked))


async def _select(
    connection: AsyncConnection,
    wanted: ColumnElement[bool],
    order: ColumnElement[Any] | None = None,
    limit: int | None = None,
) -> list[Spurt]:
    rows = (await connection.execute(select(spurts).where(wanted).order_by(order).limit(limit))).all()
    groups: dict[str, list[SpurtGroup]] = {}
    ids = [row.id for row in rows]
    for at in range(0, len(ids), 500):
        chosen = select(spurt_groups).where(spurt_groups.c.spurt_id.in_(ids[at : at + 500]))
        for row in (await connection.execute(chosen.order_by(spurt_groups.c.group_id))).all():
            groups.setdefault(row.spurt_id, []).append(SpurtGroup(id=row.group_id, name=row.name))
    return [_spurt(row._asdict(), tuple(groups.get(row.id, ()))) for row in rows]


async def _write(connection: AsyncConnection, values: Sequence[Spurt]) -> None:
    if not values:
        return
    ids = [spurt.id for spurt in values]
    await connection.execute(delete(spurt_groups).where(spurt_groups.c.spurt_id.in_(ids)))
    await connection.execute(delete(spurts).where(spurts.c.id.in_(ids)))
    await connection.execute(insert(spurts), [_row(spurt) for spurt in values])
    groups = list(_group_rows(values))
    if groups:
        await connection.execute(insert(spurt_groups), groups)


def _group_rows(values: Iterable[Spurt]) -> Iterable[dict[str, str]]:
    for spurt in values:
        for group in {group.id: group for group in spurt.groups}.values():
            yield {"spurt_id": spurt.id, "group_id": group.id, "name": group.name[:128]}


# Fields of a spurt that are columns of the same name.
_SAME: Final = (
    *("id", "started", "ended", "emergency", "priority", "path", "began", "duration", "bytes", "sha256"),
    *("hold", "erased", "gap"),
)


def _row(spurt: Spurt) -> dict[str, Any]:
    place, peer = spurt.place, spurt.peer or Talker()
    return {
        **{name: getattr(spurt, name) for name in _SAME},
        "state": spurt.state.value,
        "talker": spurt.talker.name[:128],
        "leg": spurt.talker.leg[:16],
        "unit_id": spurt.talker.unit,
        "user_id": spurt.talker.user,
        "device_id": spurt.talker.device,
        "lat": place.lat if place else None,
        "lon": place.lon if place else None,
        "accuracy": place.accuracy if place else None,
        "detail": spurt.detail[:256],
        "after_id": spurt.after,
        "call_id": spurt.call,
        "peer": peer.name[:128],
        "peer_leg": peer.leg[:16],
        "peer_unit_id": peer.unit,
        "peer_user_id": peer.user,
        "held_by": spurt.held_by[:256],
        "held_why": spurt.held_why[:500],
        "erased_by": spurt.erased_by[:256],
        "erased_why": spurt.erased_why[:500],
    }


def _spurt(row: Mapping[str, Any], groups: tuple[SpurtGroup, ...]) -> Spurt:
    place = None
    if row["lat"] is not None and row["lon"] is not None:
        place = Place(lat=row["lat"], lon=row["lon"], accuracy=row["accuracy"])
    made = Spurt(
        **{name: row[name] for name in _SAME},
        state=SpurtState(row["state"]),
        groups=groups,
        talker=Talker(
            name=row["talker"],
            leg=row["leg"],
            unit=UnitId(row["unit_id"]),
            user=UserId(row["user_id"]),
            device=DeviceId(row["device_id"]),
        ),
        place=place,
        detail=row["detail"],
        after=SpurtId(row["after_id"]),
        call=row["call_id"],
        peer=Talker(
            name=row["peer"],
            leg=row["peer_leg"],
            unit=UnitId(row["peer_unit_id"]),
            user=UserId(row["peer_user_id"]),
        )
        if row["call_id"]
        else None,
        held_by=row["held_by"],
        held_why=row["held_why"],
        erased_by=row["erased_by"],
        erased_why=row["erased_why"],
    )
    return msgspec.structs.replace(made, hold=bool(row["hold"]), emergency=bool(row["emergency"]))
