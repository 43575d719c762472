"""What a floor says happened (TS 24.380 8.2: Granted, Deny, Taken, Idle, Revoke, Queue Position Info). Pure.

`sequence` is that of TS 24.380 8.2.3.8: it rises with every change of who talks, so that what is late can be dropped.
Times are `now`, monotonic s.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Literal, TypeAlias

import msgspec

from server.groups.causes import Cause
from server.model.ids import LegId


class Urgency(IntEnum):
    """Of a request; a higher one takes the floor over, whatever the talker's priority (call override)."""

    NORMAL = 0
    PERIL = 1  # imminent peril
    ALL_CALL = 2
    EMERGENCY = 3


class Granted(msgspec.Struct, frozen=True, kw_only=True):
    """`leg` may talk. Comes again when the holder asks again; `sequence` then is as before."""

    leg: LegId
    until: float | None  # None = no talk limit
    urgency: Urgency
    sequence: int


class Denied(msgspec.Struct, frozen=True, kw_only=True):
    """`talker`: who has the floor, None = nobody."""

    leg: LegId
    cause: Cause
    talker: LegId | None = None


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """`leg` waits at `position` (1 = next) of `size`; comes again when its position changes."""

    leg: LegId
    position: int
    size: int


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """For everybody: `leg` talks `since`. Comes again with a new `sequence` when its urgency changes."""

    leg: LegId
    urgency: Urgency
    since: float
    sequence: int
    by_carrier: bool = False


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """The talk limit comes in `seconds_left`."""

    leg: LegId
    seconds_left: float


class Tail(msgspec.Struct, frozen=True, kw_only=True):
    """The key of the talker is up, its last packets are still being played; nobody else talks yet."""

    leg: LegId


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """The grant of `leg` ended as it should: key up and everything played."""

    leg: LegId


class Revoked(msgspec.Struct, frozen=True, kw_only=True):
    """The grant of `leg` was taken away: route its voice to nobody from now on.

    `told` False = it is half duplex: it will not hear of this and goes on transmitting (`FloorState.over`).
    """

    leg: LegId
    cause: Cause
    told: bool = True


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """The grant of `leg` ended because it fell silent: which of the two signs of life failed."""

    leg: LegId
    why: Literal["voice", "keep_alive"]


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """Nobody talks; the call goes on until `hang_until`."""

    sequence: int
    hang_until: float


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """The hang time is over, and with it the call."""

    sequence: int


class Unqueued(msgspec.Struct, frozen=True, kw_only=True):
    """`leg` waits no longer and was not granted."""

    leg: LegId
    cause: Cause


class Collision(msgspec.Struct, frozen=True, kw_only=True):
    """These transmit at the same time; the first has the floor, the others are carriers that nobody hears."""

    legs: tuple[LegId, ...]


class FloorState(msgspec.Struct, frozen=True, kw_only=True):
    """What is true now, for who joins late and for who missed something."""

    sequence: int
    talker: LegId | None = None
    since: float | None = None  # of the talker
    talked: float = 0.0  # s
    urgency: Urgency = Urgency.NORMAL  # of the talker
    by_carrier: bool = False
    until: float | None = None  # of the talker's limit; None = none
    in_tail: bool = False
    queue: tuple[LegId, ...] = ()  # next one first
    hang_until: float | None = None  # not None = idle, the call still lasts
    emergency: bool = False  # the group's emergency state
    blocked: Cause | None = None
    over: tuple[LegId, ...] = ()  # transmit without the floor: collided, or revoked and not to be told


GrantEnd: TypeAlias = Released | Revoked | Lost  # exactly one of them for each grant
LegEvent: TypeAlias = (
    Granted | Denied | Queued | Unqueued | Warned | Tail | GrantEnd
)  # about a leg's own request
FloorEvent: TypeAlias = LegEvent | Taken | Idle | Ended | Collision
