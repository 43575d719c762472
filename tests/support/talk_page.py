"""A page with a radio in it, console or phone: what its fake microphone says, what it hears and what it sends."""

from __future__ import annotations

import math
import struct
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Page

from support.browser import PATIENCE, Watched, until

RATE: Final = 48_000
TONE: Final = 900.0  # Hz; what the fake microphone says, in syllables: a steady tone would be taken for noise
SYLLABLE: Final = 0.25  # s, and as long a pause

# Loudness in dB at TONE of what arrives in any voice slot of the page, and of all else, over the last 0.1 s.
LISTEN: Final = """
async (hz) => {
  window.ears ??= new AudioContext();
  await window.ears.resume();
  window.heard ??= new Map();
  for (const pc of window.peers) {
    if (pc.connectionState === 'closed') continue;
    const kinds = pc.getTransceivers().map((one) => one.receiver.track.kind);
    if (kinds.includes('video')) continue;
    for (const {receiver, direction} of pc.getTransceivers()) {
      if (direction !== 'recvonly' || window.heard.has(receiver.track)) continue;
      const analyser = window.ears.createAnalyser();
      analyser.fftSize = 4096;
      analyser.smoothingTimeConstant = 0;
      window.ears.createMediaStreamSource(new MediaStream([receiver.track])).connect(analyser);
      window.heard.set(receiver.track, analyser);
    }
  }
  let best = -200;
  for (const analyser of window.heard.values()) {
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    const at = Math.round(hz / (window.ears.sampleRate / analyser.fftSize));
    best = Math.max(best, ...bins.slice(at - 2, at + 3).map((one) => Number.isFinite(one) ? one : -200));
  }
  return best;
}
"""

# Packets that the radio's microphone has sent; the live picture has a connection of its own.
SENT: Final = """
async () => {
  let sent = 0;
  for (const pc of window.peers) {
    if (pc.connectionState === 'closed') continue;
    if (pc.getTransceivers().some((one) => one.receiver.track.kind === 'video')) continue;
    for (const row of (await pc.getStats()).values()) {
      if (row.type === 'outbound-rtp' && row.kind === 'audio') sent += row.packetsSent;
    }
  }
  return sent;
}
"""


# SSRC of the radio's microphone, and the payload type that RED has there.
VOICE: Final = """
async () => {
  for (const pc of window.peers) {
    if (pc.connectionState === 'closed') continue;
    if (pc.getTransceivers().some((one) => one.receiver.track.kind === 'video')) continue;
    for (const row of (await pc.getStats()).values()) {
      if (row.type !== 'outbound-rtp' || row.kind !== 'audio') continue;
      const red = /a=rtpmap:(\\d+) red\\/48000/.exec(pc.currentLocalDescription.sdp);
      return [row.ssrc, red ? Number(red[1]) : -1];
    }
  }
  return [0, -1];
}
"""


@dataclass(frozen=True, slots=True)
class Voice:
    """What a page's microphone is sent as; `red` is -1 where that was not negotiated."""

    ssrc: int
    red: int


def write_microphone(path: Path, seconds: float = 8.0) -> None:
    """A file for --use-file-for-fake-audio-capture, which loops it."""
    samples = bytearray()
    for i in range(int(seconds * RATE)):
        on = (i / RATE) % (2 * SYLLABLE) < SYLLABLE
        samples += struct.pack("<h", int(9000 * math.sin(2 * math.pi * TONE * i / RATE)) if on else 0)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(samples))


class TalkPage:
    """What a talking page can be asked, whoever holds it."""

    def __init__(self, page: Page, watched: Watched) -> None:
        self.page = page
        self.watched = watched

    async def loudness(self) -> float:
        return float(await self.page.evaluate(LISTEN, TONE))

    async def until_hears(self, within: float = PATIENCE) -> None:
        await until(self.loudness, lambda decibels: decibels > -60, within, every=0.05)

    async def until_silent(self, within: float = PATIENCE) -> None:
        """For longer than a pause between two syllables."""
        quiet = 0

        async def look() -> int:
            nonlocal quiet
            quiet = quiet + 1 if await self.loudness() < -75 else 0
            return quiet

        await until(look, lambda count: count >= 10, within, every=0.05)

    async def packets(self) -> int:
        """Packets that the microphone has sent."""
        return int(await self.page.evaluate(SENT))

    async def voice(self) -> Voice:
        return Voice(*(await self.page.evaluate(VOICE)))

    async def until_sends_nothing(self) -> None:
        """No packet of the microphone for half a second."""
        last, same = -1, 0

        async def look() -> int:
            nonlocal last, same
            sent = await self.packets()
            same = same + 1 if sent == last else 0
            last = sent
            return same

        await until(look, lambda count: count >= 5)

    async def close(self) -> None:
        await self.page.context.close()
