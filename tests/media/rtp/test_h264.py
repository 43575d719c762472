import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import BadPayload, PacketError, Truncated, UnsupportedPayload
from media.rtp.h264 import (
    KeyFrameDetector,
    KeyFrameStart,
    NalPiece,
    annexb_units,
    avcc_units,
    is_key_frame_start,
    packetize,
    pieces,
)

SPS = bytes.fromhex("6742c01eda0280bfe584000003000400000300ca3c58ba80")
PPS = bytes.fromhex("68ce3c80")
IDR = bytes.fromhex("6588843a08601c00") + b"i" * 50
SLICE = bytes.fromhex("419a2072e10ffffc") + b"p" * 50
STAP = b"\x78" + b"\0\x18" + SPS + b"\0\x04" + PPS


def test_single_unit() -> None:
    assert pieces(SLICE) == [NalPiece(0x41, SLICE[1:], True, True)]
    assert pieces(b"\x41") == [NalPiece(0x41, b"")]


def test_aggregated_units() -> None:
    units = pieces(STAP)
    assert [piece.kind for piece in units] == [7, 8]
    assert [piece.unit() for piece in units] == [SPS, PPS]


def test_fragments() -> None:
    start, middle, end = b"\x7c\x85abc", b"\x7c\x05def", b"\x7c\x45ghi"
    assert pieces(start) == [NalPiece(0x65, b"abc", True, False)]
    assert pieces(middle) == [NalPiece(0x65, b"def", False, False)]
    assert pieces(end) == [NalPiece(0x65, b"ghi", False, True)]
    assert pieces(start)[0].unit() == b"\x65abc"


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ("", Truncated),
        ("E5AA", BadPayload),  # forbidden bit
        ("60", UnsupportedPayload),
        ("79AA", UnsupportedPayload),  # STAP-B
        ("7AAA", UnsupportedPayload),
        ("7BAA", UnsupportedPayload),
        ("7DAAAA", UnsupportedPayload),  # FU-B
        ("7E", UnsupportedPayload),
        ("7F", UnsupportedPayload),
        ("78", Truncated),
        ("7800", Truncated),
        ("780003AABB", Truncated),
        ("78FFFF67", Truncated),
        ("780000", BadPayload),
        ("780001410000", BadPayload),
        ("780001E5", BadPayload),
        ("78000278AA", UnsupportedPayload),  # an aggregate inside an aggregate
        ("7C", Truncated),
        ("7C85", Truncated),
        ("7C9CAA", UnsupportedPayload),  # a fragmented fragment
        ("7C80AA", UnsupportedPayload),
    ],
)
def test_broken_payloads(payload: str, error: type[PacketError]) -> None:
    with pytest.raises(error):
        pieces(bytes.fromhex(payload))


def test_key_frame_starts_with_an_sps_in_every_form() -> None:
    assert is_key_frame_start(SPS)
    assert is_key_frame_start(STAP)
    assert is_key_frame_start(b"\x7c\x87" + SPS[1:10])
    assert not is_key_frame_start(b"\x7c\x07" + SPS[10:])
    assert not is_key_frame_start(IDR)
    assert not is_key_frame_start(SLICE)
    assert not is_key_frame_start(PPS)


def test_detector_on_a_browser_s_stream() -> None:
    detector = KeyFrameDetector()
    assert detector.update(0, STAP) is KeyFrameStart.HERE
    assert detector.update(0, b"\x7c\x85abc") is KeyFrameStart.NO
    assert detector.update(0, b"\x7c\x45abc") is KeyFrameStart.NO
    assert detector.update(3000, SLICE) is KeyFrameStart.NO
    assert detector.update(6000, SPS) is KeyFrameStart.HERE
    assert detector.update(6000, PPS) is KeyFrameStart.NO
    assert detector.update(6000, IDR) is KeyFrameStart.NO
    assert detector.parameter_sets == (SPS, PPS)
    assert detector.sps == SPS


def test_detector_on_an_encoder_that_repeats_the_sps_before_every_frame() -> None:
    detector = KeyFrameDetector()
    assert detector.update(0, STAP) is KeyFrameStart.HERE
    assert detector.update(0, IDR) is KeyFrameStart.NO
    assert detector.update(3000, STAP) is KeyFrameStart.HERE  # not yet known
    assert detector.update(3000, SLICE) is KeyFrameStart.NO
    assert detector.update(6000, STAP) is KeyFrameStart.NO
    assert detector.update(6000, SLICE) is KeyFrameStart.NO
    assert detector.update(9000, STAP) is KeyFrameStart.NO
    assert detector.update(9000, IDR) is KeyFrameStart.EARLIER
    assert detector.update(9000, IDR) is KeyFrameStart.NO  # its second slice
    together = STAP + len(IDR).to_bytes(2, "big") + IDR
    assert detector.update(12000, together) is KeyFrameStart.HERE


def test_detector_trusts_the_sps_of_a_stream_without_any_idr() -> None:
    detector = KeyFrameDetector()  # periodic intra refresh
    for timestamp in range(0, 30_000, 3_000):
        assert detector.update(timestamp, STAP) is KeyFrameStart.HERE
        assert detector.update(timestamp, SLICE) is KeyFrameStart.NO


