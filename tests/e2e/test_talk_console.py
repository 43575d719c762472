"""Two dispatchers talk to each other: what one says the other hears, sees and can hear again."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from support.browser import command, invite, screenshot
from support.running_server import RunningServer
from support.talk_console import TalkConsole
from support.waiting import until
from support.wire import arriving_types

pytestmark = pytest.mark.asyncio(loop_scope="session")

GROUP = "文县搜救"


Pair = tuple[TalkConsole, TalkConsole]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def consoles(talking_browser: Browser, server: RunningServer) -> AsyncIterator[Pair]:
    """The chief and Wang, on shift, with a group that the chief has made."""
    await server.add_user("wang", "dispatcher")
    chief = await TalkConsole.on_shift(talking_browser, server, "chief")
    wang = await TalkConsole.on_shift(talking_browser, server, "wang")
    await chief.page.get_by_role("button", name="新建组").click()
    await chief.page.get_by_label("组名").fill(GROUP)
    await chief.page.get_by_role("button", name="建立").click()
    await expect(chief.card(GROUP)).to_be_visible()
    await expect(wang.card(GROUP)).to_be_visible()
    # the chief goes first: of equal officers each would take the floor from the other
    members = [
        {"kind": "role", "id": "admin", "priority": 9},
        *({"kind": "role", "id": role, "priority": 4} for role in ("dispatcher", "guest")),
    ]
    group = await chief.card(GROUP).get_attribute("data-group")
    answer = await command(chief.page, "group.change", group=group, members=members)
    assert answer["ok"], answer
    yield chief, wang
    for console in (chief, wang):
        assert (console.watched.problems, console.watched.strangers) == ([], [])
        await console.close()


@pytest_asyncio.fixture(loop_scope="session")
async def pair(consoles: Pair) -> AsyncIterator[Pair]:
    """Both have the group selected, and nobody talks."""
    for console in consoles:
        await console.page.keyboard.press("Escape")
        await console.choose(GROUP)
        await expect(console.card(GROUP)).not_to_have_attribute("data-activity", "receiving")
    yield consoles
    for console in consoles:
        await console.page.keyboard.up("F8")


async def test_what_one_says_the_other_hears_and_sees_by_name(pair: Pair) -> None:
    chief, wang = pair
    await chief.page.keyboard.down("F8")
    await expect(chief.state).to_contain_text("▲ 发话")
    await expect(chief.card(GROUP)).to_have_attribute("data-activity", "transmitting")
    await expect(wang.card(GROUP)).to_have_attribute("data-activity", "receiving")
    await expect(wang.card(GROUP)).to_contain_text("▼ 总值班")
    await wang.until_hears()
    # what the officer's own headset bus gets, by its meter
    meter = wang.page.locator('[data-meter="selected"]')
    await expect(meter).not_to_have_attribute("data-level", "0.00")
    await screenshot(chief.page, "talk-transmitting")
    await screenshot(wang.page, "talk-receiving")
    await chief.page.keyboard.up("F8")
    await expect(chief.state).to_contain_text("待发话")
    await expect(wang.card(GROUP)).not_to_have_attribute("data-activity", "receiving")
    await wang.until_silent()


async def test_the_microphone_sends_nothing_while_no_key_is_down(pair: Pair) -> None:
    chief, _ = pair
    await chief.until_sends_nothing()
    before = await chief.packets()
    await asyncio.sleep(1.0)
    assert await chief.packets() == before


async def test_who_comes_second_waits_and_is_put_through(pair: Pair) -> None:
    chief, wang = pair
    await chief.page.keyboard.down("F8")
    await expect(chief.state).to_contain_text("▲ 发话")
    await wang.page.keyboard.down("F8")
    await expect(wang.card(GROUP)).to_have_attribute("data-activity", "queued")
    await expect(wang.state).to_contain_text("排队 1/1")
    await expect(wang.state).to_contain_text("总值班")
    await chief.page.keyboard.up("F8")
    await expect(wang.card(GROUP)).to_have_attribute("data-activity", "transmitting")
    await chief.until_hears()
    await wang.page.keyboard.up("F8")
    await chief.until_silent()


async def test_an_officer_of_the_same_rank_waits_or_barges_in(pair: Pair) -> None:
    chief, wang = pair
    for console in pair:
        await console.choose("全员")
    await chief.page.keyboard.down("F8")
    await expect(chief.state).to_contain_text("▲ 发话")
    await wang.page.keyboard.down("F8")
    await expect(wang.state).to_contain_text("强插")
    await wang.page.keyboard.up("F8")
    await wang.page.keyboard.down("Shift")
    await wang.page.keyboard.down("F8")
    await wang.page.keyboard.up("Shift")
    await expect(wang.state).to_contain_text("▲ 发话")
    await expect(chief.state).to_contain_text("被强插")
    await chief.until_hears()
    for console in pair:
        await console.page.keyboard.up("F8")
    await chief.until_silent()


async def test_the_last_words_are_heard_again_by_one_key(pair: Pair) -> None:
    chief, wang = pair
    await chief.page.keyboard.down("F8")
    await expect(chief.state).to_contain_text("▲ 发话")
    await asyncio.sleep(2.0)  # the words to be heard again
    await chief.page.keyboard.up("F8")
    newest = wang.page.locator(".recent .spurt").first
    await expect(newest).to_contain_text("总值班")
    await wang.until_silent()
    await wang.page.locator("#search").focus()  # the key works there too
    await wang.page.keyboard.press("F2")
    await expect(wang.page.locator(".recall .playing")).to_contain_text("总值班")
    await expect(wang.page.locator('[data-meter="selected"]')).not_to_have_attribute("data-level", "0.00")
    await expect(wang.card(GROUP).locator(".icon-history")).to_be_visible()
    await screenshot(wang.page, "talk-recall")
    await wang.page.keyboard.press("F2")
    # one further back of the selected group
    await expect(wang.page.locator(".recall .playing")).to_contain_text("wang")
    await wang.page.get_by_title("停止回放").click()
    await expect(wang.page.locator(".recall .playing")).to_have_count(0)


async def test_what_is_held_on_one_console_is_seen_on_the_others(pair: Pair) -> None:
    chief, wang = pair
    row = chief.page.locator(".recent .spurt").first
    await row.locator(".evidence").click()
    await chief.page.get_by_label("原因").fill("事故调查")
    await chief.page.get_by_role("dialog").get_by_role("button", name="存证").click()
    await expect(row.locator(".evidence-held")).to_be_visible()
    spurt = await row.get_attribute("data-spurt")
    mark = wang.page.locator(f'[data-spurt="{spurt}"] .evidence-held')
    await expect(mark).to_have_attribute("title", re.compile("总值班.*事故调查"))
    await chief.page.locator(f'[data-spurt="{spurt}"] .evidence-held').click()
    await chief.page.get_by_label("原因").fill("结案")
    await chief.page.get_by_role("dialog").get_by_role("button", name="解除存证").click()
    await expect(mark).to_have_count(0)


async def test_a_window_that_loses_the_focus_closes_the_microphone(pair: Pair) -> None:
    chief, wang = pair
    await chief.page.keyboard.down("F8")
    await expect(wang.card(GROUP)).to_have_attribute("data-activity", "receiving")
    await chief.page.evaluate("() => window.dispatchEvent(new Event('blur'))")
    await expect(chief.state).to_contain_text("窗口失焦")
    await expect(wang.card(GROUP)).not_to_have_attribute("data-activity", "receiving")
    await wang.until_silent()
    await chief.page.keyboard.up("F8")


async def test_the_key_works_inside_a_text_field(pair: Pair) -> None:
    chief, wang = pair
    search = chief.page.locator("#search")
    await search.fill("张")
    await search.focus()
    await chief.page.keyboard.down("F8")
    await expect(wang.card(GROUP)).to_have_attribute("data-activity", "receiving")
    assert await search.input_value() == "张"
    await chief.page.keyboard.up("F8")
    await search.fill("")
    await search.blur()


async def test_an_officer_takes_the_floor_away(pair: Pair) -> None:
    chief, wang = pair
    await wang.page.keyboard.down("F8")
    await expect(chief.card(GROUP)).to_have_attribute("data-activity", "receiving")
    await chief.card(GROUP).locator(".icon-button").click()
    await chief.page.get_by_label("原因").fill("有险情要先报")
    button = chief.page.get_by_role("button", name="收回讲话权")
    await button.dispatch_event("pointerdown")
    await expect(wang.state).to_contain_text("被强拆")
    await screenshot(wang.page, "talk-forced")
    await chief.page.keyboard.press("Escape")
    await expect(chief.card(GROUP)).not_to_have_attribute("data-activity", "receiving")
    await wang.page.keyboard.up("F8")


async def test_the_all_call_is_armed_first_and_heard_without_being_tuned_to(pair: Pair) -> None:
    chief, wang = pair
    await wang.card(GROUP).locator(".group-main").click()  # selects nothing
    await chief.page.keyboard.press("F9")
    await expect(chief.page.locator(".all-call.armed")).to_be_visible()
    assert "发话" not in (await chief.state.inner_text()).replace("待发话", "")
    await chief.page.keyboard.down("F9")
    await expect(chief.state).to_contain_text("▲ 发话")
    await wang.until_hears()
    await screenshot(wang.page, "talk-all-call")
    await chief.page.keyboard.up("F9")
    await wang.until_silent()


async def test_an_alarm_comes_first_and_is_acknowledged_by_two_keys(
    pair: Pair, talking_browser: Browser
) -> None:
    chief, wang = pair
    address = await invite(chief.page, "二中队 张强")
    token = address.rsplit("/", 1)[1]
    raised = await command(
        chief.page,
        "emergency.start",
        token,
        key="k1",
        position={"lat": 33.39812, "lon": 104.92215, "accuracy": 8.0, "time": time.time()},
    )
    assert raised["ok"], raised
    for console in pair:
        await expect(console.page.locator('.alarm[data-state="new"]')).to_contain_text("张强")
    await screenshot(chief.page, "talk-alarm")
    await chief.page.locator("#search").focus()
    await chief.page.keyboard.press("F4")
    await expect(chief.page.get_by_role("button", name="确认")).to_be_focused()
    await chief.page.keyboard.press("Enter")
    for console in pair:
        await expect(console.page.locator(".alarm")).to_have_attribute("data-state", "acknowledged")
        await expect(console.page.locator(".alarm")).to_contain_text("总值班")
    await chief.page.get_by_role("button", name="解除").click()
    await chief.page.get_by_label("原因").fill("人已安全")
    await chief.page.get_by_role("button", name="解除告警").click()
    await expect(wang.page.locator(".alarm")).to_have_count(0)


async def test_groups_are_patched_and_the_end_can_be_undone(pair: Pair) -> None:
    chief, wang = pair
    page = chief.page
    cards = page.locator(".group")
    assert await cards.count() >= 2
    await page.locator("body").click(position={"x": 900, "y": 20})
    await page.keyboard.press("t")
    for i in range(2):
        await cards.nth(i).locator(".group-main").click()
    await page.get_by_role("button", name="互通", exact=True).click()
    await expect(page.locator(".group-patch").first).to_have_text("P1")
    await expect(wang.page.locator(".group-patch")).to_have_count(2)
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await expect(page.locator(".patch-frame .group")).to_have_count(2)
    # No box was opened here, whose styles would come with it: a tick stands before its words, in one line.
    only = page.get_by_text("只看存证")
    line, tick = await only.bounding_box(), await only.locator("input").bounding_box()
    assert line is not None
    assert tick is not None
    assert (line["height"] <= 40, tick["width"] <= 24, tick["x"] - line["x"] <= 8) == (True, True, True)
    await screenshot(page, "radio")
    await page.get_by_role("button", name="结束互通").click()
    await expect(page.locator(".patch-frame")).to_have_count(0)
    await page.get_by_role("button", name="撤销").click()
    await expect(page.locator(".patch-frame .group")).to_have_count(2)
    await page.get_by_role("button", name="结束互通").click()
    await expect(page.locator(".patch-frame")).to_have_count(0)
    await page.get_by_role("link", name="视频墙").click()


async def test_a_private_call_rings_and_both_are_heard(pair: Pair) -> None:
    chief, wang = pair
    await chief.card(GROUP).locator(".icon-button").click()
    row = chief.page.locator(".listeners li", has_text="wang")
    await row.get_by_role("button", name="双工呼叫", exact=True).click()
    await chief.page.keyboard.press("Escape")
    await expect(wang.page.locator(".call-rings")).to_contain_text("总值班")
    await screenshot(wang.page, "talk-ringing")
    await wang.page.get_by_role("button", name="接听").click()
    await expect(chief.page.locator(".call")).to_contain_text("双工通话中")
    await chief.until_hears()
    await wang.until_hears()
    await chief.page.get_by_role("button", name="挂断").click()
    await expect(wang.page.locator(".call")).to_contain_text("通话已结束")
    await wang.until_silent()
    await expect(wang.page.locator(".call")).to_have_count(0)


async def test_a_half_duplex_call_is_talked_in_with_the_same_key(pair: Pair) -> None:
    chief, wang = pair
    await chief.card(GROUP).locator(".icon-button").click()
    row = chief.page.locator(".listeners li", has_text="wang")
    await row.get_by_role("button", name="半双工呼叫").click()
    await chief.page.keyboard.press("Escape")
    await wang.page.get_by_role("button", name="接听").click()
    await expect(chief.page.locator(".call")).to_contain_text("半双工通话中")
    await expect(chief.page.locator(".target")).to_contain_text("单呼")
    await wang.until_silent()
    await chief.page.keyboard.down("F8")
    await expect(chief.state).to_contain_text("▲ 发话")
    await wang.until_hears()
    await expect(wang.card(GROUP)).not_to_have_attribute("data-activity", "receiving")
    await chief.page.keyboard.up("F8")
    await wang.until_silent()
    await wang.page.get_by_role("button", name="挂断").click()
    await expect(chief.page.locator(".call")).to_have_count(0)


async def test_a_group_that_is_not_selected_is_heard_on_the_other_bus(pair: Pair) -> None:
    chief, wang = pair
    await wang.card(GROUP).locator(".group-main").click()
    await expect(wang.card(GROUP)).to_have_attribute("data-selection", "none")
    await chief.page.keyboard.down("F8")
    await expect(wang.page.locator('[data-meter="unselected"]')).not_to_have_attribute("data-level", "0.00")
    await expect(wang.page.locator('[data-meter="selected"]')).to_have_attribute("data-level", "0.00")
    await wang.card(GROUP).locator(".group-main").focus()
    await wang.page.keyboard.press("m")
    await expect(wang.page.locator('[data-meter="unselected"]')).to_have_attribute("data-level", "0.00")
    await wang.page.keyboard.press("m")
    await chief.page.keyboard.up("F8")


async def test_a_frozen_page_loses_its_floor_and_the_truth_is_shown(pair: Pair) -> None:
    """The page's own heart beat stops with it (P3, P6)."""
    chief, wang = pair
    await chief.page.keyboard.down("F8")
    await expect(wang.card(GROUP)).to_have_attribute("data-activity", "receiving")
    await chief.page.evaluate(
        "() => { const end = performance.now() + 2500; while (performance.now() < end) {} }"
    )
    await expect(wang.card(GROUP)).not_to_have_attribute("data-activity", "receiving")
    await expect(chief.state).to_contain_text("信号丢失")
    await chief.page.keyboard.up("F8")


async def test_each_word_leaves_the_page_with_the_one_before_it(pair: Pair, server: RunningServer) -> None:
    """RED (RFC 2198), read from the wire: Chromium's own statistics name the codec inside."""
    chief, wang = pair
    with arriving_types(server.udp_port) as seen:
        await chief.page.keyboard.down("F8")
        await wang.until_hears()
        voice = await chief.voice()
        await until(lambda: seen[voice.ssrc].total() >= 25)
        await chief.page.keyboard.up("F8")
    assert set(seen[voice.ssrc]) == {voice.red}
