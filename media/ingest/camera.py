"""One open camera: what FFmpeg demuxes from it, as RTP payloads of H.264 (untouched) and Opus."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import av
from av.audio.stream import AudioStream
from av.packet import Packet
from av.video.stream import VideoStream

from media.ingest.opus_encoder import OpusEncoder
from media.relay.messages import MediaKind
from media.rtp.errors import PacketError
from media.rtp.h264 import annexb_units, avcc_units, packetize
from media.rtp.h264_syntax import SliceType, slice_type

MAX_PAYLOAD = 1_200
OPEN_TIMEOUT = 10.0  # s
READ_TIMEOUT = 5.0  # s without a packet
IDR, SPS, PPS = 5, 7, 8
CLOCKS = {MediaKind.VIDEO: 90_000, MediaKind.AUDIO: 48_000}
LOOK_FOR_B_FRAMES = 300  # pictures


class CameraError(Exception):
    """The camera cannot be shown. `code` is one of `media.protocol.PULL_ERRORS`, `detail` a plain sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One access unit or one Opus packet: `payloads` share `rtp_time` (90 kHz video, 48 kHz Opus)."""

    kind: MediaKind
    rtp_time: int
    payloads: list[bytes]
    key_frame: bool = False


class Camera:
    """Opens on construction (blocks up to 10 s). Iterate `frames`; `close` in any case.

    `video_codec` and `audio_codec` are FFmpeg's names, "" = none. `b_frames` becomes True when one was seen.
    Broken access units are dropped and counted in `broken`.

    Raises:
        av.FFmpegError, CameraError("codec"): there is nothing in it that we can show.
    """

    def __init__(self, url: str, *, transport: str) -> None:
        self.b_frames = False
        self.broken = 0
        self._pictures = 0
        self._container = av.open(
            url,
            options={
                "rtsp_transport": transport,
                "timeout": str(int(READ_TIMEOUT * 1_000_000)),
                "allowed_media_types": "video+audio",
                "protocol_whitelist": "rtsp,rtp,udp,tcp",
                "probesize": "65536",
                "analyzeduration": "100000",
                "fflags": "nobuffer",
                "max_delay": "200000",
            },
            timeout=(OPEN_TIMEOUT, READ_TIMEOUT),
        )
        try:
            self._video = self._pick_video()
            self._audio = next(iter(self._container.streams.audio), None)
            if self._video is None and self._audio is None:
                raise CameraError("codec", "the camera sends neither picture nor sound")
        except BaseException:
            self._container.close()
            raise
        self._opus = OpusEncoder()
        self._parameters = self._parameter_sets()

    @property
    def video_codec(self) -> str:
        return self._video.codec_context.name if self._video is not None else ""

    @property
    def audio_codec(self) -> str:
        return self._audio.codec_context.name if self._audio is not None else ""

    def _pick_video(self) -> VideoStream | None:
        streams = list(self._container.streams.video)
        for stream in streams:
            if stream.codec_context.name == "h264":
                return stream
        if streams:
            name = streams[0].codec_context.name
            raise CameraError(
                "codec", f"the camera sends {name}; set it to H.264, browsers cannot show {name}"
            )
        return None

    def _parameter_sets(self) -> list[bytes]:
        extradata = self._video.codec_context.extradata if self._video is not None else None
        if not extradata or extradata[0] != 0:  # not start codes: an avcC box, which RTSP never gives
            return []
        try:
            return [unit for unit in annexb_units(extradata) if unit[0] & 0x1F in (SPS, PPS)]
        except PacketError:
            return []

    def frames(self) -> Iterator[Frame]:
        """Every access unit and sound packet until the camera closes (then av.EOFError or nothing more)."""
        streams = [stream for stream in (self._video, self._audio) if stream is not None]
        for packet in self._container.demux(streams):
            if not packet.size:
                continue
            try:
                if isinstance(packet.stream, AudioStream):
                    yield from self._sound(cast("Packet[AudioStream]", packet))
                else:
                    yield from self._picture(cast("Packet[VideoStream]", packet))
            except (PacketError, av.InvalidDataError):
                self.broken += 1

    def _picture(self, packet: Packet[VideoStream]) -> Iterator[Frame]:
        data = bytes(packet)
        units = annexb_units(data) if data[:3] in (b"\0\0\0", b"\0\0\1") else avcc_units(data)
        kinds = {unit[0] & 0x1F for unit in units}
        if IDR in kinds and SPS not in kinds:
            units = self._parameters + units
        if not self.b_frames and self._pictures < LOOK_FOR_B_FRAMES:
            self._pictures += 1
            self.b_frames = any(slice_type(unit) is SliceType.B for unit in units)
        if payloads := packetize(units, MAX_PAYLOAD):
            yield Frame(
                kind=MediaKind.VIDEO,
                rtp_time=_ticks(packet, CLOCKS[MediaKind.VIDEO]),
                payloads=payloads,
                key_frame=IDR in kinds,
            )

    def _sound(self, packet: Packet[AudioStream]) -> Iterator[Frame]:
        assert self._audio is not None  # noqa: S101  only packets of its stream come here
        for frame in self._audio.decode(packet):
            for rtp_time, opus in self._opus.encode(frame):
                yield Frame(kind=MediaKind.AUDIO, rtp_time=rtp_time, payloads=[opus])

    def close(self) -> None:
        self._container.close()


def _ticks(packet: Packet[VideoStream], rate: int) -> int:
    at = packet.pts if packet.pts is not None else packet.dts
    if at is None or packet.time_base is None:
        raise av.InvalidDataError(0, "a packet without a time")
    return round(at * packet.time_base * rate)
