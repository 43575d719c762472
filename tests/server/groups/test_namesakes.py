"""Two phones with one link, two desks of one account: told apart by a number."""

from __future__ import annotations

from server.auth.permissions import Role
from server.groups.membership import Subject
from server.groups.namesakes import Namesakes, numbered
from server.model.ids import LegId, UnitId, UserId

A, B, C = LegId("a"), LegId("b"), LegId("c")
UNIT = Subject(role=Role.GUEST, unit=UnitId("u"))
FIELD = Subject(role=Role.FIELD, user=UserId("x"), unit=UnitId("u"))
DESK = Subject(role=Role.DISPATCHER, user=UserId("x"))


def test_the_legs_of_one_unit_are_in_the_order_in_which_they_came() -> None:
    namesakes = Namesakes()
    for leg, subject in ((A, UNIT), (B, FIELD), (A, UNIT), (C, DESK)):
        namesakes.add(leg, subject)
    assert namesakes.of(UNIT) == namesakes.of(FIELD) == (A, B)
    assert namesakes.of(DESK) == (C,)  # the same account at a desk is no phone of the unit
    namesakes.remove(A, UNIT)
    assert namesakes.of(UNIT) == (B,)
    for _ in range(2):
        namesakes.remove(B, FIELD)
    assert namesakes.of(UNIT) == ()


def test_the_first_has_no_number() -> None:
    assert [numbered("张伟", number) for number in (1, 2, 3)] == ["张伟", "张伟 · 2", "张伟 · 3"]