def test_detector_on_a_stream_with_parameters_out_of_band() -> None:
    detector = KeyFrameDetector()
    assert detector.parameter_sets == ()
    assert detector.update(0, IDR) is KeyFrameStart.NEEDS_PARAMETERS
    assert detector.update(0, IDR) is KeyFrameStart.NO


def test_parameter_sets_are_bounded_and_follow_a_new_sps() -> None:
    detector = KeyFrameDetector()
    detector.update(0, SPS)
    for number in range(100):
        detector.update(0, b"\x68" + bytes((number,)))
    assert len(detector.parameter_sets) == 9
    detector.update(1, SPS + b"\x01")
    assert detector.parameter_sets == (SPS + b"\x01",)


def test_annexb() -> None:
    data = b"\0\0\0\1" + SPS + b"\0\0\0\1" + PPS + b"\0\0\1" + IDR + b"\0\0"
    assert annexb_units(data) == [SPS.rstrip(b"\0"), PPS, IDR]
    assert annexb_units(b"") == []
    assert annexb_units(b"\0\0\1") == []
    for bad in (b"abc", b"\x41\0\0\1\x41", b"\0\0"):
        with pytest.raises(BadPayload):
            annexb_units(bad)


def test_avcc() -> None:
    assert avcc_units(b"\0\0\0\4" + PPS + b"\0\0\0\1\x41") == [PPS, b"\x41"]
    assert avcc_units(b"\0\4" + PPS, length_size=2) == [PPS]
    assert avcc_units(b"\4" + PPS, length_size=1) == [PPS]
    assert avcc_units(b"") == []
    with pytest.raises(Truncated):
        avcc_units(b"\0\0\0\5" + PPS)
    with pytest.raises(Truncated):
        avcc_units(b"\0\0\0")
    with pytest.raises(BadPayload):
        avcc_units(b"\0\0\0\0")
    with pytest.raises(BadPayload):
        avcc_units(b"", length_size=3)


def test_parameters_share_a_packet_and_long_units_are_cut_evenly() -> None:
    long = b"\x65" + b"x" * 2_999
    payloads = packetize([b"\x09\xf0", SPS, PPS, long, SLICE, b"\x0c\xff\x80"])
    assert payloads[0] == STAP
    assert [len(payload) for payload in payloads] == [len(STAP), 1002, 1002, 1001, len(SLICE)]
    assert [payload[:2].hex() for payload in payloads[1:4]] == ["7c85", "7c05", "7c45"]
    assert b"\x65" + b"".join(payload[2:] for payload in payloads[1:4]) == long
    assert payloads[4] == SLICE


def test_parameters_alone_or_too_many() -> None:
    assert packetize([SPS]) == [SPS]
    assert packetize([PPS, IDR]) == [PPS, IDR]
    payloads = packetize([b"\x67" + bytes(99)] * 3, max_size=210)
    assert [len(payload) for payload in payloads] == [1 + 2 * 102, 100]
    assert packetize([]) == []


def test_what_cannot_be_packetised() -> None:
    for units in ([b""], [b"\x78abc"], [b"\xe5abc"], [b"\x60"]):
        with pytest.raises(BadPayload):
            packetize(units)
    with pytest.raises(BadPayload):
        packetize([SPS], max_size=99)


units = st.builds(
    lambda kind, importance, body: bytes((importance << 5 | kind,)) + body,
    st.integers(1, 23).filter(lambda kind: kind not in (9, 12)),
    st.integers(0, 3),
    st.binary(max_size=40) | st.integers(0, 4_000).map(lambda size: b"\xab" * size),
)


@given(st.lists(units, max_size=8), st.integers(100, 1_500))
def test_packetised_units_come_out_whole(access_unit: list[bytes], max_size: int) -> None:
    payloads = packetize(access_unit, max_size)
    rebuilt: list[bytes] = []
    for payload in payloads:
        assert len(payload) <= max_size
        for piece in pieces(payload):
            if piece.first:
                rebuilt.append(piece.unit())
            else:
                rebuilt[-1] += piece.body
    assert rebuilt == access_unit


@given(st.lists(units.filter(lambda unit: b"\0\0" not in unit and unit[-1]), max_size=5))
def test_both_framings_give_the_units_back(access_unit: list[bytes]) -> None:
    assert annexb_units(b"".join(b"\0\0\1" + unit for unit in access_unit)) == access_unit
    assert avcc_units(b"".join(len(u).to_bytes(4, "big") + u for u in access_unit)) == access_unit


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x78", b"\x7c\x85", b"\x67"]))
def test_any_payload(payload: bytes, start: bytes) -> None:
    detector = KeyFrameDetector()
    try:
        parsed = pieces(start + payload)
    except PacketError:
        with pytest.raises(PacketError):
            detector.update(0, start + payload)
        return
    assert all(1 <= piece.kind <= 23 for piece in parsed)
    detector.update(0, start + payload)
