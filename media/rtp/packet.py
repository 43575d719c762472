"""The RTP packet (RFC 3550 5.1), its header extensions (RFC 8285) and what a datagram's first bytes say.

One-byte (0xBEDE) and two-byte (0x1000) extensions are both read, since browsers use the two-byte form on
exactly the packets that start a key frame. An extension block of any other profile is skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from media.rtp.errors import BadExtension, BadField, BadPadding, BadVersion, Truncated

HEADER_SIZE = 12
ONE_BYTE_PROFILE = 0xBEDE
TWO_BYTE_PROFILE = 0x1000  # the low four bits are "appbits" and ignored

_HEADER = struct.Struct("!BBHII")
_EXTENSION_HEADER = struct.Struct("!HH")


class DatagramKind(IntEnum):
    """What shares a media port, by the first byte (RFC 7983 7)."""

    UNKNOWN = 0
    STUN = 1
    ZRTP = 2
    DTLS = 3
    TURN_CHANNEL = 4
    RTP = 5  # or RTCP: see `is_rtcp`


def _kind(first_byte: int) -> DatagramKind:
    for last, kind in (
        (3, DatagramKind.STUN),
        (15, DatagramKind.UNKNOWN),
        (19, DatagramKind.ZRTP),
        (63, DatagramKind.DTLS),
        (79, DatagramKind.TURN_CHANNEL),
        (127, DatagramKind.UNKNOWN),
        (191, DatagramKind.RTP),
    ):
        if first_byte <= last:
            return kind
    return DatagramKind.UNKNOWN


_KINDS = tuple(_kind(byte) for byte in range(256))


def classify(first_byte: int) -> DatagramKind:
    """Which protocol a datagram with this first byte (0..255) belongs to."""
    return _KINDS[first_byte]


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram already classified as RTP is RTCP: second byte 192..223 (RFC 5761 4)."""
    return len(data) > 1 and 192 <= data[1] <= 223


@dataclass(frozen=True, slots=True, kw_only=True)
class RtpPacket:
    """One RTP packet.

    `extensions`: id -> value; of an id that occurs twice the last value counts.
    `padding_size`: bytes of padding after the payload, the count byte included; 0 = none.
    """

    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int
    marker: bool = False
    csrcs: tuple[int, ...] = ()
    extensions: Mapping[int, bytes] = field(default_factory=dict)
    payload: bytes = b""
    padding_size: int = 0

    @property
    def is_padding_only(self) -> bool:
        """A probe: it carries nothing, but its sequence number counts."""
        return not self.payload and self.padding_size > 0

    @classmethod
    def parse(cls, data: bytes) -> RtpPacket:
        """Read one packet.

        Raises `Truncated`, `BadVersion`, `BadPadding`.
        """
        size = len(data)
        if size < HEADER_SIZE:
            raise Truncated("RTP header", needed=HEADER_SIZE, available=size)
        first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
        if first >> 6 != 2:
            raise BadVersion(first >> 6)
        offset = HEADER_SIZE
        csrcs: tuple[int, ...] = ()
        if csrc_count := first & 0x0F:
            offset += 4 * csrc_count
            if offset > size:
                raise Truncated("CSRC list", needed=offset, available=size)
            csrcs = struct.unpack_from(f"!{csrc_count}I", data, HEADER_SIZE)
        extensions: dict[int, bytes] = {}
        if first & 0x10:
            if offset + 4 > size:
                raise Truncated("extension header", needed=offset + 4, available=size)
            profile, words = _EXTENSION_HEADER.unpack_from(data, offset)
            start = offset + 4
            offset = start + 4 * words
            if offset > size:
                raise Truncated("header extensions", needed=offset, available=size)
            extensions = parse_extensions(profile, data[start:offset])
        padding = 0
        if first & 0x20:
            # With no byte left, data[-1] would be read from the header.
            padding = data[-1] if size > offset else 0
            if padding == 0 or padding > size - offset:
                raise BadPadding(padding, size - offset)
        return cls(
            payload_type=second & 0x7F,
            marker=second >= 0x80,
            sequence=sequence,
            timestamp=timestamp,
            ssrc=ssrc,
            csrcs=csrcs,
            extensions=extensions,
            payload=data[offset : size - padding],
            padding_size=padding,
        )

    def to_bytes(self) -> bytes:
        """Write the packet, with the one-byte extension form where it can carry every element.

        Raises `BadField` for a value that does not fit, `BadExtension` for an element neither form can carry.
        """
        _check("payload type", self.payload_type, 0x7F)
        _check("sequence", self.sequence, 0xFFFF)
        _check("timestamp", self.timestamp, 0xFFFFFFFF)
        _check("SSRC", self.ssrc, 0xFFFFFFFF)
        _check("CSRC count", len(self.csrcs), 15)
        _check("padding size", self.padding_size, 255)
        first = 0x80 | len(self.csrcs)
        parts = [b""]
        if self.csrcs:
            for csrc in self.csrcs:
                _check("CSRC", csrc, 0xFFFFFFFF)
            parts.append(struct.pack(f"!{len(self.csrcs)}I", *self.csrcs))
        if self.extensions:
            first |= 0x10
            parts.append(pack_extensions(self.extensions))
        parts.append(self.payload)
        if self.padding_size:
            first |= 0x20
            parts.append(bytes(self.padding_size - 1))
            parts.append(bytes((self.padding_size,)))
        second = self.payload_type | (0x80 if self.marker else 0)
        parts[0] = _HEADER.pack(first, second, self.sequence, self.timestamp, self.ssrc)
        return b"".join(parts)


