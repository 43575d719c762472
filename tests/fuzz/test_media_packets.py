"""64 KiB of anything against the clock."""

from __future__ import annotations

import functools
import random

import pytest

from fuzz.media_packets import TARGETS
from support.timing import quickest

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
