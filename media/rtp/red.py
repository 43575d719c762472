"""Redundant audio data (RFC 2198): earlier frames sent again in front of the newest one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from media.rtp.errors import BadField, Truncated

MAX_OFFSET = 0x3FFF
MAX_LENGTH = 0x3FF


@dataclass(frozen=True, slots=True, kw_only=True)
class RedBlock:
    """One encoding. `timestamp_offset`: how many RTP ticks it lies before the packet's own timestamp; 0 =
    newest."""

    payload_type: int
    payload: bytes
    timestamp_offset: int = 0


def unwrap(payload: bytes) -> tuple[RedBlock, ...]:
    """The blocks in order, the newest last. Raises `Truncated` when headers or blocks reach past the
    payload."""
    size = len(payload)
    headers: list[tuple[int, int, int]] = []  # payload type, offset, length
    at = 0
    while True:
        if at >= size:
            raise Truncated("RED header", needed=at + 1, available=size)
        first = payload[at]
        if not first & 0x80:
            at += 1
            break
        if at + 4 > size:
            raise Truncated("RED header", needed=at + 4, available=size)
        rest = payload[at + 1] << 16 | payload[at + 2] << 8 | payload[at + 3]
        headers.append((first & 0x7F, rest >> 10, rest & MAX_LENGTH))
        at += 4
    blocks = []
    for payload_type, offset, length in headers:
        end = at + length
        if end > size:
            raise Truncated("RED block", needed=end, available=size)
        blocks.append(RedBlock(payload_type=payload_type, payload=payload[at:end], timestamp_offset=offset))
        at = end
    blocks.append(RedBlock(payload_type=first, payload=payload[at:]))
    return tuple(blocks)


def wrap(newest: RedBlock, redundant: Sequence[RedBlock] = ()) -> bytes:
    """A RED payload of the newest block behind the redundant ones, given oldest first.

    Raises `BadField` for a payload type over 7 bits, or a redundant block over 1,023 bytes or 16,383 ticks
    old.
    """
    headers = bytearray()
    for block in redundant:
        _check("RED payload type", block.payload_type, 0x7F)
        _check("RED timestamp offset", block.timestamp_offset, MAX_OFFSET)
        _check("RED block length", len(block.payload), MAX_LENGTH)
        rest = block.timestamp_offset << 10 | len(block.payload)
        headers.append(0x80 | block.payload_type)
        headers += rest.to_bytes(3, "big")
    _check("RED payload type", newest.payload_type, 0x7F)
    headers.append(newest.payload_type)
    return bytes(headers) + b"".join(block.payload for block in redundant) + newest.payload


def _check(what: str, value: int, highest: int) -> None:
    if not 0 <= value <= highest:
        raise BadField(what, value)
