import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import BadExtension, BadField, BadPadding, BadVersion, PacketError, Truncated
from media.rtp.packet import DatagramKind, RtpPacket, classify, is_rtcp, pack_extensions, parse_extensions
from support.timing import quickest

ONE_BYTE = bytes.fromhex(
    "90EF1234 000003C0 DEADBEEF BEDE0003 10942212 34563101 02403000 4F505553".replace(" ", "")
)
TWO_BYTE = bytes.fromhex("906F0001 000003C0 00000001 10000003 14036162 63010194 05000000 58".replace(" ", ""))


def test_one_byte_vector() -> None:
    packet = RtpPacket.parse(ONE_BYTE)
    assert packet == RtpPacket(
        payload_type=111,
        marker=True,
        sequence=0x1234,
        timestamp=960,
        ssrc=0xDEADBEEF,
        extensions={1: b"\x94", 2: b"\x12\x34\x56", 3: b"\x01\x02", 4: b"0"},
        payload=b"OPUS",
    )
    assert packet.to_bytes() == ONE_BYTE


def test_two_byte_vector() -> None:
    packet = RtpPacket.parse(TWO_BYTE)
    assert packet.extensions == {20: b"abc", 1: b"\x94", 5: b""}
    assert packet.payload == b"\x58"
    assert packet.payload_type == 111
    assert not packet.marker
    assert packet.to_bytes() == TWO_BYTE


def test_two_byte_appbits_are_ignored() -> None:
    assert parse_extensions(0x100F, bytes.fromhex("0401300000000000")) == {4: b"0"}


def test_two_byte_form_is_written_only_when_needed() -> None:
    assert pack_extensions({1: b"a" * 16})[:2] == b"\xbe\xde"
    assert pack_extensions({1: b"a" * 17})[:2] == b"\x10\x00"
    assert pack_extensions({15: b"a"})[:2] == b"\x10\x00"
    assert pack_extensions({1: b""})[:2] == b"\x10\x00"


def test_one_byte_id_15_ends_the_block_and_id_0_is_padding() -> None:
    assert parse_extensions(0xBEDE, bytes.fromhex("0010AA00F0BB20CC")) == {1: b"\xaa"}
    assert parse_extensions(0xBEDE, bytes.fromhex("10AA03FFFFFFFF20")) == {1: b"\xaa"}


def test_unknown_extension_profile_is_skipped() -> None:
    data = bytes.fromhex("9000000100000000000000011234000199999999") + b"payload"
    packet = RtpPacket.parse(data)
    assert packet.extensions == {}
    assert packet.payload == b"payload"


def test_csrcs_and_padding() -> None:
    data = bytes.fromhex("A2600007000000100000000A0000000B0000000C") + b"xy\0\0\3"
    packet = RtpPacket.parse(data)
    assert packet.csrcs == (11, 12)
    assert packet.payload == b"xy"
    assert packet.padding_size == 3
    assert not packet.is_padding_only
    assert packet.to_bytes() == data


def test_padding_only_probe() -> None:
    packet = RtpPacket.parse(bytes.fromhex("A0610001000000000000000A") + bytes(254) + b"\xff")
    assert packet.is_padding_only
    assert packet.padding_size == 255


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("", Truncated),
        ("80", Truncated),
        ("8060000100000000000000", Truncated),
        ("006000010000000000000001", BadVersion),
        ("C06000010000000000000001", BadVersion),
        ("816000010000000000000001", Truncated),  # one CSRC announced, none there
        ("8F600001000000000000000100000001", Truncated),
        ("906000010000000000000001", Truncated),  # extension header missing
        ("906000010000000000000001BEDE", Truncated),
        ("906000010000000000000001BEDE0001", Truncated),
        ("906000010000000000000001BEDEFFFF00000000", Truncated),
        ("906000010000000000000001BEDE00011FAA0000", Truncated),  # element of 16 bytes in 3
        ("906000010000000000000001100000010000000A", Truncated),  # id without a length
        ("906000010000000000000001100000010105AAAA", Truncated),
        ("A06000010000000000000001", BadPadding),  # padding without a byte to say how much
        ("A0600001000000000000000100", BadPadding),
        ("A0600001000000000000000102", BadPadding),  # more padding than payload
        ("A06000010000000000000001AABB04", BadPadding),
        ("B06000010000000000000001BEDE000110AA0000", BadPadding),
    ],
)
def test_broken_packets(data: str, error: type[PacketError]) -> None:
    with pytest.raises(error):
        RtpPacket.parse(bytes.fromhex(data))


