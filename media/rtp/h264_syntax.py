"""Reading inside H.264 units (ITU-T H.264 7.3): sequence parameter set and the type of a slice.

Enough to say what a stream is (profile, level, size, frame rate) and whether it has B-frames, which browsers over
WebRTC do not show in order.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from media.rtp.errors import BadField, BadPayload, Truncated
from media.rtp.h264 import IDR, SLICE, SPS

# Profiles whose SPS tells the chroma format and may carry scaling lists (7.3.2.1.1).
_WITH_CHROMA_FORMAT = frozenset((100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139))
_WITHOUT_B_FRAMES = frozenset((66,))  # Baseline has none (A.2.1)
_EXTENDED_SAR = 255
_MAX_SIDE = 16_384


class SliceType(IntEnum):
    """slice_type modulo 5 (table 7-6)."""

    P = 0
    B = 1
    I = 2  # noqa: E741  the standard's name
    SP = 3
    SI = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceParameters:
    """What an SPS says. Sizes in pixels after cropping.

    `constraints`: the byte of constraint flags. `max_reorder_frames`: from the VUI, None when it is not told.
    `frame_rate`: frames per second from the VUI timing, 0.0 when it is not told.
    """

    profile: int
    constraints: int
    level: int
    width: int
    height: int
    interlaced: bool
    picture_order_type: int
    reference_frames: int
    max_reorder_frames: int | None
    frame_rate: float

    @property
    def may_have_b_frames(self) -> bool:
        """Whether pictures may come in another order than they are shown in.

        False is certain. True means possible: look at slice types to know.
        """
        if self.profile in _WITHOUT_B_FRAMES or self.picture_order_type == 2:
            return False
        return self.max_reorder_frames != 0


def parse_sps(unit: bytes) -> SequenceParameters:
    """Read a whole SPS unit, header included. A broken VUI is treated as one that is not there.

    Raises `BadPayload` for another type of unit, `Truncated`, `BadField`.
    """
    if len(unit) < 4:
        raise Truncated("SPS", needed=4, available=len(unit))
    if unit[0] & 0x1F != SPS:
        raise BadPayload(f"NAL type {unit[0] & 0x1F} is not an SPS")
    bits = _Bits(_unescape(unit[1:]))
    profile = bits.take(8)
    constraints = bits.take(8)
    level = bits.take(8)
    bits.golomb("SPS id", 31)
    chroma_format = 1
    separate_planes = False
    if profile in _WITH_CHROMA_FORMAT:
        chroma_format = bits.golomb("chroma format", 3)
        if chroma_format == 3:
            separate_planes = bits.flag()
        bits.golomb("luma depth", 6)
        bits.golomb("chroma depth", 6)
        bits.flag()
        if bits.flag():
            for index in range(12 if chroma_format == 3 else 8):
                if bits.flag():
                    _skip_scaling_list(bits, 16 if index < 6 else 64)
    bits.golomb("frame number length", 12)
    order_type = bits.golomb("picture order type", 2)
    if order_type == 0:
        bits.golomb("picture order length", 12)
    elif order_type == 1:
        bits.flag()
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(bits.golomb("picture order cycle", 255)):
            bits.signed_golomb()
    reference_frames = bits.golomb("reference frames", 16)
    bits.flag()
    columns = bits.golomb("width", _MAX_SIDE // 16 - 1) + 1
    rows = bits.golomb("height", _MAX_SIDE // 16 - 1) + 1
    progressive = bits.flag()
    if not progressive:
        bits.flag()
        rows *= 2
    bits.flag()
    left = right = top = bottom = 0
    if bits.flag():
        left, right, top, bottom = (bits.golomb("cropping", _MAX_SIDE) for _ in range(4))
    unit_x = 1 if separate_planes or chroma_format in (0, 3) else 2
    unit_y = 2 if chroma_format == 1 else 1
    if not progressive:
        unit_y *= 2
    width = 16 * columns - unit_x * (left + right)
    height = 16 * rows - unit_y * (top + bottom)
    if width <= 0 or height <= 0:
        raise BadField("cropped size", min(width, height))
    max_reorder: int | None = None
    frame_rate = 0.0
    if bits.flag():
        try:
            max_reorder, frame_rate = _read_vui(bits)
        except (Truncated, BadField):
            # Cameras with a broken VUI show their picture all the same.
            max_reorder, frame_rate = None, 0.0
    return SequenceParameters(
        profile=profile,
        constraints=constraints,
        level=level,
        width=width,
        height=height,
        interlaced=not progressive,
        picture_order_type=order_type,
        reference_frames=reference_frames,
        max_reorder_frames=max_reorder,
        frame_rate=frame_rate,
    )


def slice_type(unit: bytes) -> SliceType | None:
    """The type of the slice that this unit, or first fragment of one, holds; None for other kinds of unit.

    Raises `Truncated`, `BadField`.
    """
    if not unit:
        raise Truncated("NAL unit", needed=1, available=0)
    if unit[0] & 0x1F not in (SLICE, IDR):
        return None
    bits = _Bits(_unescape(unit[1:24]))
    bits.golomb("first macroblock", 139_263)  # level 6.2
    return SliceType(bits.golomb("slice type", 9) % 5)


class _Bits:
    """Bits of an unescaped unit, most significant first."""

    __slots__ = ("_at", "_data", "_size")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = 8 * len(data)
        self._at = 0

    def take(self, count: int) -> int:
        end = self._at + count
        if end > self._size:
            raise Truncated("H.264 syntax", needed=-(-end // 8), available=len(self._data))
        last = (end + 7) >> 3
        value = int.from_bytes(self._data[self._at >> 3 : last], "big")
        self._at = end
        return (value >> (8 * last - end)) & ((1 << count) - 1)

    def flag(self) -> bool:
        return self.take(1) == 1

    def golomb(self, what: str, highest: int) -> int:
        """ue(v), at most `highest`."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise BadField(what, zeros)
        value = (1 << zeros) - 1 + self.take(zeros)
        if value > highest:
            raise BadField(what, value)
        return value

    def signed_golomb(self) -> int:
        """se(v)."""
        value = self.golomb("signed value", 0xFFFFFFFF)
        return (value + 1) // 2 if value & 1 else -(value // 2)


