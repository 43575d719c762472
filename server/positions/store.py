"""Reported positions on disk: acknowledged when written, a re-sent key written once (P17)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence

from sqlalchemy import and_, func, select
from sqlalchemy.dialects import postgresql, sqlite

from server.model.clock import Clock
from server.model.ids import DeviceId, UnitId
from server.model.uuid7 import new_id
from server.positions.position import Track, position_of, problem_of
from server.signalling.entities import Position
from server.signalling.messages import PositionsStored, RefusedPosition, ReportedPosition
from server.storage.engine import Database
from server.storage.tables import positions


class Positions:
    """`load` first."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._tracks: dict[UnitId, Track] = {}
        self._reporting = asyncio.Lock()  # rows and tracks change together
        self._stored = 0
        self._refused = 0
        self._suspect = 0

    async def load(self) -> dict[UnitId, Position]:
        """Each unit's newest plausible position. Raises StorageAway."""
        newest = (
            select(positions.c.unit_id, func.max(positions.c.time).label("time"))
            .where(positions.c.suspect.is_(False))
            .group_by(positions.c.unit_id)
            .subquery()
        )
        query = select(positions).join(
            newest, and_(positions.c.unit_id == newest.c.unit_id, positions.c.time == newest.c.time)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query.where(positions.c.suspect.is_(False)))).all()
        found = {
            UnitId(row.unit_id): Position(
                lat=row.lat,
                lon=row.lon,
                accuracy=row.accuracy,
                time=row.time,
                altitude=row.altitude,
                heading=row.heading,
                speed=row.speed,
            )
            for row in rows
        }
        self._tracks = {unit: Track(position) for unit, position in found.items()}
        return found

    async def report(
        self, device: DeviceId, unit: UnitId, reports: Sequence[ReportedPosition]
    ) -> tuple[PositionsStored, Position | None]:
        """Write what is possible; the unit's newest position now. On the disk when it returns. Raises StorageAway."""
        async with self._reporting:
            return await self._report(device, unit, reports)

    async def _report(
        self, device: DeviceId, unit: UnitId, reports: Sequence[ReportedPosition]
    ) -> tuple[PositionsStored, Position | None]:
        received = self._clock.wallclock()
        refused, rows = [], []
        track = copy.copy(self._tracks.get(unit)) or Track()  # takes its place once the rows are on disk
        for report in reports:
            problem = problem_of(report, received)
            if problem is not None:
                refused.append(RefusedPosition(key=report.key, field=problem.field, message=problem.message))
                continue
            rows.append(
                {
                    "id": new_id(received),
                    "key": report.key,
                    "device_id": device,
                    "unit_id": unit,
                    "lat": report.lat,
                    "lon": report.lon,
                    "accuracy": report.accuracy,
                    "altitude": report.altitude,
                    "heading": report.heading,
                    "speed": report.speed,
                    "time": report.time,
                    "received": received,
                    "suspect": track.add(position_of(report)),
                }
            )
        self._refused += len(refused)
        if rows:
            await self._insert(rows)
            self._tracks[unit] = track
            self._stored += len(rows)
            self._suspect += sum(1 for row in rows if row["suspect"])
        return PositionsStored(stored=len(rows), refused=tuple(refused)), track.newest

    async def _insert(self, rows: list[dict[str, object]]) -> None:
        dialect = sqlite if self._database.is_sqlite else postgresql
        query = dialect.insert(positions).on_conflict_do_nothing(
            index_elements=[positions.c.device_id, positions.c.key]
        )
        async with self._database.write() as connection:
            await connection.execute(query, rows)

    def statistics(self) -> dict[str, object]:
        return {
            "stored_total": self._stored,
            "refused_total": self._refused,
            "suspect_total": self._suspect,
        }
