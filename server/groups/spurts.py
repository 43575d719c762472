"""Talk spurts as they are recorded: from a press's first grant to its last word, anew when its groups change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from server.groups.attached import Attached
from server.groups.floor import Urgency
from server.groups.registry import Groups
from server.model.clock import Clock
from server.model.ids import DeviceId, GroupId, LegId, SpurtId, UnitId, UserId
from server.model.uuid7 import new_id
from server.recordings.spurts import Place, Spurt, SpurtGroup, Talker
from server.signalling.messages import Position


class Recorder(Protocol):
    """What is asked of `SpurtRecorder` here."""

    def begin(self, spurt: Spurt) -> str: ...

    def end(self, spurt_id: SpurtId, ended: float) -> None: ...


class SpurtLog:
    """`place` is where a unit was last."""

    def __init__(
        self,
        recorder: Recorder,
        groups: Groups,
        clock: Clock,
        place: Callable[[UnitId], Position | None],
    ) -> None:
        self._recorder = recorder
        self._groups = groups
        self._clock = clock
        self._place = place
        self._open: dict[LegId, tuple[SpurtId, str, tuple[GroupId, ...]]] = {}

    def follow(
        self, leg: LegId, attached: Attached | None, groups: Iterable[GroupId], urgency: Urgency
    ) -> tuple[str, str]:
        """The leg is heard in these groups now; the recording's id and path, "" = it is not recorded."""
        wanted = tuple(group for group in dict.fromkeys(groups) if group in self._groups.records)
        running = self._open.get(leg)
        if running is not None and running[2] == wanted:
            return running[0], running[1]
        now = self._clock.wallclock()
        if running is not None:
            del self._open[leg]
            self._recorder.end(running[0], now)
        if not wanted or attached is None:
            return "", ""
        spurt = SpurtId(new_id(now))
        path = self._recorder.begin(self._spurt(spurt, now, attached, wanted, urgency))
        if not path:
            return "", ""
        self._open[leg] = (spurt, path, wanted)
        return spurt, path

    def _spurt(
        self, spurt: SpurtId, now: float, attached: Attached, groups: tuple[GroupId, ...], urgency: Urgency
    ) -> Spurt:
        position = self._place(attached.subject.unit) if attached.subject.unit else None
        return Spurt(
            id=spurt,
            started=now,
            groups=tuple(SpurtGroup(id=group, name=self._groups.records[group].name) for group in groups),
            talker=Talker(
                name=attached.name,
                leg=attached.leg.kind,
                unit=attached.subject.unit,
                user=UserId(attached.subject.user),
                device=DeviceId(attached.device),
            ),
            emergency=urgency >= Urgency.EMERGENCY,
            place=None
            if position is None
            else Place(lat=position.lat, lon=position.lon, accuracy=position.accuracy),
        )
