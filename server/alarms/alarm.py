"""The life of an alarm 紧急告警: raised, acknowledged, perhaps parked, closed. Pure; times are `wallclock`, UTC s.

    new ──acknowledged──► acknowledged ──closed──► closed
     ▲                     │        ▲
     │ time over, again    parked   resumed
     └──────────────────  parked ───┘

Functions return the alarm after the act, with one more line of history; an act that the state does not allow raises
Conflict. The alarm is apart from the emergency call and from the group's emergency state (TS 22.179 5.6.2): none ends
another.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from server.model.errors import BadRequest, Conflict
from server.model.ids import AlarmId, DeviceId, GroupId, StreamId, UnitId, UserId

AlarmKind: TypeAlias = Literal["emergency", "peril"]
AlarmState: TypeAlias = Literal["new", "acknowledged", "parked", "closed"]
Act: TypeAlias = Literal[
    "raised", "again", "acknowledged", "parked", "resumed", "woke", "escalated", "closed"
]

LATE: Final = 5.0  # s on the way from which a press is told of as a late one
NO_STREAM: Final = StreamId("")
LONGEST_PARKED: Final = 3_600.0  # s
MOST_HISTORY: Final = 200  # lines; the first stays, then the newest

# Act -> state before -> state after. What is not here is refused.
MOVES: Final[dict[Act, dict[AlarmState, AlarmState]]] = {
    "acknowledged": {"new": "acknowledged"},
    "parked": {"acknowledged": "parked"},
    "resumed": {"parked": "acknowledged"},
    "woke": {"parked": "new"},
    "again": {"new": "new", "acknowledged": "new", "parked": "new"},
    "escalated": {"new": "new", "acknowledged": "acknowledged", "parked": "parked"},
    "closed": {"acknowledged": "closed", "parked": "closed"},
}
# Why not: act, state -> sentence.
REFUSALS: Final[dict[tuple[Act, AlarmState], str]] = {
    ("acknowledged", "acknowledged"): "somebody acknowledged this alarm already",
    ("acknowledged", "parked"): "this alarm is parked: resume it first",
    ("parked", "new"): "acknowledge this alarm before you park it",
    ("parked", "parked"): "this alarm is parked already",
    ("resumed", "new"): "this alarm is not parked",
    ("resumed", "acknowledged"): "this alarm is not parked",
    ("woke", "new"): "this alarm is not parked",
    ("woke", "acknowledged"): "this alarm is not parked",
    ("closed", "new"): "acknowledge this alarm before you close it",
}
IS_CLOSED: Final = "this alarm is closed"


class Officer(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts; the name as it was then."""

    id: UserId
    name: str


