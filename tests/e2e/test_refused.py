"""What browsers and officers refuse: sound without a gesture, a camera, an old link. The page says what to do."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from support.browser import (
    CAMERA_NUMBER,
    PHONE,
    Identity,
    Site,
    Tile,
    command,
    go_live,
    invite,
    new_context,
    new_page,
    open_console,
    screenshot,
    until,
)
from support.chromium import chromium
from support.field_unit import field_unit

pytestmark = pytest.mark.asyncio(loop_scope="session")

SOUND = """async () => {
  const video = document.querySelector('.tile[aria-current] video');
  let energy = 0;
  for (const row of (await peers.at(-1).getStats()).values())
    if (row.type === 'inbound-rtp' && row.kind === 'audio') energy += row.totalAudioEnergy ?? 0;
  return {muted: video.muted, paused: video.paused, energy};
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def strict(identity: Identity, fake_camera: str) -> AsyncIterator[Browser]:
    """A browser as people have it: sound only after a gesture, capture only when allowed."""
    without = ("--use-fake-ui-for-media-stream", "--autoplay-policy=no-user-gesture-required")
    flags = (identity.flag, fake_camera, "--autoplay-policy=document-user-activation-required")
    async with chromium(*flags, without=without) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def console(browser: Browser, site: Site) -> AsyncIterator[Page]:
    page = await open_console(browser, site.server)
    yield page
    await page.context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def expiring(browser: Browser, site: Site) -> AsyncIterator[Page]:
    """A phone that went live by a link that is good for 36 s; the other tests of this file use that time."""
    console = await open_console(browser, site.server)
    made = await command(console, "link.create", name="过期队", hours=0.01, unit="")
    await console.context.close()
    phone = await new_page(browser, site.server, PHONE, phone=True)
    await go_live(phone, made["result"]["url"])
    await phone.evaluate("link => { window.link = link; }", made["result"]["url"])
    yield phone
    await phone.context.close()


async def test_blocked_sound_is_said_and_one_click_frees_it(strict: Browser, site: Site) -> None:
    async with field_unit(site.server, "话音队", 55):
        context = await new_context(strict)
        name, _, value = site.admin.cookie.partition("=")
        await context.add_cookies([{"name": name, "value": value, "url": site.server.url, "secure": True}])
        first = await context.new_page()
        await first.goto(site.server.url + "/wall")
        row = first.locator(".line", has_text="话音队")
        await expect(row).to_have_attribute("data-state", "live")
        await first.get_by_role("button", name="清空").click()
        await row.dblclick()
        await Tile(first, 0).until_shows(55)
        await first.get_by_role("button", name="声音：关").click()
        await until(lambda: first.evaluate(SOUND), lambda now: not now["muted"] and now["energy"] > 0)
        await first.close()

        page = await context.new_page()  # sound is wanted, and nobody has touched this page yet
        await page.goto(site.server.url + "/wall")
        await until(lambda: looked_at_without_a_touch(page), lambda text: "浏览器阻止了声音" in text)
        bar = page.get_by_role("button", name="浏览器阻止了声音")
        await expect(bar).to_be_visible()
        await Tile(page, 0).until_shows(55)  # the picture does not suffer
        assert (await page.evaluate(SOUND))["muted"]
        colour = await bar.evaluate("bar => getComputedStyle(bar).backgroundColor")
        assert colour == "rgb(211, 47, 47)"
        await screenshot(page, "wall-sound-blocked")
        await bar.click()
        await expect(bar).to_have_count(0)
        await until(
            lambda: page.evaluate(SOUND),
            lambda now: not now["muted"] and not now["paused"] and now["energy"] > 0,
        )
        await page.get_by_role("button", name="声音：开").click()
        await context.close()


async def looked_at_without_a_touch(page: Page) -> str:
    """What the page says. Playwright's own looks count as an officer's touch, after which the browser plays."""
    devtools = await page.context.new_cdp_session(page)
    text = {"expression": "document.body.innerText", "userGesture": False, "returnByValue": True}
    said = await devtools.send("Runtime.evaluate", text)
    await devtools.detach()
    return str(said["result"]["value"])


async def allow(context: BrowserContext, *permissions: str) -> None:
    """Allow these to the page and nothing else; the rest is refused without a question."""
    await context.clear_permissions()
    await context.grant_permissions(permissions)


async def test_denied_camera_and_microphone_on_the_phone(strict: Browser, site: Site, console: Page) -> None:
    link = await invite(console, "无权限手机")
    context = await new_context(strict, PHONE, phone=True)
    phone = await context.new_page()
    await allow(context)
    await phone.goto(link)
    live = phone.locator('[data-control="live"]')
    await live.click()
    notice = phone.locator("[data-problem]")
    await expect(notice).to_have_attribute("data-problem", "denied_both")
    await expect(notice).to_contain_text("没有摄像头和麦克风权限")
    await expect(notice).to_contain_text("点浏览器地址栏左侧的图标，把“摄像头”和“麦克风”改为允许")
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "off")
    await screenshot(phone, "phone-denied-both")

    # the microphone alone is refused: the picture goes out
    await allow(context, "camera")
    await live.click()
    await expect(notice).to_have_attribute("data-problem", "denied_microphone")
    await expect(notice).to_contain_text("没有麦克风权限")
    await expect(notice).to_contain_text("现在只发送画面")
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "live")
    await console.locator(".line", has_text="无权限手机").dblclick()
    stream = await console.locator(".line", has_text="无权限手机").get_attribute("data-line")
    tile = console.locator(f'.tile[data-stream="{stream}"]')
    position = await tile.evaluate("tile => Number(tile.style.order)")
    await Tile(console, position).moves(CAMERA_NUMBER)
    await screenshot(phone, "phone-denied-microphone")
    await live.click()
    await live.click()
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "off")

    # the camera alone is refused: the sound goes out
    await allow(context, "microphone")
    await live.click()
    await expect(notice).to_have_attribute("data-problem", "denied_camera")
    await expect(notice).to_contain_text("现在只发送声音")
    await expect(phone.locator(".preview-none")).to_contain_text("只有声音，没有画面")
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "live")
    await screenshot(phone, "phone-denied-camera")
    await live.click()
    await live.click()
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "off")

    # allowed after all
    await allow(context, "camera", "microphone")
    await live.click()
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "live")
    await expect(notice).to_have_count(0)
    await context.close()


