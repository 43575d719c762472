"""Who a datagram belongs to before anything of it is believed: RFC 7983 classes, STUN user names, rate limits.

Everything here sees bytes of strangers, so each function is bounded by the size of its input and each table by a
number of entries.
"""

from __future__ import annotations

from typing import Final

# What a datagram is by its first byte (RFC 7983 7). Plain numbers, because every datagram asks.
OTHER: Final = 0
STUN: Final = 1
DTLS: Final = 2
RTP: Final = 3  # RTP and RTCP

KINDS: Final = bytes(
    STUN if first < 4 else DTLS if 20 <= first < 64 else RTP if 128 <= first < 192 else OTHER
    for first in range(256)
)

_COOKIE: Final = b"\x21\x12\xa4\x42"
_USERNAME: Final = 0x0006
_MAX_USERNAME: Final = 513  # bytes, RFC 8489 14.3


def stun_ufrag(data: memoryview | bytes) -> str | None:
    """The part of USERNAME before the colon: the ufrag of the side that is asked (RFC 8445 7.2.2).

    None when this is no well-formed STUN message or has no such attribute. Integrity is not checked here.
    """
    size = len(data)
    if size < 20 or data[4:8] != _COOKIE:
        return None
    if int.from_bytes(data[2:4], "big") != size - 20 or size % 4:
        return None
    at = 20
    while at + 4 <= size:
        kind = data[at] << 8 | data[at + 1]
        length = data[at + 2] << 8 | data[at + 3]
        at += 4
        if at + length > size:
            return None
        if kind == _USERNAME:
            if length > _MAX_USERNAME:
                return None
            left, colon, _ = bytes(data[at : at + length]).partition(b":")
            return left.decode("ascii", "replace") if colon else None
        at += length + -length % 4
    return None


class RateTable:
    """At most `limit` a second for each key, for at most `entries` keys a second; the rest is refused."""

    __slots__ = ("_counts", "_entries", "_limit", "_since")

    def __init__(self, limit: int, entries: int) -> None:
        self._limit = limit
        self._entries = entries
        self._since = float("-inf")
        self._counts: dict[object, int] = {}

    def allow(self, key: object, now: float) -> bool:
        """Whether one more is within the limit; counts it when it is."""
        if now - self._since >= 1.0:
            self._since = now
            self._counts.clear()
        count = self._counts.get(key, 0)
        if count >= self._limit or (not count and len(self._counts) >= self._entries):
            return False
        self._counts[key] = count + 1
        return True
