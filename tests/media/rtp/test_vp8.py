import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import Truncated
from media.rtp.vp8 import Vp8Descriptor, frame_size, is_key_frame_start, parse_descriptor, rewrite

VECTOR = bytes.fromhex("90E092345665")
KEY_FRAME = bytes.fromhex("50180A9D012A0005D002AABBCC")  # 1280 x 720


def test_vector() -> None:
    assert parse_descriptor(VECTOR) == Vp8Descriptor(
        size=6,
        start=True,
        partition=0,
        picture_id=0x1234,
        picture_id_bits=15,
        picture_id_at=2,
        tl0_index=0x56,
        tl0_index_at=4,
        temporal_id=1,
        layer_sync=True,
        key_index=None,
    )


def test_every_optional_field() -> None:
    assert parse_descriptor(b"\x10") == Vp8Descriptor(size=1, start=True, partition=0)
    assert parse_descriptor(b"\x23") == Vp8Descriptor(size=1, start=False, partition=3, non_reference=True)
    short = parse_descriptor(bytes.fromhex("90F07F05E5"))
    assert (short.picture_id, short.picture_id_bits) == (0x7F, 7)
    assert (short.tl0_index, short.temporal_id, short.layer_sync, short.key_index) == (5, 3, True, 5)
    only_key_index = parse_descriptor(bytes.fromhex("8010FF"))
    assert (only_key_index.temporal_id, only_key_index.layer_sync, only_key_index.key_index) == (
        None,
        None,
        31,
    )
    assert parse_descriptor(bytes.fromhex("8000")).size == 2


@pytest.mark.parametrize(
    "payload", ["", "80", "8080", "808080", "8040", "80C001", "80C08001", "8020", "8010", "80F0800105"]
)
def test_descriptors_cut_short(payload: str) -> None:
    with pytest.raises(Truncated):
        parse_descriptor(bytes.fromhex(payload))


def test_key_frame_and_its_size() -> None:
    payload = b"\x10" + KEY_FRAME
    descriptor = parse_descriptor(payload)
    assert is_key_frame_start(payload, descriptor)
    assert frame_size(payload, descriptor) == (1280, 720)
    with_ids = VECTOR + KEY_FRAME
    assert frame_size(with_ids, parse_descriptor(with_ids)) == (1280, 720)


def test_scaling_bits_are_not_part_of_the_size() -> None:
    payload = b"\x10" + bytes.fromhex("50180A9D012A4041F080")
    assert frame_size(payload, parse_descriptor(payload)) == (320, 240)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x10" + b"\x51" + KEY_FRAME[1:],  # interframe
        b"\x11" + KEY_FRAME,  # another partition
        b"\x00" + KEY_FRAME,  # not the start
        b"\x10",  # nothing follows
    ],
)
def test_no_key_frame(payload: bytes) -> None:
    descriptor = parse_descriptor(payload)
    assert not is_key_frame_start(payload, descriptor)
    assert frame_size(payload, descriptor) is None


def test_size_of_a_cut_or_damaged_header_is_unknown() -> None:
    for payload in (b"\x10" + KEY_FRAME[:9], b"\x10" + KEY_FRAME[:3] + b"\0" + KEY_FRAME[4:]):
        descriptor = parse_descriptor(payload)
        assert is_key_frame_start(payload, descriptor)
        assert frame_size(payload, descriptor) is None


def test_rewriting_wraps_within_its_width() -> None:
    payload = VECTOR + b"data"
    descriptor = parse_descriptor(payload)
    assert (
        rewrite(payload, descriptor, picture_id_offset=1, tl0_offset=2)
        == bytes.fromhex("90E092355865") + b"data"
    )
    assert (
        rewrite(payload, descriptor, picture_id_offset=0x7FFF - 0x1234 + 1, tl0_offset=-0x57)[2:5].hex()
        == "8000ff"
    )
    short = bytes.fromhex("90C07F05AA")
    assert rewrite(short, parse_descriptor(short), picture_id_offset=1, tl0_offset=0).hex() == "90c00005aa"
    plain = b"\x10data"
    assert rewrite(plain, parse_descriptor(plain), picture_id_offset=5, tl0_offset=5) == plain


@given(st.binary(max_size=30), st.integers(-40_000, 40_000), st.integers(-300, 300))
def test_any_payload(payload: bytes, picture_id_offset: int, tl0_offset: int) -> None:
    try:
        descriptor = parse_descriptor(payload)
    except Truncated:
        return
    assert 1 <= descriptor.size <= len(payload)
    frame_size(payload, descriptor)
    moved = rewrite(payload, descriptor, picture_id_offset=picture_id_offset, tl0_offset=tl0_offset)
    assert moved[descriptor.size :] == payload[descriptor.size :]
    again = parse_descriptor(moved)
    assert (again.size, again.picture_id_bits, again.temporal_id, again.key_index) == (
        descriptor.size,
        descriptor.picture_id_bits,
        descriptor.temporal_id,
        descriptor.key_index,
    )
    back = rewrite(moved, again, picture_id_offset=-picture_id_offset, tl0_offset=-tl0_offset)
    assert back == payload
