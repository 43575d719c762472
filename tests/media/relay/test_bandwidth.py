"""The estimator on a simulated link: one bottleneck with a drop-tail queue, delay, jitter and loss, all seeded."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.bandwidth import BandwidthEstimator, Sample


@dataclass
class Run:
    """What a simulation showed, a row per millisecond: time, target, delay of the queue."""

    estimator: BandwidthEstimator
    rows: list[tuple[float, int, float]] = field(default_factory=list)

    def target(self, start: float, end: float) -> float:
        chosen = [target for time, target, _ in self.rows if start <= time < end]
        return sum(chosen) / len(chosen)

    def lowest(self, start: float, end: float) -> int:
        return min(target for time, target, _ in self.rows if start <= time < end)

    def queue(self, start: float, end: float) -> float:
        chosen = [queue for time, _, queue in self.rows if start <= time < end]
        return sum(chosen) / len(chosen)


def simulate(
    seconds: float,
    capacity: Callable[[float], float],
    *,
    rtt: float = 0.05,
    queue_bytes: float = 12_500,
    lost: Callable[[random.Random], bool] = lambda rng: False,
    jitter: Callable[[random.Random], float] = lambda rng: 0.0,
    offered: Callable[[float], float] = lambda time: 1e9,
    start: int = 300_000,
    seed: int = 1,
) -> Run:
    """30 frames a second of min(target, offered), paced at 2.5 times the target; feedback every 100 ms."""
    rng = random.Random(seed)
    run = Run(BandwidthEstimator(start=start))
    estimator = run.estimator
    link_free = last_arrival = 0.0
    waiting: list[tuple[float, int]] = []
    sent: list[tuple[float, int]] = []
    arrivals: list[tuple[float, int]] = []
    reports: list[tuple[float, list[Sample]]] = []
    reported = frames = feedbacks = 0
    for tick in range(round(seconds * 1_000)):
        now = tick / 1_000
        rate = capacity(now)
        if now >= frames / 30:
            frames += 1
            size = int(min(estimator.target_bps, offered(now)) / 240 * rng.uniform(0.7, 1.3))
            leave = max(now, waiting[-1][0]) if waiting else now
            while size > 0:
                packet = min(1_200, max(size, 100))
                waiting.append((leave, packet))
                leave += packet * 8 / (2.5 * estimator.target_bps)
                size -= packet
        while waiting and waiting[0][0] <= now:
            _, packet = waiting.pop(0)
            if not lost(rng) and max(0.0, link_free - now) * rate / 8 <= queue_bytes:
                link_free = max(link_free, now) + packet * 8 / rate
                last_arrival = max(last_arrival, link_free + rtt / 2 + jitter(rng))
                heapq.heappush(arrivals, (last_arrival, len(sent)))
            sent.append((now, packet))
        if now >= 0.1 * (feedbacks + 1):
            feedbacks += 1
            arrived: dict[int, float] = {}
            while arrivals and arrivals[0][0] <= now:
                time, number = heapq.heappop(arrivals)
                arrived[number] = 5_000 + time
            if arrived:
                upto = max(arrived) + 1
                samples: list[Sample] = [
                    (sent[number][0], arrived.get(number), sent[number][1])
                    for number in range(reported, upto)
                ]
                reported = upto
                reports.append((now + rtt / 2, samples))
        while reports and reports[0][0] <= now:
            estimator.on_feedback(reports.pop(0)[1], now)
        run.rows.append((now, estimator.target_bps, max(0.0, link_free - now)))
    return run


SEEDS = [1, 2, 3]


def random_loss(share: float) -> Callable[[random.Random], bool]:
    return lambda rng: rng.random() < share


def wifi(rng: random.Random) -> float:
    """Up to 10 ms for every packet, 20 to 60 ms for one in fifty."""
    return rng.uniform(0, 0.01) + (rng.uniform(0.02, 0.06) if rng.random() < 0.02 else 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_fills_a_link_without_a_standing_queue(seed: int) -> None:
    run = simulate(40, lambda time: 1e6, seed=seed)
    assert 700_000 < run.target(10, 20) < 1_000_000
    assert 700_000 < run.target(20, 40) < 1_000_000
    assert run.queue(10, 40) < 0.040  # of the 100 ms there are; a frame by itself makes 10


@pytest.mark.parametrize("seed", SEEDS)
def test_follows_a_drop_within_three_seconds_and_comes_back_within_thirty(seed: int) -> None:
    run = simulate(62, lambda time: 300_000 if 15 <= time < 30 else 1e6, seed=seed)
    assert run.target(12, 15) > 700_000
    assert run.target(17, 18) < 300_000
    assert run.queue(18, 30) < 0.060  # a packet by itself takes 32 ms
    assert 200_000 < run.target(18, 30) < 310_000
    assert run.target(50, 62) > 700_000


@pytest.mark.parametrize("seed", SEEDS)
def test_two_per_cent_of_random_loss_is_no_congestion(seed: int) -> None:
    run = simulate(40, lambda time: 1e6, lost=random_loss(0.02), seed=seed)
    assert run.target(20, 40) > 700_000
    assert run.queue(20, 40) < 0.040


@pytest.mark.parametrize("seed", SEEDS)
def test_heavy_random_loss_does_not_end_at_the_minimum(seed: int) -> None:
    run = simulate(60, lambda time: 1e6, lost=random_loss(0.15), seed=seed)
    assert run.target(20, 60) > 200_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_satellite_link(seed: int) -> None:
    run = simulate(40, lambda time: 512_000, rtt=0.6, queue_bytes=19_200, seed=seed)
    assert 350_000 < run.target(10, 40) < 520_000
    assert run.queue(10, 40) < 0.060


@pytest.mark.parametrize("seed", SEEDS)
def test_a_thin_satellite_link_started_far_too_high(seed: int) -> None:
    run = simulate(60, lambda time: 128_000, rtt=0.6, queue_bytes=4_800, start=1_000_000, seed=seed)
    assert run.target(5, 10) < 140_000
    assert 85_000 < run.target(10, 60) < 135_000
    assert run.queue(10, 60) < 0.120  # one packet by itself takes 75 ms


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deep_queue_that_was_filled_is_drained(seed: int) -> None:
    run = simulate(40, lambda time: 1e6, queue_bytes=125_000, start=2_000_000, seed=seed)
    assert run.queue(15, 40) < 0.050
    assert 700_000 < run.target(15, 40) < 1_000_000


@pytest.mark.parametrize("seed", SEEDS)
def test_a_link_without_a_queue_is_found_by_loss(seed: int) -> None:
    run = simulate(40, lambda time: 1e6, queue_bytes=4_000, start=2_000_000, seed=seed)
    assert 700_000 < run.target(20, 40) < 1_300_000


@pytest.mark.parametrize("seed", SEEDS)
def test_wireless_jitter_is_no_congestion(seed: int) -> None:
    full = simulate(40, lambda time: 5e6, jitter=wifi, start=1_000_000, seed=seed)
    assert full.target(10, 40) > 3_500_000
    idle = simulate(40, lambda time: 10e6, jitter=wifi, offered=lambda time: 2e6, start=1_000_000, seed=seed)
    assert idle.lowest(10, 40) > 2_000_000


@pytest.mark.parametrize("seed", SEEDS)
def test_an_estimate_does_not_fall_because_less_is_sent(seed: int) -> None:
    run = simulate(60, lambda time: 5e6, offered=lambda time: 1e5 if 20 <= time < 40 else 1e6, seed=seed)
    assert 1_300_000 < run.target(15, 20) < 2_300_000  # 1.5 x what arrives, not more
    assert run.lowest(20, 60) >= run.lowest(19, 20)


def test_little_sent_never_makes_the_estimate_grow_without_bound() -> None:
    run = simulate(30, lambda time: 5e6, offered=lambda time: 50_000, start=60_000)
    assert run.target(29, 30) < 160_000


# ------------------------------------------------------------------ rules one by one


def arrivals(start: float, seconds: float, *, rate: int = 400_000, delay: float = 0.02) -> list[Sample]:
    count = int(seconds * rate / 8_000)
    return [(start + i * 8_000 / rate, start + i * 8_000 / rate + delay, 1_000) for i in range(count)]


def test_starts_where_it_is_told_and_stays_in_its_range() -> None:
    assert BandwidthEstimator().target_bps == 300_000
    assert BandwidthEstimator(start=1_000_000, maximum=800_000).target_bps == 800_000
    estimator = BandwidthEstimator(start=50_000, minimum=30_000)
    for step in range(50):
        estimator.on_feedback([(step + i * 0.01, None, 1_000) for i in range(100)], step + 1.0)
    assert estimator.target_bps == 30_000


def test_at_the_start_delay_of_everything_is_a_queue_before_its_slope_can_be_seen() -> None:
    estimator = BandwidthEstimator(start=1_000_000)
    estimator.on_feedback(arrivals(0, 0.1), 0.15)
    assert estimator.state.name == "NORMAL"
    estimator.on_feedback(arrivals(0.1, 0.1, delay=0.11), 0.35)
    assert estimator.state.name == "NORMAL"
    estimator.on_feedback(arrivals(0.2, 0.1, delay=0.13), 0.45)
    assert estimator.state.name == "OVERUSE"
    estimator.on_feedback([*arrivals(0.3, 0.1, delay=0.13), (0.4, 0.42, 1_000)], 0.55)  # one came at once
    assert estimator.state.name == "NORMAL"


def test_clocks_that_part_are_no_queue() -> None:
    estimator = BandwidthEstimator(start=1_000_000)
    for tenth in range(36_000):  # an hour
        at = tenth / 10
        estimator.on_feedback([(at, 5 + at * 1.0005, 1_000)], at + 0.05)
        assert estimator.state.name == "NORMAL"


def test_more_sent_and_arrived_than_estimated_raises_the_estimate_at_once() -> None:
    estimator = BandwidthEstimator(start=300_000)
    estimator.on_feedback(arrivals(0, 1.0, rate=1_000_000), 1.1)
    assert estimator.target_bps == pytest.approx(950_000, rel=0.02)


def test_remb_is_a_cap_for_ten_seconds() -> None:
    estimator = BandwidthEstimator(start=300_000)
    estimator.on_remb(0, 0.0)
    assert estimator.target_bps == 300_000
    estimator.on_remb(100_000, 0.0)
    assert estimator.statistics().remb_bps == 100_000
    estimator.on_feedback(arrivals(0, 0.1), 9.9)
    assert estimator.target_bps == 100_000
    estimator.on_feedback(arrivals(0.1, 0.1), 10.1)
    assert estimator.target_bps == 300_000


def test_receiver_reports_drive_the_estimate_of_a_peer_without_arrivals() -> None:
    estimator = BandwidthEstimator(start=300_000)
    for second in range(11):
        estimator.on_receiver_report(0.0, 0.05, float(second))
    assert estimator.target_bps == pytest.approx(300_000 * 1.08**10, rel=0.01)
    before = estimator.target_bps
    estimator.on_receiver_report(0.05, 0.05, 11.0)
    assert estimator.target_bps == before
    estimator.on_receiver_report(0.40, 0.05, 12.0)
    assert estimator.target_bps == pytest.approx(0.8 * before, rel=0.01)
    assert estimator.state == "overuse"
    estimator.on_receiver_report(0.0, None, 13.0)
    assert estimator.state == "normal"


def test_receiver_reports_only_tell_the_round_trip_while_arrivals_are_reported() -> None:
    estimator = BandwidthEstimator(start=300_000)
    estimator.on_feedback(arrivals(0, 1.0), 1.0)
    before = estimator.target_bps
    estimator.on_receiver_report(0.5, 0.25, 1.5)
    assert estimator.target_bps == before
    assert estimator.statistics().rtt == 0.25
    estimator.on_receiver_report(0.5, -1.0, 2.0)
    assert estimator.statistics().rtt == 0.25


def test_a_tenth_lost_is_held_and_more_steps_back_once_per_round_trip() -> None:
    estimator = BandwidthEstimator(start=1_000_000)

    def second(start: int, lost_of_100: int) -> None:
        samples: list[Sample] = []
        for index in range(100):
            sent = start + index * 0.01
            samples.append((sent, None if index < lost_of_100 else sent + 0.02, 1_000))
        estimator.on_feedback(samples, start + 1.0)

    second(0, 0)
    second(1, 10)
    assert estimator.statistics().loss_steps == 0
    before = estimator.target_bps
    second(2, 40)
    assert estimator.statistics().loss_steps == 1
    assert estimator.target_bps == pytest.approx(0.8 * before, rel=0.02)
    assert estimator.state == "overuse"
    assert estimator.statistics().fraction_lost == pytest.approx(0.40)
    second(3, 0)
    assert estimator.state == "normal"


def test_negative_arrival_means_lost_as_in_the_engine_s_message() -> None:
    estimator = BandwidthEstimator()
    estimator.on_feedback([(index * 0.02, -1.0, 1_000) for index in range(100)], 0.0)
    estimator.on_feedback([(2 + index * 0.02, -1.0, 1_000) for index in range(100)], 2.0)
    assert estimator.statistics().fraction_lost == 1.0


times = st.floats(0, 1e6, allow_nan=False)
feedback = st.lists(st.tuples(times, st.none() | st.floats(-1, 1e6), st.integers(1, 65_535)), max_size=60)


@given(st.lists(st.tuples(feedback, st.floats(0, 3), st.floats(0, 1), st.integers(0, 10**9)), max_size=20))
def test_any_report_keeps_the_estimate_in_its_range(
    steps: list[tuple[list[Sample], float, float, int]],
) -> None:
    estimator = BandwidthEstimator(start=300_000, minimum=30_000, maximum=2_000_000)
    now = 0.0
    for samples, wait, loss, remb in steps:
        now += wait
        estimator.on_feedback(samples, now)
        estimator.on_receiver_report(loss, wait, now)
        estimator.on_remb(remb, now)
        assert 30_000 <= estimator.target_bps <= 2_000_000
        estimator.statistics()
