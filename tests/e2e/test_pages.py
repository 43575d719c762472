"""Every page: usable by everybody (axe), from our own origin only, within its policy, and only for whom it is meant."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from support.browser import (
    CAMERA_NUMBER,
    PHONE,
    Site,
    Tile,
    Watched,
    barriers,
    command,
    go_live,
    invite,
    log_in,
    new_page,
    open_console,
    screenshot,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHINESE = re.compile("[\u4e00-\u9fff]")
THEMES = ("深色", "浅色", "高对比")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def watched(browser: Browser, site: Site) -> AsyncIterator[tuple[Watched, Watched]]:
    """A console with a live tile, and the phone it comes from."""
    console = Watched.of(await open_console(browser, site.server), site.server)
    link = await invite(console.page, "巡查组")
    phone = Watched.of(await new_page(browser, site.server, PHONE, phone=True), site.server)
    await go_live(phone.page, link)
    await console.page.locator(".line", has_text="巡查组").dblclick()
    yield console, phone
    await phone.page.context.close()
    await console.page.context.close()


async def test_set_up_and_log_in_are_usable_by_everybody(browser: Browser, site: Site) -> None:
    page = await new_page(browser, site.server)
    watched = Watched.of(page, site.server)
    await page.goto(site.server.url + "/login")
    await expect(page.get_by_role("heading", name="登录")).to_be_visible()
    assert await barriers(page) == []
    await screenshot(page, "login")
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    assert await page.evaluate("() => document.documentElement.lang") == "en"
    assert await barriers(page) == []
    await page.get_by_role("button", name="中文").click()
    assert (watched.problems, watched.strangers) == ([], [])
    await page.context.close()


@pytest.mark.parametrize("theme", THEMES)
async def test_wall_and_health_are_usable_by_everybody(watched: tuple[Watched, Watched], theme: str) -> None:
    page = watched[0].page
    menu = page.get_by_role("button", name="总值班（菜单）")
    await menu.click()
    await page.get_by_role("button", name=theme).click()
    assert await barriers(page) == []  # with the menu open
    await page.keyboard.press("Escape")
    position = await page.locator('.tile[data-state="live"]').first.evaluate(
        "tile => Number(tile.style.order)"
    )
    await Tile(page, position).moves(CAMERA_NUMBER)
    assert await barriers(page) == []
    await screenshot(page, f"wall-{THEMES.index(theme)}-theme")
    await page.get_by_role("link", name="运行监测").click()
    await expect(page.locator(".ladder").first).to_be_visible()
    assert await barriers(page) == []
    rows = await page.locator("[data-health]").evaluate_all(
        "all => all.map((row) => [row.dataset.health, row.cells[0].innerText])"
    )
    assert {"recordings", "media", "storage"} <= {name for name, _ in rows}
    assert [name for name, words in rows if not CHINESE.search(words)] == []  # each in the officer's words
    await screenshot(page, f"health-{THEMES.index(theme)}-theme")
    await page.get_by_role("link", name="视频墙").click()


async def test_dialogs_are_usable_by_everybody(watched: tuple[Watched, Watched]) -> None:
    page = watched[0].page
    await page.keyboard.press("Shift+Slash")
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert await barriers(page) == []
    await screenshot(page, "help")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="邀请手机").click()
    assert await barriers(page) == []
    await page.get_by_label("单位名称").fill("二维码组")
    await page.keyboard.press("Enter")
    await expect(page.locator(".qr svg")).to_be_visible()
    assert await barriers(page) == []
    await screenshot(page, "invite")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_phone_page_is_usable_by_everybody(watched: tuple[Watched, Watched]) -> None:
    page = watched[1].page
    assert await barriers(page) == []
    await page.get_by_role("button", name="English").click()
    await expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert await barriers(page) == []
    await screenshot(page, "phone-english")
    await page.get_by_role("button", name="中文").click()
    small = await page.locator(".controls button").evaluate_all(
        "all => all.filter(one => one.clientHeight < 56 || one.clientWidth < 56).length"
    )
    assert small == 0
    wide = await page.evaluate("() => document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0


async def test_nothing_left_the_origin_and_no_policy_was_broken(watched: tuple[Watched, Watched]) -> None:
    for one in watched:
        assert (one.problems, one.strangers) == ([], [])
        answer = await one.page.goto(one.page.url)
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        hosts = re.findall(r"https?://[^\s;]+", policy)
        assert hosts == []


async def test_dispatcher_and_field_user_see_what_they_may(browser: Browser, site: Site) -> None:
    server = site.server
    officer = await server.add_user("desk2", "dispatcher")
    rescuer = await server.add_user("zhang", "field")
    assert {"stream.watch", "link.create"} <= set(officer.me["permissions"])
    assert "stream.watch" not in rescuer.me["permissions"]

    # the dispatcher: the wall, but not the audit log
    page = await open_console(browser, server, "desk2")
    await expect(page.get_by_role("button", name="邀请手机")).to_be_visible()
    refused = await command(page, "audit.read", limit=10)
    assert refused["error"]["code"] == "forbidden", refused
    await page.context.close()

    # the field user: the phone page, and from everywhere else back to it
    field = await new_page(browser, server, PHONE, phone=True)
    watched = Watched.of(field, server)
    await log_in(field, server, "zhang")
    await expect(field).to_have_url(server.url + "/m")
    for path in ("/wall", "/health", "/"):
        await field.goto(server.url + path)
        await expect(field).to_have_url(server.url + "/m")
    for kind, fields in (
        ("link.create", {"name": "x", "unit": ""}),
        ("slot.set", {"session": "x", "wishes": []}),
        ("audit.read", {"limit": 10}),
    ):
        answer = await command(field, kind, **fields)
        assert answer["error"]["code"] == "forbidden", (kind, answer)

    # and what a field user sends is on the dispatcher's wall
    await field.locator('[data-control="live"]').click()
    await expect(field.locator(".preview")).to_have_attribute("data-live", "live")
    page = await open_console(browser, server, "desk2")
    row = page.locator(".line", has_text="zhang")
    await expect(row).to_have_attribute("data-state", "live")
    await row.dblclick()
    stream = await row.get_attribute("data-line")
    position = await page.locator(f'.tile[data-stream="{stream}"]').evaluate(
        "tile => Number(tile.style.order)"
    )
    await Tile(page, position).moves(CAMERA_NUMBER)
    assert watched.strangers == []
    await field.context.close()
    await page.context.close()
