import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import BadField, PacketError, Truncated
from media.rtp.twcc import TransportFeedback, TwccReceiver, pack_body, pack_packet
from support.timing import quickest

VECTOR_CHUNK = bytes.fromhex(
    "AFCD0007 11111111 DEADBEEF 03E80007 00012309 D459 28503C14019004 000003".replace(" ", "")
)
RUN_LENGTH = bytes.fromhex(
    "AFCD000A 11111111 DEADBEEF 07D00014 0001240A 2014".replace(" ", "") + "14" * 20 + "0002"
)


def parse(packet: bytes) -> TransportFeedback:
    padding = packet[-1] if packet[0] & 0x20 else 0
    return TransportFeedback.parse_body(0x11111111, 0xDEADBEEF, packet[12 : len(packet) - padding])


def test_vector_with_a_loss_and_a_large_delta() -> None:
    feedback = parse(VECTOR_CHUNK)
    assert feedback == TransportFeedback(
        sender_ssrc=0x11111111,
        media_ssrc=0xDEADBEEF,
        base_sequence=1000,
        status_count=7,
        reference_time=291,
        feedback_count=9,
        arrivals=(
            (1000, 18_634_000),
            (1001, 18_654_000),
            (1003, 18_669_000),
            (1004, 18_674_000),
            (1005, 18_774_000),
            (1006, 18_775_000),
        ),
    )
    assert feedback.to_bytes() == VECTOR_CHUNK


def test_vector_run_length() -> None:
    feedback = parse(RUN_LENGTH)
    assert feedback.status_count == 20
    assert feedback.feedback_count == 10
    assert feedback.arrivals[0] == (2000, 292 * 64_000 + 5_000)
    assert feedback.arrivals[19] == (2019, 292 * 64_000 + 100_000)
    assert feedback.to_bytes() == RUN_LENGTH


def test_one_bit_vector_chunk() -> None:
    # 14 one-bit symbols, 10 of which count: 1 0 1 1 0 0 0 0 0 1 | the rest is past the count.
    body = bytes.fromhex("0001000A00000000" + "AC1F" + "01020304")
    feedback = TransportFeedback.parse_body(1, 2, body)
    assert feedback.arrivals == ((1, 250), (3, 750), (4, 1500), (10, 2500))


def test_chunk_past_the_count_is_cut_at_the_count() -> None:
    feedback = TransportFeedback.parse_body(1, 2, bytes.fromhex("00010002000000003FFF0102"))
    assert feedback.arrivals == ((1, 250), (2, 750))


def test_negative_reference_and_negative_delta() -> None:
    body = bytes.fromhex("FFFF0002FFFFFF00D900FFFC02")
    feedback = TransportFeedback.parse_body(1, 2, body)
    assert feedback.reference_time == -1
    assert feedback.arrivals == ((65535, -250), (0, -255_750))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", Truncated),
        ("00010001000000", Truncated),
        ("0001000100000000", Truncated),  # no chunk
        ("000100010000000020", Truncated),
        ("00010000000000002001", BadField),  # speaks of no packet
        ("00010001000000002001", Truncated),  # no delta
        ("0001000100000000400100", Truncated),  # half a large delta
        ("00010001000000006001", BadField),  # reserved symbol in a run
        ("0001000100000000F000", BadField),  # reserved symbol in a vector
        ("0001FFFF000000003FFF3FFF3FFF", Truncated),  # more packets than bytes
        ("00010010000000002002", Truncated),  # chunks end before the count
    ],
)
def test_broken_bodies(body: str, error: type[PacketError]) -> None:
    with pytest.raises(error):
        TransportFeedback.parse_body(1, 2, bytes.fromhex(body))


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(BadField):
        pack_body(0, [], feedback_count=0)
    with pytest.raises(BadField):
        pack_body(0, [(5, 0), (5, 0)], feedback_count=0)
    with pytest.raises(BadField):
        pack_body(5, [(4, 0)], feedback_count=0)
    with pytest.raises(BadField):
        pack_body(0, [(0, 0), (65535, 0)], feedback_count=0)
    with pytest.raises(BadField):
        pack_body(0, [(0, 0), (1, 8_192_001)], feedback_count=0)


