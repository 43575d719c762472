import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.pacing import LinkBudget, Pacer, PacketClass, TokenBucket

VOICE, REPAIR, VIDEO, PROBE = PacketClass


def waiting(pacer: Pacer[Any]) -> tuple[int, ...]:
    """Packets in each class."""
    return tuple(len(queue.items) for queue in pacer._queues)


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    pacer: Pacer[int] = Pacer(800_000, 0.0)  # 100 bytes per millisecond
    assert [pacer.try_spend(1_000, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not pacer.try_spend(1_000, 0.0)
    assert pacer.try_spend(1_000, 0.001)  # 100 bytes came in: above zero, so a whole packet goes
    assert not pacer.try_spend(1_000, 0.002)
    assert not pacer.try_spend(1_000, 0.010)
    assert pacer.try_spend(1_000, 0.0101)


def test_a_path_that_takes_more_at_once_gets_it_once_and_then_the_rate_holds() -> None:
    pacer: Pacer[int] = Pacer(800_000, 0.0)
    pacer.set_burst(20_000, 0.0)
    assert sum(pacer.try_spend(1_000, 1.0) for _ in range(40)) == 20
    assert sum(pacer.try_spend(1_000, 1.009) for _ in range(40)) == 1
    pacer.set_burst(0, 1.009)
    assert sum(pacer.try_spend(1_000, 3.0) for _ in range(40)) == 3


def test_a_budget_keeps_its_own_measure_of_a_burst() -> None:
    pacer: Pacer[int] = Pacer(0, 0.0, budget=LinkBudget(800_000, 0.0))
    pacer.set_burst(20_000, 0.0)
    assert sum(pacer.try_spend(1_000, 1.0) for _ in range(40)) == 3


def test_unlimited() -> None:
    pacer: Pacer[int] = Pacer(0, 0.0)
    assert all(pacer.try_spend(1_200, 0.0) for _ in range(10_000))


def test_what_waits_leaves_in_order_of_class_and_then_of_arrival() -> None:
    pacer: Pacer[str] = Pacer(80_000, 0.0)
    while pacer.try_spend(1_000, 0.0):
        pass
    for kind, name in [(PROBE, "p"), (VIDEO, "v1"), (VIDEO, "v2"), (REPAIR, "r"), (VOICE, "a")]:
        assert pacer.enqueue(kind, 1_000, name, 0.0)
    assert pacer.queued_bytes == 5_000
    assert pacer.pop(0.0) == ["a"]  # voice runs ahead
    order = []
    now = 0.0
    while (deadline := pacer.next_deadline) is not None:
        assert deadline > now
        now = deadline
        items = pacer.pop(now)
        assert len(items) == 1
        order += items
    assert order == ["r", "v1", "v2", "p"]
    assert 0.4 < now < 0.6  # 5,000 bytes at 10 bytes a millisecond, the last one owed
    assert pacer.queued_bytes == 0
    assert pacer.pop(10.0) == []


def test_nothing_passes_what_waits_in_its_class_or_above() -> None:
    pacer: Pacer[str] = Pacer(80_000, 0.0)
    while pacer.try_spend(1_000, 0.0):
        pass
    pacer.enqueue(VIDEO, 1_000, "v", 0.0)
    assert not pacer.try_spend(10, 1.0, VIDEO)
    assert not pacer.try_spend(10, 1.0, PROBE)
    assert pacer.try_spend(10, 1.0, REPAIR)
    assert pacer.try_spend(10, 1.0, VOICE)
    assert pacer.pop(1.0) == ["v"]
    assert pacer.try_spend(10, 1.0, PROBE)


def test_voice_runs_ahead_only_so_far() -> None:
    pacer: Pacer[int] = Pacer(80_000, 0.0)
    passed = 0
    while pacer.try_spend(100, 0.0, VOICE):
        passed += 1
    assert passed == 50  # 3,000 bytes of burst and 2,000 ahead
    assert not pacer.try_spend(100, 0.1, VIDEO)


def test_a_full_video_queue_drops_to_the_end_of_the_frame() -> None:
    pacer: Pacer[str] = Pacer(80_000, 0.0, limits=(1_000, 1_000, 2_500, 1_000))
    while pacer.try_spend(1_000, 0.0):
        pass
    assert pacer.enqueue(VIDEO, 1_000, "a1", 0.0, frame_end=False)
    assert pacer.enqueue(VIDEO, 1_000, "a2", 0.0, frame_end=False)
    assert not pacer.enqueue(VIDEO, 1_000, "a3", 0.0, frame_end=False)
    assert not pacer.enqueue(VIDEO, 100, "a4", 0.0, frame_end=False)  # would fit, but its frame is torn
    assert pacer.enqueue(VIDEO, 100, "other flow", 0.0, frame_end=True, flow=7)
    assert not pacer.enqueue(VIDEO, 100, "a5", 0.0, frame_end=True)
    assert pacer.enqueue(VIDEO, 100, "b1", 0.0, frame_end=True)
    assert waiting(pacer) == (0, 0, 4, 0)
    assert pacer.displaced == 0


def test_a_dropped_last_packet_does_not_tear_the_next_frame() -> None:
    pacer: Pacer[str] = Pacer(80_000, 0.0, limits=(1_000, 1_000, 1_000, 1_000))
    while pacer.try_spend(1_000, 0.0):
        pass
    assert pacer.enqueue(VIDEO, 900, "a", 0.0, frame_end=True)
    assert not pacer.enqueue(VIDEO, 900, "b", 0.0, frame_end=True)
    assert pacer.enqueue(VIDEO, 50, "c", 0.0, frame_end=True)


def test_full_voice_and_repair_queues_drop_the_oldest_and_probes_the_newest() -> None:
    pacer: Pacer[int] = Pacer(8_000, 0.0, limits=(300, 300, 300, 300))
    while pacer.try_spend(100, 0.0, VOICE):
        pass
    for kind in (VOICE, REPAIR, PROBE):
        for number in range(5):
            pacer.enqueue(kind, 100, 10 * kind + number, 0.0)
    assert waiting(pacer) == (3, 3, 0, 3)
    assert pacer.displaced == 4
    assert not pacer.enqueue(VOICE, 301, 99, 0.0)
    left: list[int] = []
    for second in range(1, 100):
        left += pacer.pop(float(second))
    assert left == [2, 3, 4, 12, 13, 14, 30, 31, 32]


def test_a_shared_budget_limits_the_sum_and_lets_voice_first() -> None:
    budget = LinkBudget(800_000, 0.0)
    first: Pacer[str] = Pacer(8_000_000, 0.0, budget=budget)
    second: Pacer[str] = Pacer(8_000_000, 0.0, budget=budget)
    sent = {VOICE: 0, VIDEO: 0}
    rng = random.Random(2)
    voice_refused = 0
    for tick in range(10_000):
        now = tick / 1_000
        for pacer in (first, second):
            if tick % 20 == 0:
                if pacer.try_spend(100, now, VOICE):
                    sent[VOICE] += 100
                else:
                    voice_refused += 1
            if rng.random() < 0.5 and pacer.try_spend(1_000, now, VIDEO):
                sent[VIDEO] += 1_000
    assert voice_refused == 0
    assert sent[VOICE] == 100_000
    assert sent[VOICE] + sent[VIDEO] == pytest.approx(1_000_000, rel=0.01)


def test_the_deadline_heeds_the_budget() -> None:
    budget = LinkBudget(80_000, 0.0)
    pacer: Pacer[str] = Pacer(8_000_000, 0.0, budget=budget)
    while pacer.try_spend(1_000, 0.0):
        pass
    pacer.enqueue(VIDEO, 1_000, "v", 0.0)
    deadline = pacer.next_deadline
    assert deadline is not None
    assert pacer.pop(deadline - 0.001) == []
    assert pacer.pop(deadline) == ["v"]


def test_a_new_rate_counts_from_now() -> None:
    pacer: Pacer[str] = Pacer(8_000, 0.0)
    while pacer.try_spend(1_000, 0.0):
        pass
    pacer.enqueue(VIDEO, 500, "v", 0.0)
    pacer.set_rate(8_000_000, 0.0)
    deadline = pacer.next_deadline
    assert deadline is not None
    assert deadline < 0.002
    pacer.set_rate(0, 0.0)
    assert pacer.pop(0.0) == ["v"]


def test_a_bucket_never_saves_more_than_its_burst_and_time_never_runs_back() -> None:
    bucket = TokenBucket(8_000_000, 0.0)  # a burst is 10 ms: 10,000 bytes
    assert bucket.may_spend(100.0, VIDEO)
    bucket.spend(10_000)
    assert not bucket.may_spend(100.0, VIDEO)
    assert not bucket.may_spend(50.0, VIDEO)
    assert bucket.may_spend(100.001, VIDEO)


@given(
    st.integers(30_000, 10_000_000),
    st.lists(
        st.tuples(
            st.sampled_from(PacketClass),
            st.integers(20, 1_400),
            st.floats(0, 0.05),
            st.booleans(),
            st.integers(0, 2),
        ),
        max_size=300,
    ),
)
def test_never_above_the_rate_and_every_packet_is_accounted_for(
    rate: int, packets: list[tuple[PacketClass, int, float, bool, int]]
) -> None:
    pacer: Pacer[int] = Pacer(rate, 0.0)
    now = 0.0
    sent: list[int] = []
    refused = 0
    for number, (kind, size, wait, frame_end, flow) in enumerate(packets):
        now += wait
        sent += pacer.pop(now)
        if pacer.try_spend(size, now, kind):
            sent.append(number)
        elif not pacer.enqueue(kind, size, number, now, frame_end, flow):
            refused += 1
        volume = sum(packets[index][1] for index in sent)
        ahead = max(0.010 * rate / 8, 3_000) + max(0.100 * rate / 8, 2_000)
        assert volume <= now * rate / 8 + ahead + 1_400
    while (deadline := pacer.next_deadline) is not None:
        assert deadline >= now - 1e-9
        now = max(now, deadline)
        sent += pacer.pop(now)
        assert now < 1_000
    assert len(sent) == len(set(sent))
    assert len(sent) + refused + pacer.displaced == len(packets)
    for kind in PacketClass:
        of_kind = [number for number in sent if packets[number][0] is kind]
        assert of_kind == sorted(of_kind)
