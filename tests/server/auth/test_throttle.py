"""Guessers wait longer and longer; others do not; nothing grows without bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.auth.throttle import BackOff, Rate


def test_a_minute_at_once_then_one_each_six_seconds() -> None:
    rate = Rate(per_minute=10)
    assert [rate.take("a", 0.0) for _ in range(10)] == [0.0] * 10
    assert rate.take("a", 0.0) == 6.0
    assert rate.take("a", 3.0) == 3.0
    assert rate.take("a", 6.0) == 0.0
    assert rate.take("b", 0.0) == 0.0


def test_the_rate_forgets_whom_it_has_not_seen_for_longest() -> None:
    rate = Rate(per_minute=1)
    for number in range(20_001):
        rate.take(str(number), 0.0)
    assert rate.statistics()["keys"] == 20_000
    assert rate.take("0", 0.0) == 0.0
    assert rate.take("20000", 0.0) == 60.0


@given(st.lists(st.tuples(st.floats(0, 10), st.sampled_from("ab")), max_size=200))
def test_never_more_than_the_rate_and_its_burst(steps: list[tuple[float, str]]) -> None:
    rate, now = Rate(per_minute=30), 0.0
    passed = {"a": 0, "b": 0}
    for pause, key in steps:
        now += pause
        passed[key] += rate.take(key, now) == 0.0
    assert all(count <= 30 + now / 2 + 1e-6 for count in passed.values())


def test_waits_double_up_to_the_longest() -> None:
    back_off = BackOff(free=5, longest=30.0)
    now, waits = 0.0, []
    for _ in range(13):
        back_off.failed("a", now)
        waits.append(back_off.wait("a", now))
        now += waits[-1]
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30, 30]
    assert back_off.wait("b", now) == 0.0


def test_success_and_time_forget_failures() -> None:
    back_off = BackOff(free=0, longest=30.0, forget_after=900.0)
    back_off.failed("a", 0.0)
    assert back_off.wait("a", 0.5) == 0.5
    back_off.succeeded("a")
    assert back_off.wait("a", 0.5) == 0.0
    for _ in range(3):
        back_off.failed("b", 0.0)
    assert back_off.wait("b", 1.0) == 3.0
    back_off.failed("b", 904.0)
    assert back_off.wait("b", 904.0) == 1.0


def test_days_of_guessing_overflow_nothing() -> None:
    back_off = BackOff(free=0, longest=600.0)
    for _ in range(5000):
        back_off.failed("a", 0.0)
    assert back_off.wait("a", 0.0) == 600.0
