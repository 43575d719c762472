"""Set-up, log-in and log-out in a browser, with the keyboard alone."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import Identity, Watched, barriers, new_page, screenshot
from support.running_server import PASSWORD, RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def type_into(page: Page, *texts: str) -> None:
    """Type each text where the focus is and go on with Tab, as somebody without a mouse does."""
    for i, text in enumerate(texts):
        if i:
            await page.keyboard.press("Tab")
        await page.keyboard.insert_text(text)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(
    identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningServer]:
    """Nobody has set it up yet; the tests of this file go through its first day in their order."""
    folder = identity.data_folder(tmp_path_factory.mktemp("entering"))
    async with running_server(folder=folder) as running:
        yield running


async def test_before_set_up_every_page_leads_there(browser: Browser, server: RunningServer) -> None:
    page = await new_page(browser, server)
    for path in ("/", "/wall", "/health", "/login", "/m"):
        await page.goto(server.url + path)
        await expect(page).to_have_url(server.url + "/setup")
    await page.context.close()


async def test_from_the_first_start_to_the_next_morning_by_keyboard(
    browser: Browser, server: RunningServer
) -> None:
    page = await new_page(browser, server)
    watched = Watched.of(page, server)
    await page.goto(server.url + "/")
    await expect(page).to_have_url(server.url + "/setup")
    await expect(page.get_by_role("heading", name="首次初始化")).to_be_visible()
    await screenshot(page, "setup")
    assert await barriers(page) == []

    # a wrong code is told in words, and what was typed stays
    await expect(page.get_by_label("一次性初始化码")).to_be_focused()
    await type_into(page, "WRONG-CODE-1234", "chief", "总值班", PASSWORD)
    await page.keyboard.press("Tab")  # the eye
    await page.keyboard.press("Tab")
    await page.keyboard.insert_text(PASSWORD)
    await page.keyboard.press("Enter")
    notice = page.get_by_role("alert")
    await expect(notice).to_contain_text("初始化失败 · 初始化码不正确或已失效")
    await expect(notice).to_contain_text("查看服务器启动时打印的一次性初始化码")
    await expect(page.get_by_label("用户名")).to_have_value("chief")
    await screenshot(page, "setup-wrong-code")
    assert await barriers(page) == []

    # the right one makes the administrator, who is logged in
    await page.get_by_label("一次性初始化码").focus()
    await page.keyboard.press("Control+A")
    await page.keyboard.insert_text(server.setup_code)
    await page.keyboard.press("Enter")
    await page.wait_for_url(server.url + "/wall")
    await expect(page.locator('[data-link="server"]')).to_have_attribute("data-words", "link_ok")
    await expect(page.get_by_text("还没有任何单位")).to_be_visible()
    await screenshot(page, "wall-empty")

    # out, through the menu
    menu = page.get_by_role("button", name="总值班（菜单）")
    await menu.focus()
    await page.keyboard.press("Enter")
    out = page.get_by_role("button", name="退出登录")
    await expect(out).to_be_visible()
    for _ in range(12):
        if await out.evaluate("button => button === document.activeElement"):
            break
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("/login"))

    # a wrong password: words, an empty field, the focus where to start again
    await expect(page.get_by_label("用户名")).to_be_focused()
    await type_into(page, "chief", "definitely not it")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("登录失败 · 用户名或密码不正确")
    await expect(page.get_by_label("密码", exact=True)).to_have_value("")
    await screenshot(page, "login-wrong-password")
    await expect(page.get_by_label("用户名")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.insert_text(PASSWORD)
    await page.keyboard.press("Control+Enter")
    await page.wait_for_url(server.url + "/wall")

    refused = [one for one in watched.problems if "403" not in one and "401" not in one]
    assert refused == []
    assert watched.strangers == []
    await page.context.close()


async def test_pages_send_on_who_cannot_use_them(browser: Browser, server: RunningServer) -> None:
    page = await new_page(browser, server)
    for path, at in {
        "/setup": "/login",
        "/health": "/login?next=%2Fhealth",
        "/": "/login?next=%2Fwall",
    }.items():
        await page.goto(server.url + path)
        await expect(page).to_have_url(server.url + at)
    await page.goto(server.url + "/health")
    await page.get_by_label("用户名").fill("chief")
    await page.get_by_label("密码", exact=True).fill(PASSWORD)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(server.url + "/health")
    await expect(page.get_by_role("heading", name="运行监测")).to_be_visible()
    # a second tab of the same browser is logged in too; logging out in one ends both
    other = await page.context.new_page()
    await other.goto(server.url + "/")
    await expect(other).to_have_url(server.url + "/wall")
    await expect(other.locator('[data-link="server"]')).to_have_attribute("data-words", "link_ok")
    await other.get_by_role("button", name="总值班（菜单）").click()
    await other.get_by_role("button", name="退出登录").click()
    await other.wait_for_url(server.url + "/login")
    ended = page.get_by_role("alertdialog", name="已断开")
    await expect(ended).to_contain_text("你已退出登录")
    await ended.get_by_role("button", name="重新登录").click()
    await expect(page).to_have_url(server.url + "/login?next=%2Fhealth")
    await page.context.close()
