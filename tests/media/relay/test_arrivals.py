"""Folded feedback against the complete reader."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.arrivals import ArrivalFolder, Sent, is_alone
from media.rtp.errors import PacketError
from media.rtp.twcc import TransportFeedback, pack_body, pack_packet

# From the fact sheet: 1000 to 1006, 1002 lost, 1005 with a large delta; reference 0x123.
MESSAGE = bytes.fromhex("AFCD000711111111DEADBEEF03E8000700012309D45928503C14019004000003")


def test_a_message_is_folded_per_train() -> None:
    assert is_alone(MESSAGE)
    trains: deque[Sent] = deque([(990, 10, 0.5, 100, 50), (1000, 4, 1.0, 100, 60), (1004, 5, 2.0, 200, 80)])
    samples = ArrivalFolder().fold(MESSAGE, 1009, trains)
    assert samples == [
        (1.0, -1.0, 100),
        (1.0, pytest.approx(18.669), 260),
        (2.0, pytest.approx(18.775), 600),
    ]
    assert list(trains) == [(1007, 2, 2.0, 200, 80)]


def test_the_last_packet_of_a_train_has_its_own_size() -> None:
    body = pack_body(5, [(5, 64_000), (6, 65_000)], feedback_count=0, status_count=3)
    trains: deque[Sent] = deque([(5, 3, 1.0, 1000, 10)])
    assert ArrivalFolder().fold(pack_packet(1, 2, body), 8, trains) == [
        (1.0, -1.0, 10),
        (1.0, pytest.approx(0.065), 2000),
    ]


@given(
    st.integers(0, 200_000),
    st.lists(st.tuples(st.integers(1, 12), st.booleans()), min_size=1, max_size=40),
    st.data(),
)
def test_it_agrees_with_the_complete_reader(
    base: int, shape: list[tuple[int, bool]], data: st.DataObject
) -> None:
    total = sum(count for count, _ in shape)
    got = data.draw(st.lists(st.booleans(), min_size=total, max_size=total))
    time = 1_000_000
    arrivals = []
    for index, arrived in enumerate(got):
        time += data.draw(st.sampled_from([0, 250, 5_000, 63_750, 64_000, 900_000, -2_000]))
        if arrived:
            arrivals.append((base + index, time))
    if not arrivals:
        return
    trains: deque[Sent] = deque()
    at = base
    for number, (count, _) in enumerate(shape):
        trains.append((at, count, float(number), 1000, 10))
        at += count
    packet = pack_packet(1, 2, pack_body(base, arrivals, feedback_count=3))
    samples = ArrivalFolder().fold(packet, at, trains.copy())
    feedback = TransportFeedback.parse_body(1, 2, packet[12:])
    reported = dict(feedback.arrivals)
    expected = []
    for first, count, sent, segment, last in trains:
        covered = [number for number in range(first, first + count) if number < base + feedback.status_count]
        sizes = {number: last if number == first + count - 1 else segment for number in covered}
        lost = [number for number in covered if number & 0xFFFF not in reported]
        there = [number for number in covered if number & 0xFFFF in reported]
        if lost:
            expected.append((sent, -1.0, sum(sizes[number] for number in lost)))
        if there:
            arrival = reported[there[-1] & 0xFFFF] * 1e-6
            expected.append((sent, arrival, sum(sizes[number] for number in there)))
    assert [(sent, size) for sent, _, size in samples] == [(sent, size) for sent, _, size in expected]
    assert [arrival for _, arrival, _ in samples] == pytest.approx([arrival for _, arrival, _ in expected])


def test_the_peers_clock_does_not_wrap() -> None:
    folder = ArrivalFolder()

    def arrival(sequence: int, reference: int) -> float:
        body = bytearray(pack_body(sequence, [(sequence, 0)], feedback_count=0))
        body[4:7] = (reference & 0xFFFFFF).to_bytes(3, "big")
        trains: deque[Sent] = deque([(sequence, 1, 0.0, 10, 10)])
        return folder.fold(pack_packet(1, 2, bytes(body)), sequence + 1, trains)[0][1]

    assert arrival(1, 0xFFFFFF) == pytest.approx(0xFFFFFF * 0.064)
    assert arrival(2, 1) == pytest.approx(0x1000001 * 0.064)
    assert arrival(3, 0xFFFFFE) == pytest.approx(0xFFFFFE * 0.064)  # late
    assert arrival(4, 5) == pytest.approx(0x1000005 * 0.064)


@given(st.binary(max_size=200))
def test_nothing_but_packet_errors(tail: bytes) -> None:
    trains: deque[Sent] = deque([(0, 5, 0.0, 10, 10)])
    before = trains.copy()
    try:
        ArrivalFolder().fold(b"\x8f\xcd\0\0" + tail, 5, trains)
    except PacketError:
        assert trains == before


def _said(first: int, arrivals: list[int]) -> bytes:
    """Feedback about numbers from `first` on that arrived at these us."""
    numbered = [(first + index, time) for index, time in enumerate(arrivals)]
    return pack_packet(1, 2, pack_body(first, numbered, feedback_count=0))


def test_after_a_calm_message_the_next_is_one_sample() -> None:
    folder = ArrivalFolder()
    trains: deque[Sent] = deque([(0, 2, 1.0, 100, 50), (2, 2, 1.05, 100, 60)])
    assert len(folder.fold(_said(0, [1_000_000, 1_001_000, 1_050_000, 1_051_000]), 4, trains)) == 2
    assert folder.calm
    trains = deque([(4, 2, 1.1, 100, 50), (6, 4, 1.15, 100, 60)])
    samples = folder.fold(_said(4, [1_100_000, 1_101_000, 1_150_000, 1_151_000]), 10, trains)
    assert samples == [(1.15, pytest.approx(1.151), 350)]
    assert list(trains) == [(8, 2, 1.15, 100, 60)]
    assert folder.calm


def test_a_queue_ends_the_calm_and_the_next_message_is_told_train_by_train() -> None:
    folder = ArrivalFolder()
    for number, delay in enumerate((0, 0, 20_000, 40_000)):
        sent = 1.0 + 0.1 * number
        trains: deque[Sent] = deque([(2 * number, 1, sent, 100, 100), (2 * number + 1, 1, sent, 100, 100)])
        arrival = round(sent * 1e6) + delay
        samples = folder.fold(_said(2 * number, [arrival, arrival]), 2 * number + 2, trains)
        assert folder.calm == (number < 2)
        assert len(samples) == (2 if number in {0, 3} else 1)


def test_what_is_missing_ends_the_calm_at_once() -> None:
    folder = ArrivalFolder()
    folder.fold(_said(0, [1_000_000]), 1, deque([(0, 1, 1.0, 100, 100)]))
    assert folder.calm
    lossy = pack_packet(1, 2, pack_body(1, [(1, 1_100_000), (3, 1_100_000)], feedback_count=0))
    trains: deque[Sent] = deque([(1, 2, 1.1, 100, 100), (3, 1, 1.1, 100, 100)])
    assert [arrival < 0 for _, arrival, _ in folder.fold(lossy, 4, trains)] == [True, False, False]
    assert not folder.calm


def test_a_message_that_does_not_go_on_where_the_last_one_ended_is_not_calm() -> None:
    folder = ArrivalFolder()
    folder.fold(_said(0, [1_000_000]), 1, deque([(0, 1, 1.0, 100, 100)]))
    trains: deque[Sent] = deque([(1, 1, 1.1, 100, 100), (2, 1, 1.1, 100, 100)])
    assert len(folder.fold(_said(2, [1_100_000]), 3, trains)) == 1
    assert not folder.calm


def test_how_far_apart_a_train_arrived_is_known_calm_or_not() -> None:
    folder = ArrivalFolder()
    for number, apart in enumerate((5_000, 5_000, 1_000, 1_000, 1_000)):
        at = round((1.0 + 0.1 * number) * 1e6)
        trains: deque[Sent] = deque([(3 * number, 3, 1.0 + 0.1 * number, 1_000, 500)])
        folder.fold(_said(3 * number, [at, at + apart // 2, at + apart]), 3 * number + 3, trains)
        assert folder.calm
        assert folder.dispersion.burst == 1_500 * 20_000 // (1_000 if number == 4 else 5_000)
    lossy = pack_packet(1, 2, pack_body(15, [(15, 2_000_000), (17, 2_000_000)], feedback_count=0))
    folder.fold(lossy, 18, deque([(15, 3, 2.0, 1_000, 500)]))
    assert folder.dispersion.burst == 30_000  # a torn train tells nothing
