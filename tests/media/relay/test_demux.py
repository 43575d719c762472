"""Bytes of strangers."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from media.relay import demux
from media.relay.demux import KINDS, RateTable, stun_ufrag
from media.rtp.packet import DatagramKind, classify

CHECK = bytes.fromhex(
    "000100482112A442000102030405060708090A0B00060009737276553A636C6955000000"
    "002400046E7F1EFF802A00080000000000000000002500000008001 4EF71940BEDF409AE"
    "3A54A881744A0D19FC72CCD980280004BA400112".replace(" ", "")
)


def test_the_left_name_of_a_browsers_check() -> None:
    assert stun_ufrag(CHECK) == "srvU"
    assert stun_ufrag(memoryview(CHECK)) == "srvU"
    assert stun_ufrag(CHECK[:-1]) is None
    assert stun_ufrag(CHECK[:4] + bytes(4) + CHECK[8:]) is None


@given(st.binary(max_size=120))
def test_no_bytes_raise(body: bytes) -> None:
    data = struct.pack(">HHI", 1, len(body) & 0xFFFC, 0x2112A442) + bytes(12) + body
    result = stun_ufrag(data)
    assert result is None or isinstance(result, str)
    assert stun_ufrag(body) is None or len(body) >= 20


def test_kinds_agree_with_the_reference() -> None:
    names = {demux.STUN: DatagramKind.STUN, demux.DTLS: DatagramKind.DTLS, demux.RTP: DatagramKind.RTP}
    for first in range(256):
        expected = classify(first)
        assert names.get(KINDS[first]) == (expected if expected in names.values() else None)


def test_a_rate_table_is_bounded_both_ways() -> None:
    table = RateTable(3, 2)
    assert [table.allow("a", 10.0) for _ in range(5)] == [True, True, True, False, False]
    assert table.allow("b", 10.5)
    assert not table.allow("c", 10.5)
    assert table.allow("c", 11.0)
    assert table.allow("a", 11.0)
