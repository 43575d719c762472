"""The exchange: legs on one side, floors on the other, and between them who talks to whom.

Every input (a key, a word of media, a timer) goes to the floors concerned; what they say happened becomes words for
the legs, open and closed microphones, recordings and the entities that everybody sees. Nothing in it waits: routes
leave by `run`, the database is not asked. Floors are owned through `_floors` alone, so that a lease can stand behind
it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import structlog

from server.groups.attached import Attached, Told
from server.groups.causes import Cause
from server.groups.floor import (
    Collision,
    Denied,
    Floor,
    FloorEvent,
    FloorRules,
    Granted,
    Lost,
    Queued,
    Released,
    Revoked,
    Rights,
    Tail,
    Taken,
    Unqueued,
    Urgency,
    Warned,
)
from server.groups.hearing import call_name
from server.groups.legs import Leg
from server.groups.membership import GroupKind, Subject, rights_of
from server.groups.registry import Groups
from server.groups.show import GroupShow, cause_name
from server.groups.spurts import SpurtLog
from server.groups.switchboard import Switchboard
from server.model.clock import Clock
from server.model.errors import FengsuiError
from server.model.ids import DeviceId, FloorId, GroupId, LegId, MediaSessionId
from server.model.ports import VoiceNode
from server.signalling.talk import FloorAnswer, FloorTold, Talker
from server.storage.engine import StorageAway

TICK: Final = 1.0  # s between looks at groups that end by themselves
LONGEST: Final = 3600.0  # s the timer sleeps when nothing is due

log = structlog.get_logger("server.groups")


class Row:
    """A floor with the groups that share it and the legs that are in it."""

    def __init__(self, floor: Floor, groups: tuple[GroupId, ...]) -> None:
        self.floor = floor
        self.groups = groups
        self.legs: set[LegId] = set()

    @property
    def id(self) -> FloorId:
        return self.floor.id


class Exchange:
    """`attach` legs and give them what their users do; `run` as a service.

    Subscribe `session_step` and `voice_activity` to what media tells.
    """

    def __init__(
        self, groups: Groups, node: VoiceNode, spurts: SpurtLog, show: GroupShow, clock: Clock
    ) -> None:
        self.legs: dict[LegId, Attached] = {}
        self._groups = groups
        self._node = node
        self._spurts = spurts
        self._show = show
        self._clock = clock
        self._floors: dict[FloorId, Row] = {}
        self._by_session: dict[MediaSessionId, LegId] = {}
        self._talking: dict[LegId, dict[FloorId, None]] = {}
        self._calls: dict[str, tuple[LegId, ...]] = {}
        self._emergencies: set[GroupId] = set()
        self._blocked: Cause | None = None
        self._on_path: list[Callable[[LegId, bool], None]] = []
        self._due = asyncio.Event()
        self._routes = asyncio.Event()
        self._board = Switchboard(self.legs, self._routes.set)
        self._counters: Counter[str] = Counter()
        groups.on_changed(self.regroup)

    def on_path(self, listener: Callable[[LegId, bool], None]) -> None:
        """Told when a leg's sound path came up or went down, and when the leg is gone; must not block."""
        self._on_path.append(listener)

    # ------------------------------------------------------------------ legs

    def attach(self, leg: Leg, subject: Subject, name: str, device: DeviceId, told: Told) -> Attached:
        """A leg that hears only the all-call for now; a known one is told through `told` from now on."""
        attached = self.legs.get(leg.id)
        if attached is not None:
            attached.told, attached.subject, attached.name = told, subject, name
            return attached
        attached = self.legs[leg.id] = Attached(leg=leg, subject=subject, name=name, device=device, told=told)
        self._rejoin(attached)
        return attached

    def detach(self, leg_id: LegId) -> None:
        """It is gone, whatever it held."""
        attached = self.legs.get(leg_id)
        if attached is None:
            return
        self._path(attached, False, None)
        for row in list(self._floors.values()):
            if leg_id in row.legs:
                row.legs.discard(leg_id)
                self._happened(row, row.floor.leave(leg_id, self._clock.now()))
        heard = attached.listening
        del self.legs[leg_id]
        self._show_groups(heard)
        for listener in self._on_path:
            listener(leg_id, False)

    def opened(self, leg_id: LegId, session: MediaSessionId) -> None:
        """The leg has a new sound path, which comes up later."""
        attached = self.legs[leg_id]
        if attached.session != session:
            self._path(attached, False, session)

    def session_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        """Of any media session; those that are no sound paths are ignored."""
        attached = self.legs.get(self._by_session.get(session, LegId("")))
        if attached is None:
            return
        if step in ("lost", "closed"):
            self._path(attached, False, None)
        elif step == "dtls":
            self._path(attached, True, session)

    def _path(self, attached: Attached, up: bool, session: MediaSessionId | None) -> None:
        if not up or attached.session != session:
            self._board.gone(attached.id)
            if attached.session is not None:
                self._by_session.pop(attached.session, None)
        was, attached.path, attached.session = attached.path, up, session
        if session is not None:
            self._by_session[session] = attached.id
        if was == up:
            return
        now = self._clock.now()
        for row in self._rows_of(attached.id):
            self._happened(row, row.floor.path(attached.id, up, now))
            if not up:
                self._happened(row, row.floor.voice(attached.id, False, now))
        self._board.rehear([attached.id])
        self._show_groups(attached.listening)
        for listener in self._on_path:
            listener(attached.id, up)

    def voice_activity(self, session: MediaSessionId, active: bool, clipped: float) -> None:
        """A microphone sends, or is quiet."""
        attached = self.legs.get(self._by_session.get(session, LegId("")))
        if attached is None:
            return
        if not active and clipped >= 0.0:
            kind = attached.leg.kind
            self._counters[f"spurts_{kind}_total"] += 1
            self._counters[f"clipped_ms_{kind}_total"] += round(clipped * 1000)
        now = self._clock.now()
        for row in self._rows_of(attached.id):
            self._happened(row, row.floor.voice(attached.id, active, now))

    # ------------------------------------------------------------------ what users do

    def tune(self, leg_id: LegId, listening: Iterable[GroupId], selected: Iterable[GroupId]) -> None:
        """The complete list. What the leg is no member of is left out: ask `Groups` first."""
        attached = self.legs[leg_id]
        before = attached.listening
        attached.tuned = tuple(dict.fromkeys(listening))
        attached.selected = frozenset(selected)
        self._rejoin(attached)
        self._show_groups({*before, *attached.listening})

    def request(self, leg_id: LegId, groups: Iterable[GroupId], urgency: Urgency) -> tuple[FloorAnswer, ...]:
        """The key is down."""
        attached, now = self.legs[leg_id], self._clock.now()
        answers: dict[GroupId, FloorAnswer] = {}
        by_floor: dict[FloorId, list[GroupId]] = {}
        for group in dict.fromkeys(groups):
            row = self._floors.get(self._groups.floor_of(group))
            if row is None or leg_id not in row.legs:
                answers[group] = FloorAnswer(group=group, state="denied", cause=Cause.NO_MEMBER.value)
            else:
                by_floor.setdefault(row.id, []).append(group)
        for floor, named in by_floor.items():
            row = self._floors[floor]
            all_call = self._groups.all_call
            asked = max(urgency, Urgency.ALL_CALL) if all_call and all_call.id in row.groups else urgency
            attached.asked[floor] = tuple(named)
            self._counters["requests_total"] += 1
            told = self._happened(row, row.floor.request(leg_id, asked, now), asking=leg_id)
            if told is not None and told.state != "denied":
                # pressed again in the tail: the end of the spurt before took the name of this one with it
                attached.asked[floor] = tuple(named)
            for group in named:
                answers[group] = _answer(group, told)
        if not any(answer.state == "granted" for answer in answers.values()):
            self._board.discard(leg_id)
        return tuple(answers[group] for group in dict.fromkeys(groups))

    def release(self, leg_id: LegId, groups: Iterable[GroupId] = ()) -> None:
        """The key is up: everywhere, or for the floors of these groups."""
        attached, now = self.legs[leg_id], self._clock.now()
        floors = {self._groups.floor_of(group) for group in groups} or set(attached.asked)
        for floor in floors:
            row = self._floors.get(floor)
            if row is not None and leg_id in row.legs:
                self._happened(row, row.floor.release(leg_id, now))
                self._happened(row, row.floor.cancel(leg_id, now))
            if floor not in self._talking.get(leg_id, {}):
                attached.asked.pop(floor, None)
        self._board.discard(leg_id)

    def alive(self, leg_id: LegId) -> None:
        """The key is still held."""
        attached, now = self.legs.get(leg_id), self._clock.now()
        for floor in tuple(attached.asked) if attached else ():
            row = self._floors.get(floor)
            if row is not None and (events := row.floor.alive(leg_id, now)):
                self._happened(row, events)

    def revoke(self, group: GroupId, cause: Cause) -> Talker | None:
        """Take the floor from whoever has it; None = nobody had."""
        row = self._floors.get(self._groups.floor_of(group))
        talker = row.floor.state(self._clock.now()).talker if row is not None else None
        if row is None or talker is None:
            return None
        said = self.legs[talker].talker()
        self._happened(row, row.floor.revoke(cause, self._clock.now()))
        return said

    # ------------------------------------------------------------------ emergencies and calls

    def join_for(self, leg_id: LegId, group: GroupId) -> None:
        """Let a leg hear and talk in a group that it has not tuned to."""
        attached = self.legs[leg_id]
        if group not in attached.listening:
            attached.extra.append(group)
            self._rejoin(attached)
            self._show_groups((group,))

    def set_emergency(self, group: GroupId, on: bool) -> None:
        """The group's emergency state, which outlives every call in it."""
        (self._emergencies.add if on else self._emergencies.discard)(group)
        row = self._floors.get(self._groups.floor_of(group))
        if row is not None:
            state = any(each in self._emergencies for each in row.groups)
            self._happened(row, row.floor.set_emergency(state, self._clock.now()))
        self._show_groups((group,))

    def connect(self, call: str, legs: tuple[LegId, ...]) -> None:
        """A full-duplex call: both microphones are open, each hears the other."""
        self._calls[call] = legs
        for leg in legs:
            self.legs[leg].extra.insert(0, call_name(call))
        for leg in legs:
            self._open(leg, legs)

    def disconnect(self, call: str) -> None:
        legs = self._calls.pop(call, ())
        for leg in legs:
            if leg in self.legs:
                self.legs[leg].extra.remove(call_name(call))
        for leg in legs:
            if leg in self.legs:
                self._open(leg, legs)

    def add_extra(self, legs: Iterable[LegId], group: GroupId) -> None:
        """The group of a half-duplex call comes before all others."""
        for leg in legs:
            if leg in self.legs:
                self.legs[leg].extra.insert(0, group)
                self._rejoin(self.legs[leg])
        self._show_groups((group,))

    def remove_extra(self, legs: Iterable[LegId], group: GroupId) -> None:
        for leg in legs:
            if leg in self.legs and group in self.legs[leg].extra:
                self.legs[leg].extra.remove(group)
                self._rejoin(self.legs[leg])

    # ------------------------------------------------------------------ groups that change

    def regroup(self) -> None:
        """Groups, members or patches are different: floors follow, and who is in them."""
        wanted: dict[FloorId, list[GroupId]] = {}
        for record in self._groups.ordered():
            wanted.setdefault(self._groups.floor_of(record.id), []).append(record.id)
        now = self._clock.now()
        for floor in [floor for floor in self._floors if floor not in wanted]:
            row = self._floors[floor]
            self._happened(row, row.floor.revoke(Cause.ENDED, now))
            for leg in tuple(row.legs):
                row.legs.discard(leg)
                self._happened(row, row.floor.leave(leg, now))
            del self._floors[floor]
        for floor, groups in wanted.items():
            made = self._floors.get(floor)
            if made is None:
                self._floors[floor] = made = Row(Floor(floor, self._rules(groups)), tuple(groups))
                made.floor.block(self._blocking(groups), now)
            made.groups = tuple(groups)
            made.floor.set_emergency(any(each in self._emergencies for each in groups), now)
        for attached in list(self.legs.values()):
            self._rejoin(attached)
        for leg in list(self._talking):
            self._open(leg, self.legs)
        for row in self._floors.values():
            self._show_floor(row)
        self._show.groups_are(self._groups)
        self._show_groups(self._groups.records)
        self._due.set()

    def _rules(self, groups: list[GroupId]) -> FloorRules:
        kinds = {self._groups.records[group].kind for group in groups}
        return FloorRules(broadcast=kinds == {GroupKind.BROADCAST})

    def _rejoin(self, attached: Attached) -> None:
        """The floors that a leg is in follow from what it listens to and may."""
        now, records = self._clock.now(), self._groups.records
        all_call = self._groups.all_call
        if all_call is not None and all_call.id not in attached.extra:
            attached.extra.append(all_call.id)
        rights: dict[FloorId, Rights] = {}
        for name in attached.listening:
            record = records.get(GroupId(name))
            may = rights_of(record, attached.subject) if record is not None else None
            if record is None or may is None:
                continue
            floor = self._groups.floor_of(record.id)
            rights[floor] = _better(rights.get(floor), may)
        member = {name for name in records if rights_of(records[name], attached.subject) is not None}
        attached.tuned = tuple(group for group in attached.tuned if group in member)
        attached.extra = [name for name in attached.extra if name in member or GroupId(name) not in records]
        attached.selected &= frozenset(attached.listening)
        for row in list(self._floors.values()):
            if row.id in rights:
                first = attached.id not in row.legs
                row.legs.add(attached.id)
                self._happened(row, row.floor.join(attached.leg, rights[row.id], now))
                if first:
                    self._happened(row, row.floor.path(attached.id, attached.path, now))
            elif attached.id in row.legs:
                row.legs.discard(attached.id)
                self._happened(row, row.floor.leave(attached.id, now))
        self._board.rehear([attached.id])

    # ------------------------------------------------------------------ what floors say

    def _happened(self, row: Row, events: list[FloorEvent], asking: LegId | None = None) -> FloorTold | None:
        """Act on events. Of the leg that is asking, its answer is returned in place of being told."""
        answer: FloorTold | None = None
        for event in events:
            told = self._told(event)
            if told is not None and not isinstance(event, Taken | Collision):
                leg = event.leg  # type: ignore[union-attr]
                if leg == asking and answer is None and isinstance(event, Granted | Queued | Denied):
                    answer = told
                else:
                    self._tell(row, leg, told)
            match event:
                case Taken():
                    self._talking.setdefault(event.leg, {})[row.id] = None
                    self._open(event.leg, row.legs)
                case Released() | Revoked() | Lost():
                    self._silent(row, event.leg)
                case Denied() | Unqueued():
                    self._board.discard(event.leg)
                case Collision():
                    self._counters["collisions_total"] += 1
                case _:
                    pass
            self._counters[f"{type(event).__name__.lower()}_total"] += 1
        if events:
            self._check_all_call(row)
            self._show_floor(row)
            self._due.set()
        return answer

    def _silent(self, row: Row, leg: LegId) -> None:
        floors = self._talking.get(leg, {})
        floors.pop(row.id, None)
        if not floors:
            self._talking.pop(leg, None)
        self._open(leg, row.legs)

    def _open(self, leg: LegId, listeners: Iterable[LegId]) -> None:
        """The microphone of a leg is heard in all the floors it has, and in its calls."""
        groups = [
            group
            for floor in self._talking.get(leg, {})
            if floor in self._floors
            for group in self._floors[floor].groups
        ]
        calls = [call_name(call) for call, legs in self._calls.items() if leg in legs]
        self._board.open(leg, (*calls, *groups), listeners)
        attached = self.legs.get(leg)
        self._board.record(leg, *self._spurts.follow(leg, attached, groups, self._urgency_of(leg)))

    def _urgency_of(self, leg: LegId) -> Urgency:
        now = self._clock.now()
        states = [
            self._floors[floor].floor.state(now)
            for floor in self._talking.get(leg, {})
            if floor in self._floors
        ]
        return max((state.urgency for state in states), default=Urgency.NORMAL)

    def _tell(self, row: Row, leg: LegId, told: FloorTold) -> None:
        attached = self.legs.get(leg)
        if attached is None:
            return
        for group in attached.asked.get(row.id, ()):
            attached.told.tell(_for_group(told, group))
        if told.state == "ended":
            attached.asked.pop(row.id, None)

    def _told(self, event: FloorEvent) -> FloorTold | None:
        """What the leg that an event is about is told."""
        match event:
            case Granted():
                return FloorTold(
                    group="",
                    state="granted",
                    sequence=event.sequence,
                    urgency=event.urgency.name.lower(),
                    until=self._show.wall(event.until),
                )
            case Queued():
                return FloorTold(group="", state="queued", position=event.position, size=event.size)
            case Denied():
                talker = self.legs.get(event.talker) if event.talker else None
                return FloorTold(
                    group="",
                    state="denied",
                    cause=cause_name(event.cause),
                    talker=talker.talker() if talker else None,
                )
            case Unqueued():
                return FloorTold(group="", state="denied", cause=cause_name(event.cause))
            case Warned():
                until = self._clock.now() + event.seconds_left
                return FloorTold(group="", state="warned", until=self._show.wall(until))
            case Tail():
                return FloorTold(group="", state="tail")
            case Released():
                return FloorTold(group="", state="ended")
            case Revoked():
                return FloorTold(group="", state="revoked", cause=cause_name(event.cause))
            case Lost():
                return FloorTold(group="", state="revoked", cause=cause_name(Cause.LOST))
            case _:
                return None

    # ------------------------------------------------------------------ the all-call

    def _check_all_call(self, row: Row) -> None:
        """While somebody talks to everybody, only emergencies are granted elsewhere."""
        all_call = self._groups.all_call
        if all_call is None or all_call.id not in row.groups:
            return
        blocked = Cause.BLOCKED if row.floor.state(self._clock.now()).talker is not None else None
        if blocked is self._blocked:
            return
        self._blocked = blocked
        for other in list(self._floors.values()):
            self._happened(other, other.floor.block(self._blocking(other.groups), self._clock.now()))
            self._show_floor(other)

    def _blocking(self, groups: Iterable[GroupId]) -> Cause | None:
        all_call = self._groups.all_call
        return None if all_call is not None and all_call.id in groups else self._blocked

    # ------------------------------------------------------------------ what everybody sees

    def _show_floor(self, row: Row) -> None:
        state = row.floor.state(self._clock.now())
        talker = self.legs.get(state.talker) if state.talker else None
        self._show.floor(row.id, row.groups, state, talker.talker() if talker else None)

    def _show_groups(self, names: Iterable[str]) -> None:
        for name in set(names):
            record = self._groups.records.get(GroupId(name))
            if record is None:
                continue
            listeners = []
            for leg in self.legs.values():
                if record.id in leg.listening:
                    may = rights_of(record, leg.subject)
                    listeners.append(leg.listener(record.id, may is not None and may.talk))
            patch = self._groups.patches.of(record.id)
            self._show.group(record, listeners, patch, record.id in self._emergencies)

    # ------------------------------------------------------------------ the service

    def _rows_of(self, leg: LegId) -> list[Row]:
        return [row for row in self._floors.values() if leg in row.legs]

    async def run(self) -> None:
        """Until cancelled."""
        self.regroup()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_routing(), name="voice-routes")
            tasks.create_task(self._keep_time(), name="floors")
            tasks.create_task(self._keep_groups(), name="groups")

    async def _keep_routing(self) -> None:
        """Changes that come while media answers leave together."""
        while True:
            await self._routes.wait()
            self._routes.clear()
            routes = self._board.routes()
            if not routes:
                continue
            try:
                await self._node.route_voice(routes)
                self._counters["routes_total"] += len(routes)
            except FengsuiError as error:
                self._counters["routes_failed_total"] += 1
                log.warning("voices are not where they should be", error=str(error))

    async def _keep_time(self) -> None:
        while True:
            now = self._clock.now()
            due = [row.floor.deadline() for row in self._floors.values()]
            wait = min((at - now for at in due if at is not None), default=LONGEST)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, wait)):
                    await self._due.wait()
            self._due.clear()
            now = self._clock.now()
            for row in list(self._floors.values()):
                at = row.floor.deadline()
                if at is not None and at <= now:
                    self._happened(row, row.floor.tick(now))

    async def _keep_groups(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            with contextlib.suppress(StorageAway):
                await self._groups.tick()

    def statistics(self) -> dict[str, object]:
        return {
            "legs": len(self.legs),
            "sound_paths_up": sum(1 for leg in self.legs.values() if leg.path),
            "talking": len(self._talking),
            "calls": len(self._calls),
            **self._groups.statistics(),
            **self._board.statistics(),
            **self._counters,
        }


def _better(one: Rights | None, other: Rights) -> Rights:
    """In a patch a leg has the best of what it may in the groups it listens to."""
    if one is None:
        return other
    return Rights(
        talk=one.talk or other.talk,
        priority=max(one.priority, other.priority),
        override=one.override or other.override,
        broadcast=one.broadcast or other.broadcast,
    )


def _for_group(told: FloorTold, group: GroupId) -> FloorTold:
    return FloorTold(
        group=group,
        state=told.state,
        sequence=told.sequence,
        urgency=told.urgency,
        until=told.until,
        position=told.position,
        size=told.size,
        cause=told.cause,
        talker=told.talker,
    )


def _answer(group: GroupId, told: FloorTold | None) -> FloorAnswer:
    if told is None:  # a carrier: it talks already
        return FloorAnswer(group=group, state="granted")
    return FloorAnswer(
        group=group,
        state=told.state,
        sequence=told.sequence,
        until=told.until,
        position=told.position,
        size=told.size,
        cause=told.cause,
        talker=told.talker,
    )
