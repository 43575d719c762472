"""A dispatcher who talks by radio: two consoles with fake microphones, and what comes out at the other end."""

from __future__ import annotations

import math
import struct
import wave
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser, Page, expect

from support.browser import PATIENCE, Watched, open_console, until
from support.running_server import RunningServer

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

SENT: Final = """
async () => {
  let sent = 0;
  for (const pc of window.peers) {
    if (pc.connectionState === 'closed') continue;
    for (const row of (await pc.getStats()).values()) {
      if (row.type === 'outbound-rtp' && row.kind === 'audio') sent += row.packetsSent;
    }
  }
  return sent;
}
"""


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


class TalkConsole:
    """One officer at the wall, on shift."""

    def __init__(self, page: Page, watched: Watched) -> None:
        self.page = page
        self.watched = watched

    @classmethod
    async def on_shift(cls, browser: Browser, server: RunningServer, username: str) -> TalkConsole:
        page = await open_console(browser, server, username)
        console = cls(page, Watched.of(page, server))
        await page.get_by_role("button", name="开始值班").click()
        await expect(console.state).to_contain_text("待发话")
        return console

    @property
    def state(self) -> Any:
        """What the talk bar says about the key."""
        return self.page.locator(".press-state")

    def card(self, group: str) -> Any:
        return self.page.locator(".group", has_text=group)

    async def choose(self, group: str) -> None:
        """Select this group alone."""
        card = self.card(group)
        if await card.get_attribute("data-selection") != "selected":
            await card.locator(".group-main").click()
        await expect(card).to_have_attribute("data-selection", "selected")

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

    async def close(self) -> None:
        await self.page.context.close()
