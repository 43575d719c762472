"""The floor: each rule and timer once, with literal numbers."""

from __future__ import annotations

import random

import msgspec
import pytest

from server.groups.causes import Cause
from server.groups.floor import (
    Denied,
    Ended,
    Floor,
    FloorRules,
    Granted,
    Idle,
    Lost,
    Queued,
    Released,
    Tail,
    Taken,
    Unqueued,
    Warned,
)
from server.groups.legs import Rights
from server.model.ids import LegId
from support.driven_floor import (
    ALL_CALL,
    EAR,
    EMERGENCY,
    NORMAL,
    PERIL,
    RADIO,
    STRANGER,
    A,
    B,
    C,
    DrivenFloor,
    cut,
    leg,
    taken,
)

# ---- request and release ----


def test_a_free_floor_is_granted(group: DrivenFloor) -> None:
    assert group.press(A, 10.0) == [
        Granted(leg=A, until=40.0, urgency=NORMAL, sequence=1),
        Taken(leg=A, urgency=NORMAL, since=10.0, sequence=1),
    ]


def test_the_holder_asks_again_and_is_granted_again(group: DrivenFloor) -> None:
    group.press(A, 10.0)
    assert group.press(A, 10.5) == [Granted(leg=A, until=40.0, urgency=NORMAL, sequence=1)]


