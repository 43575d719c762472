"""Opus in Ogg, page by page (RFC 3533 6, RFC 7845): bytes that are playable wherever they stop.

Written here and not by a library's muxer, because a recording must say exactly which bytes are whole pages: the disk
may be full or the process gone at any of them. Pure.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Final

from media.rtp.opus import CLOCK_RATE

HEADER: Final = struct.Struct("<4sBBqIIIB")  # RFC 3533 6, up to the number of segments
CRC_AT: Final = 22
FIRST: Final = 2  # header type flags
LAST: Final = 4
MAX_SEGMENTS: Final = 255
MAX_PACKET: Final = 8_000  # bytes; 120 ms of Opus are at most 7,662 (RFC 6716 3)
PRE_SKIP: Final = 0  # a talk spurt begins with the key, not with the encoder: its first samples count
VENDOR: Final = b"fengsui"

_REVERSED: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def checksum(page: bytes | bytearray) -> int:
    """The CRC of a page whose checksum field is 0: polynomial 0x04c11db7, from 0, bits not reflected.

    That is zlib's CRC of the bits in the other direction, without its inversions.
    """
    reflected = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED), "big")


def page(serial: int, number: int, granule: int, flags: int, packets: Iterable[bytes]) -> bytes:
    """One page of whole packets. `granule`: samples at 48 kHz up to its end."""
    lacing, body = bytearray(), bytearray()
    for packet in packets:
        lacing += b"\xff" * (len(packet) // 255)
        lacing.append(len(packet) % 255)
        body += packet
    assert len(lacing) <= MAX_SEGMENTS  # noqa: S101  the caller counts
    made = bytearray(HEADER.pack(b"OggS", 0, flags, granule, serial, number, 0, len(lacing)) + lacing + body)
    struct.pack_into("<I", made, CRC_AT, checksum(made))
    return bytes(made)


def identification(channels: int = 1) -> bytes:
    """The first packet (RFC 7845 5.1)."""
    return b"OpusHead" + struct.pack("<BBHIhB", 1, channels, PRE_SKIP, CLOCK_RATE, 0, 0)


def comments(tags: Iterable[tuple[str, str]]) -> bytes:
    """The second packet (RFC 7845 5.2). Names in capitals, ASCII."""
    lines = [f"{name}={value}".encode() for name, value in tags]
    listed = b"".join(struct.pack("<I", len(line)) + line for line in lines)
    return b"OpusTags" + struct.pack("<I", len(VENDOR)) + VENDOR + struct.pack("<I", len(lines)) + listed


class OggOpusWriter:
    """One file. `head` first, `add` packets, `flush` when they have waited, `finish` at the end.

    What is returned is whole pages, to be written in this order. One packet is always kept back, so that the last page
    has something in it. `written`: samples on the pages so far.
    """

    def __init__(self, serial: int, page_samples: int) -> None:
        self.written = 0
        self._serial = serial
        self._page_samples = page_samples
        self._number = 0
        self._packets: list[tuple[bytes, int]] = []
        self._samples = 0
        self._segments = 0

    @property
    def samples(self) -> int:
        """Everything so far, what waits included."""
        return self.written + self._samples

    def head(self, tags: Iterable[tuple[str, str]]) -> bytes:
        """The two header pages."""
        return self._page(FIRST, 0, [identification()]) + self._page(0, 0, [comments(tags)])

    def add(self, packet: bytes, samples: int) -> bytes:
        """One Opus packet of <= MAX_PACKET bytes that lasts `samples`; the page before it when that is full."""
        segments = len(packet) // 255 + 1
        full = self._samples >= self._page_samples or self._segments + segments > MAX_SEGMENTS
        made = self._close(0, self._packets) if full and self._packets else b""
        self._packets.append((packet, samples))
        self._samples += samples
        self._segments += segments
        return made

    def flush(self) -> bytes:
        """A page of all that waits but the last packet."""
        return self._close(0, self._packets[:-1]) if len(self._packets) > 1 else b""

    def finish(self) -> bytes:
        """The last page; b"" when there never was a packet."""
        return self._close(LAST, self._packets) if self._packets else b""

    def _close(self, flags: int, packets: list[tuple[bytes, int]]) -> bytes:
        self._packets = self._packets[len(packets) :]
        self.written += sum(samples for _, samples in packets)
        self._samples = sum(samples for _, samples in self._packets)
        self._segments = sum(len(packet) // 255 + 1 for packet, _ in self._packets)
        return self._page(flags, self.written, [packet for packet, _ in packets])

    def _page(self, flags: int, granule: int, packets: list[bytes]) -> bytes:
        made = page(self._serial, self._number, granule, flags, packets)
        self._number += 1
        return made
