"""What makes a dispatch desk one that talks: groups, floors, calls, alarms and what is recorded of them.

Made by `server.dispatch`. Knows media only as a `VoiceNode`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from server.alarms.desk import AlarmDesk
from server.auth.audit import Audit
from server.groups.callbacks import CallBacks
from server.groups.calls import Calls
from server.groups.exchange import Exchange
from server.groups.floor import FloorRules
from server.groups.membership import MemberKind, MemberRecord
from server.groups.ownership import Alone
from server.groups.registry import Groups
from server.groups.show import GroupShow
from server.groups.spurts import SpurtLog
from server.groups.stored import StoredGroups
from server.media_events import MediaEvents
from server.metrics import Statistics
from server.model.clock import Clock
from server.model.ids import UnitId
from server.model.ports import VoiceNode
from server.recordings.recorder import SpurtRecorder
from server.state import EntityStore
from server.storage.changes import ChangeWatch
from server.storage.engine import Database
from server.units.roster import Roster

TICK: Final = 0.5  # s between looks at calls and call-backs


@dataclass(frozen=True, slots=True, kw_only=True)
class Talk:
    """`services` are run for as long as the server."""

    groups: Groups
    exchange: Exchange
    calls: Calls
    callbacks: CallBacks
    alarms: AlarmDesk
    services: dict[str, Callable[[], Awaitable[None]]]
    statistics: dict[str, Statistics]


async def make_talk(
    database: Database,
    audit: Audit,
    clock: Clock,
    node: VoiceNode,
    events: MediaEvents,
    store: EntityStore,
    roster: Roster,
    recorder: SpurtRecorder,
    changes: ChangeWatch,
    account_names: Callable[[], Awaitable[Mapping[str, str]]],
    rules: FloorRules,
) -> Talk:
    """Raises StorageAway. Groups, and the names of members, follow `changes`."""
    groups = Groups(StoredGroups(database, audit, clock), clock)
    accounts: dict[str, str] = {}

    def name_of(member: MemberRecord) -> str:
        if member.kind is MemberKind.UNIT:
            unit = roster.directory.units.get(UnitId(member.subject))
            return unit.name if unit is not None else ""
        return accounts.get(member.subject, "")

    exchange = Exchange(
        groups,
        node,
        SpurtLog(recorder, groups, clock, roster.position),
        GroupShow(store, clock, name_of),
        clock,
        rules,
        Alone(),
    )
    calls = Calls(exchange, groups, store, clock)
    callbacks = CallBacks(database, store, clock)
    alarms = AlarmDesk(database, audit, store, clock)
    alarms.on_emergency(exchange.set_emergency)
    exchange.on_path(calls.path)
    events.on_session_step(exchange.session_step)
    events.on_voice_activity(exchange.voice_activity)

    async def changed() -> None:
        names = await account_names()
        accounts.clear()
        accounts.update(names)
        await groups.load()

    await groups.load()
    await alarms.load()
    await callbacks.load()
    changes.subscribe(changed)

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK)
            calls.tick()
            callbacks.tick()

    return Talk(
        groups=groups,
        exchange=exchange,
        calls=calls,
        callbacks=callbacks,
        alarms=alarms,
        services={"exchange": exchange.run, "alarms": alarms.run, "calls": tick},
        statistics={
            "talk": exchange.statistics,
            "calls": calls.statistics,
            "callbacks": callbacks.statistics,
            "alarms": alarms.statistics,
        },
    )
