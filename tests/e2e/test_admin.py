"""The audit log's page, and what is done to a unit from the list: as an administrator and as one who may not."""

from __future__ import annotations

import csv
import io
import re
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import (
    CAMERA_NUMBER,
    PHONE,
    Identity,
    Tile,
    barriers,
    command,
    go_live,
    invite,
    new_page,
    open_console,
    screenshot,
)
from support.running_server import RunningServer, running_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = '=HYPERLINK("http://192.0.2.1";"报表")'


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    server: RunningServer
    console: Page
    phone: Page


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    browser: Browser, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Desk]:
    folder = identity.data_folder(tmp_path_factory.mktemp("admin"))
    async with running_server(folder=folder) as server:
        await server.setup_admin()
        console = await open_console(browser, server)
        phone = await new_page(browser, server, PHONE, phone=True)
        await go_live(phone, await invite(console, "张强"))
        await Tile(console, 0).moves(CAMERA_NUMBER)
        yield Desk(server=server, console=console, phone=phone)
        await phone.context.close()
        await console.context.close()


async def menu(page: Page, unit: str, what: str) -> None:
    """Choose something in the menu of the unit's card."""
    await page.locator(".line", has_text=unit).first.click()
    await page.locator(".card").get_by_role("button", name="更多操作").click()
    await page.get_by_role("button", name=what).click()
    await expect(page.get_by_role("dialog")).to_be_visible()


async def test_a_unit_is_renamed_from_the_list(desk: Desk) -> None:
    page = desk.console
    await menu(page, "张强", "改名")
    assert await barriers(page) == []
    await page.get_by_label("新名称").fill(HOSTILE)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.locator(".line", has_text="HYPERLINK")).to_be_visible()
    await menu(page, "HYPERLINK", "改名")
    await page.get_by_label("新名称").fill("二中队 张强")
    await page.get_by_role("button", name="保存名称").click()
    await expect(page.locator(".line", has_text="二中队 张强")).to_be_visible()
    await expect(page.locator(".tile-name").first).to_contain_text("二中队 张强")


async def test_a_publisher_is_ended_only_with_a_reason_and_a_held_button(desk: Desk) -> None:
    page = desk.console
    await menu(page, "二中队", "结束推送")
    assert await barriers(page) == []
    hold = page.get_by_role("button", name="结束推送 按住 1.5 秒")
    await expect(hold).to_be_disabled()
    await page.get_by_label("原因").fill("画面涉及伤员隐私")
    await screenshot(page, "close-stream")
    await hold.click()  # let go at once
    await page.wait_for_timeout(1800)
    await expect(page.get_by_role("dialog")).to_be_visible()
    assert (await Tile(page, 0).look()).looks_live
    await hold.focus()
    await page.keyboard.down("Space")
    await page.wait_for_timeout(400)
    await expect(page.locator(".hold.held")).to_be_visible()
    await screenshot(page, "close-stream-held")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.keyboard.up("Space")
    gone = await Tile(page, 0).until(lambda seen: seen.state == "offline")
    assert not gone.looks_live
    await expect(desk.phone.locator('[data-control="live"]')).to_contain_text("开始直播")


async def test_the_audit_log_tells_who_did_what(desk: Desk) -> None:
    page = desk.console
    await page.get_by_role("link", name="审计日志").click()
    await expect(page).to_have_url(re.compile("/admin/audit$"))
    chain = page.locator(".audit-chain")
    await expect(chain).to_have_text("链完整")
    closed = page.locator(".audit tr", has_text="结束推送").first
    await expect(closed).to_contain_text("总值班")
    await expect(closed).to_contain_text("二中队 张强")
    await expect(closed).to_contain_text("成功")
    await expect(closed).to_contain_text("127.0.0.1")
    await expect(closed).to_contain_text("画面涉及伤员隐私")
    await expect(page.locator(".audit tr", has_text="单位改名").first).to_contain_text("→ 二中队 张强")
    numbers = [
        int(one)
        for one in await page.locator(".audit [data-seq]").evaluate_all(
            "all => all.map(one => one.dataset.seq)"
        )
    ]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[-1] == 1
    assert await barriers(page) == []


async def test_paging_and_both_themes(desk: Desk) -> None:
    page = desk.console
    for _ in range(110):
        await command(page, "audit.read", limit=1)
    await page.get_by_role("button", name="读取最新").click()
    await expect(page.locator(".audit [data-seq]")).to_have_count(100)
    newest = await page.locator(".audit [data-seq]").first.get_attribute("data-seq")
    await page.get_by_role("button", name="较早").click()
    await expect(page.locator('.audit [data-seq="1"]')).to_be_visible()
    await expect(page.get_by_role("button", name="较早")).to_be_disabled()
    await page.get_by_role("button", name="较新").click()
    first = page.locator(".audit [data-seq]").first
    await expect(first).to_contain_text("查看审计日志")
    await expect(first).not_to_have_attribute("data-seq", newest or "")  # reading was read about
    for number, name in enumerate(("浅色", "高对比", "深色")):
        await page.get_by_role("button", name="总值班（菜单）").click()
        await page.get_by_role("button", name=name).click()
        await page.keyboard.press("Escape")
        assert await barriers(page) == []
        await screenshot(page, f"audit-{number}-theme")


async def test_export_has_everything_and_no_formula(desk: Desk) -> None:
    page = desk.console
    async with page.expect_download() as downloading:
        await page.get_by_role("button", name="导出 CSV").click()
    path = await (await downloading.value).path()
    text = path.read_bytes().decode("utf-8")
    assert text.startswith("\ufeff")
    head, *rows = csv.reader(io.StringIO(text.removeprefix("\ufeff")))
    assert head[:4] == ["序号", "时间", "人员", "操作"]
    numbers = [int(row[0]) for row in rows]
    assert numbers == list(range(numbers[0], 0, -1))
    assert not [cell for row in rows for cell in row if re.match(r"[\s]*[=+\-@]", cell)]
    renamed = [row[7] for row in rows if row[3] == "unit.rename"]
    assert f"'{HOSTILE} → 二中队 张强" in renamed


async def test_who_may_not_read_it_does_not_see_the_page(browser: Browser, desk: Desk) -> None:
    await desk.server.add_user("desk3", "dispatcher")
    page = await open_console(browser, desk.server, "desk3")
    await expect(page.get_by_role("link", name="运行监测")).to_be_visible()
    await expect(page.get_by_role("link", name="审计日志")).to_have_count(0)
    await page.goto(desk.server.url + "/admin/audit")
    await expect(page).to_have_url(re.compile("/wall$"))
    await expect(page.locator(".audit")).to_have_count(0)
    await page.context.close()


async def test_a_changed_entry_is_named(desk: Desk) -> None:
    page = desk.console
    await desk.server.stop()
    database = desk.server.data / "fengsui.sqlite3"
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE audit SET actor = 'admin:0:别人' WHERE seq = 3")
    await desk.server.restart()
    await expect(page.locator(".lost")).to_have_count(0, timeout=40_000)
    chain = page.locator(".audit-chain")
    await expect(chain).to_have_text("从第 3 条起不符：写入后被改动", timeout=40_000)
    await expect(page.locator('.audit [data-bad="true"]').first).to_be_visible()
    assert await barriers(page) == []
    await screenshot(page, "audit-broken")
