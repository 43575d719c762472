"""Any sound a camera sends, as 20 ms Opus packets."""

from __future__ import annotations

from collections.abc import Iterator

import av

SAMPLE_RATE = 48_000
FRAME = 960  # samples in 20 ms
BITRATE = 32_000  # bit/s: speech from a camera's microphone


class OpusEncoder:
    """Decoded audio frames in, (timestamp in 48 kHz ticks, Opus packet) out. Gaps in the input become silence-free
    jumps of the timestamp: a packet's timestamp follows its input frame's time."""

    def __init__(self) -> None:
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE, frame_size=FRAME)
        self._encoder = av.CodecContext.create("libopus", "w")
        assert isinstance(self._encoder, av.AudioCodecContext)  # noqa: S101  libopus is a sound codec
        self._encoder.sample_rate = SAMPLE_RATE
        self._encoder.layout = "mono"
        self._encoder.format = "s16"
        self._encoder.bit_rate = BITRATE
        self._encoder.options = {"application": "voip", "frame_duration": "20", "fec": "1"}

    def encode(self, frame: av.AudioFrame) -> Iterator[tuple[int, bytes]]:
        for piece in self._resampler.resample(frame):
            time = piece.time or 0.0
            for packet in self._encoder.encode(piece):
                yield round(time * SAMPLE_RATE), bytes(packet)
