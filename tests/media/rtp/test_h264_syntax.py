import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import BadField, BadPayload, PacketError, Truncated
from media.rtp.h264_syntax import SequenceParameters, SliceType, parse_sps, slice_type
from support.timing import quickest

# Made with x264 (libx264 through PyAV): size, profile and options as told by the names.
HIGH_720P_B = "6764001facd9405005ba1000000300100000030320f1831960"
CONSTRAINED_BASELINE_360P = "6742c01eda0280bfe584000003000400000300ca3c58ba80"
HIGH_1080I = "67640028acd94078044fdc20000003002000000643e2c5b2c0"
MAIN_CIF_NO_B = "674d400dd901609684000003000400000300c83c50a920"
BASELINE_854X480 = "6742c01eda0360f79b84000003000400000300ca3c58ba80"
HIGH_444_1278X718 = "67f4001f919b280a00b7ddc2000003000200000300781e30632c"
HIGH_422_VGA = "677a001ebcd940a03da10000030001000003003c0f162d96"
HRD_AND_COLOURS_180P = "6764000dacd941419f9f02b5010101a50000030001000003003c602001e840007a13930c01e28532c0"
EXTENDED_SAR_180P = "6764000dacd941419f9fff0040002d10000003001000000303c0f1429960"


def test_high_profile_with_b_frames() -> None:
    sps = parse_sps(bytes.fromhex(HIGH_720P_B))
    assert sps == SequenceParameters(
        profile=100,
        constraints=0,
        level=31,
        width=1280,
        height=720,
        interlaced=False,
        picture_order_type=0,
        reference_frames=4,
        max_reorder_frames=2,
        frame_rate=25.0,
    )
    assert sps.may_have_b_frames


@pytest.mark.parametrize(
    ("unit", "profile", "size", "interlaced", "reorder", "b_frames", "rate"),
    [
        (CONSTRAINED_BASELINE_360P, 66, (640, 360), False, 0, False, 25.0),
        (HIGH_1080I, 100, (1920, 1080), True, 2, True, 25.0),
        (MAIN_CIF_NO_B, 77, (352, 288), False, 0, False, 25.0),
        (BASELINE_854X480, 66, (854, 480), False, 0, False, 25.0),
        (HIGH_444_1278X718, 244, (1278, 718), False, 2, True, 30.0),
        (HIGH_422_VGA, 122, (640, 480), False, 2, True, 30.0),
        (HRD_AND_COLOURS_180P, 100, (320, 180), False, 2, True, 30.0),
        (EXTENDED_SAR_180P, 100, (320, 180), False, 2, True, 30.0),
    ],
)
def test_real_encoders(
    unit: str,
    profile: int,
    size: tuple[int, int],
    interlaced: bool,
    reorder: int,
    b_frames: bool,
    rate: float,
) -> None:
    sps = parse_sps(bytes.fromhex(unit))
    assert sps.profile == profile
    assert (sps.width, sps.height) == size
    assert sps.interlaced is interlaced
    assert sps.max_reorder_frames == reorder
    assert sps.may_have_b_frames is b_frames
    assert sps.frame_rate == rate


