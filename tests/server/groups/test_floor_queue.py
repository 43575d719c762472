"""The floor's queue: who is next, for how long one waits, and what must be done in time."""

from __future__ import annotations

import pytest

from server.groups.causes import Cause
from server.groups.floor import Denied, FloorRules, Granted, Queued, Unqueued
from server.groups.legs import Rights
from server.model.ids import LegId
from support.driven_floor import (
    ALL_CALL,
    EMERGENCY,
    NORMAL,
    PERIL,
    A,
    B,
    C,
    DrivenFloor,
    cut,
    taken,
)


def test_the_queue_is_by_urgency_priority_arrival(group: DrivenFloor) -> None:
    group.press(A, 1.0, ALL_CALL)
    low, high, urgent = LegId("low"), LegId("high"), LegId("urgent")
    group.add(low, Rights(priority=1))
    group.add(high, Rights(priority=8))
    group.add(urgent, Rights(priority=0))
    assert group.press(low, 1.1) == [Queued(leg=low, position=1, size=1)]
    assert group.press(B, 1.2) == [
        Queued(leg=B, position=1, size=2),
        Queued(leg=low, position=2, size=2),
    ]
    group.press(C, 1.3)
    group.press(high, 1.4)
    group.press(urgent, 1.5, PERIL)
    assert group.floor.state(1.5).queue == (urgent, high, B, C, low)


def test_asking_again_in_the_queue_tells_the_place_and_keeps_it(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.2)
    assert group.press(B, 1.3) == [Queued(leg=B, position=1, size=2)]


def test_who_leaves_the_queue_lets_the_others_move_up(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.2)
    assert group.floor.cancel(B, 1.3) == [
        Unqueued(leg=B, cause=Cause.CANCELLED),
        Queued(leg=C, position=1, size=1),
    ]
    assert group.floor.cancel(B, 1.4) == []


def test_the_seventeenth_is_refused_but_not_an_emergency(group: DrivenFloor) -> None:
    group.press(A, 1.0, EMERGENCY)
    names = [LegId(f"n{number}") for number in range(18)]
    for name in names:
        group.add(name, Rights())
    for name in names[:16]:
        assert isinstance(group.press(name, 1.1)[0], Queued)
    assert group.press(names[16], 1.2) == [Denied(leg=names[16], cause=Cause.QUEUE_FULL, talker=A)]
    assert group.press(names[17], 1.3, EMERGENCY)[0] == Queued(leg=names[17], position=1, size=17)


def test_waiting_ends_after_sixty_seconds(group: DrivenFloor) -> None:
    group.talk(A, 0.0, EMERGENCY)
    group.press(B, 0.1)
    events = group.hold(A, 0.0, 60.0)
    assert events == []
    assert group.hold(A, 60.0, 60.2) == [Unqueued(leg=B, cause=Cause.WAITED)]


def test_an_emergency_waits_as_long_as_it_takes(group: DrivenFloor) -> None:
    group.talk(A, 0.0, EMERGENCY)
    group.press(B, 0.1, EMERGENCY)
    assert group.hold(A, 0.0, 100.0) == []
    assert group.floor.state(100.0).queue == (B,)


def test_a_queued_user_without_the_key_has_two_seconds_to_press_it(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.press(B, 1.1)
    group.floor.release(B, 1.2)  # keeps its place
    group.press(C, 1.3)
    assert taken(group.floor.release(A, 1.5)) == [B]
    assert group.run(3.4) == []
    events = group.run(3.5)
    assert events[0] == cut(B, Cause.NOT_CONFIRMED)
    assert taken(events) == [C]


@pytest.mark.parametrize("how", ["request", "alive"])
def test_a_queued_user_confirms_with_the_key(group: DrivenFloor, how: str) -> None:
    group.press(A, 1.0)
    group.floor.request(B, NORMAL, 1.1, holding=False)
    group.floor.release(A, 1.5)
    if how == "request":
        assert isinstance(group.press(B, 3.0)[0], Granted)
    else:
        group.floor.alive(B, 3.0)
    group.floor.voice(B, True, 3.9)  # a second for the first packet counts from the confirmation
    assert group.hold(B, 3.0, 10.0) == []
    assert group.talker == B


def test_a_queued_user_whose_path_closed_is_passed_over_and_keeps_the_place(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.2)
    group.floor.path(B, False, 1.3)
    assert taken(group.floor.release(A, 1.4)) == [C]
    assert taken(group.floor.release(C, 1.6)) == []
    assert taken(group.floor.path(B, True, 1.7)) == [B]


def test_asking_again_with_less_urgency_keeps_the_place(group: DrivenFloor) -> None:
    group.press(A, 1.0, EMERGENCY)
    group.press(B, 1.1, PERIL)
    group.press(C, 1.2, PERIL)
    group.press(B, 1.3)
    assert group.floor.state(1.3).queue == (B, C)
    group.press(C, 1.4, ALL_CALL)
    assert group.floor.state(1.4).queue == (C, B)


def test_the_queue_follows_a_change_of_priority(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.2)
    assert group.floor.change(C, Rights(priority=6), 1.3) == [
        Queued(leg=C, position=1, size=2),
        Queued(leg=B, position=2, size=2),
    ]


def test_in_an_emergency_state_normal_and_peril_wait_alike(group: DrivenFloor) -> None:
    group.floor.set_emergency(True, 0.5)
    group.press(A, 1.0, EMERGENCY)
    group.press(B, 1.1)
    group.press(C, 1.2, PERIL)
    assert group.floor.state(1.2).queue == (B, C)


def test_who_waited_too_long_must_let_the_key_go() -> None:
    group = DrivenFloor(FloorRules(queue_wait=0.5))
    group.press(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.1)
    group.floor.cancel(C, 1.2)
    group.press(B, 1.4)  # does not prolong it
    assert group.run(1.7) == [Unqueued(leg=B, cause=Cause.WAITED)]
    assert group.press(B, 1.8) == [Denied(leg=B, cause=Cause.KEY_HELD, talker=A)]
    assert isinstance(group.press(C, 1.8)[0], Queued)
