"""A viewer that treats losses as browsers do, and reads the colour code of what it decodes.

It asks for missing packets, waits 0.3 s for them, then goes on at the next key frame, which it asks for. aiortc's own
receiver waits until 128 later packets have come, which says more about aiortc than about a relay.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from media.agent import colour_code
from media.rtp import h264, rtcp, rtx, vp8
from media.rtp.errors import PacketError
from media.rtp.packet import RtpPacket
from media.rtp.sequence import ExtendedSequence
from support.counting_peer import H264, H264_RTX, VP8, VP8_RTX, CountingPeer

PATIENCE = 0.3  # s for a missing packet
DECODERS = {VP8: "vp8", H264: "h264"}
ORIGINAL = {VP8_RTX: VP8, H264_RTX: H264}


class DecodingViewer:
    """Give `peer` to whoever connects it. `codes`: (number, drawn at, decoded at) of each readable picture."""

    def __init__(self) -> None:
        self.codes: deque[tuple[int, float, float]] = deque(maxlen=1000)
        self.skips = 0  # times it went on at a later key frame
        self.peer = CountingPeer(on_packet=self._packet)
        self._extend = ExtendedSequence()
        self._waiting: dict[int, RtpPacket] = {}
        self._next: int | None = None
        self._missing_since = 0.0
        self._asked: dict[int, float] = {}
        self._frame: list[RtpPacket] = []
        self._broken = True
        self._ssrc = 0
        self._decoder: av.CodecContext | None = None

    def fresh(self, seconds: float) -> bool:
        """Whether the newest picture was younger than this when it was decoded, and that less than a second ago."""
        if not self.codes:
            return False
        _, drawn, decoded = self.codes[-1]
        return colour_code.age(drawn, decoded) < seconds and time.time() - decoded < 1.0

    def _packet(self, data: bytes, now: float) -> None:
        packet = RtpPacket.parse(data)
        if packet.payload_type in ORIGINAL:
            found = rtx.unwrap(packet, payload_type=ORIGINAL[packet.payload_type], ssrc=self._ssrc)
            if found is None:
                return
            packet = found
        elif packet.payload_type not in DECODERS:
            return
        elif packet.ssrc != self._ssrc:
            self._ssrc, self._next = packet.ssrc, None
        number = self._extend.unwrap(packet.sequence)
        if self._next is None:
            self._next = number
        if number >= self._next:
            self._waiting[number] = packet
            self._drain(now)

    def _drain(self, now: float) -> None:
        assert self._next is not None
        while self._waiting:
            if (packet := self._waiting.pop(self._next, None)) is not None:
                self._next += 1
                self._missing_since = 0.0
                self._take(packet)
                continue
            self._missing_since = self._missing_since or now
            if now - self._missing_since > PATIENCE:
                self._next = min(self._waiting)
                self._frame, self._broken, self._missing_since = [], True, 0.0
                self.skips += 1
                self._ask_key_frame(now)
                continue
            lost = [n for n in range(self._next, min(self._waiting)) if now - self._asked.get(n, 0) > 0.05][
                :50
            ]
            if lost:
                self._asked = {n: at for n, at in self._asked.items() if now - at < 1} | dict.fromkeys(
                    lost, now
                )
                self.peer.send_rtcp(
                    rtcp.ReceiverReport(ssrc=self.peer.ssrc),
                    rtcp.Nack(
                        sender_ssrc=self.peer.ssrc,
                        media_ssrc=self._ssrc,
                        lost=tuple(n & 0xFFFF for n in lost),
                    ),
                )
            return

    def _ask_key_frame(self, now: float) -> None:
        if now - self._asked.get(-1, 0.0) > 0.5:
            self._asked[-1] = now
            self.peer.request_key_frame(self._ssrc)

    def _take(self, packet: RtpPacket) -> None:
        if self._frame and self._frame[0].timestamp != packet.timestamp:
            self._frame = []
        if packet.payload:
            self._frame.append(packet)
        if packet.marker and self._frame:
            frame, self._frame = self._frame, []
            with contextlib.suppress(PacketError, av.FFmpegError):
                self._decode(frame)

    def _decode(self, frame: list[RtpPacket]) -> None:
        kind = frame[0].payload_type
        if self._broken:
            if not any(STARTS[kind](packet.payload) for packet in frame[:3]):
                self._ask_key_frame(time.monotonic())
                return
            self._broken, self._decoder = False, av.CodecContext.create(DECODERS[kind], "r")
        assert isinstance(self._decoder, VideoCodecContext)
        data = b"".join(_vp8(packet) if kind == VP8 else _h264(packet) for packet in frame)
        for picture in self._decoder.decode(av.Packet(data)):
            code = colour_code.read(np.asarray(picture.to_ndarray(format="gray"), dtype=np.uint8))
            if code is not None:
                self.codes.append((*code, time.time()))


def _vp8_starts(payload: bytes) -> bool:
    return vp8.is_key_frame_start(payload, vp8.parse_descriptor(payload))


STARTS: dict[int, Callable[[bytes], bool]] = {VP8: _vp8_starts, H264: h264.is_key_frame_start}


def _vp8(packet: RtpPacket) -> bytes:
    return packet.payload[vp8.parse_descriptor(packet.payload).size :]


def _h264(packet: RtpPacket) -> bytes:
    return b"".join(
        b"\0\0\0\1" + piece.unit() if piece.first else piece.body for piece in h264.pieces(packet.payload)
    )
