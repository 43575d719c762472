"""Floors and legs found from either side."""

from __future__ import annotations

from server.groups.floor import FloorRules
from server.groups.ownership import Claim
from server.groups.rows import Row, Rows
from server.model.ids import FloorId, GroupId, LegId

A, B = LegId("a"), LegId("b")


def row(name: str) -> Row:
    return Row(Claim(floor=FloorId(name), fence=1), FloorRules(), (GroupId(name),))


def test_a_leg_finds_its_floors_and_a_floor_its_legs() -> None:
    rows = Rows()
    one, two = row("1"), row("2")
    rows.add(one)
    rows.add(two)
    assert rows.enter(one, A)
    assert not rows.enter(one, A)
    assert rows.enter(two, A)
    assert rows.enter(two, B)
    assert [found.id for found in rows.of_leg(A)] == ["1", "2"]
    assert [found.id for found in rows.of_leg(B)] == ["2"]
    rows.leave(two, A)
    rows.leave(two, A)  # nothing happens
    assert [found.id for found in rows.of_leg(A)] == ["1"]
    assert list(two.legs) == [B]


def test_a_floor_that_goes_leaves_nothing_behind() -> None:
    rows = Rows()
    one = row("1")
    rows.add(one)
    rows.enter(one, A)
    rows.remove(one)
    assert rows.of_leg(A) == []
    assert FloorId("1") not in rows
    assert rows.get(FloorId("1")) is None
    assert list(rows) == []


def test_the_first_floor_that_is_due_counts() -> None:
    rows = Rows()
    one, two = row("1"), row("2")
    rows.add(one)
    rows.add(two)
    assert rows.next_due is None
    two.due = 7.0
    assert rows.next_due == 7.0
    one.due = 3.0
    assert rows.next_due == 3.0