async def test_revoked_link_cuts_a_live_phone_and_opens_no_more(
    browser: Browser, site: Site, console: Page
) -> None:
    link = await invite(console, "撤销队")
    phone = await new_page(browser, site.server, PHONE, phone=True)
    await go_live(phone, link)
    await console.get_by_role("button", name="邀请手机").click()
    row = console.locator(".links li", has_text="撤销队")
    await expect(row).to_be_visible()
    await screenshot(console, "wall-links")
    await row.get_by_role("button", name="撤销").click()
    sure = row.get_by_role("button", name="确认撤销？手机将立即断开")
    start = time.monotonic()
    await sure.click()
    closed = phone.locator(".closed")
    await expect(closed).to_have_attribute("data-end", "ended_revoked", timeout=8000)
    print(f"revoked: the phone was cut off after {time.monotonic() - start:.2f} s")
    await expect(closed).to_contain_text("链接已被值班员撤销")
    await expect(row).to_have_count(0)
    await console.keyboard.press("Escape")
    await expect(console.locator(".line", has_text="撤销队")).not_to_have_attribute("data-state", "live")
    assert await phone.evaluate("() => peers.every(peer => peer.connectionState === 'closed')")
    await screenshot(phone, "phone-revoked")
    await phone.goto(link)
    await expect(closed).to_have_attribute("data-end", "ended_revoked")
    await phone.context.close()


async def test_expired_link_and_one_that_never_was(browser: Browser, site: Site, expiring: Page) -> None:
    phone, link = expiring, str(await expiring.evaluate("() => window.link"))
    closed = phone.locator(".closed")
    await expect(closed).to_have_attribute("data-end", "ended_expired", timeout=60_000)
    assert await phone.evaluate("() => peers.every(peer => peer.connectionState === 'closed')")
    await expect(closed).to_contain_text("链接已过期")
    await expect(closed).to_contain_text("请向值班员索取新的二维码或链接")
    await screenshot(phone, "phone-expired")
    await phone.goto(link)
    await expect(closed).to_have_attribute("data-end", "ended_expired")
    await phone.goto(site.server.url + "/j/AAAAAAAAAAAAAAAAAAAAAA")
    await expect(closed).to_have_attribute("data-end", "ended_not_logged_in")
    await expect(closed).to_contain_text("链接无效或登录已失效")

    other = await new_page(browser, site.server, PHONE, phone=True)
    await other.goto(site.server.url + "/m")
    await expect(other.locator(".closed")).to_have_attribute("data-end", "nobody")
    await expect(other.locator(".closed")).to_contain_text("需要邀请链接")
    await screenshot(other, "phone-nobody")
    await other.context.close()
