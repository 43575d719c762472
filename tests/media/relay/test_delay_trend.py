import random

import pytest

from media.relay.delay_trend import DelayTrend, LinkUse, StandingQueue


def test_an_even_stream_is_normal() -> None:
    trend = DelayTrend()
    for index in range(500):
        trend.add(index * 0.01, 1_000 + index * 0.01)
        assert trend.use is LinkUse.NORMAL


def test_the_peer_s_clock_may_be_anywhere_and_drift() -> None:
    trend = DelayTrend()
    for index in range(2_000):
        trend.add(index * 0.01, 1e6 + index * 0.01 * 1.0002)
        assert trend.use is LinkUse.NORMAL


def test_a_growing_queue_is_overuse_and_a_draining_one_underuse() -> None:
    trend = DelayTrend()
    queue = 0.0
    seen = []
    for index in range(300):
        queue = max(0.0, queue + (0.002 if 100 <= index < 150 else -0.002))
        trend.add(index * 0.01, index * 0.01 + queue)
        seen.append(trend.use)
    assert seen[:100] == [LinkUse.NORMAL] * 100
    assert LinkUse.OVERUSE in seen[100:130]  # noticed within 0.3 s, at 60 ms of queue
    assert LinkUse.UNDERUSE in seen[150:200]
    assert seen[-50:] == [LinkUse.NORMAL] * 50


def test_packets_of_a_burst_are_one_group() -> None:
    trend = DelayTrend()
    for frame in range(200):
        for packet in range(8):
            # Eight packets leave within 4 ms and are spread over 16 ms by a link twice as fast as needed.
            trend.add(frame * 0.033 + packet * 0.0005, frame * 0.033 + 0.02 + packet * 0.002)
        assert trend.use is LinkUse.NORMAL


def test_the_threshold_learns_the_link_s_own_jitter() -> None:
    rng = random.Random(3)
    trend = DelayTrend()
    arrival = 0.0
    overuse = 0
    for index in range(6_000):
        arrival = max(arrival, index * 0.01 + rng.uniform(0.0, 0.012))
        trend.add(index * 0.01, arrival)
        overuse += trend.use is LinkUse.OVERUSE
    assert overuse < 60  # of 6,000
    assert 6.0 <= trend.threshold <= 600.0


def test_a_jump_of_a_clock_starts_anew() -> None:
    trend = DelayTrend()
    for index in range(100):
        trend.add(index * 0.01, index * 0.01)
    for index in range(100, 200):
        trend.add(index * 0.01, index * 0.01 + 1_000)
        assert trend.use is LinkUse.NORMAL


def test_reordered_reports_do_no_harm() -> None:
    trend = DelayTrend()
    for index in range(0, 400, 2):
        trend.add((index + 1) * 0.01, (index + 1) * 0.01)
        trend.add(index * 0.01, index * 0.01)
        assert trend.use is LinkUse.NORMAL


def test_standing_queue_is_the_delay_that_never_goes_away() -> None:
    queue = StandingQueue()
    rng = random.Random(5)
    assert queue.delay == 0.0
    for index in range(1_000):
        queue.add(index * 0.01, 500 + index * 0.01 + rng.uniform(0, 0.08))
    assert queue.delay < 0.01
    for index in range(1_000, 1_300):
        queue.add(index * 0.01, 500 + index * 0.01 + 0.2 + rng.uniform(0, 0.08))
    assert queue.delay == pytest.approx(0.2, abs=0.01)
    queue.rebase()
    for index in range(1_300, 1_600):
        queue.add(index * 0.01, 500 + index * 0.01 + 0.2)
    assert queue.delay == pytest.approx(0.0, abs=0.001)


def test_standing_queue_forgets_a_clock_that_was_set() -> None:
    queue = StandingQueue()
    for index in range(1_000):
        queue.add(index * 0.01, index * 0.01 + (100 if index >= 500 else 0))
    assert queue.delay == pytest.approx(0.0, abs=0.001)
