import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp import ntp
from media.rtp.reception import ReceptionStatistics, round_trip_time
from media.rtp.rtcp import DlrrItem, ReportBlock


def test_nothing_to_say_before_the_first_packet() -> None:
    assert ReceptionStatistics(90_000).report_block(1, 0.0) is None


def test_losses_of_an_interval_and_in_total() -> None:
    statistics = ReceptionStatistics(48_000)
    for sequence in range(65_500, 65_600):
        if sequence % 4:
            statistics.received(sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, sequence * 0.02)
    block = statistics.report_block(7, 2_000.0)
    assert block is not None
    assert block.ssrc == 7
    assert block.highest_sequence == 65_599  # one cycle: 65536 + 63
    assert block.cumulative_lost == 24  # 65500 itself came before the first packet received
    assert block.fraction_lost == 62  # 24 of 99 in 1/256
    assert block.jitter == 0
    for sequence in range(65_600, 65_610):
        statistics.received(sequence & 0xFFFF, sequence * 960 & 0xFFFFFFFF, sequence * 0.02)
    block = statistics.report_block(7, 2_001.0)
    assert block is not None
    assert (block.fraction_lost, block.cumulative_lost) == (0, 24)


def test_duplicates_make_losses_negative_but_not_the_fraction() -> None:
    statistics = ReceptionStatistics(90_000)
    for sequence in (1, 2, 2, 2):
        statistics.received(sequence, 0, 0.0)
    block = statistics.report_block(1, 0.0)
    assert block is not None
    assert (block.cumulative_lost, block.fraction_lost) == (-2, 0)


def test_late_packets_count_as_received() -> None:
    statistics = ReceptionStatistics(90_000)
    for sequence in (10, 12, 11, 13):
        statistics.received(sequence, 0, 0.0)
    assert statistics.snapshot().lost == 0
    assert statistics.snapshot().highest_sequence == 13


def test_jitter_of_a_constant_alternation() -> None:
    # Every packet is 10 ms off in turn: |D| is always 10 ms = 480 ticks, J tends to it.
    statistics = ReceptionStatistics(48_000)
    for index in range(200):
        statistics.received(index, index * 960, index * 0.02 + (0.010 if index % 2 else 0.0))
    block = statistics.report_block(1, 10.0)
    assert block is not None
    assert 470 <= block.jitter <= 480
    assert statistics.snapshot().jitter == pytest.approx(0.010, rel=0.02)


def test_a_jump_needs_two_packets_in_sequence() -> None:
    statistics = ReceptionStatistics(90_000)
    for sequence in (1, 2, 3):
        statistics.received(sequence, 0, 0.0)
    statistics.received(30_000, 0, 0.0)
    assert statistics.snapshot().highest_sequence == 3
    statistics.received(4, 0, 0.0)
    assert statistics.snapshot().received == 4
    statistics.received(40_000, 0, 0.0)
    statistics.received(40_001, 0, 0.0)
    statistics.received(40_002, 0, 0.0)
    snapshot = statistics.snapshot()
    assert (snapshot.highest_sequence, snapshot.received, snapshot.lost, snapshot.restarts) == (
        40_002,
        2,
        0,
        1,
    )


def test_last_sender_report_and_its_age() -> None:
    statistics = ReceptionStatistics(90_000)
    statistics.received(1, 0, 0.0)
    block = statistics.report_block(1, 1.0)
    assert block is not None
    assert (block.last_sr, block.delay_since_last_sr) == (0, 0)
    statistics.sender_report(0x1234_5678_9ABC_DEF0, 10.0)
    block = statistics.report_block(1, 10.5)
    assert block is not None
    assert (block.last_sr, block.delay_since_last_sr) == (0x56789ABC, 32_768)


def test_round_trip_of_the_example_in_the_rfc() -> None:
    # RFC 3550 6.4.1, figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000 -> 6.125 s
    block = ReportBlock(ssrc=1, last_sr=0xB7052000, delay_since_last_sr=0x00054000)
    assert round_trip_time(block, 0x0000B71080000000) == 6.125
    assert (
        round_trip_time(DlrrItem(ssrc=1, last_rr=0xB7052000, delay=0x00054000), 0x0000B71080000000) == 6.125
    )


def test_no_round_trip_without_a_report_or_with_an_impossible_one() -> None:
    now = ntp.from_unix(1_700_000_000)
    assert round_trip_time(ReportBlock(ssrc=1), now) is None
    middle = ntp.middle32(now)
    assert round_trip_time(ReportBlock(ssrc=1, last_sr=middle, delay_since_last_sr=1), now) == 0.0
    assert round_trip_time(ReportBlock(ssrc=1, last_sr=middle, delay_since_last_sr=65_536), now) is None


def test_round_trip_across_the_wrap_of_the_middle_bits() -> None:
    block = ReportBlock(ssrc=1, last_sr=0xFFFF8000, delay_since_last_sr=0x4000)
    assert round_trip_time(block, 0x00000000_80000000) == 0.75


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 2**32 - 1), st.floats(0, 1e6)), min_size=1))
def test_any_input_gives_a_block_that_can_be_written(packets: list[tuple[int, int, float]]) -> None:
    statistics = ReceptionStatistics(90_000)
    for sequence, timestamp, now in packets:
        statistics.received(sequence, timestamp, now)
        block = statistics.report_block(1, now)
        assert block is not None
        assert len(block.to_bytes()) == 24
