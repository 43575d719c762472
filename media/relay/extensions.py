"""Header extensions on the relay's hot path: pick out the few negotiated elements, lay out what leaves.

`media.rtp.packet` is the complete parser; this one looks only for the ids it is told and builds no objects, because it
sees every packet of every publisher. Both forms of RFC 8285 are read: browsers use the two-byte form on exactly the
packets that carry MID and RID first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

ONE_BYTE: Final = 0xBEDE
TWO_BYTE: Final = 0x1000  # the low four bits are free for applications

# The fields of `messages.ExtensionIds`.
EXTENSION_ROLES: Final = (
    "mid",
    "rid",
    "repaired_rid",
    "transport_cc",
    "abs_send_time",
    "audio_level",
    "orientation",
)


def scan(
    data: bytes | bytearray, profile: int, start: int, end: int, wanted: frozenset[int]
) -> dict[int, bytes]:
    """The elements of data[start:end] whose id is in `wanted`, by id; the last one wins.

    A block that ends inside an element gives what came before it. An unknown profile gives nothing. Never raises
    when 0 <= start <= end <= len(data).
    """
    found: dict[int, bytes] = {}
    at = start
    if profile == ONE_BYTE:
        while at < end:
            head = data[at]
            if head == 0:  # padding
                at += 1
                continue
            ident = head >> 4
            if ident in {0, 15}:  # 0 with a length ends the block as well (RFC 8285 4.2)
                break
            stop = at + 2 + (head & 15)
            if stop > end:
                break
            if ident in wanted:
                found[ident] = bytes(data[at + 1 : stop])
            at = stop
    elif profile & 0xFFF0 == TWO_BYTE:
        while at < end:
            ident = data[at]
            if ident == 0:
                at += 1
                continue
            if at + 2 > end:
                break
            stop = at + 2 + data[at + 1]
            if stop > end:
                break
            if ident in wanted:
                found[ident] = bytes(data[at + 2 : stop])
            at = stop
    return found


class OutgoingLayout:
    """The one-byte extension block of one sink: constant but for the transport sequence and one two-byte element.

    `prefix` is everything between the fixed header and the 16-bit transport sequence; `slot` is the size of the element
    that follows it (audio level or orientation: 2 bytes, or two zero bytes = padding when a packet has none); `padding`
    fills up to 32 bits. With no negotiated id at all `extended` is False and nothing is written.

    Ids above 14 and values a one-byte element cannot hold are left out.
    """

    __slots__ = ("extended", "padding", "prefix", "send_time_at", "slot", "transport_sequence")

    def __init__(self, *, mid_id: int, mid: str, transport_cc: int, send_time: int, slot_id: int) -> None:
        elements = b""
        text = mid.encode()
        if 0 < mid_id < 15 and 0 < len(text) <= 16:
            elements += bytes([mid_id << 4 | len(text) - 1]) + text
        self.transport_sequence = 0 < transport_cc < 15
        self.send_time_at = -1  # where in `prefix` the 24 bits of abs-send-time go
        if 0 < send_time < 15 and not self.transport_sequence:
            elements += bytes([send_time << 4 | 2]) + bytes(3)
            self.send_time_at = 4 + len(elements) - 3
        size = len(elements)
        if self.transport_sequence:
            elements += bytes([transport_cc << 4 | 1])
            size += 3
        self.slot = 2 if 0 < slot_id < 15 else 0
        size += self.slot
        self.extended = size > 0
        self.padding = -size % 4
        words = (size + self.padding) // 4
        self.prefix = bytes([0xBE, 0xDE, words >> 8, words & 0xFF]) + elements if self.extended else b""


# Hundreds of viewers share a few layouts; shared ones stay in the processor's cache while they are sent to in turn.
shared_layout = lru_cache(maxsize=1024)(OutgoingLayout)


def absolute_send_time(now: float) -> bytes:
    """24 bits of 6.18 fixed-point seconds, big-endian; wraps every 64 s."""
    return (int(now * 262144) & 0xFFFFFF).to_bytes(3, "big")
