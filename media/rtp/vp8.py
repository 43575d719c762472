"""The VP8 payload descriptor (RFC 7741 4.2) and the little of the VP8 frame header that a relay needs (RFC
6386 9.1)."""

from __future__ import annotations

from dataclasses import dataclass

from media.rtp.errors import Truncated

_START_CODE = b"\x9d\x01\x2a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Vp8Descriptor:
    """What precedes the VP8 data of a packet. A field that is not present is None.

    `size`: bytes of the descriptor, the data follows. `picture_id_at` and `tl0_index_at`: where these
    fields start. `picture_id_bits`: 7 or 15. `temporal_id` and `layer_sync` are present together (T bit).
    """

    size: int
    start: bool  # S: first packet of a partition
    partition: int
    non_reference: bool = False  # N: no other frame needs this one
    picture_id: int | None = None
    picture_id_bits: int = 0
    picture_id_at: int = 0
    tl0_index: int | None = None
    tl0_index_at: int = 0
    temporal_id: int | None = None
    layer_sync: bool | None = None  # Y: depends on temporal layer 0 only, one may go up here
    key_index: int | None = None

    @property
    def starts_frame(self) -> bool:
        """The packet holds the first byte of a frame."""
        return self.start and self.partition == 0


def parse_descriptor(payload: bytes) -> Vp8Descriptor:
    """Read the descriptor at the start of an RTP payload. Raises `Truncated` when it reaches past the
    payload."""
    size = len(payload)
    _need(1, size)
    first = payload[0]
    start = bool(first & 0x10)
    partition = first & 0x07
    non_reference = bool(first & 0x20)
    if not first & 0x80:
        return Vp8Descriptor(size=1, start=start, partition=partition, non_reference=non_reference)
    _need(2, size)
    flags = payload[1]
    offset = 2
    picture_id: int | None = None
    picture_id_bits = picture_id_at = 0
    if flags & 0x80:
        _need(3, size)
        picture_id_at = 2
        if payload[2] & 0x80:
            _need(4, size)
            picture_id = (payload[2] & 0x7F) << 8 | payload[3]
            picture_id_bits = 15
            offset = 4
        else:
            picture_id = payload[2]
            picture_id_bits = 7
            offset = 3
    tl0_index: int | None = None
    tl0_index_at = 0
    if flags & 0x40:
        _need(offset + 1, size)
        tl0_index_at = offset
        tl0_index = payload[offset]
        offset += 1
    temporal_id: int | None = None
    layer_sync: bool | None = None
    key_index: int | None = None
    if flags & 0x30:
        _need(offset + 1, size)
        layers = payload[offset]
        offset += 1
        if flags & 0x20:
            temporal_id = layers >> 6
            layer_sync = bool(layers & 0x20)
        if flags & 0x10:
            key_index = layers & 0x1F
    return Vp8Descriptor(
        size=offset,
        start=start,
        partition=partition,
        non_reference=non_reference,
        picture_id=picture_id,
        picture_id_bits=picture_id_bits,
        picture_id_at=picture_id_at,
        tl0_index=tl0_index,
        tl0_index_at=tl0_index_at,
        temporal_id=temporal_id,
        layer_sync=layer_sync,
        key_index=key_index,
    )


def is_key_frame_start(payload: bytes, descriptor: Vp8Descriptor) -> bool:
    """Whether the packet holds the first byte of a key frame."""
    return descriptor.starts_frame and len(payload) > descriptor.size and not payload[descriptor.size] & 1


def frame_size(payload: bytes, descriptor: Vp8Descriptor) -> tuple[int, int] | None:
    """(width, height) of the key frame that starts here; None when none does or its header is cut or
    damaged."""
    at = descriptor.size
    if not is_key_frame_start(payload, descriptor) or len(payload) < at + 10:
        return None
    if payload[at + 3 : at + 6] != _START_CODE:
        return None
    width = (payload[at + 6] | payload[at + 7] << 8) & 0x3FFF
    height = (payload[at + 8] | payload[at + 9] << 8) & 0x3FFF
    return width, height


def rewrite(payload: bytes, descriptor: Vp8Descriptor, *, picture_id_offset: int, tl0_offset: int) -> bytes:
    """The payload with its picture id and TL0PICIDX moved by these amounts, modulo the width each has.

    Fields that are not present stay absent. Descriptor must be that of this payload.
    """
    changed = bytearray(payload)
    if descriptor.picture_id is not None:
        at = descriptor.picture_id_at
        if descriptor.picture_id_bits == 15:
            moved = (descriptor.picture_id + picture_id_offset) & 0x7FFF
            changed[at] = 0x80 | moved >> 8
            changed[at + 1] = moved & 0xFF
        else:
            changed[at] = (descriptor.picture_id + picture_id_offset) & 0x7F
    if descriptor.tl0_index is not None:
        changed[descriptor.tl0_index_at] = (descriptor.tl0_index + tl0_offset) & 0xFF
    return bytes(changed)


def _need(needed: int, available: int) -> None:
    if needed > available:
        raise Truncated("VP8 descriptor", needed=needed, available=available)
