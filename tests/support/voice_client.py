"""A client of talk groups in Python, written from PROTOCOL.md alone: a WebSocket, a sound path by aiortc, ears.

`Radio.press` and `let_go` are its key; its microphone is a tone of its own that begins, at each press, with 20 ms of a
marker tone, so that whoever hears it can say whether the first 20 ms arrived. `Ears` keep what came out of each slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, cast

import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from av import AudioFrame
from numpy.typing import NDArray

from support.running_server import Account, RunningServer
from support.talk_client import TalkClient, connect, phone_token
from support.waiting import until

__all__ = ["LOUD", "MARKER", "RATE", "Ears", "Microphone", "Radio", "has", "phone_token", "pitches", "radio"]

RATE: Final = 48_000
FRAME: Final = 960  # samples in 20 ms
MARKER: Final = 3000.0  # Hz, the first 20 ms of every press
LOUD: Final = 500  # a tone's sample amplitude is 12,000
SLOTS: Final = 8

Sound = NDArray[np.int16]


class Microphone(MediaStreamTrack):
    """A tone of `pitch` Hz while `sending`; nothing at all else, as an encoding that is not active."""

    kind = "audio"

    def __init__(self, pitch: float) -> None:
        super().__init__()
        self.pitch = pitch
        self.sending = asyncio.Event()
        self.pressed_at = 0.0
        self._sample = 0
        self._due = 0.0
        self._first = True

    def start(self) -> None:
        self._first = True
        self.pressed_at = self._due = time.monotonic()
        self._sample = int(self._due * RATE)
        self.sending.set()

    def stop_speaking(self) -> None:
        self.sending.clear()

    async def recv(self) -> AudioFrame:
        while True:
            await self.sending.wait()
            self._due += FRAME / RATE
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            if self.sending.is_set():
                break
        pitch, self._first = MARKER if self._first else self.pitch, False
        phase = (self._sample + np.arange(FRAME)) * (2 * np.pi * pitch / RATE)
        samples = (12_000 * np.sin(phase)).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.repeat(samples, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.pts, frame.sample_rate, frame.time_base = self._sample, RATE, Fraction(1, RATE)
        self._sample += FRAME
        return frame


@dataclass
class Ears:
    """What came out of the voice slots: (monotonic s, mono samples of 20 ms) of each."""

    heard: dict[int, list[tuple[float, Sound]]] = field(default_factory=dict)

    def sound(self, slot: int, since: float = 0.0) -> Sound:
        """Everything loud, one after the other."""
        parts = [part for at, part in self.heard.get(slot, []) if at >= since and np.abs(part).max() > LOUD]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)

    def all(self, since: float = 0.0) -> Sound:
        return np.concatenate(
            [self.sound(slot, since) for slot in sorted(self.heard)] or [np.zeros(0, np.int16)]
        )


def pitches(sound: Sound, size: int = FRAME) -> list[float]:
    """The loudest frequency of each 20 ms."""
    found = []
    for start in range(0, len(sound) - size + 1, size):
        spectrum = np.abs(np.fft.rfft(sound[start : start + size] * np.hanning(size)))
        found.append(float(np.argmax(spectrum) * RATE / size))
    return found


def has(sound: Sound, pitch: float, least: int = 5) -> bool:
    """Whether at least so many pieces of 20 ms are this tone."""
    return sum(abs(found - pitch) <= 60 for found in pitches(sound)) >= least


@dataclass(kw_only=True)
class Radio(TalkClient):
    """One client with a microphone and ears."""

    microphone: Microphone
    ears: Ears = field(default_factory=Ears)
    peer: RTCPeerConnection | None = None

    # ------------------------------------------------------------------ the sound path

    async def open(self) -> None:
        """Until packets can flow."""
        peer = self.peer = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        peer.addTransceiver(self.microphone, "sendonly")
        for _ in range(SLOTS):
            peer.addTransceiver("audio", "recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self.do("media.offer", kind="voice", sdp=peer.localDescription.sdp)
        self.session = answer["session"]
        assert [slot["slot"] for slot in answer["slots"]] == list(range(SLOTS))
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        for slot, transceiver in enumerate(peer.getTransceivers()[1:]):
            self._tasks.append(asyncio.create_task(self._listen(slot, transceiver.receiver.track)))
        await until(lambda: self.step in ("dtls", "path"))

    async def _listen(self, slot: int, track: MediaStreamTrack) -> None:
        heard = self.ears.heard.setdefault(slot, [])
        with contextlib.suppress(Exception):
            while True:
                frame = cast(AudioFrame, await track.recv())
                samples = frame.to_ndarray().reshape(-1)
                mono = samples[::2] if len(frame.layout.channels) == 2 else samples
                heard.append((time.monotonic(), mono.astype(np.int16)))

    # ------------------------------------------------------------------ groups and the key

    async def press(self, *names: str, urgency: str = "normal", speak: bool = True) -> list[dict[str, Any]]:
        """The key is down: the microphone sends at once; the answers."""
        if speak:
            self.microphone.start()
        answers = await self.ask(*names, urgency=urgency)
        if not any(answer["state"] == "granted" for answer in answers):
            self.microphone.stop_speaking()
        return answers

    async def let_go(self) -> None:
        self.microphone.stop_speaking()
        await super().let_go()

    async def vanish(self) -> None:
        self.microphone.stop_speaking()
        await super().vanish()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self.peer is not None:
            await self.peer.close()
        await super().close()


@contextlib.asynccontextmanager
async def radio(
    server: RunningServer,
    account: Account | None = None,
    *,
    token: str = "",
    pitch: float = 1000.0,
    path: bool = True,
) -> AsyncIterator[Radio]:
    """An officer (by account) or a phone (by a join link's token), with its sound path up."""
    http = account.client if account is not None else server.client()
    socket = await connect(http, server.url, account.cookie if account is not None else "")
    made = Radio(http=http, socket=socket, microphone=Microphone(pitch))
    try:
        await made.hello(token)
        if path:
            await made.open()
        yield made
    finally:
        await made.close()
