"""A voice put in order: losses, redundancy, lateness, gaps, clocks that jump; and packets from nowhere."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.egress.timeline import Frame, Timeline
from media.relay.messages import Codec
from media.rtp import opus
from media.rtp.red import RedBlock, wrap

STEP = 960
TOC = 0xF8


def payload(number: int) -> bytes:
    return bytes([TOC]) + number.to_bytes(4, "big")


class Voice:
    """A timeline, and what it let go."""

    def __init__(self, start: int = 0) -> None:
        self.counters = Counter[str]()
        self.timeline = Timeline(self.counters)
        self.frames: list[Frame] = []
        self.start = start

    def come(self, number: int, now: float | None = None, *, red: int = 0, codec: Codec = Codec.OPUS) -> None:
        """Packet `number` of a sender that sends 50 a second, at the right moment or `now`."""
        made = payload(number)
        if red:
            before = [
                RedBlock(payload_type=111, payload=payload(number - back), timestamp_offset=back * STEP)
                for back in range(min(red, number), 0, -1)
            ]
            made, codec = wrap(RedBlock(payload_type=111, payload=made), before), Codec.RED
        timestamp = (self.start + number * STEP) & 0xFFFFFFFF
        self.frames += self.timeline.take(codec, timestamp, made, 0.02 * number if now is None else now)

    def end(self) -> list[int]:
        """Numbers in the file, -1 for what was filled in; each of 20 ms."""
        self.frames += self.timeline.rest()
        told = []
        for frame in self.frames:
            real = frame.payload[0] == TOC and len(frame.payload) == 5
            told += [int.from_bytes(frame.payload[1:], "big") if real else -1] * (frame.samples // STEP)
            assert opus.parse(frame.payload).samples == frame.samples
        return told


def test_in_order() -> None:
    voice = Voice()
    for number in range(20):
        voice.come(number)
        assert len(voice.frames) == (number + 1 if number >= 5 else 0)  # only the beginning is waited for
    assert voice.end() == list(range(20))
    assert voice.counters == {}


@pytest.mark.parametrize("start", [0, 0xFFFF_FFFF, 0xFFFF_F000, 0x7FFF_FF00])
def test_time_stamps_wrap(start: int) -> None:
    voice = Voice(start)
    for number in range(30):
        voice.come(number)
    assert voice.end() == list(range(30))


def test_overtaken_ones_come_in_their_place() -> None:
    voice = Voice()
    for number in (1, 0, 2, 5, 3, 4, 6, 9, 8, 7, 10):
        voice.come(number, 0.02 * max(number, 0))
    assert voice.end() == list(range(11))


def test_what_comes_too_late_is_silence_and_counted() -> None:
    voice = Voice()
    for number in (*range(10), *range(12, 30)):
        voice.come(number)
    voice.come(10, 0.6)
    assert voice.end() == [*range(10), -1, -1, *range(12, 30)]
    assert voice.counters == {"recorder_filled": 1, "recorder_late": 1}
    filled = voice.frames[10:12]
    assert filled == [Frame(bytes([TOC]), STEP)] * 2  # short: the decoder makes it up


def test_a_long_gap_is_coded_silence_as_long_as_it_was() -> None:
    voice = Voice()
    for number in (*range(5), *range(105, 110)):
        voice.come(number)
    assert voice.end() == [*range(5), *[-1] * 100, *range(105, 110)]
    assert {frame.payload for frame in voice.frames[5:105]} == {b"\xf8\xff\xfe"}


def test_redundancy_fills_what_was_lost_and_nothing_comes_twice() -> None:
    voice = Voice()
    for number in (0, 1, 3, 4, 7, 8, 9):
        voice.come(number, red=2)
    assert voice.end() == list(range(10))
    assert voice.counters == {}


def test_redundancy_of_the_first_packet_is_from_before_the_recording() -> None:
    voice = Voice()
    for number in range(7, 12):
        voice.come(number, red=2)
    assert voice.end() == list(range(7, 12))


def test_a_sender_that_counts_anew_goes_on_where_it_was() -> None:
    voice = Voice()
    for number in range(50):
        voice.come(number)
    voice.start = 0x5000_0000
    for number in range(75, 100):  # half a second of nothing in between
        voice.come(number)
    told = voice.end()
    assert told == [*range(50), *[-1] * 25, *range(75, 100)]
    assert voice.counters["recorder_new_time"] == 1


def test_held_packets_that_come_in_a_burst_keep_their_time() -> None:
    voice = Voice()
    for number in range(75):  # 1.5 s within 0.3 s
        voice.come(number, 0.004 * number)
    for number in range(75, 150):
        voice.come(number, 0.3 + 0.016 * (number - 75))
    assert voice.end() == list(range(150))


def test_what_is_no_opus_is_counted() -> None:
    voice = Voice()
    voice.come(0)
    voice.come(1, codec=Codec.PCMU)
    voice.frames += voice.timeline.take(Codec.OPUS, 960, b"", 0.02)
    voice.frames += voice.timeline.take(Codec.OPUS, 960, b"\x03\0", 0.02)
    voice.frames += voice.timeline.take(Codec.RED, 960, b"\x80", 0.02)
    assert voice.end() == [0]
    assert voice.counters == {"recorder_codec": 1, "recorder_broken": 3}


@given(
    lost=st.sets(st.integers(1, 59)),
    delays=st.lists(st.floats(0.0, 0.08), min_size=60, max_size=60),
    red=st.integers(0, 2),
)
def test_whatever_the_network_does_within_the_window(lost: set[int], delays: list[float], red: int) -> None:
    voice = Voice(0xFFFF_8000)
    arrivals = sorted(
        (0.02 * number + (delays[number] if number else 0.0), number)
        for number in range(60)
        if number not in lost
    )
    for now, number in arrivals:
        voice.come(number, now, red=red)
    last = max(number for _, number in arrivals)
    saved = {number - back for _, number in arrivals for back in range(red + 1)}
    told = voice.end()
    assert len(told) == last + 1  # the file is as long as the voice was
    for number, got in enumerate(told):
        assert got in (number, -1)
    missing = [number for number, got in enumerate(told) if got < 0]
    assert not set(missing) & set(range(60)) - lost  # nothing that came is missing
    assert set(missing) >= set(range(last)) - saved


@given(
    packets=st.lists(
        st.tuples(
            st.sampled_from([Codec.OPUS, Codec.RED, Codec.PCMU]),
            st.integers(0, 0xFFFFFFFF) | st.integers(0, 200_000),
            st.binary(max_size=40),
            st.floats(0.0, 2.0),
        ),
        max_size=40,
    )
)
def test_anything_may_come(packets: list[tuple[Codec, int, bytes, float]]) -> None:
    timeline, now, samples = Timeline(Counter()), 0.0, 0
    for codec, timestamp, data, passed in packets:
        now += passed
        for frame in timeline.take(codec, timestamp, data, now):
            assert opus.parse(frame.payload).samples == frame.samples
            samples += frame.samples
    samples += sum(frame.samples for frame in timeline.rest())
    # No sender makes a file much longer than it took: 3 s is what its clock may differ by.
    assert samples <= (now + 7.0) * 48_000 + 48_000 * 0.12 * 3 * len(packets)
