"""A floor with members, driven by hand with literal times."""

from __future__ import annotations

from server.groups.causes import Cause
from server.groups.floor import Floor, FloorEvent, FloorRules, Revoked, Taken, Urgency
from server.groups.legs import Leg, LegKind, Rights
from server.model.ids import FloorId, LegId

A, B, C = LegId("a"), LegId("b"), LegId("c")
CHIEF = LegId("chief")  # priority 9, talker override
EAR = LegId("ear")  # listens only
RADIO, OTHER_RADIO = LegId("radio"), LegId("radio-2")
STRANGER = LegId("stranger")
NORMAL, PERIL, ALL_CALL, EMERGENCY = Urgency

LEGS: dict[LegKind, Leg] = {
    "browser": Leg(id=LegId(""), kind="browser"),
    "radio": Leg(id=LegId(""), kind="radio", refusable=False, half_duplex=True, wake=0.4, hang=1.0),
    "satellite": Leg(id=LegId(""), kind="satellite", half_duplex=True, wake=0.6, lost_after=2.0),
}


def leg(name: LegId, kind: LegKind = "browser") -> Leg:
    facts = LEGS[kind]
    return Leg(
        id=name,
        kind=kind,
        refusable=facts.refusable,
        half_duplex=facts.half_duplex,
        wake=facts.wake,
        hang=facts.hang,
        lost_after=facts.lost_after,
    )


class DrivenFloor:
    """All members have an open media path. Inputs go to `floor`; what it says is returned."""

    def __init__(self, rules: FloorRules | None = None) -> None:
        self.floor = Floor(FloorId("g1"), rules or FloorRules())
        for name in (A, B, C):
            self.add(name, Rights(priority=5))
        self.add(CHIEF, Rights(priority=9, override=True))
        self.add(EAR, Rights(talk=False))
        self.add(RADIO, Rights(priority=5), "radio")
        self.add(OTHER_RADIO, Rights(priority=5), "radio")

    def add(self, name: LegId, rights: Rights, kind: LegKind = "browser", now: float = 0.0) -> None:
        self.floor.join(leg(name, kind), rights, now)
        self.floor.path(name, True, now)

    def press(
        self, name: LegId, now: float, urgency: Urgency = Urgency.NORMAL, *, barge_in: bool = False
    ) -> list[FloorEvent]:
        return self.floor.request(name, urgency, now, barge_in=barge_in)

    def talk(self, name: LegId, now: float, urgency: Urgency = Urgency.NORMAL) -> list[FloorEvent]:
        """Press, and the voice comes at once."""
        return self.press(name, now, urgency) + self.floor.voice(name, True, now)

    def hold(self, name: LegId, since: float, until: float) -> list[FloorEvent]:
        """Keep-alives every 200 ms after `since`, the last at `until` at the latest, and every tick that is due."""
        events: list[FloorEvent] = []
        step = 1
        while (now := since + step / 5) <= until:
            events += self.run(now) + self.floor.alive(name, now)
            step += 1
        return events + self.run(until)

    def run(self, until: float) -> list[FloorEvent]:
        """Every tick that is due, at its time."""
        events: list[FloorEvent] = []
        while (deadline := self.floor.deadline()) is not None and deadline <= until:
            events += self.floor.tick(deadline)
        return events

    @property
    def talker(self) -> LegId | None:
        return self.floor.state(0.0).talker


def taken(events: list[FloorEvent]) -> list[LegId]:
    """Who had the floor, one after the other."""
    return [event.leg for event in events if isinstance(event, Taken)]


def cut(name: LegId, cause: Cause, *, told: bool = True) -> Revoked:
    return Revoked(leg=name, cause=cause, told=told)