def test_sparse_arrivals_use_run_lengths() -> None:
    body = pack_body(10, [(10, 64_000), (20_010, 64_250)], feedback_count=255)
    assert body.hex() == "000a4e21000001ffa0001fff1fff0e1420010001"
    feedback = TransportFeedback.parse_body(1, 2, body)
    assert feedback.arrivals == ((10, 64_000), (20_010, 64_250))


@st.composite
def arrival_lists(draw: st.DrawFn) -> tuple[int, list[tuple[int, int]]]:
    base = draw(st.integers(0, 0xFFFF))
    steps = draw(
        st.lists(st.tuples(st.integers(0, 20) | st.integers(0, 300), st.integers(-32768, 32767)), min_size=1)
    )
    arrivals = []
    sequence = base - 1
    ticks = draw(st.integers(0, 2**40))
    for gap, delta in steps:
        sequence += 1 + gap
        ticks = max(0, ticks + delta)
        arrivals.append((sequence, ticks * 250))
    return base, arrivals


@given(arrival_lists(), st.integers(0, 255))
def test_roundtrip(case: tuple[int, list[tuple[int, int]]], count: int) -> None:
    base, arrivals = case
    body = pack_body(base, arrivals, feedback_count=count)
    feedback = TransportFeedback.parse_body(7, 8, body)
    assert feedback.feedback_count == count
    assert [s for s, _ in feedback.arrivals] == [s & 0xFFFF for s, _ in arrivals]
    wrap = 2**24 * 64_000
    for (_, got), (_, sent) in zip(feedback.arrivals, arrivals, strict=True):
        assert (got - sent) % wrap == 0
    packet = pack_packet(7, 8, body)
    assert len(packet) % 4 == 0
    assert parse(packet).arrivals == feedback.arrivals
    assert parse(feedback.to_bytes()).arrivals == feedback.arrivals


@given(st.binary(max_size=80))
def test_any_bytes_give_feedback_or_a_packet_error(body: bytes) -> None:
    try:
        feedback = TransportFeedback.parse_body(1, 2, body)
    except PacketError:
        return
    assert len(feedback.arrivals) <= len(body)
    assert parse(feedback.to_bytes()).arrivals == feedback.arrivals


@pytest.mark.parametrize("chunk", ["1fff", "2001", "8001", "c001", "bfff", "d555"])
def test_the_largest_body_is_read_quickly(chunk: str) -> None:
    body = bytes.fromhex("0001FFFF00000000" + chunk * 20_000) + bytes(25_000)
    assert quickest(lambda: TransportFeedback.parse_body(1, 2, body)) < 0.2  # 4 x the promise of 50 ms


# ------------------------------------------------------------------ receiver


def drain(receiver: TwccReceiver, now: float) -> list[TransportFeedback]:
    messages = []
    while (body := receiver.feedback(now)) is not None:
        assert len(body) <= 1150
        messages.append(TransportFeedback.parse_body(1, 2, body))
    return messages


def test_the_first_arrival_is_reported_at_once_and_then_every_interval() -> None:
    assert TwccReceiver().next_deadline is None
    receiver = TwccReceiver(interval=0.1)
    assert receiver.feedback(1.0) is None
    receiver.record(500, 1_000_000)
    assert receiver.next_deadline == 0.0
    (first,) = drain(receiver, 1.0)
    assert (first.base_sequence, first.status_count, first.feedback_count) == (500, 1, 0)
    receiver.record(501, 1_020_000)
    receiver.record(503, 1_040_000)
    assert receiver.feedback(1.05) is None
    assert receiver.next_deadline == pytest.approx(1.1)
    (second,) = drain(receiver, 1.1)
    assert (second.base_sequence, second.status_count, second.feedback_count) == (501, 3, 1)
    assert second.arrivals == ((501, 1_020_000), (503, 1_040_000))
    assert drain(receiver, 2.0) == []


def test_more_than_fifty_waiting_are_reported_before_the_interval() -> None:
    receiver = TwccReceiver(interval=0.1, threshold=50)
    receiver.record(0, 0)
    drain(receiver, 0.0)
    for sequence in range(1, 51):
        receiver.record(sequence, sequence * 100)
    assert receiver.feedback(0.01) is None
    receiver.record(51, 5_100)
    (message,) = drain(receiver, 0.01)
    assert message.status_count == 51


