"""The two readers of header extensions, and what leaves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.relay.extensions import OutgoingLayout, absolute_send_time, scan
from media.relay.payloads import NO_PICTURE, vp8_picture
from media.rtp import vp8
from media.rtp.errors import PacketError
from media.rtp.packet import RtpPacket, parse_extensions

ALL = frozenset(range(1, 256))
ONE = bytes.fromhex("109422123456310102403000")
TWO = bytes.fromhex("140361626301019405000000")


def test_both_forms() -> None:
    assert scan(ONE, 0xBEDE, 0, 12, frozenset({1, 3, 4})) == {1: b"\x94", 3: b"\x01\x02", 4: b"0"}
    assert scan(TWO, 0x1000, 0, 12, ALL) == {20: b"abc", 1: b"\x94", 5: b""}
    assert scan(ONE, 0x1234, 0, 12, ALL) == {}


@given(st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=40), max_size=6))
def test_what_the_packet_writer_wrote_is_found(elements: dict[int, bytes]) -> None:
    data = RtpPacket(
        payload_type=0, sequence=0, timestamp=0, ssrc=0, extensions=elements, payload=b"x"
    ).to_bytes()
    if elements:
        profile = int.from_bytes(data[12:14], "big")
        assert scan(data, profile, 16, len(data) - 1, ALL) == elements


@given(st.binary(max_size=64), st.sampled_from([0xBEDE, 0x1000, 0x100F, 0]))
def test_it_agrees_with_the_complete_reader_on_whole_blocks(data: bytes, profile: int) -> None:
    found = scan(data, profile, 0, len(data), ALL)
    try:
        expected = dict(parse_extensions(profile, data))
    except PacketError:
        return
    assert found == {ident: value for ident, value in expected.items() if ident in found}
    assert set(expected) == set(found)


def test_the_layout_counts_its_bytes() -> None:
    layout = OutgoingLayout(mid_id=4, mid="12", transport_cc=3, send_time=2, slot_id=1)
    assert layout.prefix == b"\xbe\xde\0\2" + b"\x4112" + b"\x31"
    assert (layout.transport_sequence, layout.slot, layout.padding) == (True, 2, 0)
    timed = OutgoingLayout(mid_id=4, mid="0", transport_cc=0, send_time=2, slot_id=0)
    assert timed.prefix == b"\xbe\xde\0\2" + b"\x400" + b"\x22\0\0\0"
    assert (timed.send_time_at, timed.padding) == (7, 2)
    assert OutgoingLayout(mid_id=0, mid="0", transport_cc=0, send_time=0, slot_id=0).prefix == b""


def test_absolute_send_time() -> None:
    assert absolute_send_time(1234.5678) == bytes.fromhex("4A456D")


@given(st.binary(min_size=2, max_size=24))
def test_vp8_facts_agree_with_the_complete_reader(payload: bytes) -> None:
    picture = vp8_picture(payload)
    try:
        descriptor = vp8.parse_descriptor(payload)
    except PacketError:
        assert not picture.key
        return
    if picture is NO_PICTURE:
        return
    assert picture.key == vp8.is_key_frame_start(payload, descriptor)
    assert picture.discardable == descriptor.non_reference
    assert picture.bits == descriptor.picture_id_bits
    assert picture.number == (descriptor.picture_id or 0)
    assert picture.tl0_at == descriptor.tl0_index_at
    assert (picture.width, picture.height) == (vp8.frame_size(payload, descriptor) or (0, 0))
