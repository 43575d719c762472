"""What the first bytes of an Opus packet say without decoding it (RFC 6716 3)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from media.rtp.errors import BadPayload, Truncated

CLOCK_RATE = 48_000  # of RTP, whatever the coded bandwidth (RFC 7587 4.1)
_MAX_SAMPLES = 5_760  # 120 ms


class OpusMode(IntEnum):
    SILK = 1
    HYBRID = 2
    CELT = 3


class OpusBandwidth(IntEnum):
    """Audio bandwidth in Hz."""

    NARROW = 4_000
    MEDIUM = 6_000
    WIDE = 8_000
    SUPER_WIDE = 12_000
    FULL = 20_000


_NB, _MB, _WB, _SWB, _FB = OpusBandwidth
_SILK_SAMPLES = (480, 960, 1_920, 2_880)
_CELT_SAMPLES = (120, 240, 480, 960)

# Configuration number -> mode, bandwidth, samples of one frame at 48 kHz (RFC 6716 table 2).
_CONFIGURATIONS = tuple(
    (mode, bandwidth, samples)
    for mode, bandwidths, sizes in (
        (OpusMode.SILK, (_NB, _MB, _WB), _SILK_SAMPLES),
        (OpusMode.HYBRID, (_SWB, _FB), _SILK_SAMPLES[:2]),
        (OpusMode.CELT, (_NB, _WB, _SWB, _FB), _CELT_SAMPLES),
    )
    for bandwidth in bandwidths
    for samples in sizes
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpusPacket:
    """`samples`: duration of the whole packet at 48 kHz.

    `likely_dtx`: so short (two bytes or less) that it is silence sent by an encoder with DTX on.
    """

    mode: OpusMode
    bandwidth: OpusBandwidth
    stereo: bool
    frames: int
    samples: int
    likely_dtx: bool


def parse(payload: bytes) -> OpusPacket:
    """Read the table-of-contents byte and the frame count.

    Raises `Truncated` for no byte or no frame count, `BadPayload` for no frames or more than 120 ms.
    """
    size = len(payload)
    if size < 1:
        raise Truncated("Opus packet", needed=1, available=0)
    toc = payload[0]
    mode, bandwidth, samples = _CONFIGURATIONS[toc >> 3]
    code = toc & 3
    if code == 0:
        frames = 1
    elif code < 3:
        frames = 2
    else:
        if size < 2:
            raise Truncated("Opus frame count", needed=2, available=size)
        frames = payload[1] & 0x3F
        if frames == 0 or frames * samples > _MAX_SAMPLES:
            raise BadPayload(f"{frames} Opus frames of {samples} samples")
    return OpusPacket(
        mode=mode,
        bandwidth=bandwidth,
        stereo=bool(toc & 4),
        frames=frames,
        samples=frames * samples,
        likely_dtx=size <= 2,
    )
