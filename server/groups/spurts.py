"""What is recorded of a leg: a press from its first grant to its last word, anew when its groups change; a private
call from its answer to its end. A recording that ends before what is said does (the disk is full, a file is at its
limit) goes on as another one as soon as it can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import msgspec

from server.groups.attached import Attached
from server.groups.floor import Urgency
from server.groups.registry import Groups
from server.model.clock import Clock
from server.model.ids import DeviceId, GroupId, LegId, SpurtId, UnitId, UserId
from server.model.uuid7 import new_id
from server.recordings.spurts import OVER, Place, Spurt, SpurtGroup, SpurtState, Talker
from server.signalling.entities import Position

LOST_AGAIN: Final = 10.0  # s until what could not be recorded at all is tried once more


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """Where a leg is heard now: in the groups whose floor it has, and by the other of its private call."""

    groups: tuple[GroupId, ...] = ()
    urgency: Urgency = Urgency.NORMAL
    call: str = ""
    peer: Talker | None = None


class Recorder(Protocol):
    """What is asked of `SpurtRecorder` here."""

    def begin(self, spurt: Spurt) -> str: ...

    def end(self, spurt_id: SpurtId, ended: float) -> None: ...

    def on_changed(self, listener: Callable[[Spurt], None]) -> None: ...

    @property
    def full(self) -> bool: ...


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
        self._open: dict[LegId, tuple[SpurtId, str, tuple[object, ...]]] = {}
        # of those that are open: until when they were recorded (wallclock), and when to go on (monotonic)
        self._ended: dict[SpurtId, tuple[float, float]] = {}
        recorder.on_changed(self._changed)

    def follow(self, leg: LegId, attached: Attached | None, heard: Heard) -> tuple[str, str]:
        """The recording's id and path, "" = it is not recorded."""
        groups = tuple(group for group in dict.fromkeys(heard.groups) if group in self._groups.records)
        wanted = (*groups, heard.call)
        running = self._open.get(leg)
        ended = self._ended.get(running[0]) if running is not None else None
        same = running is not None and running[2] == wanted
        if running is not None and same and not self._goes_on(running[0]):
            return running[0], running[1]
        now = self._clock.wallclock()
        if running is not None:
            del self._open[leg]
            self._ended.pop(running[0], None)
            self._recorder.end(running[0], now)
        if not (groups or heard.call) or attached is None:
            return "", ""
        made = self._spurt(SpurtId(new_id(now)), now, attached, groups, heard)
        if running is not None and same and ended is not None:
            made = msgspec.structs.replace(made, after=running[0], gap=max(0.0, now - ended[0]))
        spurt, path = made.id, self._recorder.begin(made)
        if not path:
            return "", ""
        self._open[leg] = (spurt, path, wanted)
        return spurt, path

    def resumable(self) -> list[LegId]:
        """Legs that are heard and not recorded any more, and could be: `follow` each."""
        if not self._ended:
            return []
        return [leg for leg, (spurt, _, _) in self._open.items() if self._goes_on(spurt)]

    def _goes_on(self, spurt: SpurtId) -> bool:
        """It ended too early, and another one can be tried."""
        ended = self._ended.get(spurt)
        return ended is not None and not self._recorder.full and self._clock.now() >= ended[1]

    def _changed(self, spurt: Spurt) -> None:
        if spurt.state in OVER and any(spurt.id == each for each, _, _ in self._open.values()):
            until = spurt.began + spurt.duration if spurt.duration else spurt.started
            wait = LOST_AGAIN if spurt.state is SpurtState.LOST else 0.0
            self._ended[spurt.id] = (until, self._clock.now() + wait)

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
