"""One Chromium with fake devices, driven by Playwright."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Collection
from typing import Final

from playwright.async_api import Browser, async_playwright

PATH: Final = "/usr/bin/chromium"
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)


@contextlib.asynccontextmanager
async def chromium(*flags: str, without: Collection[str] = ()) -> AsyncIterator[Browser]:
    """A browser for as long as the block runs; `flags` besides the usual ones, of which `without` are left out."""
    async with async_playwright() as playwright:
        usual = [flag for flag in FLAGS if flag not in without]
        browser = await playwright.chromium.launch(executable_path=PATH, args=[*usual, *flags])
        try:
            yield browser
        finally:
            await browser.close()
