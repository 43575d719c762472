"""Who listens to each group, as everybody in it is told: at once, but a large group not too often.

Everybody in a group is told of everybody who comes and goes, which costs the square of its size: when hundreds come
back at once, what they are told waits a little and becomes one. What is new of the group itself never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Set
from typing import Final

from server.groups.attached import Attached
from server.groups.membership import rights_of
from server.groups.registry import Groups
from server.groups.rows import Rows
from server.groups.show import GroupShow
from server.model.clock import Clock
from server.model.ids import GroupId, LegId
from server.signalling.talk import Listener

FOR_EACH: Final = 0.005  # s that a group is left alone after it was told, for each listener
LONGEST: Final = 2.0  # s


class Pace:
    """Sans-IO: `may` says whether a name may be told now; when not, it is among those that `take` gives later."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._waiting: dict[str, float] = {}

    def may(self, name: str, now: float) -> bool:
        at = self._next.get(name, now)
        if at > now:
            self._waiting[name] = at
        return at <= now

    def told(self, name: str, size: int, now: float) -> None:
        """With so many listeners."""
        self._waiting.pop(name, None)
        self._next[name] = now + min(LONGEST, size * FOR_EACH)

    def forget(self, name: str) -> None:
        self._waiting.pop(name, None)
        self._next.pop(name, None)

    def take(self, now: float) -> list[str]:
        """Those whose time has come; tell each."""
        due = [name for name, at in self._waiting.items() if at <= now]
        for name in due:
            del self._waiting[name]
        return due

    @property
    def next_due(self) -> float | None:
        return min(self._waiting.values(), default=None)


class ListenersShown:
    """`legs` and `emergencies` are the living tables; `run` as a service."""

    def __init__(
        self,
        groups: Groups,
        legs: Mapping[LegId, Attached],
        rows: Rows,
        emergencies: Set[GroupId],
        show: GroupShow,
        clock: Clock,
    ) -> None:
        self._groups = groups
        self._legs = legs
        self._rows = rows
        self._emergencies = emergencies
        self._show = show
        self._clock = clock
        self._pace = Pace()
        self._waiting = asyncio.Event()

    def show(self, names: Iterable[str]) -> None:
        """These groups as they are now, at once. Names of no group are ignored."""
        now = self._clock.now()
        for name in set(names):
            record = self._groups.records.get(GroupId(name))
            if record is None:
                self._pace.forget(name)
                continue
            listeners = self._listeners(record.id)
            self._pace.told(name, len(listeners), now)
            patch = self._groups.patches.of(record.id)
            self._show.group(record, listeners, patch, record.id in self._emergencies)

    def changed(self, names: Iterable[str]) -> None:
        """Who listens to them is different."""
        now = self._clock.now()
        self.show([name for name in set(names) if self._pace.may(name, now)])
        if self._pace.next_due is not None:
            self._waiting.set()

    def _listeners(self, group: GroupId) -> list[Listener]:
        record = self._groups.records[group]
        row = self._rows.get(self._groups.floor_of(group))
        legs = self._legs if row is None else row.legs
        found = []
        for leg in map(self._legs.__getitem__, legs):
            if group in leg.listening:
                may = rights_of(record, leg.subject)
                found.append(leg.listener(group, may is not None and may.talk))
        return found

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while (due := self._pace.next_due) is not None:
                await asyncio.sleep(max(0.0, due - self._clock.now()))
                self.show(self._pace.take(self._clock.now()))