class Where(msgspec.Struct, frozen=True, kw_only=True):
    """WGS 84 degrees, m; `time` of the fix."""

    lat: float
    lon: float
    accuracy: float | None
    time: float


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of history; `who` "" = the server itself or the unit. `pressed`: when, of a press that came late."""

    time: float
    who: str
    act: Act
    text: str = ""
    pressed: float | None = None


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """`raised`: when the server got it; `pressed`: when the first press was made, 0.0 = then (rows of before).

    `presses`: how often the unit pressed; `until`: when a parked one sounds again; `stream` "" = no camera.
    """

    id: AlarmId
    kind: AlarmKind
    unit: UnitId
    device: DeviceId
    name: str  # of the unit, then
    group: GroupId
    raised: float
    pressed: float = 0.0
    position: Where | None = None
    stream: StreamId = NO_STREAM
    state: AlarmState = "new"
    owner: Officer | None = None
    reason: str = ""  # of parking or closing
    until: float | None = None
    escalated: bool = False
    presses: int = 1
    history: tuple[Line, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.state != "closed"

    @property
    def sounds(self) -> bool:
        return self.state == "new"


def raised(
    *,
    id: AlarmId,
    kind: AlarmKind,
    unit: UnitId,
    device: DeviceId,
    name: str,
    group: GroupId,
    wallclock: float,
    age: float = 0.0,
    position: Where | None = None,
    stream: StreamId = NO_STREAM,
) -> Alarm:
    """A new alarm; the key was pressed `age` s ago."""
    return Alarm(
        id=id,
        kind=kind,
        unit=unit,
        device=device,
        name=name,
        group=group,
        raised=wallclock,
        pressed=wallclock - age,
        position=position,
        stream=stream,
        history=(Line(time=wallclock, who="", act="raised", pressed=_late(wallclock, age)),),
    )


def again(alarm: Alarm, wallclock: float, position: Where | None = None, age: float = 0.0) -> Alarm:
    """The unit pressed again, `age` s ago, and the alarm is open: counted, and it sounds anew. A position replaces the
    old one. A press that was on its way for so long that it was the first makes the alarm as old as itself."""
    moved = _moved(alarm, "again", wallclock, "", pressed=_late(wallclock, age))
    return msgspec.structs.replace(
        moved,
        presses=alarm.presses + 1,
        pressed=min(alarm.pressed or alarm.raised, wallclock - age),
        position=position or alarm.position,
        owner=None,
        until=None,
        reason="",
    )


def acknowledged(alarm: Alarm, officer: Officer, wallclock: float) -> Alarm:
    """`officer` owns it from now on. Acknowledged by its owner again, it stays as it is."""
    if alarm.state == "acknowledged" and alarm.owner is not None and alarm.owner.id == officer.id:
        return alarm
    moved = _moved(alarm, "acknowledged", wallclock, officer.name)
    return msgspec.structs.replace(moved, owner=officer)


def parked(alarm: Alarm, officer: Officer, reason: str, until: float, wallclock: float) -> Alarm:
    """Quiet until then, at most an hour. Raises BadRequest without a reason or with an impossible time."""
    if not reason.strip():
        raise BadRequest("say why this alarm is parked", field="reason")
    if not wallclock < until <= wallclock + LONGEST_PARKED:
        raise BadRequest("an alarm can be parked for up to one hour", field="until")
    moved = _moved(alarm, "parked", wallclock, officer.name, reason)
    return msgspec.structs.replace(moved, owner=officer, reason=reason, until=until)


def resumed(alarm: Alarm, officer: Officer, wallclock: float) -> Alarm:
    """Taken up before its time; `officer` owns it."""
    moved = _moved(alarm, "resumed", wallclock, officer.name)
    return msgspec.structs.replace(moved, owner=officer, reason="", until=None)


def due(alarm: Alarm, wallclock: float) -> Alarm | None:
    """The alarm after its time of parking, new and sounding again, with no owner; None = it is not due."""
    if alarm.state != "parked" or alarm.until is None or wallclock < alarm.until:
        return None
    moved = _moved(alarm, "woke", wallclock, "")
    return msgspec.structs.replace(moved, owner=None, reason="", until=None)


def escalated(alarm: Alarm, wallclock: float, text: str = "") -> Alarm:
    """Brought to those above, because nobody acknowledged it in time or by decision. Once."""
    if alarm.escalated and alarm.is_open:
        return alarm
    return msgspec.structs.replace(_moved(alarm, "escalated", wallclock, "", text), escalated=True)


def closed(alarm: Alarm, officer: Officer, reason: str, wallclock: float) -> Alarm:
    """Over. Raises BadRequest without a reason."""
    if not reason.strip():
        raise BadRequest("say how this alarm ended", field="reason")
    moved = _moved(alarm, "closed", wallclock, officer.name, reason)
    return msgspec.structs.replace(moved, owner=officer, reason=reason, until=None)


def _late(wallclock: float, age: float) -> float | None:
    return wallclock - age if age >= LATE else None


def _moved(
    alarm: Alarm, act: Act, wallclock: float, who: str, text: str = "", pressed: float | None = None
) -> Alarm:
    state = MOVES[act].get(alarm.state)
    if state is None:
        sentence = IS_CLOSED if alarm.state == "closed" else REFUSALS[act, alarm.state]
        raise Conflict(sentence, field="state")
    first, *rest = (*alarm.history, Line(time=wallclock, who=who, act=act, text=text, pressed=pressed))
    return msgspec.structs.replace(alarm, state=state, history=(first, *rest[-(MOST_HISTORY - 1) :]))
