"""Every state of the radio console as an officer sees it: words, second cues, three themes, nothing stale.

The server's side of the WebSocket is written here, since an alarm, a patch, a queue and a refusal at once are hard to
bring about; that a real server says the same is in test_talk_console.py.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import Site, Watched, barriers, log_in, new_page, screenshot
from support.scripted_talk import ScriptedTalk, alarm, answer, floor, group, listener, talker

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAMES = ("县指挥组", "救援一组", "救援二组", "医疗救护", "通信保障组", "水库巡查", "乡镇联络", "无人机")
THEMES = ("深色", "浅色", "高对比")

MEMBERS = [
    {"kind": "role", "id": "field", "name": "", "talk": True, "priority": 4},
    {"kind": "role", "id": "guest", "name": "", "talk": False, "priority": 4},
]

Desk = tuple[Page, ScriptedTalk, Watched]


def states(script: ScriptedTalk) -> None:
    """A busy moment: somebody talks, a patch, an emergency, call-backs, recordings."""
    now = time.time()
    ears = [listener("张强"), listener("王芳", kind="console", user="u9", selected=True)]
    for number, name in enumerate(NAMES, 1):
        over: dict[str, Any] = {
            2: {"members": MEMBERS},
            4: {"patch": "P1"},
            5: {"patch": "P1"},
            6: {"emergency": True},
        }.get(number, {})
        script.put("group", group(f"g{number}", number, name, listeners=ears, **over))
        script.put("floor", floor(f"g{number}"))
    script.put("floor", floor("g2", "taken", talker=talker("张强"), since=now - 3, until=now + 27))
    script.put("floor", floor("g3", "hang", since=now, until=now + 600))
    script.put("floor", floor("g7", "idle", blocked="all_call"))
    script.put("patch", {"id": "p1", "name": "P1", "groups": ["g4", "g5"], "since": now, "createdBy": "王芳"})
    place = {"lat": 33.39812, "lon": 104.92215, "accuracy": 8.2, "time": now - 12}
    script.put("alarm", alarm("a1", "张强", group="g6", raised=now - 95, pressed=now - 580, position=place))
    script.put("alarm", alarm("a2", "赵丽", kind="peril", group="g2", state="acknowledged", owner="王芳"))
    script.put(
        "alarm",
        alarm("a3", "钱伟", state="parked", owner="王芳", reason="误触，等回电", until=now + 400),
    )
    script.put(
        "callback",
        {
            **{"id": "c1", "name": "孙梅", "unit": "", "user": "u7", "group": "g2", "times": 2},
            **{"text": "请回电，道路塌方", "at": now - 130, "takenBy": "", "done": None},
        },
    )
    script.replies["spurt.search"] = {"more": False, "spurts": [spurt(i, now) for i in range(8)]}


def spurt(i: int, now: float) -> dict[str, Any]:
    return {
        **{"id": f"s{i}", "started": now - 60 * i - 20, "duration": 4.2 + i, "groups": ["g2"]},
        **{"groupNames": ["救援一组"], "talker": talker(("张强", "王芳")[i % 2]), "position": None},
        "urgency": "emergency" if i == 2 else "normal",
        "state": {0: "recording", 5: "cut"}.get(i, "ready"),
        "detail": "disk_full" if i == 5 else "",
        "after": "s5" if i == 4 else "",
        "gap": 12.4 if i == 4 else 0.0,
        "call": "c9" if i == 3 else "",
        "peer": talker("孙梅") if i == 3 else None,
        "hold": i == 1,
        "heldBy": "总值班" if i == 1 else "",
        "heldWhy": "事故调查" if i == 1 else "",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(browser: Browser, site: Site) -> AsyncIterator[Desk]:
    page = await new_page(browser, site.server)
    script = await ScriptedTalk.on(page)
    states(script)
    watched = Watched.of(page, site.server)
    await log_in(page, site.server)
    await expect(page.locator(".group")).to_have_count(len(NAMES))
    yield page, script, watched
    assert (watched.problems, watched.strangers) == ([], [])
    await page.context.close()


def card(page: Page, number: int) -> Any:
    return page.locator(f'.group[data-group="g{number}"]')


async def theme(page: Page, name: str) -> None:
    await page.get_by_role("button", name="总值班（菜单）").click()
    await page.get_by_role("button", name=name).click()
    await page.keyboard.press("Escape")


async def test_before_the_shift_nothing_is_heard_and_the_page_says_so(desk: Desk) -> None:
    page, script, _ = desk
    await expect(page.locator(".press-state")).to_contain_text("尚未开始值班")
    await page.keyboard.press("Digit1")
    await page.keyboard.press("F8")
    await expect(page.locator(".press-state")).to_contain_text("未开始值班")
    assert script.commands("floor.request") == []
    await screenshot(page, "desk-off-duty")
    await page.get_by_role("button", name="开始值班").click()
    await expect(page.get_by_role("button", name="按住讲话")).to_be_visible()


async def test_every_state_has_words_beside_its_colour(desk: Desk) -> None:
    page, _, _ = desk
    for number, words in {
        2: "▼ 张强",
        3: "可续讲",
        4: "P1",
        6: "紧急",
        7: "正在全呼",
        8: "空闲",
    }.items():
        await expect(card(page, number)).to_contain_text(words)
    await expect(card(page, 1)).to_contain_text("选中")
    await expect(page.locator(".alarm").first).to_contain_text("尚无人确认")
    await expect(page.locator(".alarm").first).to_contain_text("迟了 8 分钟")
    await expect(page.locator(".alarm").first).to_contain_text("9 分钟前")
    await expect(page.locator(".alarm-late")).to_have_count(1)
    await expect(page.locator(".alarm").first).to_contain_text("33.39812, 104.92215 ±8 米")


async def test_the_key_goes_its_ways(desk: Desk) -> None:
    """Also while a character is being composed: the microphone matters more than the text."""
    page, script, _ = desk
    await page.keyboard.press("Shift+Digit2")
    await expect(page.locator(".target")).to_contain_text("多选 2 组")
    await page.locator("#search").focus()
    await page.evaluate(
        "() => document.activeElement.dispatchEvent(new KeyboardEvent('keydown',"
        " {code: 'F8', key: 'Process', isComposing: true, bubbles: true, cancelable: true}))"
    )
    request = await script.command("floor.request")
    assert request["groups"] == ["g1", "g2"]
    await expect(card(page, 1)).to_contain_text("▲ 发话")
    await screenshot(page, "desk-talking")
    await script.command("floor.alive", count=2)
    script.told("g1", "warned", until=time.time() + 5)
    script.told("g2", "revoked", cause="forced", talker=talker("王芳"))
    await expect(page.locator(".press-state")).to_contain_text("快到时限")
    await expect(card(page, 2)).to_contain_text("被强拆")
    await screenshot(page, "desk-warned")
    await page.keyboard.up("F8")
    await script.command("floor.release")

    script.replies["floor.request"] = {
        "answers": [
            answer("g1", "queued", position=1, size=2),
            answer("g2", "denied", cause="busy", talker=talker("张强")),
        ]
    }
    await page.keyboard.down("F8")
    await expect(card(page, 1)).to_contain_text("排队 1/2")
    await expect(card(page, 2)).to_contain_text("占用 · 张强")
    await screenshot(page, "desk-queued")
    await page.keyboard.up("F8")
    await page.locator("#search").blur()


async def test_a_selected_group_is_not_muted_and_another_one_is(desk: Desk) -> None:
    page, _, _ = desk
    await card(page, 1).locator(".group-main").focus()
    await page.keyboard.press("m")
    await expect(page.locator(".said")).to_contain_text("不能静音")
    await card(page, 8).locator(".group-main").focus()
    await page.keyboard.press("m")
    await expect(card(page, 8)).to_contain_text("静音")
    await page.keyboard.press("m")
    await expect(card(page, 8)).to_contain_text("空闲")


async def test_dialogs_are_usable_by_everybody(desk: Desk) -> None:
    page, script, _ = desk
    for name, opener in {
        "box-group": card(page, 2).locator(".icon-button"),
        "box-new": page.get_by_role("button", name="新建组"),
        "box-devices": page.get_by_role("button", name="声音设备"),
        "box-alarm": page.get_by_role("button", name="搁置").first,
    }.items():
        await opener.click()
        await expect(page.get_by_role("dialog")).to_be_visible()
        await expect(page.locator(".part-missing")).to_have_count(0)
        assert await barriers(page) == [], name
        await screenshot(page, name)
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
    await page.get_by_role("button", name="搁置").first.click()
    await page.get_by_label("原因").fill("正在核实")
    await page.get_by_role("dialog").get_by_role("button", name="搁置").click()
    move = await script.command("alarm.move")
    assert (move["alarm"], move["act"], move["reason"], move["seconds"]) == ("a1", "park", "正在核实", 600)


async def test_members_have_a_priority(desk: Desk) -> None:
    page, script, _ = desk
    await card(page, 2).locator(".icon-button").click()
    box = page.get_by_role("dialog")
    await expect(box.locator(".may")).to_contain_text("全体现场账号 优先级 4 普通")
    await expect(box.locator(".may")).to_contain_text("全体受邀手机 只听")
    await box.get_by_role("button", name="更改成员与组名").click()
    await box.get_by_label("全体现场账号 的讲话优先级").select_option("12")
    await expect(box.get_by_label("全体受邀手机 的讲话优先级")).to_be_disabled()
    assert await barriers(page) == []
    await screenshot(page, "box-members")
    await box.get_by_role("button", name="保存").click()
    change = await script.command("group.change")
    assert change["members"] == [
        {"kind": "role", "id": "field", "talk": True, "priority": 12},
        {"kind": "role", "id": "guest", "talk": False, "priority": 4},
    ]
    await page.keyboard.press("Escape")


async def test_a_recording_is_kept_as_evidence_with_a_reason(desk: Desk) -> None:
    page, script, _ = desk
    rows = page.locator(".recent .spurt")
    await expect(rows.nth(5)).to_contain_text("录音中断：磁盘已满")
    await expect(rows.nth(4)).to_contain_text("接上一段，中间缺 12 秒")
    await expect(rows.nth(3)).to_contain_text("单呼 · 对方 孙梅")
    await expect(rows.nth(0).locator(".evidence")).to_have_count(0)  # it is still being recorded
    await rows.nth(1).get_by_role("button", name="已存证，总值班：事故调查").click()
    await expect(page.get_by_role("dialog")).to_contain_text("总值班 存证：事故调查")
    await expect(page.get_by_role("dialog")).to_contain_text("只有管理员可以解除存证")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await rows.nth(2).locator(".evidence").click()
    await page.get_by_label("原因").fill("坍塌前的最后通话")
    assert await barriers(page) == []
    await screenshot(page, "box-evidence")
    script.replies["spurt.hold"] = {
        "spurt": {**spurt(2, time.time()), "hold": True, "heldBy": "我", "heldWhy": "坍塌前的最后通话"}
    }
    await page.get_by_role("dialog").get_by_role("button", name="存证").click()
    asked = await script.command("spurt.hold")
    assert (asked["spurt"], asked["hold"], asked["reason"]) == ("s2", True, "坍塌前的最后通话")
    await expect(rows.nth(2).locator(".evidence-held")).to_have_count(
        0
    )  # what is true is told to every console
    script.put("hold", {"id": "s2", "hold": True, "heldBy": "我", "heldWhy": "坍塌前的最后通话"})
    await expect(rows.nth(2).locator(".evidence-held")).to_be_visible()
    script.put("hold", {"id": "s1", "hold": False, "heldBy": "", "heldWhy": ""})  # let go on another console
    await expect(rows.nth(1).locator(".evidence-held")).to_have_count(0)
    await screenshot(page, "desk-evidence")


@pytest.mark.parametrize("name", THEMES)
async def test_wall_and_radio_page_are_usable_by_everybody(desk: Desk, name: str) -> None:
    page, _, _ = desk
    await theme(page, name)
    assert await barriers(page) == []
    await screenshot(page, f"desk-{THEMES.index(name)}-theme")
    await page.get_by_role("link", name="对讲").click()
    await expect(page.locator(".patch-frame .group")).to_have_count(2)
    assert await barriers(page) == []
    await screenshot(page, f"radio-{THEMES.index(name)}-theme")
    await page.get_by_role("link", name="视频墙").click()
    if name == THEMES[-1]:
        await theme(page, THEMES[0])


async def test_english_has_a_word_for_everything(desk: Desk) -> None:
    page, _, _ = desk
    await page.get_by_role("button", name="总值班（菜单）").click()
    await page.get_by_role("button", name="English").click()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="Hold to talk")).to_be_visible()
    await screenshot(page, "desk-english")
    await page.get_by_role("button", name="总值班 (menu)").click()
    await page.get_by_role("button", name="中文").click()
    await page.keyboard.press("Escape")


async def test_a_lost_server_greys_everything_and_no_card_looks_live(desk: Desk) -> None:
    page, script, _ = desk
    script.vanish()
    await expect(page.locator(".lost")).to_be_visible(timeout=20_000)
    for number in range(1, len(NAMES) + 1):
        await expect(card(page, number)).to_have_attribute("data-activity", "lost")
        await expect(card(page, number)).to_contain_text("失联")
    await expect(page.locator(".press-state")).to_contain_text("失联")
    greys = await page.evaluate(
        "() => ['main', '.side', '.talk-bar'].map("
        "one => getComputedStyle(document.querySelector(one)).filter.includes('grayscale'))"
    )
    assert greys == [True, True, True]
    await page.keyboard.press("F8")
    await expect(page.locator(".press-state")).to_contain_text("服务器失联")
    await screenshot(page, "desk-lost")


async def test_a_denied_microphone_is_told_in_red_with_the_remedy(browser: Browser, site: Site) -> None:
    page = await new_page(browser, site.server)
    await page.add_init_script(
        "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError'); };"
    )
    script = await ScriptedTalk.on(page)
    states(script)
    await log_in(page, site.server)
    await page.get_by_role("button", name="开始值班").click()
    await expect(page.locator(".duty-bar")).to_contain_text("话筒被拒绝")
    await page.keyboard.press("Digit1")
    await page.keyboard.press("F8")
    await expect(page.locator(".press-state")).to_contain_text("没有话筒")
    assert script.commands("floor.request") == []
    assert await barriers(page) == []
    await screenshot(page, "desk-no-microphone")
    await page.context.close()
