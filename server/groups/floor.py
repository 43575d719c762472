"""The one arbiter of a group or patch over all its legs: who may talk now (3GPP TS 24.380 6.3.4). Sans-IO.

Every input takes `now` (monotonic s), returns what happened, in order, and never raises, whatever the order of calls;
what makes no sense is answered with Denied or with nothing, as each method says. Afterwards ask `deadline` and call
`tick` then. At most one leg holds the floor. Each grant (Granted and Taken) ends with exactly one of Released, Revoked
and Lost, followed at once by the next grant or by Idle; Ended follows when the hang time is over.

Our timers: lost after 1 s (T1), talk limit 30 s (T2), no grace on revoke (T3 = 0), hang time 3 s (T4), confirmation of a
grant from the queue 2 s (T132).
"""

from __future__ import annotations

import msgspec

from server.groups.causes import Cause
from server.groups.floor_events import (
    Collision,
    Denied,
    Ended,
    FloorEvent,
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


class FloorRules(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a group; times in s."""

    talk_limit: float = 30.0
    warn_at: float = 25.0
    hang_time: float = 3.0  # the call lasts this long after a spurt
    queueing: bool = True
    queue_limit: int = 16
    queue_wait: float = 60.0
    confirm_within: float = 2.0  # T132
    tail_limit: float = 2.0
    emergency_exempt_from_limit: bool = True
    broadcast: bool = False  # only members with the right `broadcast` may talk


class FloorState(msgspec.Struct, frozen=True, kw_only=True):
    """What is true now, for who joins late (radio.md 9.5) and for who missed something."""

    sequence: int
    talker: LegId | None = None
    since: float | None = None  # of the talker
    urgency: Urgency = Urgency.NORMAL  # of the talker
    by_carrier: bool = False
    until: float | None = None  # of the talker's limit; None = none
    in_tail: bool = False
    queue: tuple[LegId, ...] = ()  # next one first
    hang_until: float | None = None  # not None = idle, the call still lasts
    emergency: bool = False  # the group's emergency state
    blocked: Cause | None = None
    over: tuple[
        LegId, ...
    ] = ()  # they transmit without having the floor: collided, or revoked and not to be told


class Floor:
    """Give it every input as it happens, from one task; then arm one timer for `deadline`."""

    def __init__(self, floor: FloorId, rules: FloorRules) -> None:
        self.id = floor
        self.rules = rules

    # ------------------------------------------------------------------ members

    def join(self, leg: Leg, rights: Rights, now: float) -> list[FloorEvent]:
        """A member's leg comes in; give it `state` for late entry. A known id is changed: it keeps key and floor."""
        raise NotImplementedError

    def leave(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """Gone, with its place in the queue (Unqueued) and its floor (Revoked `no_member`)."""
        raise NotImplementedError

    def change(self, leg_id: LegId, rights: Rights, now: float) -> list[FloorEvent]:
        """New rights, at once: a talker that may talk no longer is revoked. Nothing for a non-member."""
        raise NotImplementedError

    # ------------------------------------------------------------------ the key

    def request(self, leg_id: LegId, urgency: Urgency, now: float, holding: bool = True) -> list[FloorEvent]:
        """The key is pressed. Always answered: Granted, Queued, Denied, or Collision for an unrefusable leg.

        `holding` False = asks for a place without holding the key; when granted, the key must be pressed (`request` or
        `alive`) within `confirm_within`. The holder gets Granted again; a higher urgency raises its call.
        """
        raise NotImplementedError

    def release(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """The key is up. Ends a grant; a queued leg keeps its place (see `cancel`); after a denial or revoke, the
        next request counts again."""
        raise NotImplementedError

    def cancel(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """Leave the queue: Unqueued, or nothing when it does not wait."""
        raise NotImplementedError

    def alive(self, leg_id: LegId, now: float) -> list[FloorEvent]:
        """The key is still held: every 200 ms from holder and queued legs."""
        raise NotImplementedError

    # ------------------------------------------------------------------ media and radios

    def voice(self, leg_id: LegId, active: bool, now: float) -> list[FloorEvent]:
        """The relay says that packets of this leg's microphone arrive, or have been quiet for about 150 ms with
        nothing waiting to be replayed. Only changes need be said."""
        raise NotImplementedError

    def path(self, leg_id: LegId, up: bool, now: float) -> list[FloorEvent]:
        """Its media path opened or closed; closed until said otherwise."""
        raise NotImplementedError

    def carrier(self, leg_id: LegId, up: bool, now: float) -> list[FloorEvent]:
        """An unrefusable leg keyed up or down by itself. Of a refusable leg it counts as request and release."""
        raise NotImplementedError

    # ------------------------------------------------------------------ from above

    def revoke(self, cause: Cause, now: float) -> list[FloorEvent]:
        """Forced release 强拆: whoever talks is revoked, the next one in the queue granted. Nothing when nobody talks."""
        raise NotImplementedError

    def set_emergency(self, on: bool, now: float) -> list[FloorEvent]:
        """The group's emergency state, apart from any call: while on, every request counts as PERIL at least."""
        raise NotImplementedError

    def block(self, cause: Cause | None, now: float) -> list[FloorEvent]:
        """Revoke and refuse everything below EMERGENCY with `cause`, until None."""
        raise NotImplementedError

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> list[FloorEvent]:
        """Everything that is due; `deadline` is later than `now` afterwards."""
        raise NotImplementedError

    def deadline(self) -> float | None:
        """When to call `tick`; None = never, until the next input."""
        raise NotImplementedError

    def state(self, now: float) -> FloorState:
        raise NotImplementedError
