"""The phone page in every size, theme and language, and in a browser that refuses the microphone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import PHONE, Identity, barriers, invite, new_context, screenshot
from support.chromium import chromium
from support.phone_net import PhoneNet, phone_net
from support.running_server import RunningServer
from support.talk_phone import TalkPhone

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES = [(390, 844), (360, 640)]
LANGUAGES = ("中文", "English")
PANELS = ("groups", "callback", "status")
TOO_SMALL = """() => [...document.querySelectorAll('button')]
  .filter((one) => one.checkVisibility() && (one.offsetHeight < 56 || one.offsetWidth < 56))
  .map((one) => `${one.offsetWidth}x${one.offsetHeight} ${one.outerHTML.slice(0, 90)}`)"""
TOO_LARGE = "({scrollWidth, scrollHeight}) => [scrollWidth - innerWidth, scrollHeight - innerHeight]"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def net(talking_browser: Browser, server: RunningServer) -> AsyncIterator[PhoneNet]:
    async with phone_net(talking_browser, server) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def dressed(net: PhoneNet) -> AsyncIterator[Callable[[tuple[int, int], str, str], Awaitable[Page]]]:
    """The second phone in a size, a theme and a language; afterwards as it was."""
    page = net.b.page

    async def dress(size: tuple[int, int], theme: str, language: str) -> Page:
        await page.set_viewport_size({"width": size[0], "height": size[1]})
        await page.evaluate(f"() => {{ document.documentElement.dataset.theme = '{theme}'; }}")
        if await (other := page.get_by_role("button", name=language, exact=True)).count():
            await other.tap()
        await expect(other).to_have_count(0)
        return page

    yield dress
    await dress(PHONE, "dark", "中文")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("size", SIZES)
async def test_everything_fits_and_is_large_enough_for_a_glove(
    net: PhoneNet, dressed: Callable[..., Awaitable[Page]], size: tuple[int, int], language: str
) -> None:
    page = await dressed(size, "dark", language)
    for control in PANELS:
        await page.locator(f'[data-control="{control}"]').tap()
        assert await page.evaluate(TOO_SMALL) == []
        await page.locator(f'[data-control="{control}"]').tap()
    assert await page.locator("html").evaluate(TOO_LARGE) == [0, 0]
    key = await net.b.key.bounding_box()
    assert key is not None
    assert key["height"] >= 96


@pytest.mark.parametrize(
    ("size", "theme", "language"),
    [(SIZES[0], "dark", "中文"), (SIZES[1], "light", "English")],
    ids=["dark", "light"],
)
async def test_everything_is_usable_by_everybody(
    net: PhoneNet, dressed: Callable[..., Awaitable[Page]], size: tuple[int, int], theme: str, language: str
) -> None:
    page = await dressed(size, theme, language)
    for control in PANELS:
        await page.locator(f'[data-control="{control}"]').tap()
        assert await barriers(page) == []
        await screenshot(page, f"mobile-{size[0]}-{theme}-{control}")
        await page.locator(f'[data-control="{control}"]').tap()
    async with net.a.held():
        await net.b.until_look("rx")
        assert await barriers(page) == []
        async with net.b.held():
            await net.b.until_look("wait")
            assert await barriers(page) == []
    await net.b.until_look("ready")


async def test_a_denied_microphone_is_said_and_the_phone_listens_all_the_same(
    net: PhoneNet, identity: Identity, fake_camera: str, fake_microphone: str
) -> None:
    without = ("--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required")
    async with chromium(
        *(identity.flag, fake_camera, fake_microphone),
        "--autoplay-policy=document-user-activation-required",
        without=without,
    ) as strict:
        context = await new_context(strict, PHONE, phone=True)
        phone = await TalkPhone.on(
            await context.new_page(), net.server, await invite(net.chief.page, "三中队")
        )
        await context.clear_permissions()
        await context.grant_permissions([])
        await phone.until_look("off")
        await screenshot(phone.page, "mobile-off")
        await phone.key.tap()
        await phone.until_look("deaf")
        await expect(phone.page.locator('[data-sound="mic_denied"]')).to_contain_text("把“麦克风”改为允许")
        await expect(phone.page.locator('[data-step="microphone"]')).to_have_attribute("data-state", "bad")
        await expect(phone.page.locator('[data-step="path"]')).to_have_attribute("data-state", "ok")
        await screenshot(phone.page, "mobile-denied")
        assert await barriers(phone.page) == []
        async with net.a.held():
            await phone.until_hears()
            await phone.until_look("rx")
        await phone.until_look("deaf")
        async with phone.held():
            await phone.until_look("refused")
            await expect(phone.key).to_contain_text("没有话筒")
        await context.grant_permissions(["microphone"])
        await phone.page.get_by_role("button", name="重试").tap()
        await phone.until_look("ready")
        async with phone.held():
            await net.a.until_hears()
        await phone.close()
