import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.nack import LossTracker, Repair

NOTHING = Repair(lost=(), give_up=False)


def test_a_gap_is_asked_for_after_ten_milliseconds_and_again_every_round_trip() -> None:
    tracker = LossTracker()
    tracker.received(65533, 0.000)
    tracker.received(1, 0.100)
    assert tracker.next_deadline == pytest.approx(0.110)
    assert tracker.poll(0.105, 0.05) == NOTHING
    assert tracker.poll(0.110, 0.05) == Repair(lost=(65534, 65535, 0))
    assert tracker.poll(0.150, 0.05) == NOTHING
    assert tracker.poll(0.160, 0.05) == Repair(lost=(65534, 65535, 0))
    tracker.received(65535, 0.165)
    assert tracker.poll(0.211, 0.05) == Repair(lost=(65534, 0))
    assert tracker.statistics().recovered == 1
    assert tracker.statistics().asked == 8


def test_repeats_are_never_faster_than_twenty_milliseconds() -> None:
    tracker = LossTracker()
    tracker.received(1, 0.0)
    tracker.received(3, 0.0)
    assert tracker.poll(0.010, 0.001).lost == (2,)
    assert tracker.poll(0.029, 0.001).lost == ()
    assert tracker.poll(0.030, 0.001).lost == (2,)


def test_reordering_is_not_asked_for() -> None:
    tracker = LossTracker()
    tracker.received(10, 0.0)
    tracker.received(12, 0.001)
    tracker.received(11, 0.005)
    assert tracker.next_deadline is None
    assert tracker.poll(1.0, 0.1) == NOTHING
    assert tracker.statistics().reordered == 1
    assert tracker.statistics().asked == 0


def test_giving_up_after_ten_requests_asks_for_one_key_frame() -> None:
    tracker = LossTracker()
    tracker.received(1, 0.0)
    tracker.received(3, 0.0)
    now, asked = 0.0, 0
    while not (repair := tracker.poll(now, 0.02)).give_up:
        asked += len(repair.lost)
        now += 0.005
        assert now < 2.0
    assert asked == 10
    assert now < 0.5
    assert tracker.poll(now + 1, 0.02) == NOTHING
    assert tracker.statistics().abandoned == 1
    assert tracker.statistics().give_ups == 1


def test_giving_up_after_a_second_on_a_slow_link() -> None:
    tracker = LossTracker()
    tracker.received(1, 0.0)
    tracker.received(3, 0.0)
    assert tracker.poll(0.01, 0.6).lost == (2,)
    assert tracker.poll(0.61, 0.6).lost == (2,)
    assert tracker.next_deadline == pytest.approx(1.0)
    assert tracker.poll(0.999, 0.6) == NOTHING
    assert tracker.poll(1.0, 0.6) == Repair(give_up=True)


def test_losses_more_than_five_hundred_packets_back_are_forgotten() -> None:
    tracker = LossTracker()
    tracker.received(0, 0.0)
    for sequence in range(2, 502):
        tracker.received(sequence, 0.0)
    assert tracker.statistics().missing == 1
    tracker.received(502, 0.0)
    assert tracker.statistics().missing == 0
    assert tracker.next_deadline == 0.0
    assert tracker.poll(0.0, 0.1) == Repair(give_up=True)


def test_a_wide_gap_gives_up_at_once_and_keeps_the_newest_five_hundred() -> None:
    tracker = LossTracker()
    tracker.received(0, 0.0)
    tracker.received(1_000, 0.0)
    assert tracker.statistics().missing == 500
    assert tracker.statistics().abandoned == 499
    assert tracker.poll(0.0, 0.1) == Repair(give_up=True)
    assert tracker.poll(0.01, 0.1).lost == tuple(range(500, 1_000))


def test_a_key_frame_makes_earlier_losses_pointless() -> None:
    tracker = LossTracker()
    tracker.received(1, 0.0)
    tracker.received(5, 0.0)
    tracker.received(8, 0.0)
    tracker.key_frame(5)
    assert tracker.poll(0.01, 0.1) == Repair(lost=(6, 7))


def test_duplicates_and_late_packets_change_nothing() -> None:
    tracker = LossTracker()
    for sequence in (5, 6, 6, 5, 4):
        tracker.received(sequence, 0.0)
    assert tracker.poll(1.0, 0.1) == NOTHING
    assert tracker.statistics().missing == 0


def test_a_sender_that_numbers_anew_is_followed() -> None:
    tracker = LossTracker()
    tracker.received(30_000, 0.0)
    for sequence in range(100, 116):
        tracker.received(sequence, 0.1)
    assert tracker.statistics().restarts == 1
    tracker.received(117, 0.2)
    assert tracker.poll(0.3, 0.1).lost == (116,)


def test_every_loss_is_repaired_over_a_link_that_also_loses_repairs() -> None:
    rng = random.Random(7)
    tracker = LossTracker()
    events: list[tuple[float, int]] = [
        (n * 0.005 + rng.random() * 0.012, n) for n in range(2_000) if n == 0 or rng.random() > 0.1
    ]
    delivered: set[int] = set()
    now = 0.0
    while events and now < 30:
        events.sort(reverse=True)
        while events and events[-1][0] <= now:
            time, number = events.pop()
            delivered.add(number)
            tracker.received(number & 0xFFFF, time)
        repair = tracker.poll(now, 0.04)
        assert not repair.give_up
        events += [(now + 0.04, number) for number in repair.lost if rng.random() > 0.1]
        now += 0.005
    assert set(range(1, max(delivered))) <= delivered
    statistics = tracker.statistics()
    assert statistics.missing == 0
    assert statistics.recovered > 100
    assert statistics.reordered > 100


@given(st.lists(st.tuples(st.integers(0, 65535), st.floats(0, 0.2)), max_size=200))
def test_hostile_sequences_keep_it_bounded(packets: list[tuple[int, float]]) -> None:
    tracker = LossTracker()
    now = 0.0
    for sequence, step in packets:
        now += step
        tracker.received(sequence, now)
        repair = tracker.poll(now, 0.05)
        assert len(repair.lost) <= 500
        assert tracker.statistics().missing <= 500
