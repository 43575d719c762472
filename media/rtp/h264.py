"""H.264 in RTP (RFC 6184): units in payloads, where key frames start, and cutting access units into payloads.

Packetisation modes 0 and 1 are read and written: single unit, STAP-A, FU-A. The interleaved forms of mode 2 are
refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from media.rtp.errors import BadPayload, Truncated, UnsupportedPayload

CLOCK_RATE = 90_000

SLICE = 1
IDR = 5
SEI = 6
SPS = 7
PPS = 8
DELIMITER = 9
FILLER = 12
STAP_A = 24
FU_A = 28

_PARAMETERS = frozenset((SPS, PPS))
_DROPPED = frozenset((DELIMITER, FILLER))  # say nothing that RTP does not say
_FRAGMENTABLE = range(1, 24)


@dataclass(frozen=True, slots=True)
class NalPiece:
    """A NAL unit, or a fragment of one. `header` is the unit's own first byte, `body` what of it follows.

    `first` and `last` tell whether the unit begins and ends here.
    """

    header: int
    body: bytes
    first: bool = True
    last: bool = True

    @property
    def kind(self) -> int:
        """nal_unit_type, 1..23."""
        return self.header & 0x1F

    def unit(self) -> bytes:
        """The bytes of the unit from its header on, as far as they are here. Only for a `first` piece."""
        return bytes((self.header,)) + self.body


def pieces(payload: bytes) -> list[NalPiece]:
    """The units, or the fragment, in one RTP payload.

    Raises `Truncated` for lengths past the end, `BadPayload` for empty or forbidden units, `UnsupportedPayload` for
    packetisation mode 2 and reserved types.
    """
    size = len(payload)
    if size == 0:
        raise Truncated("H.264 payload", needed=1, available=0)
    header = payload[0]
    if header & 0x80:
        raise BadPayload("forbidden bit of a NAL unit")
    kind = header & 0x1F
    if kind in _FRAGMENTABLE:
        return [NalPiece(header, payload[1:])]
    if kind == STAP_A:
        return _aggregated(payload)
    if kind == FU_A:
        if size < 3:
            raise Truncated("FU-A", needed=3, available=size)
        flags = payload[1]
        if flags & 0x1F not in _FRAGMENTABLE:
            raise UnsupportedPayload("fragmented NAL type", flags & 0x1F)
        unit_header = header & 0xE0 | flags & 0x1F
        return [NalPiece(unit_header, payload[2:], bool(flags & 0x80), bool(flags & 0x40))]
    raise UnsupportedPayload("NAL type", kind)


def _aggregated(payload: bytes) -> list[NalPiece]:
    size = len(payload)
    if size == 1:
        raise Truncated("STAP-A", needed=4, available=size)
    units = []
    at = 1
    while at < size:
        if at + 2 > size:
            raise Truncated("STAP-A length", needed=at + 2, available=size)
        end = at + 2 + (payload[at] << 8 | payload[at + 1])
        if end > size:
            raise Truncated("STAP-A unit", needed=end, available=size)
        if end == at + 2:
            raise BadPayload("empty unit in a STAP-A")
        header = payload[at + 2]
        if header & 0x80:
            raise BadPayload("forbidden bit of a NAL unit")
        if header & 0x1F not in _FRAGMENTABLE:
            raise UnsupportedPayload("aggregated NAL type", header & 0x1F)
        units.append(NalPiece(header, payload[at + 3 : end]))
        at = end
    return units


def is_key_frame_start(payload: bytes) -> bool:
    """Whether the payload holds the beginning of an SPS, which is where a decoder can begin. Raises as `pieces`."""
    return any(piece.kind == SPS and piece.first for piece in pieces(payload))


class KeyFrameStart(IntEnum):
    """What a packet is for somebody who wants to begin decoding."""

    NO = 0
    HERE = 1  # begin with this packet
    EARLIER = 2  # this access unit is a key frame; begin with its first packet
    NEEDS_PARAMETERS = 3  # a key frame without SPS and PPS: put `parameter_sets` in front


class KeyFrameDetector:
    """Finds where the key frames of one stream start, also for encoders that repeat SPS and PPS before every frame.

    An SPS starts a key frame until the stream has shown that it does not: an access unit with an SPS and no IDR, in a
    stream that has IDRs. From then on only SPS followed by IDR in the same access unit counts.
    """

    __slots__ = ("_idr_in_unit", "_idr_seen", "_pps", "_sps", "_sps_alone", "_sps_in_unit", "_timestamp")

    def __init__(self) -> None:
        self._timestamp: int | None = None
        self._sps_in_unit = False
        self._idr_in_unit = False
        self._idr_seen = False
        self._sps_alone = False
        self._sps: bytes | None = None
        self._pps: tuple[bytes, ...] = ()

    @property
    def parameter_sets(self) -> tuple[bytes, ...]:
        """The last SPS and its PPS as whole NAL units; empty before they were seen."""
        return () if self._sps is None else (self._sps, *self._pps)

    @property
    def sps(self) -> bytes | None:
        """The last whole SPS."""
        return self._sps

    def update(self, timestamp: int, payload: bytes) -> KeyFrameStart:
        """Look at the next packet in sequence (RTP timestamp and payload). Raises as `pieces`."""
        units = pieces(payload)
        if timestamp != self._timestamp:
            if self._sps_in_unit and not self._idr_in_unit:
                self._sps_alone = True
            self._timestamp = timestamp
            self._sps_in_unit = self._idr_in_unit = False
        sps_before, idr_before = self._sps_in_unit, self._idr_in_unit
        for piece in units:
            if piece.first:
                self._note(piece)
        if self._sps_in_unit and not sps_before:
            trusted = self._idr_in_unit or not (self._sps_alone and self._idr_seen)
            return KeyFrameStart.HERE if trusted else KeyFrameStart.NO
        if self._idr_in_unit and not idr_before:
            if not self._sps_in_unit:
                return KeyFrameStart.NEEDS_PARAMETERS
            return KeyFrameStart.EARLIER if self._sps_alone else KeyFrameStart.NO
        return KeyFrameStart.NO

    def _note(self, piece: NalPiece) -> None:
        if piece.kind == SPS:
            self._sps_in_unit = True
            if piece.last:
                unit = piece.unit()
                if unit != self._sps:
                    self._sps, self._pps = unit, ()
        elif piece.kind == PPS:
            if piece.last:
                unit = piece.unit()
                if unit not in self._pps:
                    self._pps = (*self._pps, unit)[-8:]
        elif piece.kind == IDR:
            self._idr_in_unit = self._idr_seen = True


# ---------------------------------------------------------------- towards RTP


def annexb_units(data: bytes) -> list[bytes]:
    """NAL units of a byte stream with start codes (ITU-T H.264 annex B).

    Raises `BadPayload` when bytes come before the first start code.
    """
    units = []
    start = data.find(b"\0\0\1")
    if data[: max(start, 0)].strip(b"\0") or (start < 0 and data):
        raise BadPayload("no start code")
    while start >= 0:
        following = data.find(b"\0\0\1", start + 3)
        # Zeros before the next start code belong to it or to nobody: a unit never ends in zero.
        unit = data[start + 3 : following if following >= 0 else len(data)].rstrip(b"\0")
        if unit:
            units.append(unit)
        start = following
    return units


def avcc_units(data: bytes, length_size: int = 4) -> list[bytes]:
    """NAL units of a sample with length fields of 1, 2 or 4 bytes (ISO/IEC 14496-15).

    Raises `Truncated` for lengths past the end, `BadPayload` for an empty unit or another length size.
    """
    if length_size not in (1, 2, 4):
        raise BadPayload(f"NAL length fields of {length_size} bytes")
    units = []
    size = len(data)
    at = 0
    while at < size:
        start = at + length_size
        if start > size:
            raise Truncated("NAL length", needed=start, available=size)
        at = start + int.from_bytes(data[at:start], "big")
        if at > size:
            raise Truncated("NAL unit", needed=at, available=size)
        if at == start:
            raise BadPayload("empty NAL unit")
        units.append(data[start:at])
    return units


def packetize(units: Iterable[bytes], max_size: int = 1_200) -> list[bytes]:
    """The RTP payloads of one access unit's NAL units, in order, none over `max_size` bytes.

    SPS and PPS that follow each other share a STAP-A; a unit that is too long is cut into FU-A fragments of equal
    size; delimiters and filler are left out. The caller sets the marker on the last payload.
    Raises `BadPayload` for an empty unit, a unit of a type that RTP uses itself, or a `max_size` under 100.
    """
    if max_size < 100:
        raise BadPayload(f"payloads of {max_size} bytes")
    payloads: list[bytes] = []
    parameters: list[bytes] = []
    for unit in units:
        if not unit:
            raise BadPayload("empty NAL unit")
        kind = unit[0] & 0x1F
        if kind not in _FRAGMENTABLE or unit[0] & 0x80:
            raise UnsupportedPayload("NAL type", kind)
        if kind in _DROPPED:
            continue
        if kind in _PARAMETERS and len(unit) + 3 <= max_size:
            if sum(len(held) + 2 for held in parameters) + len(unit) + 3 > max_size:
                payloads.append(_aggregate(parameters))
                parameters = []
            parameters.append(unit)
            continue
        if parameters:
            payloads.append(_aggregate(parameters))
            parameters = []
        if len(unit) <= max_size:
            payloads.append(unit)
        else:
            payloads.extend(_fragments(unit, max_size))
    if parameters:
        payloads.append(_aggregate(parameters))
    return payloads


def _aggregate(units: list[bytes]) -> bytes:
    if len(units) == 1:
        return units[0]
    importance = max(unit[0] & 0x60 for unit in units)
    parts = [bytes((importance | STAP_A,))]
    for unit in units:
        parts.append(len(unit).to_bytes(2, "big"))
        parts.append(unit)
    return b"".join(parts)


def _fragments(unit: bytes, max_size: int) -> Iterator[bytes]:
    body = len(unit) - 1
    count = -(-body // (max_size - 2))
    share = -(-body // count)
    indicator = unit[0] & 0x60 | FU_A
    kind = unit[0] & 0x1F
    for start in range(1, len(unit), share):
        flags = kind
        if start == 1:
            flags |= 0x80
        if start + share >= len(unit):
            flags |= 0x40
        yield bytes((indicator, flags)) + unit[start : start + share]
