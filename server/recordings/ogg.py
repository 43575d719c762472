"""How far an Ogg Opus file is whole (RFC 3533 6, RFC 7845), whatever ended the one that wrote it. Pure."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

HEADER: Final = struct.Struct("<4sBBqIIIB")
CRC_AT: Final = 22
LAST: Final = 4
RATE: Final = 48_000
MAX_TAGS: Final = 64
_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class NotOgg(ValueError):
    """Not even the two header pages of an Opus file are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """`duration` s that is playable, `whole` bytes up to the last whole page, `tags`: comments by name.

    `over`: the last page says that it is the last.
    """

    duration: float
    whole: int
    over: bool
    tags: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Page:
    flags: int
    granule: int
    serial: int
    number: int
    body: bytes
    end: int


def probe(data: bytes) -> Probe:
    """Look through a file; what follows the last whole page does not count. Raises NotOgg."""
    first = _page(data, 0)
    if first is None or not first.body.startswith(b"OpusHead") or len(first.body) < 19:
        raise NotOgg("no Opus identification header")
    second = _page(data, first.end)
    if second is None or not second.body.startswith(b"OpusTags") or second.serial != first.serial:
        raise NotOgg("no Opus comment header")
    pre_skip = int.from_bytes(first.body[10:12], "little")
    page, granule = second, 0
    while not page.flags & LAST:
        following = _page(data, page.end)
        if following is None or following.serial != first.serial or following.number != page.number + 1:
            break
        page = following
        granule = max(granule, page.granule)
    return Probe(
        duration=max(0, granule - pre_skip) / RATE,
        whole=page.end,
        over=bool(page.flags & LAST),
        tags=_tags(second.body),
    )


def _page(data: bytes, at: int) -> _Page | None:
    """The page that begins at `at`; None when it is cut, damaged, or none."""
    if at + HEADER.size > len(data):
        return None
    magic, version, flags, granule, serial, number, crc, segments = HEADER.unpack_from(data, at)
    body = at + HEADER.size + segments
    end = body + sum(data[at + HEADER.size : body])
    if magic != b"OggS" or version or end > len(data) or body > len(data):
        return None
    clear = data[at : at + CRC_AT] + bytes(4) + data[at + CRC_AT + 4 : end]
    return _Page(flags, granule, serial, number, data[body:end], end) if _checksum(clear) == crc else None


def _checksum(page: bytes) -> int:
    """Polynomial 0x04c11db7, from 0, bits not reflected: zlib's CRC of the bits in the other direction."""
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def _tags(body: bytes) -> dict[str, str]:
    """Comments of an OpusTags packet as far as they can be read."""
    tags: dict[str, str] = {}
    at = 8
    try:
        at += 4 + struct.unpack_from("<I", body, at)[0]
        (count,) = struct.unpack_from("<I", body, at)
        at += 4
        for _ in range(min(count, MAX_TAGS)):
            (size,) = struct.unpack_from("<I", body, at)
            line = body[at + 4 : at + 4 + size].decode("utf-8", "replace")
            at += 4 + size
            name, equals, value = line.partition("=")
            if equals:
                tags[name.upper()] = value
    except struct.error:
        pass
    return tags
