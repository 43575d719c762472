"""What the relay must know of a payload: does a key frame start here, may it be dropped, which picture is it.

One `Inspection` per source packet, never per viewer. Nothing here raises: a payload that contradicts its format is
forwarded as it came, because judging it is the decoder's business.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from media.relay.messages import Codec


class Inspection(NamedTuple):
    """Facts of one payload.

    `key`: a VP8 key frame's first packet. `parameters`: H.264 with a sequence parameter set. `intra`: H.264 with the
    start of an IDR slice. `discardable`: no other picture refers to it. `picture_bits`: 0, 7 or 15. `tl0_at`: offset of
    TL0PICIDX in the payload, 0 = none. `width`/`height`: 0 = not told here.
    """

    key: bool = False
    parameters: bool = False
    intra: bool = False
    discardable: bool = False
    picture_bits: int = 0
    picture: int = 0
    tl0_at: int = 0
    tl0: int = 0
    width: int = 0
    height: int = 0


PLAIN: Final = Inspection()
_SPS, _IDR, _STAP_A, _FU_A = 7, 5, 24, 28


def inspect_vp8(payload: bytes) -> Inspection:
    """RFC 7741 4.2 and 4.3."""
    size = len(payload)
    if size < 2:
        return PLAIN
    first = payload[0]
    at = 1
    bits = picture = tl0_at = tl0 = 0
    if first & 0x80:
        flags = payload[1]
        at = 2
        if flags & 0x80:
            if at >= size:
                return PLAIN
            if payload[at] & 0x80:
                if at + 1 >= size:
                    return PLAIN
                bits, picture = 15, (payload[at] & 0x7F) << 8 | payload[at + 1]
                at += 2
            else:
                bits, picture = 7, payload[at]
                at += 1
        if flags & 0x40:
            if at >= size:
                return PLAIN
            tl0_at, tl0 = at, payload[at]
            at += 1
        if flags & 0x30:
            at += 1
    discardable = bool(first & 0x20)
    key = first & 0x17 == 0x10 and at < size and not payload[at] & 1
    width = height = 0
    if key and at + 10 <= size and payload[at + 3 : at + 6] == b"\x9d\x01\x2a":
        width = (payload[at + 6] | payload[at + 7] << 8) & 0x3FFF
        height = (payload[at + 8] | payload[at + 9] << 8) & 0x3FFF
    return Inspection(key, False, False, discardable, bits, picture, tl0_at, tl0, width, height)


def h264_units(payload: bytes) -> list[tuple[int, int, int]]:
    """(NAL header byte, start, end) of each unit that starts in this payload (RFC 6184 5.6 to 5.8).

    A FU-A counts for its first fragment only, with the rebuilt header byte; `start` is then its first payload byte.
    """
    size = len(payload)
    if not size:
        return []
    kind = payload[0] & 0x1F
    if kind == _STAP_A:
        units: list[tuple[int, int, int]] = []
        at = 1
        while at + 3 <= size:
            length = payload[at] << 8 | payload[at + 1]
            at += 2
            if not length or at + length > size:
                break
            units.append((payload[at], at + 1, at + length))
            at += length
        return units
    if kind == _FU_A:
        if size < 3 or not payload[1] & 0x80:
            return []
        return [(payload[0] & 0xE0 | payload[1] & 0x1F, 2, size)]
    return [(payload[0], 1, size)]


def inspect_h264(payload: bytes) -> Inspection:
    """RFC 6184: parameter sets and IDR starts; discardable when every unit has nal_ref_idc 0."""
    if not payload:
        return PLAIN
    parameters = intra = False
    for head, _, _ in h264_units(payload):
        kind = head & 0x1F
        parameters = parameters or kind == _SPS
        intra = intra or kind == _IDR
    return Inspection(False, parameters, intra, not payload[0] & 0x60)


def inspect(codec: Codec, payload: bytes) -> Inspection:
    """The facts of `payload`; audio has none."""
    if codec is Codec.VP8:
        return inspect_vp8(payload)
    if codec is Codec.H264:
        return inspect_h264(payload)
    return PLAIN


# --------------------------------------------------------------------------- RED (RFC 2198)

RED_MAX_DISTANCE: Final = 0x3FFF  # ticks a redundant block may lie back
RED_MAX_LENGTH: Final = 0x3FF  # bytes of a redundant block


def red_primary(payload: bytes) -> bytes | None:
    """The primary block of a RED payload, None when it is malformed."""
    at = older = 0
    size = len(payload)
    while at < size and payload[at] & 0x80:
        if at + 4 > size:
            return None
        older += (payload[at + 2] & 3) << 8 | payload[at + 3]
        at += 4
    at += 1 + older
    return payload[at:] if at <= size else None


def red_retyped(payload: bytes, payload_type: int) -> bytes | None:
    """The same RED payload with every block's payload type replaced: ids differ from peer to peer."""
    changed = bytearray(payload)
    at = 0
    while at < len(changed):
        last = not changed[at] & 0x80
        changed[at] = changed[at] & 0x80 | payload_type
        if last:
            return bytes(changed)
        at += 4
    return None


def red_wrapped(payload: bytes, previous: bytes, distance: int, payload_type: int) -> bytes:
    """`payload` as RED with the packet before it as its one redundant block.

    `distance`: ticks between them. A previous packet that does not fit the format's fields is left out.
    """
    if previous and 0 < distance <= RED_MAX_DISTANCE and len(previous) <= RED_MAX_LENGTH:
        head = (0x80 | payload_type) << 24 | distance << 10 | len(previous)
        return head.to_bytes(4, "big") + bytes([payload_type]) + previous + payload
    return bytes([payload_type]) + payload
