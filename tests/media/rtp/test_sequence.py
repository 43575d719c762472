from hypothesis import given
from hypothesis import strategies as st

from media.rtp.sequence import (
    ExtendedSequence,
    TimestampUnwrapper,
    Unwrapper,
    add16,
    add32,
    difference16,
    difference32,
    is_newer16,
    is_newer32,
)

sequences = st.integers(0, 65535)
timestamps = st.integers(0, 2**32 - 1)


def test_distances_across_the_wrap() -> None:
    assert difference16(2, 65534) == 4
    assert difference16(65534, 2) == -4
    assert difference16(32767, 0) == 32767
    assert difference16(32768, 0) == -32768
    assert difference32(5, 4294967290) == 11
    assert difference32(4294967290, 5) == -11
    assert add16(65535, 1) == 0
    assert add16(0, -1) == 65535
    assert add32(4294967295, 2) == 1
    assert add32(0, -1) == 4294967295


@given(sequences, st.integers(-32768, 32767))
def test_difference16_undoes_add16(sequence: int, amount: int) -> None:
    assert difference16(add16(sequence, amount), sequence) == amount


@given(timestamps, st.integers(-(2**31), 2**31 - 1))
def test_difference32_undoes_add32(timestamp: int, amount: int) -> None:
    assert difference32(add32(timestamp, amount), timestamp) == amount


@given(sequences, sequences)
def test_newer_is_never_both_ways(a: int, b: int) -> None:
    assert not (is_newer16(a, b) and is_newer16(b, a))
    if a != b and (a - b) % 65536 != 32768:
        assert is_newer16(a, b) != is_newer16(b, a)


def test_newer_literals() -> None:
    assert is_newer16(0, 65535)
    assert not is_newer16(65535, 0)
    assert not is_newer16(7, 7)
    assert is_newer32(0, 4294967295)
    assert not is_newer32(2**31, 0)


def test_unwrapping_through_wraps_and_reordering() -> None:
    assert ExtendedSequence().highest is None
    unwrapper = ExtendedSequence()
    arrivals = [65533, 65535, 65534, 1, 0, 65532, 2]
    assert [unwrapper.unwrap(s) for s in arrivals] == [65533, 65535, 65534, 65537, 65536, 65532, 65538]
    assert unwrapper.highest == 65538
    assert unwrapper.peek(1) == 65537
    assert unwrapper.highest == 65538
    unwrapper.reset()
    assert unwrapper.unwrap(40000) == 40000


def test_a_value_before_the_first_is_negative_and_right_modulo() -> None:
    unwrapper = ExtendedSequence()
    assert unwrapper.unwrap(1) == 1
    assert unwrapper.unwrap(65535) == -1
    assert unwrapper.highest == 1


def test_timestamp_wrap() -> None:
    unwrapper = TimestampUnwrapper()
    assert unwrapper.unwrap(4294966000) == 4294966000
    assert unwrapper.unwrap(704) == 4294968000
    assert unwrapper.unwrap(4294967000) == 4294967000


def test_twenty_four_bits() -> None:
    unwrapper = Unwrapper(24)
    assert unwrapper.unwrap(0xFFFFFF) == 16777215
    assert unwrapper.unwrap(3) == 16777219


@given(st.integers(0, 65535), st.lists(st.integers(-30000, 30000), max_size=200))
def test_unwrapping_follows_any_walk_of_small_steps(start: int, steps: list[int]) -> None:
    unwrapper = ExtendedSequence()
    highest = start
    assert unwrapper.unwrap(start) == start
    for step in steps:
        true = highest + step
        assert unwrapper.unwrap(true & 0xFFFF) == true
        highest = max(highest, true)
    assert unwrapper.highest == highest
