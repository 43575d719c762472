"""The one arbiter of a group or patch over all its legs: who may talk now (3GPP TS 24.380 6.3.4). Sans-IO.

Every input takes `now` (monotonic s), returns what happened, in order, and never raises, whatever the order of calls;
what makes no sense is answered with Denied or with nothing, as each method says. Afterwards ask `deadline` and call
`tick` then. At most one leg holds the floor. Each grant (Granted and Taken) ends with exactly one of Released, Revoked
and Lost, followed at once by the next grant or by Idle; Ended follows when the hang time is over.

Our timers: lost after 1 s (T1), talk limit 30 s (T2), no grace on revoke (T3 = 0), hang time 3 s (T4), confirmation of
a grant from the queue 2 s (T132).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, Literal

import msgspec

from server.groups.causes import Cause
from server.groups.floor_events import (
    Collision,
    Denied,
    Ended,
    FloorEvent,
    FloorState,
    Granted,
    GrantEnd,
    Idle,
    Lost,
    Queued,
    Released,
    Revoked,
    Tail,
    Taken,
    Unqueued,
    Urgency,
    Warned,
)
from server.groups.floor_queue import FloorQueue, Waiting
from server.groups.floor_rules import FloorRules, Grant, Member, forbidden, outranks, refusal
from server.groups.legs import Leg, Rights
from server.model.ids import FloorId, LegId

__all__ = [
    "Cause",
    "Collision",
    "Denied",
    "Ended",
    "Floor",
    "FloorEvent",
    "FloorRules",
    "FloorState",
    "GrantEnd",
    "Granted",
    "Idle",
    "Leg",
    "Lost",
    "Queued",
    "Released",
    "Revoked",
    "Rights",
    "Tail",
    "Taken",
    "Unqueued",
    "Urgency",
    "Warned",
]

QUIET: Final = 0.15  # s that a microphone has been quiet when `voice` says that it is


class Floor:
    """Give it every input as it happens, from one task; then arm one timer for `deadline`.

    `sequence`: the last one that was used by whoever arbitrated this floor before.
    """

    def __init__(self, floor: FloorId, rules: FloorRules, *, sequence: int = 0) -> None:
        self.id = floor
        self.rules = rules
        self._sequence = sequence
        self._members: dict[LegId, Member] = {}
        self._queue = FloorQueue()
        self._grant: Grant | None = None
        self._hang_until: float | None = None
        self._emergency = False
        self._blocked: Cause | None = None
        self._now = float("-inf")
        self._events: list[FloorEvent] = []
        self._totals: Counter[str] = Counter()

    # ------------------------------------------------------------------ members

    def join(self, leg: Leg, rights: Rights, now: float) -> list[FloorEvent]:
        """A member's leg comes in; give it `state` for late entry. A known id is changed: it keeps key and floor."""
        now = self._begin(now)
        member = self._members.get(leg.id)
        if member is None:
            self._members[leg.id] = Member(leg=leg, rights=rights)
        else:
            member.leg = leg
            self._set_rights(member, rights, now)
        return self._finish()

    def leave(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """Gone, with its place in the queue (Unqueued) and its floor (Revoked `no_member`)."""
        now = self._begin(now)
        if leg_id in self._members:
            self._unqueue(leg_id, Cause.NO_MEMBER)
            held = self._holds(leg_id)
            if held:
                self._revoke(Cause.NO_MEMBER)
            del self._members[leg_id]
            if held:
                self._pass_on(now)
        return self._finish()

    def change(self, leg_id: LegId, rights: Rights, now: float) -> list[FloorEvent]:
        """New rights, at once: a talker that may talk no longer is revoked. Nothing for a non-member."""
        now = self._begin(now)
        member = self._members.get(leg_id)
        if member is not None:
            self._set_rights(member, rights, now)
        return self._finish()

    # ------------------------------------------------------------------ the key

    def request(
        self,
        leg_id: LegId,
        urgency: Urgency,
        now: float,
        holding: bool = True,
        *,
        barge_in: bool = False,
    ) -> list[FloorEvent]:
        """The key is pressed. Always answered: Granted, Queued, Denied, or Collision for an unrefusable leg.

        `barge_in` 强插: who has the right to override means to take the floor from an equal, too.
        `holding` False = asks for a place without holding the key; when granted, the key must be pressed (`request` or
        `alive`) within `confirm_within`. The holder gets Granted again; a higher urgency raises its call. EMERGENCY is
        never denied to a member; without a media path it waits in the queue until there is one.
        """
        now = self._begin(now)
        member = self._members.get(leg_id)
        if member is None:
            self._emit(Denied(leg=leg_id, cause=Cause.NO_MEMBER))
        elif self._grant is not None and self._grant.leg == leg_id and not self._grant.in_tail:
            self._repeat(self._grant, member, urgency, now, holding)
        elif member.leg.refusable:
            self._press(member, urgency, now, holding, barge_in)
        else:
            self._key_carrier(member, urgency, now)
        return self._finish()

    def release(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """The key is up. Ends a grant; a queued leg keeps its place (see `cancel`); after a denial or revoke, the
        next request counts again."""
        now = self._begin(now)
        member = self._members.get(leg_id)
        if member is not None:
            self._key_up(member, now)
        return self._finish()

    def cancel(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """Leave the queue: Unqueued, or nothing when it does not wait."""
        self._begin(now)
        self._unqueue(leg_id, Cause.CANCELLED)
        return self._finish()

    def alive(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """The key is still held: every 200 ms from holder and queued legs. Nothing from others."""
        member = self._members.get(leg_id)
        waiting = self._queue.get(leg_id)
        if member is not None:  # before what is due: a late timer must not lose a talker that is there
            member.alive_at = max(now, self._now)
            if waiting is not None:
                waiting.holding = member.key = True
        now = self._begin(now)
        if member is not None and self._grant is not None and self._grant.leg == leg_id:
            self._confirm(self._grant, member, now)
        return self._finish()

    # ------------------------------------------------------------------ media and radios

    def voice(self, leg_id: LegId, active: bool, now: float) -> list[FloorEvent]:
        """The relay says that packets of this leg's microphone arrive, or have been quiet for about 150 ms with
        nothing waiting to be replayed. Only changes need be said. A lost carrier comes back with its voice."""
        member = self._members.get(leg_id)
        if member is not None and member.voice != active:
            member.voice = active
            member.quiet_since = max(now, self._now) - QUIET
        now = self._begin(now)
        grant = self._grant
        if not active and grant is not None and grant.leg == leg_id and grant.in_tail:
            self._end_tail(now)
        elif active and member is not None and member.gone:
            member.gone = False
            if self._is_waiting_carrier(member):
                self._key_carrier(member, member.asked, now)
        return self._finish()

    def path(self, leg_id: LegId, up: bool, now: float) -> list[FloorEvent]:
        """Its media path opened or closed; closed until said otherwise. A holder without one is lost by its silence."""
        now = self._begin(now)
        member = self._members.get(leg_id)
        if member is not None:
            member.path = up
            waiting = self._queue.get(leg_id)
            if up and waiting is not None and self._may_take(member, waiting.urgency):
                self._take(member, waiting.urgency, now, holding=waiting.holding)
        return self._finish()

    def carrier(self, leg_id: LegId, up: bool, now: float) -> list[FloorEvent]:
        """An unrefusable leg keyed up or down by itself. Of a refusable leg it counts as request and release.

        It is the talker at once and who had the floor is revoked `collision`; but an emergency, and another carrier,
        keep it: then Collision, and it gets the floor when that is free. One that may not talk is Denied and not heard.
        A radio that says that its call is an emergency: `request` with that urgency.
        """
        member = self._members.get(leg_id)
        if member is None or (up and member.key and not member.leg.refusable):
            return self.tick(now)
        return self.request(leg_id, Urgency.NORMAL, now) if up else self.release(leg_id, now)

    # ------------------------------------------------------------------ from above

    def revoke(self, cause: Cause, now: float) -> list[FloorEvent]:
        """Forced release 强拆: the talker is revoked, the next one in the queue granted. Nothing when nobody talks."""
        now = self._begin(now)
        if self._grant is not None:
            self._revoke(cause)
            self._pass_on(now)
        return self._finish()

    def set_emergency(self, on: bool, now: float) -> list[FloorEvent]:
        """The group's emergency state, apart from any call: while on, every request counts as PERIL at least."""
        self._begin(now)
        before = self._counted(self._grant.asked) if self._grant is not None else None
        self._emergency = on
        self._queue.least = Urgency.PERIL if on else Urgency.NORMAL
        if self._grant is not None and self._counted(self._grant.asked) != before:
            self._grant.sequence = self._next_sequence()
            self._emit(self._taken(self._grant))
        return self._finish()

    def block(self, cause: Cause | None, now: float) -> list[FloorEvent]:
        """Revoke and refuse everything below EMERGENCY with `cause`, until None."""
        now = self._begin(now)
        self._blocked = cause
        for member in tuple(self._members.values()):
            self._enforce(member, now)
        return self._finish()

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> list[FloorEvent]:
        """Everything that is due; `deadline` is later than `now` afterwards."""
        self._begin(now)
        return self._finish()

    def deadline(self) -> float | None:
        """When to call `tick`; None = never, until the next input."""
        return min((at for at, _ in self._timers()), default=None)

    def state(self, now: float) -> FloorState:
        """As of the last input."""
        grant = self._grant
        common = FloorState(
            sequence=self._sequence,
            queue=tuple(entry.leg for entry in self._queue),
            hang_until=self._hang_until,
            emergency=self._emergency,
            blocked=self._blocked,
            over=tuple(leg for leg, member in self._members.items() if member.over),
        )
        if grant is None:
            return common
        return msgspec.structs.replace(
            common,
            talker=grant.leg,
            since=grant.since,
            talked=max(0.0, now - grant.since),
            urgency=self._counted(grant.asked),
            by_carrier=grant.by_carrier,
            until=self._until(grant),
            in_tail=grant.in_tail,
        )

    def statistics(self) -> dict[str, object]:
        return {"members": len(self._members), "queued": len(self._queue), **self._totals}

    # ------------------------------------------------------------------ inside: inputs

    def _begin(self, now: float) -> float:
        """Whatever is due happens before the input."""
        self._now = max(self._now, now)
        self._run_due()
        return self._now

    def _finish(self) -> list[FloorEvent]:
        self._run_due()
        for moved in self._queue.moves():
            self._emit(moved)
        events, self._events = self._events, []
        return events

    def _run_due(self) -> None:
        while (timer := min(self._timers(), key=lambda timer: timer[0], default=None)) is not None:
            at, act = timer
            if at > self._now:
                return
            act(self._now)

    def _timers(self) -> Iterator[tuple[float, Callable[[float], None]]]:
        """Everything that waits for its time, each with what happens then; each ends what it is about."""
        if self._hang_until is not None:
            yield self._hang_until, self._end_call
        for entry in self._queue:
            if entry.urgency < Urgency.EMERGENCY:
                yield entry.arrived + self.rules.queue_wait, partial(self._give_up, entry.leg)
        if self._grant is not None:
            yield from self._timers_of(self._grant, self._members[self._grant.leg])

    def _timers_of(self, grant: Grant, member: Member) -> Iterator[tuple[float, Callable[[float], None]]]:
        if grant.tail_until is not None:
            yield grant.tail_until, self._end_tail
            return
        until = self._until(grant)
        if until is not None:
            yield until, lambda now: self._end_talk(Cause.TALK_LIMIT, now)
            if not grant.warned:
                yield grant.since + self.rules.warn_at, self._warn
        if grant.confirm_by is not None:
            yield grant.confirm_by, lambda now: self._end_talk(Cause.NOT_CONFIRMED, now)
            return
        patience = member.leg.lost_after
        if not member.voice:
            yield max(grant.signs_from, member.quiet_since) + patience, lambda now: self._lose("voice", now)
        if not grant.by_carrier:
            yield max(grant.signs_from, member.alive_at) + patience, lambda now: self._lose("keep_alive", now)

    # ------------------------------------------------------------------ inside: the key

    def _repeat(self, grant: Grant, member: Member, urgency: Urgency, now: float, holding: bool) -> None:
        """The holder asks again."""
        if holding:
            member.alive_at = now
            self._confirm(grant, member, now)
        before = self._counted(grant.asked)
        grant.asked = max(grant.asked, urgency)
        raised = self._counted(grant.asked) > before
        if raised:
            grant.sequence = self._next_sequence()
        self._emit(self._granted(grant))
        if raised:
            self._emit(self._taken(grant))

    def _press(self, member: Member, urgency: Urgency, now: float, holding: bool, barge_in: bool) -> None:
        """A refusable leg that does not hold the floor, or whose last words are still being played."""
        leg = member.leg.id
        if holding:
            member.key = True
        else:
            member.let_go()
        waiting = self._queue.get(leg)
        if waiting is not None:
            urgency = max(urgency, waiting.urgency)
        else:
            cause = self._refusal(member, urgency)
            if cause is not None:
                self._deny(member, cause)
                return
        in_own_tail = self._holds(leg)
        if not in_own_tail and self._may_take(member, urgency, barge_in=barge_in):
            self._take(member, urgency, now, holding=holding)
        elif in_own_tail or waiting is not None or self._has_room(urgency):
            self._queue.put(
                Waiting(
                    leg=leg,
                    urgency=urgency,
                    priority=member.rights.priority,
                    arrived=now if waiting is None else waiting.arrived,
                    holding=holding,
                )
            )
            if in_own_tail:
                self._end_tail(now)  # whoever is next in the queue, most often itself
        else:
            self._deny(member, Cause.QUEUE_FULL if self.rules.queueing else Cause.BUSY)

    def _key_carrier(self, member: Member, urgency: Urgency, now: float) -> None:
        member.asked = max(member.asked, urgency) if member.key else urgency
        member.key = True
        cause = self._refusal(member, member.asked)
        if cause is not None:
            self._deny(member, cause)
            return
        if self._holds(member.leg.id):  # in its own tail
            self._end(Released(leg=member.leg.id))
        grant = self._grant
        if grant is None or self._may_take(member, member.asked):
            self._take(member, member.asked, now, holding=True)
        elif (grant.by_carrier and not grant.in_tail) or grant.asked is Urgency.EMERGENCY:
            member.over = True
            over = (leg for leg, other in self._members.items() if other.over and not other.leg.refusable)
            self._emit(Collision(legs=(grant.leg, *over)))
        else:
            self._revoke(Cause.COLLISION)
            self._give(member, member.asked, now, holding=True)

    def _key_up(self, member: Member, now: float) -> None:
        member.let_go()
        waiting = self._queue.get(member.leg.id)
        if waiting is not None:
            waiting.holding = False
        grant = self._grant
        if grant is None or grant.leg != member.leg.id or grant.in_tail:
            return
        if member.voice and grant.confirm_by is None:
            grant.tail_until = now + self.rules.tail_limit
            self._emit(Tail(leg=grant.leg))
        else:  # nothing of it is left to play
            self._end_tail(now)

    def _confirm(self, grant: Grant, member: Member, now: float) -> None:
        if grant.confirm_by is not None:
            grant.confirm_by = None
            grant.signs_from = now
            member.key = True

    # ------------------------------------------------------------------ inside: who may

    def _forbidden(self, member: Member, urgency: Urgency) -> Cause | None:
        return forbidden(member, urgency, self.rules, self._blocked)

    def _refusal(self, member: Member, urgency: Urgency) -> Cause | None:
        return refusal(member, urgency, self.rules, self._blocked)

    def _may_take(self, member: Member, urgency: Urgency, *, barge_in: bool = False) -> bool:
        """Whether it gets the floor at once, from nobody or from the talker."""
        grant = self._grant
        if member.leg.refusable and not member.path:
            return False
        return grant is None or outranks(
            member.rights,
            self._counted(urgency),
            self._members[grant.leg].rights,
            self._counted(grant.asked),
            in_tail=grant.in_tail,
            barge_in=barge_in,
        )

    def _has_room(self, urgency: Urgency) -> bool:
        """Without queueing one may wait for the end of a tail."""
        in_tail = self._grant is not None and self._grant.in_tail
        limit = self.rules.queue_limit if self.rules.queueing else int(in_tail)
        return urgency is Urgency.EMERGENCY or len(self._queue) < limit

    def _set_rights(self, member: Member, rights: Rights, now: float) -> None:
        member.rights = rights
        waiting = self._queue.get(member.leg.id)
        if waiting is not None:
            waiting.priority = rights.priority
        self._enforce(member, now)

    def _enforce(self, member: Member, now: float) -> None:
        """After a change of what this member may do."""
        leg = member.leg.id
        waiting = self._queue.get(leg)
        if waiting is not None and (cause := self._forbidden(member, waiting.urgency)) is not None:
            self._unqueue(leg, cause)
        grant = self._grant
        if grant is not None and grant.leg == leg:
            if (cause := self._forbidden(member, grant.asked)) is not None:
                self._end_talk(cause, now)
        elif self._is_waiting_carrier(member):
            self._key_carrier(member, member.asked, now)

    def _is_waiting_carrier(self, member: Member) -> bool:
        is_there = member.key and not member.gone and not member.leg.refusable
        return is_there and self._refusal(member, member.asked) is None

    # ------------------------------------------------------------------ inside: grants

    def _take(self, member: Member, urgency: Urgency, now: float, *, holding: bool) -> None:
        if self._grant is not None:
            self._revoke(Cause.PRE_EMPTED)
        self._give(member, urgency, now, holding=holding)

    def _give(self, member: Member, urgency: Urgency, now: float, *, holding: bool) -> None:
        """Grant a floor that nobody holds."""
        self._queue.pop(member.leg.id)
        self._hang_until = None
        member.locked = member.gone = member.over = False
        self._grant = Grant(
            leg=member.leg.id,
            asked=urgency,
            by_carrier=not member.leg.refusable,
            since=now,
            signs_from=now,
            sequence=self._next_sequence(),
            confirm_by=None if holding else now + self.rules.confirm_within,
        )
        self._emit(self._granted(self._grant))
        self._emit(self._taken(self._grant))

    def _pass_on(self, now: float) -> None:
        """To whoever is next, or to nobody, after the end of a grant."""
        found = self._next()
        if found is None:
            self._hang_until = now + self.rules.hang_time
            self._emit(Idle(sequence=self._next_sequence(), hang_until=self._hang_until))
        else:
            member, urgency, holding = found
            self._give(member, urgency, now, holding=holding)

    def _next(self) -> tuple[Member, Urgency, bool] | None:
        """Emergencies, then carriers, which are there anyway, then the others that wait and can be heard."""
        ready = [
            (self._members[entry.leg], entry.urgency, entry.holding)
            for entry in self._queue
            if self._members[entry.leg].path
            and self._forbidden(self._members[entry.leg], entry.urgency) is None
        ]
        if ready and ready[0][1] is Urgency.EMERGENCY:
            return ready[0]
        carriers = [member for member in self._members.values() if self._is_waiting_carrier(member)]
        if carriers:
            first = max(carriers, key=lambda member: (member.asked, member.rights.priority))
            return first, first.asked, True
        return ready[0] if ready else None

    def _holding(self) -> Grant:
        """The grant, where a talker is certain: only a deadline or an input of his leads here."""
        assert self._grant is not None  # noqa: S101  the callers looked
        return self._grant

    def _end(self, event: GrantEnd) -> None:
        """The one place where a grant ends."""
        member = self._members[event.leg]
        self._grant = None
        if isinstance(event, Lost) and not member.leg.refusable:
            member.gone = member.key
        elif not isinstance(event, Released):
            member.locked = member.key
        self._emit(event)

    def _revoke(self, cause: Cause) -> None:
        grant = self._holding()
        member = self._members[grant.leg]
        member.over = member.key and (member.leg.half_duplex or grant.by_carrier)
        self._end(Revoked(leg=grant.leg, cause=cause, told=not member.leg.half_duplex))

    def _end_talk(self, cause: Cause, now: float) -> None:
        self._revoke(cause)
        self._pass_on(now)

    def _end_tail(self, now: float) -> None:
        self._end(Released(leg=self._holding().leg))
        self._pass_on(now)

    def _lose(self, why: Literal["voice", "keep_alive"], now: float) -> None:
        self._end(Lost(leg=self._holding().leg, why=why))
        self._pass_on(now)

    def _warn(self, now: float) -> None:
        grant = self._holding()
        grant.warned = True
        left = grant.since + self.rules.talk_limit - now
        self._emit(Warned(leg=grant.leg, seconds_left=max(0.0, left)))

    def _end_call(self, now: float) -> None:
        self._hang_until = None
        self._emit(Ended(sequence=self._next_sequence()))

    def _unqueue(self, leg: LegId, cause: Cause) -> None:
        if self._queue.pop(leg) is not None:
            member = self._members[leg]
            member.locked = member.key and cause is not Cause.CANCELLED
            self._emit(Unqueued(leg=leg, cause=cause))

    def _give_up(self, leg: LegId, now: float) -> None:
        self._unqueue(leg, Cause.WAITED)

    def _deny(self, member: Member, cause: Cause) -> None:
        """A carrier may come in when the reason is gone; a key must be let go."""
        if member.leg.refusable:
            member.locked = member.key
        talker = self._grant.leg if self._grant is not None else None
        self._emit(Denied(leg=member.leg.id, cause=cause, talker=talker))

    # ------------------------------------------------------------------ inside: words

    def _holds(self, leg: LegId) -> bool:
        return self._grant is not None and self._grant.leg == leg

    def _counted(self, urgency: Urgency) -> Urgency:
        return max(urgency, Urgency.PERIL) if self._emergency else urgency

    def _until(self, grant: Grant) -> float | None:
        exempt = self.rules.emergency_exempt_from_limit and grant.asked is Urgency.EMERGENCY
        return None if exempt else grant.since + self.rules.talk_limit

    def _granted(self, grant: Grant) -> Granted:
        urgency = self._counted(grant.asked)
        return Granted(leg=grant.leg, until=self._until(grant), urgency=urgency, sequence=grant.sequence)

    def _taken(self, grant: Grant) -> Taken:
        return Taken(
            leg=grant.leg,
            urgency=self._counted(grant.asked),
            since=grant.since,
            sequence=grant.sequence,
            by_carrier=grant.by_carrier,
        )

    def _next_sequence(self) -> int:
        self._sequence += 1
        return self._sequence

    def _emit(self, event: FloorEvent) -> None:
        self._totals[f"{type(event).__name__.lower()}_total"] += 1
        self._events.append(event)
