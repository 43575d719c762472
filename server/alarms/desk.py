"""The alarms of a server: raised by units, handled by officers, on the disk before anybody hears they were taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from sqlalchemy import insert, select, update

from server.alarms.alarm import (
    LATE,
    Alarm,
    AlarmKind,
    Officer,
    Where,
    acknowledged,
    again,
    closed,
    due,
    parked,
    raised,
    resumed,
)
from server.auth.audit import Audit
from server.model.clock import Clock
from server.model.errors import NotFound
from server.model.ids import AlarmId, DeviceId, GroupId, StreamId, UnitId
from server.model.uuid7 import new_id
from server.signalling.talk import Alarm as AlarmEntity
from server.signalling.talk import AlarmAct, AlarmPosition
from server.state import EntityStore
from server.storage.engine import Database, StorageAway
from server.storage.tables import alarms

SHOWN_AFTER: Final = 86_400.0  # s that a closed alarm stays in sight
TICK: Final = 1.0
RETRY: Final = 1.0  # s until an alarm is written again that the database did not take


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody raises an alarm. `key` of the press: sent twice, it counts once. `age`: s since the key was pressed."""

    key: str
    kind: AlarmKind
    unit: UnitId
    device: DeviceId
    name: str
    group: GroupId
    stream: StreamId
    position: Where | None
    actor: str
    address: str
    age: float = 0.0


