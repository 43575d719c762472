"""Which microphones are looked at for whom: only those of the names a leg listens to, in the order they opened."""

from __future__ import annotations

from typing import Any, cast

from server.auth.permissions import Role
from server.groups.attached import Attached
from server.groups.legs import Leg
from server.groups.membership import Subject
from server.groups.switchboard import Switchboard
from server.model.ids import DeviceId, GroupId, LegId, MediaSessionId
from server.signalling.talk import VoiceSlot


class Told:
    def __init__(self) -> None:
        self.heard: list[VoiceSlot] = []

    def tell(self, message: Any) -> None:
        self.heard.append(message)


def attached(name: str, *groups: str) -> Attached:
    made = Attached(
        leg=Leg(id=LegId(name), kind="phone"),
        subject=Subject(role=Role.GUEST),
        called=name,
        name=name,
        device=DeviceId(""),
        told=Told(),
    )
    made.tuned = tuple(map(GroupId, groups))
    made.session, made.path = MediaSessionId(f"s-{name}"), True
    return made


def board(*legs: Attached) -> Switchboard:
    return Switchboard({leg.id: leg for leg in legs}, lambda: None)


def talkers(leg: Attached) -> list[str]:
    return [one.talker.name if one.talker else "-" for one in cast(Told, leg.told).heard]


def test_of_two_in_one_group_the_one_that_opened_first_is_heard() -> None:
    a, b, ear = attached("a"), attached("b"), attached("ear", "g2")
    made = board(a, b, ear)
    made.open(a.id, ("g1",), [])
    made.open(b.id, ("g2",), [ear.id])
    assert talkers(ear) == ["b"]
    made.open(a.id, ("g1", "g2"), [ear.id])  # it has been open for longer
    assert talkers(ear) == ["b", "a"]
    made.open(a.id, (), [ear.id])
    assert talkers(ear) == ["b", "a", "b"]
    made.gone(b.id)
    assert talkers(ear) == ["b", "a", "b", "-"]
    assert made._talking_in == {}
    assert made._since == {}


def test_a_name_that_is_given_twice_is_one() -> None:
    a, ear = attached("a"), attached("ear", "g1")
    made = board(a, ear)
    made.open(a.id, ("g1", "g1"), [ear.id])
    made.open(a.id, (), [ear.id])
    assert talkers(ear) == ["a", "-"]
