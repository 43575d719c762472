"""What a leg is told of its own request: the floor's events in the words of the protocol. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from server.groups.causes import Cause
from server.groups.floor_events import (
    Denied,
    Granted,
    LegEvent,
    Lost,
    Queued,
    Released,
    Revoked,
    Tail,
    Unqueued,
    Warned,
)
from server.groups.show import cause_name
from server.model.ids import GroupId, LegId
from server.signalling.talk import FloorAnswer, FloorTold, Talker

Of = Callable[[LegId | None], Talker | None]
Wall = Callable[[float | None], float | None]


def told_of(event: LegEvent, talker: Of, wall: Wall, now: float) -> FloorTold:
    """The group is filled in by `for_group`."""
    match event:
        case Granted():
            return FloorTold(
                group="",
                state="granted",
                sequence=event.sequence,
                urgency=event.urgency.name.lower(),
                until=wall(event.until),
            )
        case Queued():
            return FloorTold(group="", state="queued", position=event.position, size=event.size)
        case Denied():
            return FloorTold(
                group="", state="denied", cause=cause_name(event.cause), talker=talker(event.talker)
            )
        case Unqueued():
            return FloorTold(group="", state="denied", cause=cause_name(event.cause))
        case Warned():
            return FloorTold(group="", state="warned", until=wall(now + event.seconds_left))
        case Tail():
            return FloorTold(group="", state="tail")
        case Released():
            return FloorTold(group="", state="ended")
        case Revoked():
            return FloorTold(group="", state="revoked", cause=cause_name(event.cause))
        case Lost():
            return FloorTold(group="", state="revoked", cause=cause_name(Cause.LOST))


def for_group(told: FloorTold, group: GroupId) -> FloorTold:
    """In a patch each group that the key named is told by its own name."""
    return msgspec.structs.replace(told, group=group)


def answer_of(group: GroupId, told: FloorTold | None) -> FloorAnswer:
    """The reply's part for one group; None = a carrier, which talks already."""
    if told is None:
        return FloorAnswer(group=group, state="granted")
    fields = {name: getattr(told, name) for name in FloorAnswer.__struct_fields__ if name != "group"}
    return FloorAnswer(group=group, **fields)


def told_answer(answer: FloorAnswer, urgency: str) -> FloorTold:
    """An answer as a message, for who must not wait for the reply."""
    fields = {name: getattr(answer, name) for name in FloorAnswer.__struct_fields__}
    return FloorTold(urgency=urgency, **fields)
