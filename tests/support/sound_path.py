"""A sound path that is counted instead of heard: a microphone that sends marked packets, and voice slots.

Each packet of a press carries which press it is of, its number in it and when it was sent, so that whoever gets it
can say what is missing from the beginning and how long it was under way. On the wire it is 20 ms of Opus.
"""

from __future__ import annotations

import contextlib
import random
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from media.rtp.errors import PacketError
from media.rtp.packet import RtpPacket
from support.counting_peer import OPUS, CountingPeer
from support.pacer import Due, pacer
from support.shared_drain import SharedDrain

SLOTS: Final = 8
RED: Final = 63
STEP: Final = 0.02  # s of sound in one packet
SAMPLES: Final = 960
_TOC: Final = b"\xf8"  # Opus: CELT, full band, 20 ms, one frame
_MAGIC: Final = b"\xfe\x0b\x5a\x1d"
_MARK: Final = struct.Struct(">4sIIQQ")
_HEADER: Final = struct.Struct(">BBHII")
_EXTENSION: Final = struct.Struct(">HHBHBBxxx")  # transport sequence 3, then MID 4 of one character


class VoiceMark(msgspec.Struct, frozen=True, kw_only=True):
    """`press`: whose and which; `index`: the packet's number in it, from 0. Times in monotonic ns of the sender."""

    press: int
    index: int
    pressed_ns: int
    sent_ns: int


def payload_of(mark: VoiceMark, filling: bytes) -> bytes:
    return _TOC + filling + _MARK.pack(_MAGIC, mark.press, mark.index, mark.pressed_ns, mark.sent_ns)


def mark_of(payload: bytes) -> VoiceMark | None:
    """Of an Opus payload, or of RED, whose newest block is last; None = it has none."""
    if len(payload) < _MARK.size:
        return None
    magic, press, index, pressed, sent = _MARK.unpack(payload[-_MARK.size :])
    if magic != _MAGIC:
        return None
    return VoiceMark(press=press, index=index, pressed_ns=pressed, sent_ns=sent)


class VoiceFeed:
    """The RTP packets of one microphone: silent between presses, its timestamps go on with the clock."""

    def __init__(self, ssrc: int, seed: int = 1) -> None:
        self.ssrc = ssrc
        self._fillings = tuple(random.Random(seed).randbytes(44 + 8 * n) for n in range(6))
        self._sequence = 0
        self._transport = 0

    def packet(self, mark: VoiceMark) -> bytes:
        time_stamp = mark.sent_ns * 6 // 125_000 // SAMPLES * SAMPLES & 0xFFFFFFFF
        header = _HEADER.pack(
            0x90, (mark.index == 0) << 7 | OPUS, self._sequence & 0xFFFF, time_stamp, self.ssrc
        )
        extension = _EXTENSION.pack(0xBEDE, 2, 3 << 4 | 1, self._transport & 0xFFFF, 4 << 4, ord("0"))
        self._sequence += 1
        self._transport += 1
        return header + extension + payload_of(mark, self._fillings[mark.index % len(self._fillings)])


@dataclass(kw_only=True)
class Heard:
    """What a listener got of one press. `first`: the lowest index; `first_ns`: when the first packet came."""

    first: int
    last: int
    packets: int
    first_ns: int


class SoundPath:
    """Make an `offer` of kind "voice" and `apply` the answer; `peer.connected` is set when packets can flow.

    With `drain` packets are counted without being looked into. `on_mark(mark, now_ns)` hears of each one otherwise, and
    `on_packet` gets the payload of each.
    """

    def __init__(
        self,
        *,
        drain: SharedDrain | None = None,
        on_mark: Callable[[VoiceMark, int], None] | None = None,
        on_packet: Callable[[bytes], None] | None = None,
        bind: str = "127.0.0.1",
    ) -> None:
        self.heard: dict[int, Heard] = {}
        self.unmarked = 0
        self._on_mark = on_mark
        self._on_packet = on_packet
        self.peer = CountingPeer(
            on_packet=None if drain is not None else self._packet,
            drain=drain,
            bind=bind,
        )
        self._feed = VoiceFeed(self.peer.ssrc)
        self._speaking: Due | None = None
        self.sent = 0  # packets of the last press

    def offer(self) -> str:
        return self.peer.offer_of([("a", "sendonly"), *[("a", "recvonly")] * SLOTS], red=RED)

    def apply(self, answer: str) -> None:
        self.peer.apply(answer)

    # ------------------------------------------------------------------ the microphone

    def speak(self, press: int) -> int:
        """The microphone is open: the first packet leaves at once. Returns when that was, monotonic ns."""
        pressed = time.monotonic_ns()
        self._stop()
        self.sent = 0
        self._send(press, pressed)
        self._speak_on(press, pressed, time.monotonic())
        return pressed

    def hush(self) -> None:
        """The microphone is closed: nothing leaves any more."""
        self._stop()

    def _speak_on(self, press: int, pressed: int, begun: float) -> None:
        def speak() -> None:
            self._send(press, pressed)
            self._speak_on(press, pressed, begun)

        self._speaking = pacer().at(begun + self.sent * STEP, speak)

    def _send(self, press: int, pressed: int) -> None:
        mark = VoiceMark(press=press, index=self.sent, pressed_ns=pressed, sent_ns=time.monotonic_ns())
        self.sent += 1
        self.peer.send_rtp(self._feed.packet(mark))

    def _stop(self) -> None:
        if self._speaking is not None:
            self._speaking.cancel()
            self._speaking = None

    # ------------------------------------------------------------------ the slots

    def _packet(self, data: bytes, _now: float) -> None:
        now = time.monotonic_ns()
        mark = None
        with contextlib.suppress(PacketError):
            payload = RtpPacket.parse(data).payload
            if self._on_packet is not None:
                self._on_packet(payload)
            mark = mark_of(payload)
        if mark is None:
            self.unmarked += 1
            return
        known = self.heard.get(mark.press)
        if known is None:
            self.heard[mark.press] = Heard(first=mark.index, last=mark.index, packets=1, first_ns=now)
        else:
            known.first = min(known.first, mark.index)
            known.last = max(known.last, mark.index)
            known.packets += 1
        if self._on_mark is not None:
            self._on_mark(mark, now)

    def close(self) -> None:
        self._stop()
        self.peer.close()
