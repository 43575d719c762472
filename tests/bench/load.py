"""The media every subject of the relay benchmark gets: made once, the same bytes for all.

VP8 of 1 Mbit/s: 30 frames/s cut into packets of 1,050 to 1,150 bytes that differ by a byte within a frame, as browsers
cut them; a key frame of 24 packets every 2 s or when asked for, then three or four packets per frame. Opus of
50 packets/s of 80 to 120 bytes. The last 12 bytes of every payload are a mark and the time of sending.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from media.rtp import vp8
from media.rtp.errors import BadPayload, PacketError
from media.rtp.packet import RtpPacket

VP8_TYPE: Final = 96
OPUS_TYPE: Final = 111
TRANSPORT_CC_ID: Final = 3
MID_ID: Final = 4
FRAMES_A_SECOND: Final = 30
SOUNDS_A_SECOND: Final = 50
KEY_EVERY: Final = 60  # frames
KEY_PACKETS: Final = 24
BIT_RATE: Final = 1_000_000  # of the video payload

_MARK: Final = b"\xfe\x0b\xea\xc0"
_STAMP: Final = struct.Struct(">4sQ")
_HEADER: Final = struct.Struct(">BBHII")
_EXTENSION: Final = struct.Struct(
    ">HHBHBBxxx"
)  # one-byte form: transport sequence, then a MID of one character
_DESCRIPTOR: Final = struct.Struct(">BBH")  # X and S, I, picture id of 15 bits
_KEY_HEADER: Final = b"\x10\x00\x00\x9d\x01\x2a\x00\x05\xd0\x02"  # a shown VP8 key frame of 1280x720
_DELTA_HEADER: Final = b"\x11\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Packets of one picture without their VP8 payload descriptors and stamps."""

    key: bool
    bodies: tuple[bytes, ...]


def make_pictures(seed: int = 1) -> tuple[Frame, ...]:
    """One group of pictures of `KEY_EVERY` frames, the first of which is the key frame."""
    chance = random.Random(seed)
    frames = [_frame(chance, KEY_PACKETS, key=True)]
    wanted = BIT_RATE // 8 * KEY_EVERY // FRAMES_A_SECOND
    spent = sum(map(len, frames[0].bodies))
    for left in range(KEY_EVERY - 1, 0, -1):
        ideal = (wanted - spent) / left / 1_100
        count = int(ideal) + (chance.random() < ideal - int(ideal))
        frames.append(_frame(chance, count, key=False))
        spent += sum(map(len, frames[-1].bodies))
    return tuple(frames)


def _frame(chance: random.Random, packets: int, *, key: bool) -> Frame:
    overhead = _HEADER.size + _DESCRIPTOR.size + _STAMP.size
    size = chance.randrange(1_051, 1_150) - overhead
    larger = chance.randrange(packets)  # as many packets have one byte more
    start = _KEY_HEADER if key else _DELTA_HEADER
    bodies = []
    for index in range(packets):
        begin = start if index == 0 else b""
        bodies.append(begin + chance.randbytes(size + (index < larger) - len(begin)))
    return Frame(key=key, bodies=tuple(bodies))


