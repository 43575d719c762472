"""Private calls: one rings at every client of the one called, the first that answers has it (单呼). Sans-IO but for
the exchange, which does not wait either.

Full duplex: both microphones are open. Half duplex: a group of the two with a floor of its own. A call ends when one of
the two hangs up or has been without a sound path for a while; an emergency of one of them does not end it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

from server.groups.attached import Attached
from server.groups.exchange import Exchange
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord
from server.groups.registry import Groups
from server.model.clock import Clock
from server.model.errors import Conflict, NotFound, Refused, TooMany
from server.model.ids import GroupId, LegId
from server.model.uuid7 import new_id
from server.signalling.talk import PrivateCall
from server.state import EntityStore

RING: Final = 30.0  # s
LOST_AFTER: Final = 10.0  # s without a sound path
SHOWN: Final = 5.0  # s that an ended call is still told of
MAX_CALLS: Final = 200
PRIVATE_NUMBER: Final = 9000  # private groups come after all others

Duplex = Literal["full", "half"]


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """`ringing`: where it rings. `away`: since when each of the two has no sound path. Times monotonic."""

    entity: PrivateCall
    caller: LegId
    callee: LegId | None = None
    ringing: tuple[LegId, ...] = ()
    began: float
    ended: float | None = None
    away: dict[LegId, float] = field(default_factory=dict)

    @property
    def legs(self) -> tuple[LegId, ...]:
        return (self.caller,) if self.callee is None else (self.caller, self.callee)


class Calls:
    """`tick` once a second; subscribe `path` to `Exchange.on_path`."""

    def __init__(self, exchange: Exchange, groups: Groups, store: EntityStore, clock: Clock) -> None:
        self._exchange = exchange
        self._groups = groups
        self._store = store
        self._clock = clock
        self._calls: dict[str, Call] = {}

    def start(self, caller: Attached, wanted: Iterable[Attached], duplex: Duplex) -> str:
        """Ring. Raises NotFound (nobody there could answer), Conflict (busy, or no sound path), TooMany."""
        if not caller.path:
            raise Conflict("your own sound path is not up", code="no_path")
        if self._of(caller.id):
            raise Conflict("you are in a call already", code="busy")
        if sum(1 for call in self._calls.values() if call.ended is None) >= MAX_CALLS:
            raise TooMany("too many calls at once", retry_after=10.0)
        reachable = [leg for leg in wanted if leg.path and leg.id != caller.id]
        if not reachable:
            raise NotFound("nobody there can be reached by voice now", field="unit")
        free = [leg for leg in reachable if not self._of(leg.id)]
        if not free:
            raise Conflict("the line is busy", code="busy")
        now = self._clock.now()
        entity = PrivateCall(
            id=new_id(self._clock.wallclock()),
            state="ringing",
            duplex=duplex,
            caller=caller.talker(),
            callee=free[0].talker(),
            since=self._clock.wallclock(),
        )
        self._calls[entity.id] = Call(
            entity=entity, caller=caller.id, ringing=tuple(leg.id for leg in free), began=now
        )
        self._store.put(entity)
        return entity.id

    def answer(self, leg: Attached, call_id: str, *, accept: bool) -> None:
        """Raises NotFound, Refused (it does not ring there), Conflict (answered elsewhere)."""
        call = self._get(call_id)
        if call.callee is not None or call.ended is not None:
            raise Conflict("this call was answered already, or is over", code="conflict")
        if leg.id not in call.ringing:
            raise Refused("this call does not ring here")
        if not accept:
            call.ringing = tuple(other for other in call.ringing if other != leg.id)
            if not call.ringing:
                self._end(call, "declined")
            return
        call.callee, call.ringing = leg.id, ()
        if call.entity.duplex == "full":
            self._exchange.connect(call_id, call.legs)
            group = ""
        else:
            group = self._private_group(call, leg)
        self._put(call, state="active", callee=leg.talker(), group=group)

    def _private_group(self, call: Call, callee: Attached) -> GroupId:
        caller = self._exchange.legs[call.caller]
        record = GroupRecord(
            id=GroupId(call.entity.id),
            name=f"{caller.name} – {callee.name}",
            number=PRIVATE_NUMBER + len(self._calls),
            kind=GroupKind.PRIVATE,
            members=tuple(_member(leg) for leg in (caller, callee)),
            created=self._clock.steady(),
        )
        self._groups.add_private(record)
        self._exchange.add_extra(call.legs, record.id)
        return record.id

    def hang_up(self, leg: LegId, call_id: str) -> None:
        """Raises NotFound, Refused (not one of the two)."""
        call = self._get(call_id)
        if leg not in call.legs:
            raise Refused("this is the call of others")
        if call.ended is None:
            self._end(call, "ended")

    def path(self, leg: LegId, up: bool) -> None:
        """A sound path came or went."""
        for call in self._calls.values():
            if leg in call.legs and call.ended is None:
                if up:
                    call.away.pop(leg, None)
                else:
                    call.away.setdefault(leg, self._clock.now())
            if not up:
                call.ringing = tuple(other for other in call.ringing if other != leg)

    def tick(self) -> None:
        now = self._clock.now()
        for call_id, call in list(self._calls.items()):
            if call.ended is not None:
                if now - call.ended >= SHOWN:
                    del self._calls[call_id]
                    self._store.remove("call", call_id)
            elif call.callee is None and (now - call.began >= RING or not call.ringing):
                self._end(call, "unanswered")
            elif any(now - since >= LOST_AFTER for since in call.away.values()):
                self._end(call, "lost")

    def _end(self, call: Call, cause: str) -> None:
        call.ended = self._clock.now()
        if call.callee is not None:
            self._exchange.disconnect(call.entity.id)
            if call.entity.group:
                self._exchange.remove_extra(call.legs, GroupId(call.entity.group))
                self._groups.remove_private(GroupId(call.entity.group))
        self._put(call, state="ended", cause=cause)

    def _put(self, call: Call, **changes: object) -> None:
        fields = {name: getattr(call.entity, name) for name in PrivateCall.__struct_fields__}
        call.entity = PrivateCall(**(fields | changes | {"since": self._clock.wallclock()}))
        self._store.put(call.entity)

    def _get(self, call_id: str) -> Call:
        call = self._calls.get(call_id)
        if call is None:
            raise NotFound("there is no such call", field="call")
        return call

    def _of(self, leg: LegId) -> bool:
        return any(leg in call.legs and call.ended is None for call in self._calls.values())

    def statistics(self) -> dict[str, object]:
        return {"calls": sum(1 for call in self._calls.values() if call.ended is None)}


def _member(leg: Attached) -> MemberRecord:
    if leg.subject.unit:
        return MemberRecord(kind=MemberKind.UNIT, subject=leg.subject.unit)
    return MemberRecord(kind=MemberKind.USER, subject=leg.subject.user)
