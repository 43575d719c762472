"""Radios on the floor: a carrier cannot be refused, only followed."""

from __future__ import annotations

from server.groups.causes import Cause
from server.groups.floor import (
    Collision,
    Denied,
    Granted,
    Lost,
    Released,
    Taken,
    Warned,
)
from server.groups.legs import Rights
from server.model.ids import LegId
from support.driven_floor import (
    ALL_CALL,
    CHIEF,
    EMERGENCY,
    NORMAL,
    OTHER_RADIO,
    PERIL,
    RADIO,
    A,
    B,
    C,
    DrivenFloor,
    cut,
    taken,
)


def test_a_carrier_takes_the_floor_from_whoever_talks(group: DrivenFloor) -> None:
    group.talk(A, 1.0, ALL_CALL)
    assert group.floor.carrier(RADIO, True, 1.5) == [
        cut(A, Cause.COLLISION),
        Granted(leg=RADIO, until=31.5, urgency=NORMAL, sequence=2),
        Taken(leg=RADIO, urgency=NORMAL, since=1.5, sequence=2, by_carrier=True),
    ]
    assert group.floor.carrier(RADIO, True, 1.6) == []


def test_a_carrier_needs_no_keep_alive_but_voice(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    group.floor.voice(RADIO, True, 1.5)
    assert group.run(20.0) == []
    group.floor.voice(RADIO, False, 20.15)
    assert group.run(21.01)[0] == Lost(leg=RADIO, why="voice")
    assert group.talker is None


def test_a_lost_carrier_comes_back_with_its_voice(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    assert group.run(2.0)[0] == Lost(leg=RADIO, why="voice")
    group.run(10.0)
    assert taken(group.floor.voice(RADIO, True, 11.0)) == [RADIO]
    group.floor.carrier(RADIO, False, 12.0)
    group.run(20.0)
    group.floor.voice(RADIO, False, 20.0)
    assert group.floor.voice(RADIO, True, 21.0) == []


def test_an_emergency_keeps_the_floor_against_a_carrier_and_both_are_known(group: DrivenFloor) -> None:
    group.talk(A, 1.0, EMERGENCY)
    assert group.floor.carrier(RADIO, True, 1.5) == [Collision(legs=(A, RADIO))]
    assert group.floor.state(1.5).over == (RADIO,)
    group.floor.voice(A, False, 1.6)
    events = group.floor.release(A, 1.8)  # the carrier is still there
    assert taken(events) == [RADIO]
    assert group.floor.state(1.8).over == ()


def test_a_second_carrier_collides_and_follows(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    assert group.floor.carrier(OTHER_RADIO, True, 1.5) == [Collision(legs=(RADIO, OTHER_RADIO))]
    assert taken(group.floor.carrier(RADIO, False, 1.8)) == [OTHER_RADIO]


def test_a_second_carrier_that_goes_first_leaves_no_mark(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    group.floor.carrier(OTHER_RADIO, True, 1.5)
    assert group.floor.carrier(OTHER_RADIO, False, 1.6) == []
    assert group.floor.state(1.6).over == ()


def test_a_taken_over_carrier_is_not_told_and_stays_marked_until_it_lets_go(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    assert group.press(A, 1.5, EMERGENCY)[0] == cut(RADIO, Cause.PRE_EMPTED, told=False)
    assert group.floor.state(1.5).over == (RADIO,)
    assert taken(group.floor.release(A, 1.8)) == []  # it was cut: its next spurt counts, not this one
    group.floor.carrier(RADIO, False, 3.0)
    assert group.floor.state(3.0).over == ()
    assert taken(group.floor.carrier(RADIO, True, 3.5)) == [RADIO]


def test_a_stuck_carrier_is_cut_at_the_limit(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 0.0)
    group.floor.voice(RADIO, True, 0.1)
    assert group.run(30.0)[:2] == [
        Warned(leg=RADIO, seconds_left=5.0),
        cut(RADIO, Cause.TALK_LIMIT, told=False),
    ]
    assert group.talker is None


def test_a_half_duplex_talker_is_cut_but_not_told(group: DrivenFloor) -> None:
    group.add(LegId("sat"), Rights(), "satellite")
    group.talk(LegId("sat"), 1.0)
    assert group.press(CHIEF, 1.5)[0] == cut(LegId("sat"), Cause.PRE_EMPTED, told=False)
    assert group.floor.state(1.5).over == (LegId("sat"),)
    group.floor.release(LegId("sat"), 2.0)
    assert group.floor.state(2.0).over == ()


def test_a_carrier_that_comes_again_in_its_own_tail_is_a_new_grant(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    group.floor.voice(RADIO, True, 1.1)
    group.floor.carrier(RADIO, False, 5.0)
    assert group.floor.carrier(RADIO, True, 5.1)[0] == Released(leg=RADIO)
    assert group.talker == RADIO


def test_a_carrier_does_not_collide_with_the_tail_of_another(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    group.floor.voice(RADIO, True, 1.1)
    group.floor.carrier(RADIO, False, 5.0)
    assert taken(group.floor.carrier(OTHER_RADIO, True, 5.1)) == [OTHER_RADIO]


def test_after_an_emergency_the_next_emergency_comes_before_a_carrier(group: DrivenFloor) -> None:
    group.press(A, 1.0, EMERGENCY)
    group.press(C, 1.1)
    group.press(B, 1.1, EMERGENCY)
    group.floor.carrier(RADIO, True, 1.2)
    assert taken(group.floor.release(A, 1.3)) == [B]
    assert taken(group.floor.release(B, 1.4)) == [RADIO]


def test_the_urgency_of_a_carrier_that_collides_is_kept(group: DrivenFloor) -> None:
    group.press(A, 1.0, EMERGENCY)
    group.press(RADIO, 1.1, PERIL)
    assert group.press(RADIO, 1.2) == [Collision(legs=(A, RADIO))]
    assert group.floor.release(A, 1.3)[1] == Granted(leg=RADIO, until=31.3, urgency=PERIL, sequence=2)


def test_a_lost_carrier_that_let_go_counts_again(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    group.run(2.0)
    group.floor.carrier(RADIO, False, 2.1)
    group.press(A, 3.0, EMERGENCY)
    group.floor.carrier(RADIO, True, 3.1)
    assert taken(group.floor.release(A, 3.2)) == [RADIO]


def test_a_carrier_that_may_not_talk_is_not_heard_until_it_may(group: DrivenFloor) -> None:
    group.floor.change(RADIO, Rights(talk=False), 0.0)
    assert group.floor.carrier(RADIO, True, 1.0) == [Denied(leg=RADIO, cause=Cause.RECEIVE_ONLY)]
    assert taken(group.floor.change(RADIO, Rights(), 2.0)) == [RADIO]


def test_a_radio_emergency_takes_over_another_carrier(group: DrivenFloor) -> None:
    group.floor.carrier(RADIO, True, 1.0)
    assert taken(group.press(OTHER_RADIO, 1.5, EMERGENCY)) == [OTHER_RADIO]


def test_a_carrier_of_a_refusable_leg_counts_as_request_and_release(group: DrivenFloor) -> None:
    assert taken(group.floor.carrier(A, True, 1.0)) == [A]
    assert group.floor.carrier(A, False, 1.5)[0] == Released(leg=A)
