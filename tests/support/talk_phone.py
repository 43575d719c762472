"""A rescuer who talks by phone: the phone page under a real finger, and what comes out at the other end."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from playwright.async_api import Browser, CDPSession, Page, expect

from support.browser import PATIENCE, PHONE, Watched, new_context
from support.running_server import RunningServer
from support.talk_page import TalkPage

PLACE: Final = {"latitude": 33.39812, "longitude": 104.92215, "accuracy": 8.0}


class TalkPhone(TalkPage):
    """One phone. `finger` touches the screen as a hand does: pointer events, long touches and all."""

    def __init__(self, page: Page, watched: Watched, finger: CDPSession) -> None:
        super().__init__(page, watched)
        self.finger = finger

    @classmethod
    async def open(
        cls, browser: Browser, server: RunningServer, link: str, size: tuple[int, int] = PHONE
    ) -> TalkPhone:
        """The page behind a join link, not yet touched."""
        context = await new_context(
            browser, size, phone=True, geolocation=PLACE, permissions=["geolocation", "microphone", "camera"]
        )
        return await cls.on(await context.new_page(), server, link)

    @classmethod
    async def on(cls, page: Page, server: RunningServer, link: str) -> TalkPhone:
        phone = cls(page, Watched.of(page, server), await page.context.new_cdp_session(page))
        await page.goto(link)
        return phone

    @classmethod
    async def ready(cls, browser: Browser, server: RunningServer, link: str, **options: Any) -> TalkPhone:
        """With its sound path open."""
        phone = await cls.open(browser, server, link, **options)
        await phone.turn_on()
        return phone

    async def turn_on(self) -> None:
        await expect(self.key).to_have_attribute("data-look", "off")
        await self.key.tap()
        await self.until_look("ready")

    # ------------------------------------------------------------------ what it says

    @property
    def key(self) -> Any:
        """The large key."""
        return self.page.locator('[data-control="talk"]')

    async def until_look(self, look: str, within: float = PATIENCE) -> None:
        await expect(self.key).to_have_attribute("data-look", look, timeout=within * 1000)

    async def choose(self, group: str) -> None:
        """Talk in this group."""
        row = self.page.locator(".group", has_text=group)
        if not await row.is_visible():
            await self.page.locator('[data-control="groups"]').tap()
        await row.locator(".group-choose").tap()
        await expect(self.page.locator(".group-bar")).to_contain_text(group)

    # ------------------------------------------------------------------ the finger

    async def touch(self, control: str) -> None:
        """Put the finger on it and leave it there."""
        box = await self.page.locator(f'[data-control="{control}"]').bounding_box()
        assert box is not None
        point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        await self.finger.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})

    async def slide(self, x: float, y: float) -> None:
        """The finger goes there, still on the glass."""
        await self.finger.send(
            "Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y}]}
        )

    async def lift(self, type: str = "touchEnd") -> None:
        await self.finger.send("Input.dispatchTouchEvent", {"type": type, "touchPoints": []})

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """The large key is held for as long as the block runs."""
        await self.touch("talk")
        try:
            yield
        finally:
            await self.lift()
