"""Numbers of sinks and layers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.relay.rewrite import NumberLine, Stretch, StretchLog, extended_out, squeeze, timestamp_step


def test_padding_closes_gaps_and_losses_do_not() -> None:
    line = NumberLine()
    assert line.number(line.extend(65_534)) == 65_534
    assert line.close(line.extend(65_535))
    assert line.close(line.extend(0))
    assert line.number(line.extend(2)) == 65_536  # 1 is missing
    assert line.number(line.extend(1)) == 65_535
    assert line.number(line.extend(65_534)) == 65_534
    assert not line.close(line.extend(1))
    assert line.number(line.extend(3)) == 65_537


@given(st.lists(st.sampled_from("mpl"), min_size=1, max_size=60), st.integers(0, 65_535))
def test_media_packets_are_numbered_without_the_padding(kinds: list[str], start: int) -> None:
    line = NumberLine()
    numbers = []
    for index, kind in enumerate(kinds):
        raw = line.extend((start + index) & 0xFFFF)
        if kind == "m":
            numbers.append((raw, line.number(raw)))
        elif kind == "p":
            line.close(raw)
    padding = [start + index for index, kind in enumerate(kinds) if kind == "p"]
    for raw, number in numbers:
        assert number == raw - sum(closed < raw for closed in padding)
        assert line.number(raw) == number


def test_a_stretch_log_finds_both_ways() -> None:
    log = StretchLog()
    log.append(Stretch(1, 100, 1000, 0))
    dropped = Stretch(1, 100, 1000, 7).after_drop(110, 1005)
    log.append(dropped)
    log.append(Stretch(2, 500, 1020, 0))
    assert log.by_out(999) is None
    found = log.by_out(1004)
    assert found is not None
    assert (found.layer, 1004 - found.offset) == (1, 104)
    found = log.by_out(1005)
    assert found is not None
    assert 1005 - found.offset == 110
    found = log.by_out(5000)
    assert found is not None
    assert found.layer == 2
    assert log.by_number(1, 104) is None  # before the switch
    assert log.by_number(2, 499) is None
    found = log.by_number(2, 500)
    assert found is not None
    assert found.first_out == 1020


def test_late_packets_find_the_place_before_a_drop_but_not_inside_it() -> None:
    log = StretchLog()
    first = Stretch(1, 100, 1000, 0)
    log.append(first)
    log.append(first.after_drop(110, 1005))
    assert log.by_number(1, 104) is first
    assert log.by_number(1, 105) is None
    assert log.by_number(1, 109) is None
    found = log.by_number(1, 111)
    assert found is not None
    assert 111 + found.offset == 1006


def test_an_unused_stretch_is_replaced() -> None:
    log = StretchLog()
    log.append(Stretch(1, 100, 1000, 0))
    log.append(Stretch(2, 7, 1000, 0))
    found = log.by_out(1000)
    assert found is not None
    assert found.layer == 2
    assert log.by_number(1, 100) is None


def test_sixteen_bits_mean_the_nearest_number() -> None:
    assert extended_out(65_535, 70_000) == 65_535
    assert extended_out(4_463, 70_000) == 69_999
    assert extended_out(4_465, 70_000) == 70_001
    assert extended_out(0, 65_530) == 65_536


def test_time_goes_on_at_a_switch() -> None:
    assert timestamp_step(90_000, 0.1, None) == 9_000
    assert timestamp_step(90_000, 0.1, 0.033) == 2_970
    assert timestamp_step(90_000, 0.1, -0.5) == 1
    assert timestamp_step(90_000, 0.1, 5.0) == 9_000
    assert timestamp_step(90_000, -3.0, None) == 1


def test_squeezed_frames_end_at_the_present() -> None:
    assert squeeze([10, 20, 30], 5, 100) == {10: 0xFFFFFFFF - 194, 20: 0xFFFFFFFF - 94, 30: 5}