def test_a_late_packet_is_reported_again_with_what_followed_it() -> None:
    receiver = TwccReceiver(interval=0.1)
    for sequence in (65534, 0, 1):
        receiver.record(sequence, 10_000 + sequence)
    (first,) = drain(receiver, 0.0)
    assert [s for s, _ in first.arrivals] == [65534, 0, 1]
    assert first.status_count == 4
    receiver.record(65535, 110_000)
    (second,) = drain(receiver, 0.1)
    assert second.base_sequence == 65535
    assert [s for s, _ in second.arrivals] == [65535, 0, 1]


def test_what_is_older_than_the_memory_is_not_reported_again() -> None:
    receiver = TwccReceiver(interval=0.1, memory=0.5)
    receiver.record(10, 0)
    receiver.record(12, 1_000)
    drain(receiver, 0.0)
    receiver.record(13, 900_000)
    drain(receiver, 0.9)
    receiver.record(11, 910_000)
    assert drain(receiver, 1.1) == []
    assert receiver.statistics().too_late == 1


def test_duplicates_keep_the_first_arrival() -> None:
    receiver = TwccReceiver()
    receiver.record(5, 1_000)
    receiver.record(5, 9_000)
    (message,) = drain(receiver, 0.0)
    assert message.arrivals == ((5, 1_000),)
    assert receiver.statistics().duplicates == 1


def test_a_pause_longer_than_a_delta_splits_the_message() -> None:
    receiver = TwccReceiver()
    receiver.record(1, 0)
    receiver.record(2, 20_000_000)
    first, second = drain(receiver, 20.0)
    assert first.arrivals == ((1, 0),)
    assert second.arrivals == ((2, 20_000_000),)
    assert (second.base_sequence, second.feedback_count) == (2, 1)


def test_a_counter_that_starts_anew_is_followed_after_sixteen_packets() -> None:
    receiver = TwccReceiver()
    receiver.record(30_000, 0)
    drain(receiver, 0.0)
    for sequence in range(100, 120):
        receiver.record(sequence, 1_000_000)
    (message,) = drain(receiver, 1.0)
    assert message.base_sequence == 115
    assert message.status_count == 5
    assert receiver.statistics().restarts == 1
    assert receiver.statistics().too_late == 15


def test_memory_is_bounded_when_nobody_asks() -> None:
    receiver = TwccReceiver(capacity=400)
    for sequence in range(10_000):
        receiver.record(sequence & 0xFFFF, sequence * 10)
    statistics = receiver.statistics()
    assert statistics.waiting <= 400
    assert statistics.dropped + statistics.waiting == 10_000
    messages = drain(receiver, 1.0)
    assert sum(len(m.arrivals) for m in messages) == statistics.waiting
    assert messages[-1].arrivals[-1][0] == 9_999


def test_hostile_jumps_stay_within_the_size_of_a_datagram() -> None:
    receiver = TwccReceiver(threshold=10_000)
    sequence = 0
    for step in range(600):
        sequence = (sequence + 32_000) & 0xFFFF
        receiver.record(sequence, step * 1_000)
    messages = drain(receiver, 0.6)
    assert sum(len(m.arrivals) for m in messages) == 600


def test_every_arrival_is_reported_exactly_through_loss_and_reordering() -> None:
    rng = random.Random(4)
    receiver = TwccReceiver(interval=0.1)
    arrivals: list[tuple[float, int]] = []
    for sequence in range(60_000, 72_000):
        if rng.random() > 0.05:
            arrivals.append((sequence * 0.001 + rng.random() * 0.02, sequence))
    arrivals.sort()
    reported: dict[int, int] = {}
    counts = []
    now = 0.0
    for now, sequence in arrivals:
        receiver.record(sequence & 0xFFFF, round(now * 1e6))
        for message in drain(receiver, now):
            counts.append(message.feedback_count)
            reported.update(message.arrivals)
    for message in drain(receiver, now + 1):
        reported.update(message.arrivals)
        counts.append(message.feedback_count)
    assert len(reported) == len(arrivals)
    assert counts == [i & 0xFF for i in range(len(counts))]
    for arrival, sequence in arrivals:
        assert abs(reported[sequence & 0xFFFF] - round(arrival * 1e6)) <= 125
