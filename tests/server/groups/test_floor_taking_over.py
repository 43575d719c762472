"""Who takes the floor from whom: urgency, the right to override, barging in."""

from __future__ import annotations

import pytest

from server.groups.causes import Cause
from server.groups.floor import Denied, Granted, Queued, Taken, Urgency
from server.groups.legs import Rights
from support.driven_floor import (
    ALL_CALL,
    CHIEF,
    EMERGENCY,
    NORMAL,
    PERIL,
    A,
    B,
    DrivenFloor,
    cut,
    taken,
)


@pytest.mark.parametrize(
    ("held", "asked"), [(NORMAL, PERIL), (PERIL, ALL_CALL), (ALL_CALL, EMERGENCY), (NORMAL, EMERGENCY)]
)
def test_a_higher_urgency_takes_over_whatever_the_priority(
    group: DrivenFloor, held: Urgency, asked: Urgency
) -> None:
    group.talk(CHIEF, 1.0, held)
    assert group.press(A, 1.5, asked)[:2] == [
        cut(CHIEF, Cause.PRE_EMPTED),
        Granted(leg=A, until=None if asked is EMERGENCY else 31.5, urgency=asked, sequence=2),
    ]
    assert group.press(CHIEF, 1.6) == [Denied(leg=CHIEF, cause=Cause.KEY_HELD, talker=A)]


def test_priority_alone_does_not_take_over(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.add(B, Rights(priority=15))
    assert isinstance(group.press(B, 1.1)[0], Queued)


@pytest.mark.parametrize(
    ("priority", "barge_in", "takes"),
    [(8, False, True), (9, False, False), (9, True, True), (10, True, False)],
)
def test_talker_override_takes_over_lower_and_by_barging_in_equal_priority(
    group: DrivenFloor, priority: int, barge_in: bool, takes: bool
) -> None:
    group.add(A, Rights(priority=priority))
    group.press(A, 1.0)
    assert (taken(group.press(CHIEF, 1.1, barge_in=barge_in)) == [CHIEF]) is takes


def test_barging_in_without_the_right_to_override_is_a_press(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    assert isinstance(group.press(B, 1.1, barge_in=True)[0], Queued)


def test_talker_override_does_not_reach_a_more_urgent_call(group: DrivenFloor) -> None:
    group.press(A, 1.0, PERIL)
    assert isinstance(group.press(CHIEF, 1.1)[0], Queued)


def test_talker_override_lets_last_words_be_heard(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    group.floor.release(A, 1.5)
    assert group.press(CHIEF, 1.6) == [Queued(leg=CHIEF, position=1, size=1)]
    assert taken(group.floor.voice(A, False, 1.8)) == [CHIEF]


def test_an_emergency_does_not_wait_for_last_words(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    group.floor.release(A, 1.5)
    assert group.press(B, 1.6, EMERGENCY)[0] == cut(A, Cause.PRE_EMPTED)
    assert group.talker == B


def test_only_an_emergency_of_higher_priority_takes_over_an_emergency(group: DrivenFloor) -> None:
    group.press(A, 1.0, EMERGENCY)
    assert group.press(B, 1.1, EMERGENCY) == [Queued(leg=B, position=1, size=1)]
    assert isinstance(group.press(CHIEF, 1.2, ALL_CALL)[0], Queued)
    assert taken(group.press(CHIEF, 1.3, EMERGENCY)) == [CHIEF]


def test_an_emergency_needs_no_key_to_be_let_go_first(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    group.press(B, 1.5, PERIL)
    assert taken(group.press(A, 1.6, EMERGENCY)) == [A]


def test_the_holder_raises_its_own_call(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    assert group.press(A, 1.5, EMERGENCY) == [
        Granted(leg=A, until=None, urgency=EMERGENCY, sequence=2),
        Taken(leg=A, urgency=EMERGENCY, since=1.0, sequence=2),
    ]
    assert group.press(A, 1.8)[0] == Granted(leg=A, until=None, urgency=EMERGENCY, sequence=2)
