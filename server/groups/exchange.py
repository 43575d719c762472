"""The exchange: legs on one side, floors on the other, and between them who talks to whom.

Every input (a key, a word of media, a timer) goes to the floors concerned; what they say happened becomes words for
the legs, open and closed microphones, recordings and the entities that everybody sees. Nothing in it waits: routes
leave by `run`, the database is not asked. A floor is arbitrated only by who could claim it (`ownership`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
import structlog

from server.groups.attached import Attached, Told
from server.groups.causes import Cause
from server.groups.floor import (
    Collision,
    Denied,
    FloorEvent,
    FloorRules,
    Granted,
    Lost,
    Queued,
    Released,
    Revoked,
    Rights,
    Taken,
    Unqueued,
    Urgency,
)
from server.groups.floor_events import LegEvent
from server.groups.hearing import call_name
from server.groups.legs import Leg
from server.groups.listeners import ListenersShown
from server.groups.membership import GroupKind, Subject, rights_of
from server.groups.namesakes import Namesakes, numbered
from server.groups.ownership import Ownership
from server.groups.registry import Groups
from server.groups.rows import Row, Rows
from server.groups.show import GroupShow
from server.groups.spurts import Heard, SpurtLog, party
from server.groups.switchboard import Switchboard
from server.groups.told import answer_of, for_group, told_of
from server.model.clock import Clock
from server.model.errors import FengsuiError
from server.model.ids import DeviceId, FloorId, GroupId, LegId, MediaSessionId
from server.model.ports import VoiceNode, VoiceRoute
from server.recordings.spurts import Talker as Party
from server.signalling.talk import FloorAnswer, FloorTold, Talker
from server.storage.engine import StorageAway

TICK: Final = 1.0  # s between looks at groups that end by themselves
LONGEST: Final = 3600.0  # s the timer sleeps when nothing is due

log = structlog.get_logger("server.groups")


class Exchange:
    """`attach` legs and give them what their users do; `run` as a service.

    Subscribe `session_step` and `voice_activity` to what media tells.
    """

    def __init__(
        self,
        groups: Groups,
        node: VoiceNode,
        spurts: SpurtLog,
        show: GroupShow,
        clock: Clock,
        rules: FloorRules,
        ownership: Ownership,
    ) -> None:
        self._rules = rules
        self._ownership = ownership
        self.legs: dict[LegId, Attached] = {}
        self._groups = groups
        self._node = node
        self._spurts = spurts
        self._show = show
        self._clock = clock
        self._floors = Rows()
        self._by_session: dict[MediaSessionId, LegId] = {}
        self._talking: dict[LegId, dict[FloorId, None]] = {}
        self._calls: dict[str, tuple[LegId, ...]] = {}  # full duplex
        self._parties: dict[str, dict[LegId, Party]] = {}  # of calls of both kinds, also of who is gone
        self._namesakes = Namesakes()
        self._emergencies: set[GroupId] = set()
        self._spoke: dict[LegId, None] = {}  # whose recording may have to begin or end
        self._blocked: Cause | None = None
        self._on_path: list[Callable[[LegId, bool], None]] = []
        self._due = asyncio.Event()
        self._armed = LONGEST  # when the timer goes, monotonic s
        self._routes = asyncio.Event()
        self._board = Switchboard(self.legs, self._routes.set)
        self._listeners = ListenersShown(groups, self.legs, self._floors, self._emergencies, show, clock)
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
            attached.told = told
            if (attached.subject, attached.called) != (subject, name):
                self._namesakes.remove(leg.id, attached.subject)
                self._name(attached.subject)
                attached.subject, attached.called = subject, name
                self._namesakes.add(leg.id, subject)
                self._name(subject)
            return attached
        attached = self.legs[leg.id] = Attached(
            leg=leg, subject=subject, called=name, name=name, device=device, told=told
        )
        self._namesakes.add(leg.id, subject)
        self._rejoin(attached)
        return attached

    def _name(self, subject: Subject) -> None:
        """So that everybody knows which of several phones with one link talks."""
        place = 0
        for attached in (self.legs[leg] for leg in self._namesakes.of(subject)):
            place += attached.path
            name = numbered(attached.called, place if attached.path else 1)
            if name != attached.name:
                attached.name = name
                self._listeners.changed(attached.listening)

    def detach(self, leg_id: LegId) -> None:
        """It is gone, whatever it held."""
        attached = self.legs.get(leg_id)
        if attached is None:
            return
        self._path(attached, False, None)
        for row in self._floors.of_leg(leg_id):
            self._floors.leave(row, leg_id)
            self._happened(row, row.floor.leave(leg_id, self._clock.now()))
        heard = attached.listening
        del self.legs[leg_id]
        self._namesakes.remove(leg_id, attached.subject)
        self._listeners.changed(heard)
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
        self._name(attached.subject)
        self._open(attached.id, self._audience(attached.id))
        now = self._clock.now()
        for row in self._floors.of_leg(attached.id):
            self._happened(row, row.floor.path(attached.id, up, now))
            if not up:
                self._happened(row, row.floor.voice(attached.id, False, now))
        self._board.rehear([attached.id])
        self._listeners.changed(attached.listening)
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
        for row in self._floors.of_leg(attached.id):
            self._happened(row, row.floor.voice(attached.id, active, now))

    # ------------------------------------------------------------------ what users do

    def tune(self, leg_id: LegId, listening: Iterable[GroupId], selected: Iterable[GroupId]) -> None:
        """The complete list. What the leg is no member of is left out: ask `Groups` first."""
        attached = self.legs[leg_id]
        before = attached.listening
        attached.tuned = tuple(dict.fromkeys(listening))
        attached.selected = frozenset(selected)
        self._rejoin(attached)
        self._listeners.changed({*before, *attached.listening})

    def request(
        self, leg_id: LegId, groups: Iterable[GroupId], urgency: Urgency, *, barge_in: bool = False
    ) -> tuple[FloorAnswer, ...]:
        """The key is down; `barge_in`: to take the floor from an equal, too (强插)."""
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
            self._counters["requests_total"] += 1
            events = row.floor.request(leg_id, asked, now, barge_in=barge_in)
            told = self._happened(row, events, asking=leg_id)
            attached.asked[floor] = tuple(named)  # the end of the leg's own tail is of the press before
            for group in named:
                answers[group] = answer_of(group, told)
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
            self._listeners.changed((group,))

    def set_emergency(self, group: GroupId, on: bool) -> None:
        """The group's emergency state, which outlives every call in it."""
        (self._emergencies.add if on else self._emergencies.discard)(group)
        row = self._floors.get(self._groups.floor_of(group))
        if row is not None:
            state = any(each in self._emergencies for each in row.groups)
            self._happened(row, row.floor.set_emergency(state, self._clock.now()))
        self._listeners.show((group,))

    def connect(self, call: str, legs: tuple[LegId, ...]) -> None:
        """A full-duplex call: both microphones are open, each hears the other."""
        self._calls[call] = legs
        self._parties[call] = {leg: party(self.legs[leg]) for leg in legs}
        for leg in legs:
            self.legs[leg].extra.insert(0, call_name(call))
        for leg in legs:
            self._open(leg, legs)

    def disconnect(self, call: str) -> None:
        legs = self._calls.pop(call, ())
        self._parties.pop(call, None)
        for leg in legs:
            if leg in self.legs and call_name(call) in self.legs[leg].extra:
                self.legs[leg].extra.remove(call_name(call))
        for leg in legs:
            if leg in self.legs:
                self._open(leg, legs)

    def add_extra(self, legs: tuple[LegId, ...], group: GroupId) -> None:
        """The group of a half-duplex call comes before all others."""
        self._parties[group] = {leg: party(self.legs[leg]) for leg in legs if leg in self.legs}
        for leg in legs:
            if leg in self.legs:
                self.legs[leg].extra.insert(0, group)
                self._rejoin(self.legs[leg])
        self._listeners.changed((group,))

    def remove_extra(self, legs: Iterable[LegId], group: GroupId) -> None:
        self._parties.pop(group, None)
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
        for row in [row for row in self._floors if row.id not in wanted]:
            self._happened(row, row.floor.revoke(Cause.ENDED, now))
            for leg in tuple(row.legs):
                self._floors.leave(row, leg)
                self._happened(row, row.floor.leave(leg, now))
            self._floors.remove(row)
            self._ownership.release(row.claim)
        for floor, groups in wanted.items():
            made = self._floors.get(floor)
            if made is None:
                claim = self._ownership.claim(floor)
                if claim is None:
                    continue  # another node arbitrates it
                made = Row(claim, self._rules_of(groups), tuple(groups))
                self._floors.add(made)
                made.floor.block(self._blocking(groups), now)
            made.groups = tuple(groups)
            made.floor.set_emergency(any(each in self._emergencies for each in groups), now)
        for attached in list(self.legs.values()):
            self._rejoin(attached)
        for leg in list(self._talking):
            self._open(leg, self._audience(leg))
        for row in self._floors:
            self._arm(row)
            self._show_floor(row)
        self._show.groups_are(self._groups)
        self._listeners.show(self._groups.records)

    def _rules_of(self, groups: list[GroupId]) -> FloorRules:
        kinds = {self._groups.records[group].kind for group in groups}
        return msgspec.structs.replace(self._rules, broadcast=kinds == {GroupKind.BROADCAST})

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
            rights[floor] = may.or_better(rights.get(floor))
        member = self._groups.visible(attached.subject)
        attached.tuned = tuple(group for group in attached.tuned if group in member)
        attached.extra = [name for name in attached.extra if name in member or GroupId(name) not in records]
        attached.selected &= frozenset(attached.listening)
        for row in self._floors.of_leg(attached.id):
            if row.id not in rights:
                self._floors.leave(row, attached.id)
                self._happened(row, row.floor.leave(attached.id, now))
        for floor, mine in rights.items():
            entered = self._floors.get(floor)
            if entered is None:
                continue
            first = self._floors.enter(entered, attached.id)
            self._happened(entered, entered.floor.join(attached.leg, mine, now))
            if first:
                self._happened(entered, entered.floor.path(attached.id, attached.path, now))
        self._board.rehear([attached.id])

    # ------------------------------------------------------------------ what floors say

    def _happened(self, row: Row, events: list[FloorEvent], asking: LegId | None = None) -> FloorTold | None:
        """Act on events. Of the leg that is asking, its answer is returned in place of being told."""
        answer: FloorTold | None = None
        for event in events:
            if isinstance(event, LegEvent):
                told = told_of(event, self._talker, self._show.wall, self._clock.now())
                if event.leg == asking and answer is None and isinstance(event, Granted | Queued | Denied):
                    answer = told
                else:
                    self._tell(row, event.leg, told)
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
        self._arm(row)
        return answer

    def _arm(self, row: Row) -> None:
        """After every input but `alive`, which only ever puts off what is due."""
        row.due = row.floor.deadline()
        if row.due is not None and row.due < self._armed:
            self._due.set()

    def _silent(self, row: Row, leg: LegId) -> None:
        floors = self._talking.get(leg, {})
        floors.pop(row.id, None)
        if not floors:
            self._talking.pop(leg, None)
        self._open(leg, row.legs)

    def _open(self, leg: LegId, listeners: Iterable[LegId]) -> None:
        """The microphone of a leg with a sound path is heard in all the floors it has, and in its calls."""
        attached = self.legs.get(leg)
        calls: list[str] = []
        if attached is not None and attached.path:
            calls = [call_name(call) for call, legs in self._calls.items() if leg in legs]
        self._board.open(leg, (*calls, *self._groups_of(leg)), listeners)
        self._spoke[leg] = None

    def _audience(self, leg: LegId) -> set[LegId]:
        """Who is in a floor that it has, or in a call with it."""
        calls = [legs for legs in self._calls.values() if leg in legs]
        rows = [row for floor in self._talking.get(leg, {}) if (row := self._floors.get(floor)) is not None]
        return {other for legs in (*calls, *(row.legs for row in rows)) for other in legs}

    def _groups_of(self, leg: LegId) -> list[GroupId]:
        """Where it is heard by having the floor."""
        attached = self.legs.get(leg)
        if attached is None or not attached.path:
            return []
        rows = [row for floor in self._talking.get(leg, {}) if (row := self._floors.get(floor)) is not None]
        return [group for row in rows for group in row.groups]

    def take_routes(self) -> list[VoiceRoute]:
        """What media must be told since the last call. A press in several groups has become one recording by now."""
        spoke, self._spoke = self._spoke, {}
        for leg in spoke:
            spurt = self._spurts.follow(leg, self.legs.get(leg), self._heard_in(leg))
            self._board.record(leg, *spurt)
        return self._board.routes()

    def _heard_in(self, leg: LegId) -> Heard:
        """For the recording: a half-duplex call is a group of two, and a call as well."""
        groups, attached = self._groups_of(leg), self.legs.get(leg)
        calls = self._calls if attached is not None and attached.path else {}
        call = next((name for name in (*calls, *groups) if leg in self._parties.get(name, {})), "")
        others = [who for each, who in self._parties.get(call, {}).items() if each != leg]
        return Heard(
            groups=tuple(groups),
            urgency=self._urgency_of(leg),
            call=call,
            peer=others[0] if others else None,
        )

    def _urgency_of(self, leg: LegId) -> Urgency:
        now = self._clock.now()
        states = [
            self._floors[floor].floor.state(now)
            for floor in self._talking.get(leg, {})
            if floor in self._floors
        ]
        return max((state.urgency for state in states), default=Urgency.NORMAL)

    def _talker(self, leg: LegId | None) -> Talker | None:
        attached = self.legs.get(leg) if leg is not None else None
        return attached.talker() if attached is not None else None

    def _tell(self, row: Row, leg: LegId, told: FloorTold) -> None:
        attached = self.legs.get(leg)
        if attached is None:
            return
        for group in attached.asked.get(row.id, ()):
            attached.told.tell(for_group(told, group))
        if told.state == "ended":
            attached.asked.pop(row.id, None)

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
        for other in self._floors:
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

    # ------------------------------------------------------------------ the service

    async def run(self) -> None:
        """Until cancelled."""
        self.regroup()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_routing(), name="voice-routes")
            tasks.create_task(self._keep_time(), name="floors")
            tasks.create_task(self._keep_groups(), name="groups")
            tasks.create_task(self._listeners.run(), name="listeners")

    async def _keep_routing(self) -> None:
        """Changes that come while media answers leave together."""
        while True:
            await self._routes.wait()
            self._routes.clear()
            routes = self.take_routes()
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
            due = self._floors.next_due
            self._armed = now + LONGEST if due is None else due
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._armed - now)):
                    await self._due.wait()
            self._due.clear()
            now = self._clock.now()
            for row in self._floors:
                if row.due is not None and row.due <= now:
                    self._happened(row, row.floor.tick(now))

    async def _keep_groups(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            with contextlib.suppress(StorageAway):
                await self._groups.tick()
            if again := self._spurts.resumable():
                self._spoke.update(dict.fromkeys(again))
                self._routes.set()

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