class BitWriter:
    """Writes what the reader reads, from the standard's tables."""

    def __init__(self) -> None:
        self.bits = ""

    def u(self, count: int, value: int) -> "BitWriter":
        self.bits += f"{value:0{count}b}"
        return self

    def ue(self, *values: int) -> "BitWriter":
        for value in values:
            binary = f"{value + 1:b}"
            self.bits += "0" * (len(binary) - 1) + binary
        return self

    def se(self, *values: int) -> "BitWriter":
        return self.ue(*(2 * value - 1 if value > 0 else -2 * value for value in values))

    def unit(self, header: int = 0x67) -> bytes:
        bits = self.bits + "1"
        bits += "0" * (-len(bits) % 8)
        raw = int(bits, 2).to_bytes(len(bits) // 8, "big")
        escaped = bytearray()
        zeros = 0
        for byte in raw:
            if zeros == 2 and byte <= 3:
                escaped.append(3)
                zeros = 0
            escaped.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return bytes((header,)) + bytes(escaped)


def test_picture_order_type_1_and_unknown_reordering() -> None:
    writer = BitWriter().u(8, 77).u(8, 0).u(8, 30).ue(0, 4).ue(1)
    writer.u(1, 0).se(-3, 70_000).ue(3).se(1, -2, 5)
    writer.ue(1).u(1, 0).ue(19, 14).u(1, 1).u(1, 1).u(1, 0).u(1, 0)
    sps = parse_sps(writer.unit())
    assert (sps.width, sps.height, sps.picture_order_type) == (320, 240, 1)
    assert sps.max_reorder_frames is None
    assert sps.may_have_b_frames
    assert sps.frame_rate == 0.0


def test_scaling_lists_are_skipped() -> None:
    writer = BitWriter().u(8, 100).u(8, 0).u(8, 30).ue(0).ue(1, 0, 0).u(1, 0).u(1, 1)
    writer.u(1, 1).se(*range(-7, 9))  # sixteen deltas
    writer.u(1, 1).se(-8)  # next scale 0: the default list, nothing follows
    writer.u(1, 0).u(1, 0).u(1, 0).u(1, 0)
    writer.u(1, 1).se(*([1, -1] * 32))  # sixty-four deltas
    writer.u(1, 0)
    writer.ue(4).ue(2).ue(1).u(1, 0).ue(39, 29).u(1, 1).u(1, 1).u(1, 0).u(1, 0)
    sps = parse_sps(writer.unit())
    assert (sps.width, sps.height) == (640, 480)
    assert not sps.may_have_b_frames


def test_monochrome_cropping_counts_single_pixels() -> None:
    writer = BitWriter().u(8, 100).u(8, 0).u(8, 30).ue(0).ue(0, 0, 0).u(1, 0).u(1, 0)
    writer.ue(4).ue(2).ue(1).u(1, 0).ue(39, 29).u(1, 1).u(1, 1).u(1, 1).ue(1, 2, 3, 4).u(1, 0)
    sps = parse_sps(writer.unit())
    assert (sps.width, sps.height) == (637, 473)


def test_a_broken_vui_does_not_hide_the_size() -> None:
    sps = parse_sps(bytes.fromhex(HIGH_720P_B)[:-4])
    assert (sps.width, sps.height) == (1280, 720)
    assert sps.max_reorder_frames is None


@pytest.mark.parametrize(
    ("unit", "error"),
    [
        (b"", Truncated),
        (bytes.fromhex("6742c0"), Truncated),
        (bytes.fromhex("6842c01eda02"), BadPayload),
        (bytes.fromhex("6742c01eda"), Truncated),
        (bytes.fromhex("6742c01e00000000000000"), BadField),
        (BitWriter().u(8, 66).u(8, 0).u(8, 30).ue(32).unit(), BadField),
        (BitWriter().u(8, 66).u(8, 0).u(8, 30).ue(0, 13).unit(), BadField),
        (BitWriter().u(8, 66).u(8, 0).u(8, 30).ue(0, 4, 3).unit(), BadField),
        (BitWriter().u(8, 66).u(8, 0).u(8, 30).ue(0, 4, 2, 1).u(1, 0).ue(1024).unit(), BadField),
        (
            BitWriter()
            .u(8, 66)
            .u(8, 0)
            .u(8, 30)
            .ue(0, 4, 2, 1)
            .u(1, 0)
            .ue(0, 0)
            .u(3, 7)
            .ue(8, 0, 0, 0)
            .unit(),
            BadField,  # cropped to nothing
        ),
    ],
)
def test_broken_sps(unit: bytes, error: type[PacketError]) -> None:
    with pytest.raises(error):
        parse_sps(unit)


@given(
    columns=st.integers(1, 1024),
    rows=st.integers(1, 512),
    progressive=st.booleans(),
    crop=st.tuples(*[st.integers(0, 1)] * 4),
    order_type=st.sampled_from([0, 2]),
)
def test_sizes(
    columns: int, rows: int, progressive: bool, crop: tuple[int, int, int, int], order_type: int
) -> None:
    writer = BitWriter().u(8, 66).u(8, 0).u(8, 30).ue(0, 4, order_type)
    if order_type == 0:
        writer.ue(2)
    writer.ue(1).u(1, 0).ue(columns - 1, rows - 1).u(1, progressive)
    if not progressive:
        writer.u(1, 0)
    writer.u(1, 1).u(1, 1).ue(*crop).u(1, 0)
    sps = parse_sps(writer.unit())
    fields = 1 if progressive else 2
    assert sps.width == 16 * columns - 2 * (crop[0] + crop[1])
    assert sps.height == fields * (16 * rows - 2 * (crop[2] + crop[3]))


@pytest.mark.parametrize(
    ("unit", "kind"),
    [
        ("65888400cf627d71", SliceType.I),
        ("6500398888401bff", SliceType.I),  # second slice of the picture
        ("419a236c4cffcdcb", SliceType.P),
        ("41003989a236c6ff", SliceType.P),
        ("419e41788c7faf00", SliceType.B),
        ("019e626a473faaec", SliceType.B),
        ("41003989e41788e7", SliceType.B),
    ],
)
def test_slice_types_of_x264(unit: str, kind: SliceType) -> None:
    assert slice_type(bytes.fromhex(unit)) is kind


def test_slice_types_by_number() -> None:
    for number in range(10):
        unit = BitWriter().ue(0, number).unit(0x41)
        assert slice_type(unit) == number % 5


def test_other_units_have_no_slice_type() -> None:
    assert slice_type(bytes.fromhex(HIGH_720P_B)) is None
    assert slice_type(b"\x06\x05") is None


@pytest.mark.parametrize(
    ("unit", "error"),
    [(b"", Truncated), (b"\x41", Truncated), (b"\x41\x80", Truncated), (b"\x41\0\0\0\0\0\0", BadField)],
)
def test_broken_slices(unit: bytes, error: type[PacketError]) -> None:
    with pytest.raises(error):
        slice_type(unit)
    with pytest.raises(BadField):
        slice_type(BitWriter().ue(0, 10).unit(0x41))


@given(
    st.binary(max_size=80),
    st.sampled_from([b"\x67", b"\x67\x64\0\x1f", b"\x67\xf4\0\x1f", b"\x67\x42\0\x1f"]),
)
def test_any_bytes(data: bytes, start: bytes) -> None:
    try:
        sps = parse_sps(start + data)
    except PacketError:
        return
    assert 0 < sps.width <= 16_384
    assert 0 < sps.height <= 32_768


@given(st.binary(max_size=30), st.sampled_from([b"\x41", b"\x65", b""]))
def test_any_slice(data: bytes, start: bytes) -> None:
    try:
        slice_type(start + data)
    except PacketError:
        return


def test_the_longest_sps_is_read_quickly() -> None:
    writer = BitWriter().u(8, 77).u(8, 0).u(8, 30).ue(0, 4).ue(1).u(1, 0).se(0, 0).ue(255)
    writer.se(*([2**31 - 1] * 255))
    unit = writer.unit() + b"\xff" * 62_000
    parse_sps(unit)
    assert quickest(lambda: parse_sps(unit)) < 0.2  # 4 x the promise of 50 ms