def test_values_that_do_not_fit_are_refused() -> None:
    def build(**changes: int) -> bytes:
        fields: dict[str, Any] = {"payload_type": 96, "sequence": 1, "timestamp": 1, "ssrc": 1, **changes}
        return RtpPacket(**fields).to_bytes()

    assert build() == bytes.fromhex("806000010000000100000001")
    for name, value in [
        ("payload_type", 128),
        ("sequence", 65536),
        ("sequence", -1),
        ("timestamp", 2**32),
        ("ssrc", 2**32),
        ("padding_size", 256),
    ]:
        with pytest.raises(BadField):
            build(**{name: value})
    with pytest.raises(BadField):
        RtpPacket(payload_type=0, sequence=0, timestamp=0, ssrc=0, csrcs=(1,) * 16).to_bytes()
    with pytest.raises(BadField):
        RtpPacket(payload_type=0, sequence=0, timestamp=0, ssrc=0, csrcs=(2**32,)).to_bytes()
    for extensions in ({0: b"a"}, {256: b"a"}, {1: bytes(256)}):
        with pytest.raises(BadExtension):
            RtpPacket(payload_type=0, sequence=0, timestamp=0, ssrc=0, extensions=extensions).to_bytes()


@pytest.mark.parametrize(
    ("first_byte", "kind"),
    [
        (0, DatagramKind.STUN),
        (3, DatagramKind.STUN),
        (4, DatagramKind.UNKNOWN),
        (15, DatagramKind.UNKNOWN),
        (16, DatagramKind.ZRTP),
        (19, DatagramKind.ZRTP),
        (20, DatagramKind.DTLS),
        (63, DatagramKind.DTLS),
        (64, DatagramKind.TURN_CHANNEL),
        (79, DatagramKind.TURN_CHANNEL),
        (80, DatagramKind.UNKNOWN),
        (127, DatagramKind.UNKNOWN),
        (128, DatagramKind.RTP),
        (191, DatagramKind.RTP),
        (192, DatagramKind.UNKNOWN),
        (255, DatagramKind.UNKNOWN),
    ],
)
def test_first_byte(first_byte: int, kind: DatagramKind) -> None:
    assert classify(first_byte) is kind


def test_rtcp_by_second_byte() -> None:
    assert [is_rtcp(bytes((0x80, second))) for second in (191, 192, 200, 223, 224)] == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert not is_rtcp(b"\x80")
    assert not is_rtcp(b"")
    assert not is_rtcp(ONE_BYTE)  # payload type 111 with marker


packets = st.builds(
    RtpPacket,
    payload_type=st.integers(0, 127),
    marker=st.booleans(),
    sequence=st.integers(0, 0xFFFF),
    timestamp=st.integers(0, 0xFFFFFFFF),
    ssrc=st.integers(0, 0xFFFFFFFF),
    csrcs=st.lists(st.integers(0, 0xFFFFFFFF), max_size=15).map(tuple),
    extensions=st.dictionaries(st.integers(1, 255), st.binary(max_size=255), max_size=20)
    | st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16)),
    payload=st.binary(max_size=100),
    padding_size=st.integers(0, 255),
)


@given(packets)
def test_roundtrip(packet: RtpPacket) -> None:
    data = packet.to_bytes()
    assert RtpPacket.parse(data) == packet
    assert classify(data[0]) is DatagramKind.RTP


@given(st.binary(max_size=200), st.sampled_from([b"", b"\x90", b"\xb0", b"\xbf"]))
def test_any_bytes_give_a_packet_or_a_packet_error(data: bytes, start: bytes) -> None:
    try:
        packet = RtpPacket.parse(start + data)
    except PacketError:
        return
    assert RtpPacket.parse(packet.to_bytes()) == packet


def test_the_largest_extension_block_is_read_quickly() -> None:
    for profile, filler in ((b"\xbe\xde", b"\x10\xaa"), (b"\x10\x00", b"\x01\x00"), (b"\xbe\xde", b"\0\0")):
        data = bytes.fromhex("906000010000000000000001") + profile + b"\x3f\xf0" + filler * 32736
        assert len(data) > 65000
        RtpPacket.parse(data)
        assert quickest(functools.partial(RtpPacket.parse, data)) < 0.2  # 4 x the promise of 50 ms
