"""The record format of taps and injections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.messages import Codec
from media.relay.taps import KEY_FRAME, MARKER, PACKET, Record, RecordError, parse_batch

EXAMPLE = Record(
    kind=PACKET,
    flags=MARKER | KEY_FRAME,
    layer=2,
    codec=Codec.H264,
    source=7,
    sequence=70_000,
    timestamp=0x01020304,
    time_ns=5,
    payload=b"ab",
)


def test_the_bytes() -> None:
    assert EXAMPLE.to_bytes() == bytes.fromhex(
        "01030202000000070000000000011170010203040000000000000005000200006162"
    )
    assert parse_batch(EXAMPLE.to_bytes() * 3) == [EXAMPLE] * 3


@pytest.mark.parametrize("data", [EXAMPLE.to_bytes()[:-1], b"\x01", b"\x09" + bytes(31), b"\x01" + bytes(31)])
def test_what_is_not_whole_is_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        parse_batch(data)


@given(st.binary(max_size=200))
def test_nothing_but_record_errors(data: bytes) -> None:
    try:
        parse_batch(data)
    except RecordError:
        return
