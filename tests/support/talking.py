"""A voice for tests: Opus packets of a tone, a peer that sends them over a real transport, and files looked into."""

from __future__ import annotations

import asyncio
import functools
import json
import struct
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext
from numpy.typing import NDArray

from media.protocol import RECORDER_TAP, RecordingState, StartRecording, Statistics, StopRecording
from media.relay.messages import AddSink, AddSource, Codec, Layer, MediaKind, SourceCodec
from media.rtp.red import RedBlock, wrap
from support.counting_peer import CountingPeer
from support.relay_by_hand import Relay

RATE = 48_000
FRAME = 960  # samples of 20 ms
OPUS_TYPE, RED_TYPE = 111, 63


@functools.cache
def tone(seconds: float, hertz: float = 440.0) -> tuple[bytes, ...]:
    """Opus packets of 20 ms, mono; the tone is there from the first sample on."""
    encoder = av.CodecContext.create("libopus", "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "mono", "s16"
    encoder.bit_rate = 32_000
    encoder.options = {"application": "audio", "frame_duration": "20"}
    count = round(seconds * RATE / FRAME)
    samples = np.sin(2 * np.pi * hertz * np.arange((count + 1) * FRAME) / RATE) * 9000
    packets: list[bytes] = []
    for index in range(count + 1):
        part = samples[index * FRAME : (index + 1) * FRAME].astype(np.int16)[None, :]
        frame = av.AudioFrame.from_ndarray(part, format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, index * FRAME
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return tuple(packets[:count])


def redundant(packets: Sequence[bytes]) -> list[bytes]:
    """Each packet with the one before it (RFC 2198)."""
    made = []
    for index, packet in enumerate(packets):
        before = [RedBlock(payload_type=OPUS_TYPE, payload=packets[index - 1], timestamp_offset=FRAME)]
        made.append(wrap(RedBlock(payload_type=OPUS_TYPE, payload=packet), before if index else []))
    return made


class Talker:
    """A peer's voice: one audio source over a real transport, recorded by real means."""

    def __init__(self, relay: Relay, source: int, ssrc: int, peer: CountingPeer) -> None:
        self.relay = relay
        self.source = source
        self.ssrc = ssrc
        self.peer = peer
        self.sequence = 65_500  # wraps within a second
        self.timestamp = 0xFFFF_0000
        self.sent_at: list[float] = []

    @classmethod
    async def open(cls, relay: Relay, peer: CountingPeer, number: int = 1, hold: float = 1.5) -> Talker:
        talker = cls(relay, number, 7000 + number, peer)
        await relay.open(number, peer)
        codecs = (
            SourceCodec(codec=Codec.OPUS, payload_type=OPUS_TYPE, clock_rate=RATE),
            SourceCodec(codec=Codec.RED, payload_type=RED_TYPE, clock_rate=RATE),
        )
        await relay.apply(
            AddSource(
                source=number,
                transport=number,
                kind=MediaKind.AUDIO,
                mid="0",
                codecs=codecs,
                layers=(Layer(ssrc=talker.ssrc),),
                hold=hold,
            ),
            AddSink(sink=1000 + number, kind=MediaKind.AUDIO, tap=RECORDER_TAP),
        )
        await asyncio.wait_for(peer.connected.wait(), 8)
        return talker

    def packet(self, payload: bytes, payload_type: int = OPUS_TYPE) -> bytes:
        """The next RTP packet."""
        header = struct.pack(
            "!BBHII", 0x80, payload_type, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc
        )
        self.sequence += 1
        self.timestamp += FRAME
        return header + payload

    async def say(
        self,
        payloads: Sequence[bytes],
        payload_type: int = OPUS_TYPE,
        lost: Sequence[int] = (),
        pace: float = 1.0,
    ) -> None:
        """Send at 50 packets a second (times `pace`); those with an index in `lost` get lost on the way."""
        due = time.monotonic()
        for index, payload in enumerate(payloads):
            packet = self.packet(payload, payload_type)
            if index not in lost:
                self.peer.send_rtp(packet)
                self.sent_at.append(time.monotonic())
            due += 0.02 / pace
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def pause(self, seconds: float) -> None:
        """The clock goes on, nothing is sent."""
        self.timestamp += round(seconds * RATE)

    async def record(self, recording: str, path: str) -> None:
        """As at a grant: the request first, then the route."""
        request = StartRecording(number=0, recording=recording, source=self.source, path=path)
        done, _ = await asyncio.gather(
            self.relay.media.request(request), self.relay.route(self.source, 1000 + self.source)
        )
        assert done.error == ""

    async def until_tapped(self, packets: int) -> None:
        """Until so many have gone to the recorder since `open`."""

        def tapped() -> bool:
            told = [notice for notice in self.relay.notices if isinstance(notice, Statistics)]
            sinks = told[-1].engine.sinks if told else ()
            return any(each.sink == 1000 + self.source and each.packets >= packets for each in sinks)

        await self.relay.until(tapped)

    async def release(self, recording: str) -> None:
        await self.relay.route(self.source)
        done = await self.relay.media.request(StopRecording(number=0, recording=recording))
        assert done.error == ""

    def state(self, recording: str, *states: str) -> RecordingState | None:
        """What was told of a recording last, among `states`."""
        found = [
            notice
            for notice in self.relay.notices
            if isinstance(notice, RecordingState)
            and notice.recording == recording
            and (not states or notice.state in states)
        ]
        return found[-1] if found else None

    async def over(self, recording: str, timeout: float = 8.0) -> RecordingState:
        await self.relay.until(lambda: self.state(recording, "ended", "failed") is not None, timeout)
        found = self.state(recording, "ended", "failed")
        assert found is not None
        return found


# ---- looking into files ----


def probed(path: Path) -> float:
    """The duration in s that ffprobe says."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration:stream=codec_name", "-of", "json"]
    told = json.loads(
        subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=20).stdout
    )
    assert [stream["codec_name"] for stream in told["streams"]] == ["opus"]
    return float(told["format"]["duration"])


def decoding_complaints(path: Path) -> str:
    """What ffmpeg says while it decodes the whole file; "" = nothing."""
    command = ["ffmpeg", "-v", "warning", "-xerror", "-i", str(path), "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, timeout=20)
    return done.stderr.decode() if done.stderr or done.returncode == 0 else f"exit code {done.returncode}"


def samples(path: Path) -> NDArray[np.float64]:
    """The file decoded: mono, 48 kHz, -1 to 1."""
    made: list[NDArray[np.float64]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            data = frame.to_ndarray().astype(np.float64)
            made.append(data[0] if frame.format.is_planar else data.ravel())
            if frame.format.name.startswith("s16"):
                made[-1] /= 32768
    return np.concatenate(made) if made else np.zeros(0)


def loudness(sound: NDArray[np.float64], begin: float, end: float) -> float:
    """RMS between two times in s."""
    part = sound[round(begin * RATE) : round(end * RATE)]
    return float(np.sqrt(np.mean(part**2))) if len(part) else 0.0


def pitch(sound: NDArray[np.float64], begin: float, end: float) -> float:
    """The strongest frequency in Hz between two times in s."""
    part = sound[round(begin * RATE) : round(end * RATE)]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), 1 << 17))
    return float(np.argmax(spectrum) * RATE / (1 << 17))
