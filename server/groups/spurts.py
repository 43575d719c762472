"""What is recorded of a leg: a press from its first grant to its last word, anew when its groups change; a private
call from its answer to its end."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from server.groups.attached import Attached
from server.groups.floor import Urgency
from server.groups.registry import Groups
from server.model.clock import Clock
from server.model.ids import DeviceId, GroupId, LegId, SpurtId, UnitId, UserId
from server.model.uuid7 import new_id
from server.recordings.recorder import SpurtRecorder
from server.recordings.spurts import Place, Spurt, SpurtGroup, Talker
from server.signalling.messages import Position


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """Where a leg is heard now: in the groups whose floor it has, and by the other of its private call."""

    groups: tuple[GroupId, ...] = ()
    urgency: Urgency = Urgency.NORMAL
    call: str = ""
    peer: Talker | None = None


class SpurtLog:
    """`place` is where a unit was last."""

    def __init__(
        self,
        recorder: SpurtRecorder,
        groups: Groups,
        clock: Clock,
        place: Callable[[UnitId], Position | None],
    ) -> None:
        self._recorder = recorder
        self._groups = groups
        self._clock = clock
        self._place = place
        self._open: dict[LegId, tuple[SpurtId, str, tuple[object, ...]]] = {}

    def follow(self, leg: LegId, attached: Attached | None, heard: Heard) -> tuple[str, str]:
        """The recording's id and path, "" = it is not recorded."""
        groups = tuple(group for group in dict.fromkeys(heard.groups) if group in self._groups.records)
        wanted = (*groups, heard.call)
        running = self._open.get(leg)
        if running is not None and running[2] == wanted:
            return running[0], running[1]
        now = self._clock.wallclock()
        if running is not None:
            del self._open[leg]
            self._recorder.end(running[0], now)
        if not (groups or heard.call) or attached is None:
            return "", ""
        spurt = SpurtId(new_id(now))
        path = self._recorder.begin(self._spurt(spurt, now, attached, groups, heard))
        if not path:
            return "", ""
        self._open[leg] = (spurt, path, wanted)
        return spurt, path

    def _spurt(
        self, spurt: SpurtId, now: float, attached: Attached, groups: tuple[GroupId, ...], heard: Heard
    ) -> Spurt:
        position = self._place(attached.subject.unit) if attached.subject.unit else None
        return Spurt(
            id=spurt,
            started=now,
            groups=tuple(SpurtGroup(id=group, name=self._groups.records[group].name) for group in groups),
            talker=party(attached),
            emergency=heard.urgency >= Urgency.EMERGENCY,
            call=heard.call,
            peer=heard.peer,
            place=None
            if position is None
            else Place(lat=position.lat, lon=position.lon, accuracy=position.accuracy),
        )


def party(attached: Attached) -> Talker:
    """Who it is, as the index names it."""
    return Talker(
        name=attached.name,
        leg=attached.leg.kind,
        unit=attached.subject.unit,
        user=UserId(attached.subject.user),
        device=DeviceId(attached.device),
    )
