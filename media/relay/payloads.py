"""What the relay reads of every VP8 payload, in one pass and one tuple: `media.rtp.vp8` without its objects.

One look per source packet, never per viewer. Nothing here raises: a payload that contradicts its format is forwarded as
it came, because judging it is the decoder's business.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Picture(NamedTuple):
    """Facts of one VP8 payload (RFC 7741 4.2, 4.3).

    `key`: a key frame starts here. `discardable`: no other picture refers to it. `bits`: width of the picture id, 0, 7
    or 15; it lies at offset 2. `tl0_at`: offset of TL0PICIDX, 0 = none. `width`/`height`: of a key frame, 0 = not told.
    """

    key: bool = False
    discardable: bool = False
    bits: int = 0
    number: int = 0
    tl0_at: int = 0
    tl0: int = 0
    width: int = 0
    height: int = 0


NO_PICTURE: Final = Picture()


def vp8_picture(payload: bytes) -> Picture:
    """The facts of one payload; `NO_PICTURE` when it ends inside its descriptor."""
    size = len(payload)
    if size < 2:
        return NO_PICTURE
    first = payload[0]
    at = 1
    bits = number = tl0_at = tl0 = 0
    if first & 0x80:
        flags = payload[1]
        at = 2
        if flags & 0x80:
            if at >= size:
                return NO_PICTURE
            if payload[at] & 0x80:
                if at + 1 >= size:
                    return NO_PICTURE
                bits, number = 15, (payload[at] & 0x7F) << 8 | payload[at + 1]
                at += 2
            else:
                bits, number = 7, payload[at]
                at += 1
        if flags & 0x40:
            if at >= size:
                return NO_PICTURE
            tl0_at, tl0 = at, payload[at]
            at += 1
        if flags & 0x30:
            at += 1
    key = first & 0x17 == 0x10 and at < size and not payload[at] & 1
    width = height = 0
    if key and at + 10 <= size and payload[at + 3 : at + 6] == b"\x9d\x01\x2a":
        width = (payload[at + 6] | payload[at + 7] << 8) & 0x3FFF
        height = (payload[at + 8] | payload[at + 9] << 8) & 0x3FFF
    return Picture(key, bool(first & 0x20), bits, number, tl0_at, tl0, width, height)