def _unescape(data: bytes) -> bytes:
    """Without the emulation prevention bytes (7.4.1)."""
    return data.replace(b"\0\0\3", b"\0\0")


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _read_vui(bits: _Bits) -> tuple[int | None, float]:
    """(max_num_reorder_frames, frames per second) of VUI parameters (E.1.1)."""
    if bits.flag() and bits.take(8) == _EXTENDED_SAR:
        bits.take(32)
    if bits.flag():
        bits.flag()
    if bits.flag():
        bits.take(4)
        if bits.flag():
            bits.take(24)
    if bits.flag():
        bits.golomb("chroma location", 5)
        bits.golomb("chroma location", 5)
    frame_rate = 0.0
    if bits.flag():
        tick = bits.take(32)
        scale = bits.take(32)
        bits.flag()
        if tick:
            frame_rate = scale / (2 * tick)
    nal_hrd = bits.flag()
    if nal_hrd:
        _skip_hrd(bits)
    vcl_hrd = bits.flag()
    if vcl_hrd:
        _skip_hrd(bits)
    if nal_hrd or vcl_hrd:
        bits.flag()
    bits.flag()
    if not bits.flag():
        return None, frame_rate
    bits.flag()
    for what in ("bytes per picture", "bits per macroblock", "horizontal vectors", "vertical vectors"):
        bits.golomb(what, 16)
    return bits.golomb("reorder frames", 16), frame_rate


def _skip_hrd(bits: _Bits) -> None:
    count = bits.golomb("HRD count", 31) + 1
    bits.take(8)
    for _ in range(count):
        bits.golomb("HRD bit rate", 0xFFFFFFFF)
        bits.golomb("HRD buffer", 0xFFFFFFFF)
        bits.flag()
    bits.take(20)
