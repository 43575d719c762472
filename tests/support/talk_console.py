"""A dispatcher who talks by radio: two consoles with fake microphones, and what comes out at the other end."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, expect

from support.browser import Watched, open_console
from support.running_server import RunningServer
from support.talk_page import TalkPage


class TalkConsole(TalkPage):
    """One officer at the wall, on shift."""

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
