"""Drives the media packet targets: bytes at random, well-formed ones damaged, and 64 KiB against the clock."""

import functools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.media_packets import TARGETS
from support.timing import quickest


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A well-formed input with some bytes changed, a piece cut out or put in."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        change = draw(st.sampled_from(["set", "insert", "cut", "end"]))
        if change == "set" and at < len(data):
            data[at] = draw(st.integers(0, 255) | st.sampled_from([0, 1, 0x7F, 0x80, 0xFE, 0xFF]))
        elif change == "insert":
            data[at:at] = draw(st.binary(max_size=8))
        elif change == "cut":
            del data[at : at + draw(st.integers(1, 8))]
        else:
            del data[at:]
    return bytes(data)


def drive(name: str, data: st.DataObject) -> None:
    target, seeds = TARGETS[name]
    target(data.draw(damaged(seeds) | st.binary(max_size=120)))


@pytest.mark.parametrize("name", TARGETS)
def test_seeds(name: str) -> None:
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_targets(name: str, data: st.DataObject) -> None:
    drive(name, data)


@pytest.mark.long
@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data())
def test_targets_for_minutes(name: str, data: st.DataObject) -> None:
    drive(name, data)


# What the target does beside parsing (building again, running a state machine per packet) is not under the clock.
TIMED = [name for name in TARGETS if name not in ("twcc_receiver", "losses", "h264_access_unit")]


@pytest.mark.parametrize("name", TIMED)
def test_sixty_four_kilobytes_in_no_time(name: str) -> None:
    target, seeds = TARGETS[name]
    rng = random.Random(64)
    inputs = [rng.randbytes(65_000), bytes(65_000), b"\xff" * 65_000]
    inputs += [(seed * (65_000 // len(seed) + 1))[:65_000] for seed in seeds]
    inputs += [seed + rng.randbytes(64_000) for seed in seeds]
    for data in inputs:
        took = quickest(functools.partial(target, data))
        assert took < 0.4  # parsed and built again: 2 x 4 x the promise of 50 ms