def parse_extensions(profile: int, data: bytes) -> dict[int, bytes]:
    """Elements of an extension block: id -> value. Empty for a profile that RFC 8285 does not define.

    In the one-byte form id 15, and id 0 with a length, end the block (RFC 8285 4.2); what came before counts.
    Raises `Truncated` for an element that reaches past the block.
    """
    if profile == ONE_BYTE_PROFILE:
        return _parse_one_byte(data)
    if profile & 0xFFF0 == TWO_BYTE_PROFILE:
        return _parse_two_byte(data)
    return {}


def _parse_one_byte(data: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    size = len(data)
    offset = 0
    while offset < size:
        head = data[offset]
        offset += 1
        if head == 0:
            continue
        element = head >> 4
        if element in (0, 15):
            break
        end = offset + (head & 0x0F) + 1
        if end > size:
            raise Truncated("one-byte extension element", needed=end, available=size)
        elements[element] = data[offset:end]
        offset = end
    return elements


def _parse_two_byte(data: bytes) -> dict[int, bytes]:
    elements: dict[int, bytes] = {}
    size = len(data)
    offset = 0
    while offset < size:
        element = data[offset]
        offset += 1
        if element == 0:
            continue
        if offset == size:
            raise Truncated("two-byte extension length", needed=offset + 1, available=size)
        end = offset + 1 + data[offset]
        if end > size:
            raise Truncated("two-byte extension element", needed=end, available=size)
        elements[element] = data[offset + 1 : end]
        offset = end
    return elements


def pack_extensions(extensions: Mapping[int, bytes]) -> bytes:
    """An extension block with its profile and length, padded to 32 bits.

    Raises `BadExtension` for an id outside 1..255 or a value over 255 bytes.
    """
    one_byte = all(1 <= element <= 14 and 1 <= len(value) <= 16 for element, value in extensions.items())
    parts = []
    for element, value in extensions.items():
        length = len(value)
        if one_byte:
            parts.append(bytes((element << 4 | length - 1,)))
        elif 1 <= element <= 255 and length <= 255:
            parts.append(bytes((element, length)))
        else:
            raise BadExtension(element, length)
        parts.append(value)
    body = b"".join(parts)
    body += bytes(-len(body) % 4)
    profile = ONE_BYTE_PROFILE if one_byte else TWO_BYTE_PROFILE
    return _EXTENSION_HEADER.pack(profile, len(body) // 4) + body


def _check(what: str, value: int, highest: int) -> None:
    if not 0 <= value <= highest:
        raise BadField(what, value)