class AlarmDesk:
    """`load` first, then `run`."""

    def __init__(self, database: Database, audit: Audit, store: EntityStore, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._store = store
        self._clock = clock
        self._alarms: dict[AlarmId, Alarm] = {}
        self._keys: dict[str, AlarmId] = {}
        self._unwritten: dict[AlarmId, str] = {}  # with its key
        self._on_emergency: list[Callable[[GroupId, bool], None]] = []
        self._on_change: list[Callable[[], None]] = []

    def on_emergency(self, listener: Callable[[GroupId, bool], None]) -> None:
        """Told when a group gets its first open alarm, and when its last one is closed; must not block."""
        self._on_emergency.append(listener)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Told when `open` may differ; must not block."""
        self._on_change.append(listener)

    @property
    def open(self) -> Sequence[Alarm]:
        return [alarm for alarm in self._alarms.values() if alarm.is_open]

    async def load(self) -> None:
        """Raises StorageAway."""
        since = self._clock.wallclock() - SHOWN_AFTER
        async with self._database.read() as connection:
            rows = (
                await connection.execute(
                    select(alarms).where((alarms.c.state != "closed") | (alarms.c.raised > since))
                )
            ).all()
        for row in rows:
            alarm = msgspec.json.decode(row.body, type=Alarm)
            self._keys[row.key] = alarm.id
            self._take(alarm)

    def is_open(self, group: GroupId) -> bool:
        return any(alarm.is_open and alarm.group == group for alarm in self._alarms.values())

    # ------------------------------------------------------------------ raising

    def press(self, press: Press) -> Alarm:
        """Raise or count; at once, for everybody to see. Then `written`, before the unit is told that it was taken."""
        known = self._keys.get(press.key)
        if known is not None:
            return self._alarms[known]
        now = self._clock.wallclock()
        open_one = next(
            (one for one in self._alarms.values() if one.is_open and one.unit == press.unit and press.unit),
            None,
        )
        if open_one is not None:
            alarm = again(open_one, now, press.position, press.age)
        else:
            alarm = raised(
                id=AlarmId(new_id(now)),
                kind=press.kind,
                unit=press.unit,
                device=press.device,
                name=press.name,
                group=press.group,
                wallclock=now,
                age=press.age,
                position=press.position,
                stream=press.stream,
            )
        self._keys[press.key] = alarm.id
        self._unwritten[alarm.id] = press.key
        self._take(alarm)
        return alarm

    async def written(self, alarm: Alarm, press: Press) -> None:
        """Until it is on the disk. Raises StorageAway; it is then tried again by `run`, and shown all the same."""
        await self._write(alarm.id)
        late = f", pressed {press.age:.0f} s before" if press.age >= LATE else ""
        await self._audit.append(
            actor=press.actor,
            action="alarm.raise",
            object=alarm.id,
            address=press.address,
            detail=f"{press.name}, {press.group}, press {alarm.presses}{late}",
        )

    async def _write(self, alarm_id: AlarmId) -> None:
        alarm = self._alarms[alarm_id]
        key = self._unwritten.get(alarm_id)
        values = {"state": alarm.state, "raised": alarm.raised, "body": msgspec.json.encode(alarm).decode()}
        async with self._database.write() as connection:
            changed = await connection.execute(update(alarms).where(alarms.c.id == alarm_id).values(**values))
            if not changed.rowcount:
                await connection.execute(insert(alarms).values(id=alarm_id, key=key or alarm_id, **values))
        self._unwritten.pop(alarm_id, None)

    # ------------------------------------------------------------------ handling

    async def move(
        self,
        alarm_id: str,
        act: str,
        officer: Officer,
        *,
        reason: str,
        seconds: float,
        actor: str,
        address: str,
    ) -> None:
        """acknowledge, park, resume, close. Raises NotFound, Conflict, BadRequest, StorageAway."""
        alarm = self._alarms.get(AlarmId(alarm_id))
        if alarm is None:
            raise NotFound("there is no such alarm", field="alarm")
        now = self._clock.wallclock()
        moves: dict[str, Callable[[Alarm], Alarm]] = {
            "acknowledge": lambda alarm: acknowledged(alarm, officer, now),
            "park": lambda alarm: parked(alarm, officer, reason, now + seconds, now),
            "resume": lambda alarm: resumed(alarm, officer, now),
            "close": lambda alarm: closed(alarm, officer, reason, now),
        }
        after = moves[act](alarm)
        self._take(after)
        self._unwritten.setdefault(after.id, "")
        await self._write(after.id)
        await self._audit.append(
            actor=actor, action=f"alarm.{act}", object=after.id, address=address, detail=reason
        )

    def _take(self, alarm: Alarm) -> None:
        before = self.is_open(alarm.group)
        self._alarms[alarm.id] = alarm
        self._store.put(_entity(alarm))
        if (after := self.is_open(alarm.group)) != before:
            for listener in self._on_emergency:
                listener(alarm.group, after)
        for changed in self._on_change:
            changed()

    # ------------------------------------------------------------------ the service

    async def run(self) -> None:
        """Until cancelled: parked alarms come back, closed ones leave after a day, what was not written is."""
        while True:
            await asyncio.sleep(TICK)
            self.tick()
            for alarm in list(self._unwritten):
                with contextlib.suppress(StorageAway):
                    await self._write(alarm)

    def tick(self) -> None:
        now = self._clock.wallclock()
        for alarm in list(self._alarms.values()):
            woken = due(alarm, now)
            if woken is not None:
                self._take(woken)
                self._unwritten.setdefault(woken.id, "")
            elif not alarm.is_open and now - alarm.history[-1].time > SHOWN_AFTER:
                del self._alarms[alarm.id]
                self._keys = {key: known for key, known in self._keys.items() if known != alarm.id}
                self._store.remove("alarm", alarm.id)

    def statistics(self) -> dict[str, object]:
        return {
            "open": sum(1 for alarm in self._alarms.values() if alarm.is_open),
            "sounding": sum(1 for alarm in self._alarms.values() if alarm.sounds),
            "unwritten": len(self._unwritten),
        }


def _entity(alarm: Alarm) -> AlarmEntity:
    where = alarm.position
    return AlarmEntity(
        id=alarm.id,
        kind=alarm.kind,
        state=alarm.state,
        name=alarm.name,
        unit=alarm.unit,
        device=alarm.device,
        group=alarm.group,
        stream=alarm.stream,
        raised=alarm.raised,
        pressed=alarm.pressed or alarm.raised,
        position=None
        if where is None
        else AlarmPosition(lat=where.lat, lon=where.lon, accuracy=where.accuracy, time=where.time),
        owner=alarm.owner.name if alarm.owner else "",
        reason=alarm.reason,
        until=alarm.until,
        times=alarm.presses,
        history=tuple(
            AlarmAct(at=line.time, by=line.who, act=line.act, text=line.text, pressed=line.pressed)
            for line in alarm.history
        ),
    )
