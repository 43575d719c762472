"""Mouth to ear between two headless Chromiums: beeps of a fake microphone, heard again at the other end.

Both pages speak PROTOCOL.md by themselves. An AudioWorklet on the microphone's track and one on what is played date the
onset of each beep; a processor's blocks come in bursts of about 10 ms, which is how exact one delay is.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import wave
from pathlib import Path
from typing import Any, Final

import numpy as np
from playwright.async_api import Error as BrowserError
from playwright.async_api import Page

from bench.plan import say
from bench.processes import between, read
from bench.ptt_report import MouthToEar
from bench.report import percentile
from bench.subject import Subject
from bench.workers import BenchFailed
from support.chromium import chromium
from support.talk_client import phone_token, talk_client

PERIOD: Final = 0.7  # s between beeps; delays are told apart up to LONGEST
BEEP: Final = 0.06
LONGEST: Final = 0.65
EARLY: Final = 0.02  # s that an onset may seem to be heard before it was spoken
RATE: Final = 48_000
UP_WITHIN: Final = 40.0  # s for a page to have its sound path
PAUSE: Final = 1.5  # s between presses

PAGE: Final = (Path(__file__).with_name("mouth_to_ear.js")).read_text(encoding="utf-8")


def write_beeps(path: Path) -> None:
    """One beep and silence, which Chromium plays again and again."""
    samples = np.zeros(round(PERIOD * RATE))
    length = round(BEEP * RATE)
    samples[:length] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(length) / RATE)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def matched(spoken: list[float], heard: list[float]) -> list[float]:
    """ms from each onset that was spoken to the first one heard after it, where there is one. Both in s."""
    delays = []
    for at in spoken:
        after = [each - at for each in heard if at - EARLY <= each <= at + LONGEST]
        if after:
            delays.append(round(after[0] * 1000, 1))
    return delays


async def measure_mouth_to_ear(subject: Subject, holds: int, hold: float) -> MouthToEar:
    """`holds` presses of `hold` s, from one browser to the other. Raises BenchFailed."""
    server, admin = subject.server, subject.admin
    async with talk_client(admin.client, server.url, cookie=admin.cookie) as officer:
        tokens = [await phone_token(officer, name) for name in ("口", "耳")]
        member = {"kind": "role", "id": "guest"}
        group = (await officer.do("group.create", name="口耳", members=[member]))["group"]
    with tempfile.TemporaryDirectory(prefix="fengsui-") as folder:
        beeps = Path(folder) / "beeps.wav"
        write_beeps(beeps)
        flags = (
            f"--ignore-certificate-errors-spki-list={server.spki}",
            f"--use-file-for-fake-audio-capture={beeps}",
        )
        try:
            async with contextlib.AsyncExitStack() as stack:
                pages = [
                    await _page(await stack.enter_async_context(chromium(*flags)), server.url, token, group)
                    for token in tokens
                ]
                return await _measure(pages[0], pages[1], group, holds, hold)
        except (BrowserError, TimeoutError) as error:
            raise BenchFailed(f"between browsers: {str(error).splitlines()[0] or 'no answer'}") from error


async def _page(browser: Any, url: str, token: str, group: str) -> Page:
    context = await browser.new_context(bypass_csp=True, permissions=["microphone"], ignore_https_errors=True)
    page: Page = await context.new_page()
    await page.goto(url + "/j/bench")
    await page.evaluate(PAGE)
    async with asyncio.timeout(UP_WITHIN):
        await page.evaluate("([token, group]) => openTalk(token, group)", [token, group])
    return page


async def _measure(mouth: Page, ear: Page, group: str, holds: int, hold: float) -> MouthToEar:
    delays: list[float] = []
    beeps = 0
    before = read(())
    for _ in range(holds):
        state = await mouth.evaluate("(group) => press(group)", group)
        if state != "granted":
            raise BenchFailed(f"between browsers: the floor was {state}")
        since = await mouth.evaluate("Date.now() / 1000")
        await asyncio.sleep(hold)
        until = await mouth.evaluate("Date.now() / 1000")
        await mouth.evaluate("letGo()")
        await asyncio.sleep(PAUSE)
        spoken = [at for at in await mouth.evaluate("onsets.mouth") if since <= at <= until - 0.1]
        beeps += len(spoken)
        delays += matched(spoken, await ear.evaluate("onsets.ear"))
    idle = between(before, read(())).idle
    if delays:
        say(
            f"  mouth to ear p50 {percentile(delays, 50):.0f} p95 {percentile(delays, 95):.0f} ms,"
            f" {len(delays)} of {beeps} beeps, machine {idle:.0%} idle"
        )
    return MouthToEar(delays=delays, beeps=beeps, idle=idle)
