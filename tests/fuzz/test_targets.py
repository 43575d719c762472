"""Drives the targets: inputs at random, and well-formed ones damaged: texts by the line, packets by the byte."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import descriptions, media_packets


@st.composite
def damaged_text(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
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


@st.composite
def damaged_packet(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
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


CASES = {
    **{
        name: (target, seeds, damaged_text(seeds) | st.binary(max_size=200))
        for name, (target, seeds) in descriptions.TARGETS.items()
    },
    **{
        name: (target, seeds, damaged_packet(seeds) | st.binary(max_size=120))
        for name, (target, seeds) in media_packets.TARGETS.items()
    },
}


def test_no_target_hides_another() -> None:
    assert len(CASES) == len(descriptions.TARGETS) + len(media_packets.TARGETS)


@pytest.mark.parametrize("name", CASES)
def test_seeds(name: str) -> None:
    target, seeds, _ = CASES[name]
    for seed in seeds:
        target(seed)


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_targets(name: str, data: st.DataObject) -> None:
    target, _, inputs = CASES[name]
    target(data.draw(inputs))


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_targets_for_minutes(name: str, data: st.DataObject) -> None:
    target, _, inputs = CASES[name]
    target(data.draw(inputs))
