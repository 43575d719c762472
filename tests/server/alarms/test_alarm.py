"""The life of an alarm: every move, every refusal, and what holds whatever is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.alarms import alarm as life
from server.alarms.alarm import Act, Alarm, AlarmState, Officer, Where
from server.model.errors import BadRequest, Conflict
from server.model.ids import AlarmId, DeviceId, GroupId, StreamId, UnitId, UserId

WANG = Officer(id=UserId("u1"), name="王")
LI = Officer(id=UserId("u2"), name="李")
AT = 1_800_000_000.0
HERE = Where(lat=30.1, lon=104.2, accuracy=8.0, time=AT - 5)


def new() -> Alarm:
    return life.raised(
        id=AlarmId("al1"),
        kind="emergency",
        unit=UnitId("n1"),
        device=DeviceId("d1"),
        name="三中队",
        group=GroupId("g1"),
        wallclock=AT,
        position=HERE,
        stream=StreamId("s1"),
    )


def acts(alarm: Alarm) -> list[tuple[float, str, str, str]]:
    return [(line.time - AT, line.who, line.act, line.text) for line in alarm.history]


def test_a_new_alarm_sounds_and_has_no_owner() -> None:
    alarm = new()
    assert (alarm.state, alarm.sounds, alarm.is_open, alarm.owner, alarm.presses) == (
        "new",
        True,
        True,
        None,
        1,
    )
    assert acts(alarm) == [(0.0, "", "raised", "")]


def test_from_raised_to_closed() -> None:
    alarm = life.acknowledged(new(), WANG, AT + 3)
    assert (alarm.state, alarm.owner, alarm.sounds) == ("acknowledged", WANG, False)
    alarm = life.parked(alarm, WANG, "等救护车", AT + 600, AT + 10)
    assert (alarm.state, alarm.reason, alarm.until) == ("parked", "等救护车", AT + 600)
    alarm = life.resumed(alarm, LI, AT + 20)
    assert (alarm.state, alarm.owner, alarm.reason, alarm.until) == ("acknowledged", LI, "", None)
    alarm = life.closed(alarm, LI, "已救出", AT + 30)
    assert (alarm.state, alarm.reason, alarm.is_open) == ("closed", "已救出", False)
    assert acts(alarm) == [
        (0.0, "", "raised", ""),
        (3.0, "王", "acknowledged", ""),
        (10.0, "王", "parked", "等救护车"),
        (20.0, "李", "resumed", ""),
        (30.0, "李", "closed", "已救出"),
    ]


def test_a_parked_alarm_sounds_again_when_its_time_is_over() -> None:
    alarm = life.parked(life.acknowledged(new(), WANG, AT), WANG, "核实中", AT + 60, AT)
    assert life.due(alarm, AT + 59.9) is None
    woken = life.due(alarm, AT + 60)
    assert woken is not None
    assert (woken.state, woken.sounds, woken.owner, woken.until, woken.reason) == (
        "new",
        True,
        None,
        None,
        "",
    )
    assert life.due(woken, AT + 100) is None


def test_pressing_again_is_counted_and_sounds_again() -> None:
    alarm = life.acknowledged(new(), WANG, AT + 1)
    there = Where(lat=30.2, lon=104.3, accuracy=None, time=AT + 9)
    pressed = life.again(alarm, AT + 10, there)
    assert (pressed.state, pressed.presses, pressed.owner, pressed.position) == ("new", 2, None, there)
    assert life.again(pressed, AT + 11).position == there
    assert life.again(pressed, AT + 11).presses == 3


def test_acknowledged_twice_by_its_owner_stays_as_it_is() -> None:
    alarm = life.acknowledged(new(), WANG, AT + 1)
    assert life.acknowledged(alarm, WANG, AT + 2) is alarm
    with pytest.raises(Conflict):
        life.acknowledged(alarm, LI, AT + 2)


def test_it_is_escalated_once() -> None:
    alarm = life.escalated(new(), AT + 30, "30 秒无人确认")
    assert (alarm.escalated, alarm.state) == (True, "new")
    assert life.escalated(alarm, AT + 40) is alarm


@pytest.mark.parametrize("until", [AT, AT - 1, AT + 3601, float("nan")])
def test_parking_needs_a_time_within_the_hour(until: float) -> None:
    with pytest.raises(BadRequest) as caught:
        life.parked(life.acknowledged(new(), WANG, AT), WANG, "x", until, AT)
    assert caught.value.field == "until"


def test_parking_and_closing_need_a_reason() -> None:
    alarm = life.acknowledged(new(), WANG, AT)
    for act in (
        lambda: life.parked(alarm, WANG, " ", AT + 60, AT),
        lambda: life.closed(alarm, WANG, "", AT),
    ):
        with pytest.raises(BadRequest) as caught:
            act()
        assert caught.value.field == "reason"


def test_an_alarm_that_nobody_acknowledged_is_neither_parked_nor_closed() -> None:
    with pytest.raises(Conflict, match="acknowledge this alarm before you park it"):
        life.parked(new(), WANG, "x", AT + 60, AT)
    with pytest.raises(Conflict, match="acknowledge this alarm before you close it"):
        life.closed(new(), WANG, "x", AT)


def test_every_move_is_allowed_or_refused_in_words() -> None:
    for act in get_args(Act):
        for state in get_args(AlarmState):
            if act == "raised":
                continue
            allowed = state in life.MOVES[act]
            assert allowed != (state == "closed" or (act, state) in life.REFUSALS), (act, state)


def test_history_keeps_its_first_line_and_is_bounded() -> None:
    alarm = new()
    for second in range(500):
        alarm = life.again(alarm, AT + second)
    assert len(alarm.history) == 200
    assert alarm.history[0].act == "raised"
    assert alarm.history[-1].time == AT + 499
    assert alarm.presses == 501


ACTS: dict[str, Callable[[Alarm, float], Alarm | None]] = {
    "again": lambda alarm, now: life.again(alarm, now),
    "acknowledged": lambda alarm, now: life.acknowledged(alarm, WANG, now),
    "taken": lambda alarm, now: life.acknowledged(alarm, LI, now),
    "parked": lambda alarm, now: life.parked(alarm, WANG, "x", now + 60, now),
    "resumed": lambda alarm, now: life.resumed(alarm, LI, now),
    "due": lambda alarm, now: life.due(alarm, now),
    "escalated": lambda alarm, now: life.escalated(alarm, now),
    "closed": lambda alarm, now: life.closed(alarm, WANG, "x", now),
}


@given(st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.sampled_from([0.0, 1.0, 61.0])), max_size=40))
def test_whatever_is_done(done: list[tuple[str, float]]) -> None:
    alarm, now = new(), AT
    was_closed = False
    for act, seconds in done:
        now += seconds
        before = alarm
        try:
            alarm = ACTS[act](alarm, now) or alarm
        except Conflict:
            assert (act, before.state) != ("again", "new")
        assert not was_closed or alarm is before
        was_closed = alarm.state == "closed"
        assert (alarm.until is not None) == (alarm.state == "parked")
        assert (alarm.owner is None) == (alarm.state == "new")
        assert alarm.history[0].act == "raised"
        assert len(alarm.history) - len(before.history) == (alarm is not before)
        assert alarm.presses == 1 + sum(line.act == "again" for line in alarm.history)


def test_a_press_that_came_late_makes_the_alarm_as_old_as_itself() -> None:
    alarm = life.again(new(), AT + 60, age=2.0)
    assert (alarm.pressed, alarm.history[-1].pressed) == (AT, None)
    alarm = life.again(alarm, AT + 90, age=600.0)
    assert (alarm.pressed, alarm.raised, alarm.history[-1].pressed) == (AT - 510, AT, AT - 510)