def test_release_waits_for_the_tail_then_hang_time_then_the_call_ends(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    assert group.floor.release(A, 10.8) == [Tail(leg=A)]
    assert group.floor.state(11.0).in_tail
    assert group.floor.voice(A, False, 11.0) == [Released(leg=A), Idle(sequence=2, hang_until=14.0)]
    assert group.floor.tick(13.99) == []
    assert group.floor.deadline() == 14.0
    assert group.floor.tick(14.0) == [Ended(sequence=3)]
    assert group.floor.deadline() is None


def test_a_tail_ends_after_two_seconds(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.floor.release(A, 10.5)
    assert group.floor.tick(12.4) == []
    assert group.floor.tick(12.5) == [Released(leg=A), Idle(sequence=2, hang_until=15.5)]


def test_without_voice_there_is_no_tail(group: DrivenFloor) -> None:
    group.press(A, 10.0)
    assert group.floor.release(A, 10.5) == [Released(leg=A), Idle(sequence=2, hang_until=13.5)]


def test_the_next_one_is_granted_when_the_tail_is_over(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    assert group.press(B, 10.2) == [Queued(leg=B, position=1, size=1)]
    assert group.floor.release(A, 10.5) == [Tail(leg=A)]
    assert group.floor.voice(A, False, 10.9) == [
        Released(leg=A),
        Granted(leg=B, until=40.9, urgency=NORMAL, sequence=2),
        Taken(leg=B, urgency=NORMAL, since=10.9, sequence=2),
    ]


def test_a_press_in_its_own_tail_is_a_new_grant(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.floor.release(A, 10.5)
    assert group.press(A, 10.6) == [
        Released(leg=A),
        Granted(leg=A, until=40.6, urgency=NORMAL, sequence=2),
        Taken(leg=A, urgency=NORMAL, since=10.6, sequence=2),
    ]


def test_a_press_in_its_own_tail_goes_behind_who_waits(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.press(B, 10.2)
    group.floor.release(A, 10.5)
    events = group.press(A, 10.6)
    assert taken(events) == [B]
    assert events[-1] == Queued(leg=A, position=1, size=1)


def test_a_release_of_somebody_else_changes_nothing(group: DrivenFloor) -> None:
    group.press(A, 10.0)
    assert group.floor.release(B, 10.1) == []
    assert group.floor.release(STRANGER, 10.1) == []
    assert group.talker == A


# ---- who may not ----


def test_a_stranger_is_denied_even_in_an_emergency(group: DrivenFloor) -> None:
    assert group.press(STRANGER, 1.0, EMERGENCY) == [Denied(leg=STRANGER, cause=Cause.NO_MEMBER)]


def test_a_listener_is_denied_unless_in_an_emergency(group: DrivenFloor) -> None:
    assert group.press(EAR, 1.0, ALL_CALL) == [Denied(leg=EAR, cause=Cause.RECEIVE_ONLY)]
    assert taken(group.press(EAR, 1.1, EMERGENCY)) == [EAR]


def test_in_a_broadcast_group_only_who_may_broadcast_talks() -> None:
    group = DrivenFloor(FloorRules(broadcast=True))
    group.add(C, Rights(broadcast=True))
    assert group.press(A, 1.0) == [Denied(leg=A, cause=Cause.RECEIVE_ONLY)]
    assert taken(group.press(C, 1.0)) == [C]


def test_without_a_media_path_nothing_is_granted(group: DrivenFloor) -> None:
    group.floor.join(leg(LegId("late")), Rights(), 1.0)
    assert group.press(LegId("late"), 1.0) == [Denied(leg=LegId("late"), cause=Cause.NO_PATH)]
    group.floor.release(LegId("late"), 1.5)
    group.floor.path(LegId("late"), True, 2.0)
    assert taken(group.press(LegId("late"), 2.1)) == [LegId("late")]


def test_an_emergency_without_a_media_path_takes_over_as_soon_as_it_opens(group: DrivenFloor) -> None:
    group.talk(B, 1.0)
    group.floor.path(A, False, 1.0)
    assert group.press(A, 1.2, EMERGENCY) == [Queued(leg=A, position=1, size=1)]
    events = group.floor.path(A, True, 1.9)
    assert events[0] == cut(B, Cause.PRE_EMPTED)
    assert taken(events) == [A]


def test_without_queueing_a_busy_floor_is_denied_and_names_the_talker() -> None:
    group = DrivenFloor(FloorRules(queueing=False))
    group.press(A, 1.0)
    assert group.press(B, 1.1) == [Denied(leg=B, cause=Cause.BUSY, talker=A)]
    assert group.press(B, 1.2) == [Denied(leg=B, cause=Cause.KEY_HELD, talker=A)]


def test_without_queueing_one_may_wait_for_a_tail() -> None:
    group = DrivenFloor(FloorRules(queueing=False))
    group.talk(A, 1.0)
    group.floor.release(A, 1.5)
    assert group.press(B, 1.6) == [Queued(leg=B, position=1, size=1)]
    assert group.press(C, 1.6) == [Denied(leg=C, cause=Cause.BUSY, talker=A)]
    assert taken(group.floor.voice(A, False, 1.7)) == [B]


# ---- silence ----


def test_a_talker_without_keep_alive_is_lost_after_one_second(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.floor.alive(A, 10.2)
    group.floor.alive(A, 10.4)
    assert group.floor.deadline() == pytest.approx(11.4)
    assert group.run(11.39) == []
    assert group.run(11.41)[0] == Lost(leg=A, why="keep_alive")
    assert group.talker is None


def test_a_talker_without_voice_is_lost_one_second_after_the_last_packet(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.hold(A, 10.0, 12.0)
    group.floor.voice(A, False, 12.15)  # the last packet was at 12.0
    assert group.hold(A, 12.0, 12.9) == []
    assert group.run(13.01)[0] == Lost(leg=A, why="voice")


def test_the_first_packet_has_one_second_from_the_grant(group: DrivenFloor) -> None:
    group.press(A, 10.0)
    assert group.hold(A, 10.0, 10.9) == []
    assert group.run(11.0)[0] == Lost(leg=A, why="voice")


def test_a_satellite_talker_has_two_seconds(group: DrivenFloor) -> None:
    group.add(LegId("sat"), Rights(), "satellite")
    group.talk(LegId("sat"), 10.0)
    assert group.run(11.99) == []
    assert group.run(12.0)[0] == Lost(leg=LegId("sat"), why="keep_alive")


def test_after_a_loss_the_next_one_is_granted_at_once(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.press(B, 10.5)
    events = group.run(11.0)
    assert events[0] == Lost(leg=A, why="keep_alive")
    assert taken(events) == [B]


def test_a_keep_alive_that_comes_before_the_late_timer_counts(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    assert group.floor.alive(A, 11.3) == []  # nobody called tick at 11.0
    assert group.talker == A


def test_a_lost_talker_must_let_the_key_go(group: DrivenFloor) -> None:
    group.talk(A, 10.0)
    group.run(11.0)
    assert group.press(A, 11.5) == [Denied(leg=A, cause=Cause.KEY_HELD)]


# ---- talk limit ----


def test_warning_at_25_s_revoke_at_30_s_then_the_key_must_be_let_go(group: DrivenFloor) -> None:
    group.talk(A, 100.0)
    assert group.hold(A, 100.0, 124.9) == []
    assert group.hold(A, 124.8, 129.9) == [Warned(leg=A, seconds_left=5.0)]
    assert group.hold(A, 129.8, 130.0) == [
        cut(A, Cause.TALK_LIMIT),
        Idle(sequence=2, hang_until=133.0),
    ]
    assert group.press(A, 130.5) == [Denied(leg=A, cause=Cause.KEY_HELD)]
    group.floor.release(A, 131.0)
    assert taken(group.press(A, 131.1)) == [A]


def test_an_emergency_has_no_limit(group: DrivenFloor) -> None:
    granted = group.talk(A, 100.0, EMERGENCY)[0]
    assert granted == Granted(leg=A, until=None, urgency=EMERGENCY, sequence=1)
    assert group.hold(A, 100.0, 200.0) == []


def test_an_emergency_has_a_limit_where_the_rules_say_so() -> None:
    group = DrivenFloor(FloorRules(emergency_exempt_from_limit=False, talk_limit=10.0, warn_at=8.0))
    group.talk(A, 0.0, EMERGENCY)
    assert group.hold(A, 0.0, 10.0)[:2] == [Warned(leg=A, seconds_left=2.0), cut(A, Cause.TALK_LIMIT)]


# ---- members ----


def test_who_leaves_leaves_floor_and_queue(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.2)
    assert group.floor.leave(B, 1.3) == [
        Unqueued(leg=B, cause=Cause.NO_MEMBER),
        Queued(leg=C, position=1, size=1),
    ]
    events = group.floor.leave(A, 1.4)
    assert events[0] == cut(A, Cause.NO_MEMBER)
    assert taken(events) == [C]


def test_rights_count_at_once(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    group.press(B, 1.1)
    group.press(C, 1.2)
    assert group.floor.change(B, Rights(talk=False), 1.3)[0] == Unqueued(leg=B, cause=Cause.RECEIVE_ONLY)
    events = group.floor.change(A, Rights(talk=False), 1.4)
    assert events[0] == cut(A, Cause.RECEIVE_ONLY)
    assert taken(events) == [C]
    assert group.floor.change(STRANGER, Rights(), 1.5) == []


def test_who_joins_again_keeps_the_floor(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    assert group.floor.join(leg(A), Rights(priority=5), 1.5) == []
    assert group.talker == A


def test_late_entry_reads_the_state(group: DrivenFloor) -> None:
    group.talk(A, 1.0, PERIL)
    group.press(B, 1.5)
    state = group.floor.state(3.5)
    assert (state.talker, state.since, state.talked, state.urgency) == (A, 1.0, 2.5, PERIL)
    assert (state.sequence, state.queue, state.until, state.hang_until) == (1, (B,), 31.0, None)


# ---- from above ----


def test_forced_release_frees_the_floor_for_the_next(group: DrivenFloor) -> None:
    group.talk(A, 1.0, EMERGENCY)
    group.press(B, 1.1)
    events = group.floor.revoke(Cause.FORCED, 1.5)
    assert events[0] == cut(A, Cause.FORCED)
    assert taken(events) == [B]
    assert group.press(A, 1.6) == [Denied(leg=A, cause=Cause.KEY_HELD, talker=B)]


def test_nobody_to_force(group: DrivenFloor) -> None:
    assert group.floor.revoke(Cause.FORCED, 1.5) == []


def test_the_emergency_state_of_a_group_outlives_its_calls(group: DrivenFloor) -> None:
    assert group.floor.set_emergency(True, 1.0) == []
    granted = group.press(A, 1.1)[0]
    assert granted == Granted(leg=A, until=31.1, urgency=PERIL, sequence=1)
    group.floor.release(A, 2.0)
    group.run(10.0)
    assert group.floor.state(10.0).emergency
    group.floor.set_emergency(False, 11.0)
    assert group.press(A, 12.0)[0] == Granted(leg=A, until=42.0, urgency=NORMAL, sequence=4)


def test_the_emergency_state_raises_who_talks_already(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    assert group.floor.set_emergency(True, 1.5) == [Taken(leg=A, urgency=PERIL, since=1.0, sequence=2)]
    assert isinstance(group.press(B, 1.6)[0], Queued)
    assert taken(group.press(C, 1.7, EMERGENCY)) == [C]


def test_an_all_call_elsewhere_blocks_all_but_emergencies(group: DrivenFloor) -> None:
    group.talk(A, 1.0)
    group.press(B, 1.1)
    assert group.floor.block(Cause.BLOCKED, 1.5) == [
        cut(A, Cause.BLOCKED),
        Idle(sequence=2, hang_until=4.5),
        Unqueued(leg=B, cause=Cause.BLOCKED),
    ]
    assert group.press(C, 2.0, ALL_CALL) == [Denied(leg=C, cause=Cause.BLOCKED)]
    assert group.floor.carrier(RADIO, True, 2.1) == [Denied(leg=RADIO, cause=Cause.BLOCKED)]
    assert taken(group.press(EAR, 2.2, EMERGENCY)) == [EAR]
    group.floor.release(EAR, 2.3)
    assert taken(group.floor.block(None, 3.0)) == [RADIO]


# ---- time ----


def test_a_late_tick_does_everything_in_order(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    assert group.floor.tick(100.0) == [
        Lost(leg=A, why="voice"),
        Idle(sequence=2, hang_until=103.0),
    ]


def test_what_is_due_happens_before_an_input(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    events = group.press(B, 50.0)
    assert events[0] == Lost(leg=A, why="voice")
    assert taken(events) == [B]


def test_a_clock_that_goes_back_does_no_harm(group: DrivenFloor) -> None:
    group.press(A, 10.0)
    assert isinstance(group.press(B, 5.0)[0], Queued)
    assert group.floor.state(5.0).talked == 0.0


def test_sequence_goes_on_after_a_move_to_another_arbiter() -> None:
    group = DrivenFloor()
    group.floor = Floor(group.floor.id, FloorRules(), sequence=70)
    group.add(A, Rights())
    assert group.press(A, 1.0)[0] == Granted(leg=A, until=31.0, urgency=NORMAL, sequence=71)


def test_numbers_of_the_standard() -> None:
    assert [cause.deny_number for cause in (Cause.BUSY, Cause.RECEIVE_ONLY, Cause.QUEUE_FULL)] == [1, 5, 7]
    assert [cause.revoke_number for cause in (Cause.TALK_LIMIT, Cause.PRE_EMPTED)] == [2, 4]
    assert (Cause.FORCED.revoke_number, Cause.BLOCKED.deny_number) == (255, 255)


def test_statistics_count_events(group: DrivenFloor) -> None:
    group.press(A, 1.0)
    group.press(B, 1.1)
    assert msgspec.to_builtins(group.floor.statistics()) == {
        "members": 7,
        "queued": 1,
        "granted_total": 1,
        "taken_total": 1,
        "queued_total": 1,
    }


# ---- races ----


@pytest.mark.parametrize("queueing", [True, False])
def test_two_dispatchers_press_at_once(queueing: bool) -> None:
    for seed in range(1000):
        chance = random.Random(seed)
        group = DrivenFloor(FloorRules(queueing=queueing))
        both = [LegId("one"), LegId("two")]
        for name in both:
            group.add(name, Rights(priority=chance.randrange(16)))
        chance.shuffle(both)
        now = chance.uniform(1.0, 2.0)
        events = group.press(both[0], now) + group.press(both[1], now + chance.choice([0.0, 1e-9, 0.001]))
        assert [event.leg for event in events if isinstance(event, Granted)] == [both[0]]
        answer = Queued if queueing else Denied
        assert [event.leg for event in events if isinstance(event, answer)] == [both[1]]
