"""The rules by which a floor is given: settings, who may talk at all, who takes it from whom (TS 24.380 4.1.1). Pure.

Call override: a higher urgency takes over whatever the talker's priority. Talker override: a member with that right
takes over from a lower priority in a call of the same urgency, and from an equal one when it says that it barges in
强插: two officers of one desk do not cut each other off by a mere press. Between two emergencies only the higher
priority decides.
"""

from __future__ import annotations

import msgspec

from server.groups.causes import Cause
from server.groups.floor_events import Urgency
from server.groups.legs import Leg, Rights
from server.model.ids import LegId


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


class Member(msgspec.Struct, kw_only=True):
    """A leg as the floor knows it."""

    leg: Leg
    rights: Rights
    path: bool = False  # media can flow
    key: bool = False  # held; of an unrefusable leg: its carrier is there
    asked: Urgency = Urgency.NORMAL  # of the carrier
    locked: bool = False  # the key must be let go first
    gone: bool = False  # a carrier that was lost; its voice brings it back
    over: bool = False  # it transmits without having the floor
    voice: bool = False
    quiet_since: float = float("-inf")
    alive_at: float = float("-inf")

    def let_go(self) -> None:
        self.key = self.locked = self.gone = self.over = False


class Grant(msgspec.Struct, kw_only=True):
    """Who talks. `signs_from`: from then on the talker must give signs of life."""

    leg: LegId
    asked: Urgency
    by_carrier: bool
    since: float
    signs_from: float
    sequence: int
    confirm_by: float | None = None  # not None = the key is not known to be held yet
    tail_until: float | None = None  # not None = the key is up, what was said is still being played
    warned: bool = False

    @property
    def in_tail(self) -> bool:
        return self.tail_until is not None


def forbidden(member: Member, urgency: Urgency, rules: FloorRules, blocked: Cause | None) -> Cause | None:
    """Why this member may not talk now, whether it presses or talks already. Never for an emergency."""
    if urgency is Urgency.EMERGENCY:
        return None
    checks = (
        (blocked is not None, blocked),
        (not member.rights.talk, Cause.RECEIVE_ONLY),
        (rules.broadcast and not member.rights.broadcast, Cause.RECEIVE_ONLY),
    )
    return next((cause for applies, cause in checks if applies), None)


def refusal(member: Member, urgency: Urgency, rules: FloorRules, blocked: Cause | None) -> Cause | None:
    """Why a press is refused, whoever talks. Never for an emergency."""
    if urgency is Urgency.EMERGENCY:
        return None
    checks = (
        (member.locked, Cause.KEY_HELD),
        (member.leg.refusable and not member.path, Cause.NO_PATH),
    )
    cause = forbidden(member, urgency, rules, blocked)
    return cause or next((cause for applies, cause in checks if applies), None)


def outranks(
    rights: Rights, asked: Urgency, talker: Rights, held: Urgency, *, in_tail: bool, barge_in: bool
) -> bool:
    """Whether a press with `asked` takes the floor from a talker with `held`."""
    if asked is not held:
        return asked > held
    if asked is Urgency.EMERGENCY:
        return rights.priority > talker.priority
    # no override of last words: their floor is free in a moment anyway
    above = rights.priority > talker.priority or (barge_in and rights.priority == talker.priority)
    return rights.override and above and not in_tail
