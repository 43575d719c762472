"""Drives the description targets: texts at random, and real offers with lines and characters damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.descriptions import TARGETS


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """A well-formed input with lines taken out, doubled or swapped, and some bytes changed."""
    lines = draw(st.sampled_from(seeds)).splitlines(keepends=True)
    for _ in range(draw(st.integers(0, 3))):
        at, to = draw(st.integers(0, len(lines))), draw(st.integers(0, len(lines)))
        change = draw(st.sampled_from(["cut", "double", "move"]))
        piece = lines[at : at + draw(st.integers(1, 4))]
        if change != "double":
            del lines[at : at + len(piece)]
        if change != "cut":
            lines[to:to] = piece
    data = bytearray(b"".join(lines))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(
            st.binary(max_size=6) | st.sampled_from([b"0", b" ", b"\r\n"])
        )
    return bytes(data)


def drive(name: str, data: st.DataObject) -> None:
    target, seeds = TARGETS[name]
    target(data.draw(damaged(seeds) | st.binary(max_size=200)))


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
