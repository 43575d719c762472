import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp import rtx
from media.rtp.errors import Truncated
from media.rtp.packet import RtpPacket

ORIGINAL = bytes.fromhex("80E0001100002328DEADBEEF010203")
REPAIR = bytes.fromhex("80E1000500002328CAFEBABE0011010203")


def test_vector_both_ways() -> None:
    original = RtpPacket.parse(ORIGINAL)
    repair = rtx.wrap(original, payload_type=97, ssrc=0xCAFEBABE, sequence=5)
    assert repair.to_bytes() == REPAIR
    assert rtx.unwrap(RtpPacket.parse(REPAIR), payload_type=96, ssrc=0xDEADBEEF) == original


def test_extensions_are_replaced_when_given_and_kept_otherwise() -> None:
    original = RtpPacket(payload_type=96, sequence=1, timestamp=2, ssrc=3, extensions={4: b"0", 10: b"q"})
    kept = rtx.wrap(original, payload_type=97, ssrc=9, sequence=7)
    assert kept.extensions == {4: b"0", 10: b"q"}
    replaced = rtx.wrap(original, payload_type=97, ssrc=9, sequence=7, extensions={4: b"0", 11: b"q"})
    assert replaced.extensions == {4: b"0", 11: b"q"}


def test_padding_is_not_repeated() -> None:
    original = RtpPacket(payload_type=96, sequence=1, timestamp=2, ssrc=3, payload=b"x", padding_size=9)
    assert rtx.wrap(original, payload_type=97, ssrc=9, sequence=7).padding_size == 0


def test_a_padding_only_probe_repairs_nothing() -> None:
    probe = RtpPacket.parse(bytes.fromhex("A061000100000000CAFEBABE") + bytes(254) + b"\xff")
    assert rtx.unwrap(probe, payload_type=96, ssrc=1) is None


def test_half_a_sequence_number() -> None:
    packet = RtpPacket(payload_type=97, sequence=1, timestamp=2, ssrc=3, payload=b"\x01")
    with pytest.raises(Truncated):
        rtx.unwrap(packet, payload_type=96, ssrc=1)


@given(st.integers(0, 65535), st.integers(0, 65535), st.binary(max_size=40), st.booleans())
def test_roundtrip(sequence: int, rtx_sequence: int, payload: bytes, marker: bool) -> None:
    original = RtpPacket(
        payload_type=96, sequence=sequence, timestamp=77, ssrc=5, payload=payload, marker=marker
    )
    repair = rtx.wrap(original, payload_type=97, ssrc=6, sequence=rtx_sequence)
    assert rtx.unwrap(repair, payload_type=96, ssrc=5) == original
