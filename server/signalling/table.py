"""What the one table of commands is made of: its rows, and the services that its handlers work with.

A handler gets the client that asks and returns the reply's result; it raises `FengsuiError` for a refusal. It may rely
on `client.principal` being allowed the row's action, and checks by itself that the thing asked about is the caller's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from server.alarms.desk import AlarmDesk
from server.auth.audit import Audit, Verdict
from server.auth.permissions import Action
from server.auth.sessions import Sessions
from server.groups.callbacks import CallBacks
from server.groups.calls import Calls
from server.groups.exchange import Exchange
from server.groups.registry import Groups
from server.model.clock import Clock
from server.model.ports import DispatchNode
from server.positions.store import Positions
from server.recordings.evidence import Evidence
from server.recordings.recorder import SpurtRecorder
from server.signalling.clients import Client, Clients
from server.signalling.wire import Command, Value
from server.state import EntityStore
from server.units.presence import Presence
from server.units.registration import Registration
from server.units.roster import Roster
from server.video.catalogue import Catalogue

C = TypeVar("C", bound=Command)


@dataclass(slots=True, kw_only=True)
class Services:
    """What the handlers work with."""

    node: DispatchNode
    clients: Clients
    store: EntityStore
    roster: Roster
    registration: Registration
    catalogue: Catalogue
    presence: Presence
    positions: Positions
    groups: Groups
    exchange: Exchange
    calls: Calls
    callbacks: CallBacks
    alarms: AlarmDesk
    recorder: SpurtRecorder
    evidence: Evidence
    audit: Audit
    sessions: Sessions
    clock: Clock
    media_up: Callable[[], bool]
    join_link_hours: float
    max_join_link_hours: float
    talker_lost_after: float = 1.0  # s
    verdict: tuple[float, Verdict] | None = None  # when, by the monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`aside`: it waits for the database, which no command about media may have to do; so it is done beside the others,
    which are done in the order they came."""

    action: Callable[[Command], Action]
    handle: Callable[[Services, Client, Command], Awaitable[Value | None]]
    aside: bool = False


def row(
    kind: type[C],
    action: Action | Callable[[C], Action],
    handle: Callable[[Services, Client, C], Awaitable[Value | None]],
    *,
    aside: bool = False,
) -> tuple[type[Command], Row]:
    def required(command: Command) -> Action:
        assert isinstance(command, kind)  # noqa: S101 - the table is keyed by the type
        return action if isinstance(action, Action) else action(command)

    async def call(services: Services, client: Client, command: Command) -> Value | None:
        assert isinstance(command, kind)  # noqa: S101
        return await handle(services, client, command)

    return kind, Row(action=required, handle=call, aside=aside)
