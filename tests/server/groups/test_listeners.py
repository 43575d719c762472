"""How often a group is told who listens to it."""

from __future__ import annotations

from server.groups.listeners import FOR_EACH, LONGEST, Pace


def test_a_group_is_told_at_once_and_then_left_alone_for_as_long_as_it_is_large() -> None:
    pace = Pace()
    assert pace.may("g", 10.0)
    pace.told("g", 200, 10.0)
    assert not pace.may("g", 10.5)
    assert pace.next_due == 10.0 + 200 * FOR_EACH
    assert pace.take(10.5) == []
    assert pace.take(11.0) == ["g"]
    assert pace.next_due is None
    assert pace.may("g", 11.0)


def test_small_groups_do_not_wait_for_large_ones() -> None:
    pace = Pace()
    pace.told("large", 10_000, 0.0)
    pace.told("small", 4, 0.0)
    assert not pace.may("large", 0.01)
    assert not pace.may("small", 0.01)
    assert pace.take(0.03) == ["small"]
    assert pace.next_due == LONGEST


def test_what_is_told_meanwhile_waits_no_more() -> None:
    pace = Pace()
    pace.told("g", 100, 0.0)
    assert not pace.may("g", 0.1)
    pace.told("g", 100, 0.2)
    assert pace.next_due is None
    pace.forget("g")
    assert pace.may("g", 0.21)