class Feed:
    """What one publisher sends: RTP packets of one picture and one sound stream.

    `extended`: with the transport-wide sequence number and the MID that WHIP negotiates ("0" sound, "1" picture).
    `clock` gives the monotonic time in ns; it is read for each packet when that packet is taken.
    """

    def __init__(
        self,
        pictures: tuple[Frame, ...],
        clock: Callable[[], int],
        *,
        video_ssrc: int,
        audio_ssrc: int,
        extended: bool,
    ) -> None:
        self.video_ssrc = video_ssrc
        self.audio_ssrc = audio_ssrc
        self.packets = 0
        self.video_packets = self.video_octets = 0
        self.audio_packets = self.audio_octets = 0
        self.video_time = self.audio_time = 0  # RTP timestamps of what was sent last
        self.key_frames = 0
        self._pictures = pictures
        self._clock = clock
        self._extended = extended
        self._sounds = tuple(random.Random(2).randbytes(68 + 8 * index) for index in range(6))
        self._next = 0
        self._enter = 0  # pictures that are left out after the next one
        self._picture_id = 0
        self._transport_sequence = 0

    def request_key_frame(self) -> None:
        """The next picture is a key frame."""
        self._next = 0

    def begin(self, share: float) -> None:
        """The next picture is a key frame; the one after it comes when `share` (0 to 1) of the usual time has passed.

        So that publishers which begin together do not send their key frames together for ever: units in the field do
        not.
        """
        self._next = 0
        self._enter = round((1.0 - share) * (KEY_EVERY - 1))

    def picture(self) -> Iterator[bytes]:
        """The packets of the next picture."""
        frame = self._pictures[self._next]
        self._next = (self._next + 1 + self._enter) % len(self._pictures)
        self._enter = 0
        self._picture_id += 1
        self.video_time = self.video_time + 90_000 // FRAMES_A_SECOND & 0xFFFFFFFF
        if frame.key:
            self.key_frames += 1
        last = len(frame.bodies) - 1
        for index, body in enumerate(frame.bodies):
            descriptor = _DESCRIPTOR.pack(
                0x90 if index == 0 else 0x80, 0x80, 0x8000 | self._picture_id & 0x7FFF
            )
            header = _HEADER.pack(
                0x90 if self._extended else 0x80,
                (index == last) << 7 | VP8_TYPE,
                self.video_packets & 0xFFFF,
                self.video_time,
                self.video_ssrc,
            )
            payload = descriptor + body + _STAMP.pack(_MARK, self._clock())
            self.video_packets += 1
            self.video_octets += len(payload)
            yield header + self._extension(b"1") + payload

    def sound(self) -> bytes:
        """The next 20 ms of sound."""
        self.audio_time = self.audio_time + 48_000 // SOUNDS_A_SECOND & 0xFFFFFFFF
        header = _HEADER.pack(
            0x90 if self._extended else 0x80,
            OPUS_TYPE,
            self.audio_packets & 0xFFFF,
            self.audio_time,
            self.audio_ssrc,
        )
        body = self._sounds[self.audio_packets % len(self._sounds)]
        payload = body + _STAMP.pack(_MARK, self._clock())
        self.audio_packets += 1
        self.audio_octets += len(payload)
        return header + self._extension(b"0") + payload

    def _extension(self, mid: bytes) -> bytes:
        self.packets += 1
        if not self._extended:
            return b""
        self._transport_sequence += 1
        return _EXTENSION.pack(
            0xBEDE,
            2,
            TRANSPORT_CC_ID << 4 | 1,
            self._transport_sequence & 0xFFFF,
            MID_ID << 4,
            mid[0],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """What a receiver finds in one of these packets. `sent_ns`: monotonic, of the sender."""

    sent_ns: int
    video: bool
    key_start: bool  # the first packet of a key frame
    key: bool  # it has the timestamp of the key frame seen last


class MarkReader:
    """Reads the marks of one receiver's clear packets."""

    def __init__(self) -> None:
        self.unmarked = 0
        self._key_time: int | None = None

    def read(self, data: bytes) -> Marked | None:
        """None for a packet without a mark (counted), such as padding."""
        try:
            packet = RtpPacket.parse(data)
            if len(packet.payload) < _STAMP.size:
                raise BadPayload("mark")
            mark, sent = _STAMP.unpack(packet.payload[-_STAMP.size :])
            if mark != _MARK:
                raise BadPayload("mark")
            video = len(packet.payload) > 200
            start = False
            if video:
                descriptor = vp8.parse_descriptor(packet.payload)
                body = packet.payload[descriptor.size :]
                start = descriptor.starts_frame and body.startswith(_KEY_HEADER)
        except PacketError:
            self.unmarked += 1
            return None
        if start:
            self._key_time = packet.timestamp
        return Marked(
            sent_ns=sent, video=video, key_start=start, key=video and packet.timestamp == self._key_time
        )
