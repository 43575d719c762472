"""Rescuers talk by phone: two phones and a dispatcher's console, all Chromium, with the whole server between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Error, expect

from support.browser import command, screenshot, until
from support.phone_net import EVERYBODY, NAMES, PhoneNet, phone_net
from support.running_server import RunningServer, media_pid
from support.talk_phone import TalkPhone
from support.wire import arriving_types

pytestmark = pytest.mark.asyncio(loop_scope="session")

OTHERS = "后勤组"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def net(talking_browser: Browser, server: RunningServer) -> AsyncIterator[PhoneNet]:
    async with phone_net(talking_browser, server) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def calm(net: PhoneNet) -> AsyncIterator[None]:
    """What a test that failed has left does not make the next one fail."""
    yield
    for phone in (net.a, net.b):
        await phone.page.context.set_offline(False)
        with contextlib.suppress(Error):
            await phone.lift()
    await net.chief.page.keyboard.press("Escape")


async def test_what_one_phone_says_the_other_and_the_console_hear_by_name(net: PhoneNet) -> None:
    await screenshot(net.a.page, "mobile-ready")
    with arriving_types(net.server.udp_port) as seen:
        async with net.a.held():
            await net.a.until_look("tx")
            await net.b.until_hears()
            voice = await net.a.voice()

            async def arrived() -> int:
                return seen[voice.ssrc].total()

            await until(arrived, lambda packets: packets > 10)
    assert set(seen[voice.ssrc]) == {voice.red}  # each word with the one before it (RFC 2198)
    await net.a.until_look("ready")
    async with net.a.held():
        await net.a.until_look("tx")
        await net.b.until_look("rx")
        await expect(net.b.key).to_contain_text(f"▼ {NAMES[0]}")
        await expect(net.chief.card(EVERYBODY)).to_contain_text(NAMES[0])
        await net.b.until_hears()
        await net.chief.until_hears()
        await asyncio.sleep(1)
        await screenshot(net.a.page, "mobile-tx")
        await screenshot(net.b.page, "mobile-rx")
        assert "剩" in await net.a.key.inner_text()
    await screenshot(net.b.page, "mobile-hang")
    await net.a.until_sends_nothing()
    await net.b.until_silent()
    await net.b.until_look("ready")


async def test_a_group_that_one_does_not_listen_to_is_not_heard(net: PhoneNet) -> None:
    made = await command(
        net.chief.page, "group.create", name=OTHERS, members=[{"kind": "role", "id": "guest"}]
    )
    assert made["ok"], made
    row = net.b.page.locator(".group", has_text=OTHERS)
    await row.locator(".group-listen").tap()
    await expect(row.locator(".group-listen")).to_have_attribute("aria-pressed", "false")
    await expect(row).to_contain_text("未收听")
    await net.a.choose(OTHERS)
    await expect(net.a.page.locator(".group-bar")).to_contain_text("1 人在听")  # the dispatcher
    async with net.a.held():
        await net.a.until_look("tx")
        await net.b.until_silent()
        assert await net.b.key.get_attribute("data-look") == "ready"
        await row.locator(".group-listen").tap()  # and now it does: live, not from the start
        await net.b.until_hears()
        await expect(net.b.page.locator(".group-bar .others")).to_contain_text(f"▼ {NAMES[0]} · {OTHERS}")
        await screenshot(net.b.page, "mobile-other-group")
    await net.b.until_silent()
    await net.a.choose(EVERYBODY)


async def test_who_comes_second_waits_by_number_and_is_put_through(net: PhoneNet) -> None:
    async with net.a.held():
        await net.a.until_look("tx")
        await net.b.touch("talk")
        await net.b.until_look("wait")
        await expect(net.b.key).to_contain_text("排队 1/1")
        await expect(net.b.key).to_contain_text(f"{NAMES[0]} 在讲")
        await screenshot(net.b.page, "mobile-queued")
        await net.b.until_sends_nothing()
    await net.b.until_look("tx")
    await net.a.until_hears()
    await net.b.lift()
    await net.b.until_look("hang")


async def test_a_refusal_says_why_and_what_to_do(net: PhoneNet) -> None:
    made = await command(
        net.chief.page,
        "group.create",
        name="指挥广播",
        members=[{"kind": "role", "id": "guest", "talk": False}],
    )
    assert made["ok"], made
    await net.a.choose("指挥广播")
    async with net.a.held():
        await net.a.until_look("refused")
        await expect(net.a.key).to_contain_text("只能收听")
        await expect(net.a.key).to_contain_text("请组管理员开放讲话权")
        await screenshot(net.a.page, "mobile-refused")
        await net.a.until_sends_nothing()
    await net.a.choose(EVERYBODY)


async def test_a_hand_in_a_glove_slides_and_holds_long_and_only_lifting_ends_it(net: PhoneNet) -> None:
    async with net.a.held():
        await net.a.until_look("tx")
        for y in (700, 500, 300):  # far off the key
            await net.a.slide(200, y)
            await asyncio.sleep(0.3)
        menu = await net.a.key.evaluate(
            "key => key.dispatchEvent(new MouseEvent('contextmenu', {bubbles: true, cancelable: true}))"
        )
        assert menu is False  # nobody sees a menu
        await asyncio.sleep(1)
        await net.a.until_look("tx")
        assert await net.a.page.evaluate("() => [scrollY, getSelection().toString()]") == [0, ""]
    await net.a.until_sends_nothing()


@pytest.mark.parametrize("how", ["pointercancel", "blur", "hidden", "pagehide"])
async def test_whatever_takes_the_page_away_closes_the_microphone(net: PhoneNet, how: str) -> None:
    await net.a.touch("talk")
    await net.a.until_look("tx")
    if how == "pointercancel":  # a system gesture takes the finger
        await net.a.lift("touchCancel")
    elif how == "hidden":
        await net.a.page.evaluate(
            """() => {
              Object.defineProperty(document, 'hidden', {configurable: true, get: () => true});
              document.dispatchEvent(new Event('visibilitychange'));
              delete document.hidden;
            }"""
        )
    else:
        await net.a.page.evaluate(f"() => window.dispatchEvent(new Event('{how}'))")
    await net.a.until_sends_nothing()
    await expect(net.chief.card(EVERYBODY)).not_to_have_attribute("data-activity", "receiving")
    if how != "pointercancel":
        await net.a.until_look("refused")
        await screenshot(net.a.page, f"mobile-cut-{how}")
        await net.a.lift()
    await expect(net.a.key).not_to_have_attribute("data-look", "tx")


@pytest.mark.parametrize("code", ["F8", "Space"])
async def test_keys_talk_for_as_long_as_they_are_held(net: PhoneNet, code: str) -> None:
    await net.a.page.evaluate("() => document.activeElement?.blur()")
    await net.a.page.keyboard.down(code)
    await net.a.until_look("tx")
    await net.a.page.keyboard.up(code)
    await net.a.until_sends_nothing()


async def test_a_lost_connection_is_said_at_once_counted_and_heals(net: PhoneNet) -> None:
    await net.a.touch("talk")
    await net.a.until_look("tx")
    await net.a.page.context.set_offline(True)
    start = time.monotonic()
    await net.a.until_look("lost", 10)
    print(f"lost connection shown after {time.monotonic() - start:.1f} s")
    first = await net.a.key.inner_text()
    await expect(net.a.key).to_contain_text(re.compile(r"失联 \d+ 秒"))
    await until(net.a.key.inner_text, lambda words: words != first)  # it counts
    await expect(net.a.page.locator(".group-bar")).to_contain_text("听众未知")
    await screenshot(net.a.page, "mobile-lost")
    await net.a.page.context.set_offline(False)
    await net.a.lift()
    await net.a.until_look("ready", 30)
    async with net.b.held():
        await net.a.until_hears()
    await net.a.until_look("ready")
    async with net.a.held():
        await net.b.until_hears()


async def test_a_frozen_page_loses_its_floor_and_wakes_to_the_truth(net: PhoneNet) -> None:
    """P3, asserted at four times its number; P6. A visible page without a screen cannot be frozen by
    Page.setWebLifecycleState: its thread is stopped by the debugger instead, its sound goes on."""
    finger = net.a.finger
    await net.a.touch("talk")
    await net.a.until_look("tx")
    await net.b.until_look("rx")
    await finger.send("Debugger.enable")
    start = time.monotonic()
    await finger.send("Debugger.pause")
    await expect(net.b.key).not_to_have_attribute("data-look", "rx", timeout=4000)
    print(f"frozen: floor free after {time.monotonic() - start:.2f} s")
    async with net.b.held():
        await net.b.until_look("tx")
    await net.b.until_silent()  # what the frozen page still sends is nobody's
    await finger.send("Debugger.disable")
    woken = time.monotonic()
    await expect(net.a.key).not_to_have_attribute("data-look", "tx", timeout=8000)
    print(f"woken: the truth after {time.monotonic() - woken:.2f} s")
    await net.b.until_silent()  # no burst of what was said long ago
    await net.a.lift()
    await net.a.until_look("ready", 30)
    await net.a.until_sends_nothing()


async def test_a_page_that_is_told_it_will_be_frozen_lets_go_by_itself(net: PhoneNet) -> None:
    await net.a.touch("talk")
    await net.a.until_look("tx")
    await net.a.page.evaluate("() => document.dispatchEvent(new Event('freeze'))")
    await net.a.until_sends_nothing()
    await net.a.lift()
    await net.a.until_look("ready")


async def test_a_dispatcher_calls_the_phone_and_both_hear_each_other(net: PhoneNet) -> None:
    for label, duplex in (("双工呼叫", "full"), ("半双工呼叫", "half")):
        await net.chief.card(EVERYBODY).locator(".icon-button").click()
        row = net.chief.page.locator(".listeners li", has_text=NAMES[0])
        await row.get_by_role("button", name=label, exact=True).click()
        await net.chief.page.keyboard.press("Escape")
        await expect(net.a.page.locator(".call-rings")).to_contain_text("总值班 呼叫你")
        await screenshot(net.a.page, f"mobile-call-rings-{duplex}")
        assert await net.b.page.locator(".call").count() == 0
        await net.a.page.get_by_role("button", name="接听").tap()
        await expect(net.a.page.locator('[data-call="active"]')).to_be_visible()
        if duplex == "full":
            await net.a.until_look("call")
            await net.a.until_hears()
            await net.chief.until_hears()
            await net.b.until_silent()
        else:
            async with net.a.held():
                await net.a.until_look("tx")
                await net.chief.until_hears()
                await net.b.until_silent()
        await screenshot(net.a.page, f"mobile-call-{duplex}")
        await net.a.page.get_by_role("button", name="挂断").tap()
        await expect(net.chief.page.locator(".call")).to_contain_text("通话已结束")
        await expect(net.a.page.locator(".call")).to_have_count(0)
        await expect(net.chief.page.locator(".call")).to_have_count(0)
        await net.a.until_sends_nothing()

    async def said() -> list[dict[str, Any]]:
        found = (await command(net.chief.page, "spurt.search", text=NAMES[0]))["result"]["spurts"]
        return [one for one in found if one["call"] and one["state"] == "ready"]

    calls = await until(said, lambda found: len(found) >= 3)  # both of the full one, who talked of the other
    full = [one for one in calls if not one["groups"]]
    parties = {(one["talker"]["name"], one["peer"]["name"]) for one in full}
    assert parties == {("总值班", NAMES[0]), (NAMES[0], "总值班")}
    assert len({one["call"] for one in full}) == 1
    assert all(one["duration"] > 0.2 for one in full)
    address = f"/recordings/{full[0]['id']}"
    sound = "async (url) => new Uint8Array(await (await fetch(url)).arrayBuffer()).slice(0, 4).join()"
    assert await net.chief.page.evaluate(sound, address) == ",".join(str(byte) for byte in b"OggS")


async def test_a_call_back_is_asked_for_with_one_touch_and_answered_for(net: PhoneNet) -> None:
    page = net.a.page
    await page.locator('[data-control="callback"]').tap()
    await screenshot(page, "mobile-callback")
    await page.get_by_role("button", name="需要增援").tap()
    await expect(page.locator("[data-callback]")).to_have_attribute("data-callback", "waiting")
    asked = net.chief.page.locator("[data-callback]", has_text=NAMES[0])
    await expect(asked).to_contain_text("需要增援")
    await asked.get_by_role("button", name="我来处理").click()
    await expect(page.locator("[data-callback]")).to_contain_text("总值班 正在处理")
    await screenshot(page, "mobile-callback-taken")
    await asked.get_by_role("button", name="已办").click()
    await expect(page.locator("[data-callback]")).to_have_count(0)


async def hold_sos(phone: TalkPhone) -> None:
    """Until the ring is full."""
    await phone.touch("sos")
    await expect(phone.page.locator('[data-sos="holding"]')).to_be_visible()
    await expect(phone.page.locator(".sos-countdown")).to_be_visible()
    await phone.lift()


async def test_sos_is_hard_to_press_by_mistake_and_easy_to_take_back(net: PhoneNet) -> None:
    page = net.a.page
    await net.a.touch("sos")
    await asyncio.sleep(1.8)
    await screenshot(page, "mobile-sos-holding")
    await net.a.lift()
    await expect(page.locator('[data-sos="idle"]')).to_be_visible()
    await hold_sos(net.a)
    await asyncio.sleep(1)
    await screenshot(page, "mobile-sos-countdown")
    await page.locator('[data-control="sos-cancel"]').tap()
    await expect(page.locator(".sos-countdown")).to_have_count(0)
    await asyncio.sleep(5.5)
    assert await net.chief.page.locator(".alarm").count() == 0


async def test_sos_raises_the_alarm_with_place_voice_and_picture(net: PhoneNet) -> None:
    page = net.a.page
    async with net.b.held():  # somebody talks: an emergency goes before
        await net.b.until_look("tx")
        await hold_sos(net.a)
        alarm = net.chief.page.locator('.alarm[data-state="new"]')
        await expect(alarm).to_contain_text(NAMES[0])
        await expect(alarm).to_contain_text("33.398")
        await net.b.until_look("refused")
        await expect(net.b.key).to_contain_text("被强插")
    await expect(page.locator('[data-alarm-microphone="true"]')).to_contain_text("话筒已打开")
    await net.chief.until_hears()
    await screenshot(page, "mobile-sos-open")
    await screenshot(net.b.page, "mobile-sos-others")
    await expect(page.locator(".preview")).to_have_attribute("data-live", "live")
    await expect(net.chief.page.locator(".line", has_text=NAMES[0])).to_have_attribute("data-state", "live")
    picture = alarm.locator(".alarm-picture")
    await expect(picture).to_have_attribute("data-state", "live")
    moved = "(video) => video.videoWidth > 0 && video.currentTime"
    first = await picture.locator("video").evaluate(moved)
    await until(lambda: picture.locator("video").evaluate(moved), lambda now: now and now > first)
    await screenshot(net.chief.page, "desk-sos-picture")
    await expect(page.locator('[data-alarm="new"]')).to_contain_text("等待值班员确认")
    await expect(page.locator("[data-alarm-microphone]")).to_have_count(0)  # 10 s are over
    await net.a.until_sends_nothing()
    await expect(page.locator('[data-alarm="new"]')).to_contain_text("有位置 · 有画面")
    await screenshot(page, "mobile-sos-sent")
    await net.chief.page.get_by_role("button", name="确认").click()
    await expect(page.locator('[data-alarm="acknowledged"]')).to_contain_text("总值班 已确认")
    await screenshot(page, "mobile-sos-acknowledged")
    taken = net.chief.page.locator('.alarm[data-state="acknowledged"] .alarm-picture')
    await expect(taken).to_have_attribute("data-state", "live")
    for _ in range(2):  # the second touch is sure of it
        await page.locator('[data-control="live"]').tap()
    await expect(taken).to_have_count(0)  # the camera is off: nothing on the card looks live
    await net.chief.page.get_by_role("button", name="解除").click()
    await net.chief.page.get_by_label("原因").fill("人已安全")
    await net.chief.page.get_by_role("button", name="解除告警").click()
    await expect(page.locator('[data-alarm="closed"]')).to_contain_text("总值班：人已安全")
    await screenshot(page, "mobile-sos-closed")
    await page.get_by_role("button", name="知道了").tap()
    await expect(page.locator("[data-alarm]")).to_have_count(0)


async def test_sos_without_a_network_is_kept_and_sent_once(net: PhoneNet) -> None:
    page = net.b.page
    await page.context.set_offline(True)
    await net.b.until_look("lost", 10)
    await hold_sos(net.b)
    await expect(page.locator('[data-alarm="pending"]')).to_contain_text("一有网络就自动发出")
    await screenshot(page, "mobile-sos-offline")
    await page.wait_for_function(  # from 5 s on it is told of as a late one
        "() => Date.now() / 1000 - JSON.parse(localStorage.getItem('fengsui.sos')).at > 6"
    )
    await page.context.set_offline(False)
    alarm = net.chief.page.locator('.alarm[data-state="new"]')
    await expect(alarm).to_contain_text(NAMES[1])
    await expect(page.locator('[data-alarm-microphone="true"]')).to_be_visible()
    await expect(alarm).to_contain_text(
        re.compile(r"\d\d:\d\d:\d\d 按下，\d\d:\d\d:\d\d 才收到，迟了 \d+ 秒")
    )
    await net.chief.until_hears()
    await expect(page.locator("[data-alarm-microphone]")).to_have_count(0)
    await expect(page.locator('[data-alarm="new"]')).to_contain_text("已送到")
    await screenshot(page, "mobile-sos-late")
    await screenshot(net.chief.page, "desk-sos-late")
    await expect(net.chief.page.locator(".alarm")).to_have_count(1)
    assert "第 2 次" not in await alarm.inner_text()
    await page.reload()
    await expect(page.locator('[data-alarm="new"]')).to_contain_text("等待值班员确认")
    await net.b.key.tap()
    await net.b.until_look("ready")
    await asyncio.sleep(2)
    assert "第 2 次" not in await alarm.inner_text()
    await net.chief.page.get_by_role("button", name="确认").click()
    await net.chief.page.get_by_role("button", name="解除").click()
    await net.chief.page.get_by_label("原因").fill("演练")
    await net.chief.page.get_by_role("button", name="解除告警").click()


async def test_the_link_opened_on_another_phone_is_another_listener(
    net: PhoneNet, talking_browser: Browser
) -> None:
    second = await TalkPhone.ready(talking_browser, net.server, net.link)

    async def hearers() -> list[str | None]:
        shown = [phone.page.locator("[data-hearers]").first for phone in (second, net.a, net.b)]
        return [await each.get_attribute("data-hearers") for each in shown]

    await until(hearers, lambda counts: len(set(counts)) == 1)  # each of the three hears the same others
    await net.chief.card(EVERYBODY).locator(".icon-button").click()
    for name in (NAMES[0], f"{NAMES[0]} · 2"):
        row = net.chief.page.locator(".listener-name").filter(has_text=re.compile(f"^{name}$"))
        await expect(row).to_have_count(1)
    await screenshot(net.chief.page, "desk-two-phones-one-link")
    await net.chief.page.keyboard.press("Escape")
    async with net.b.held():
        await net.a.until_hears()
        await second.until_hears()
    async with second.held():
        await net.b.until_look("rx")
        await net.a.until_look("rx")
        await expect(net.b.key).to_contain_text(f"{NAMES[0]} · 2")
    await net.chief.card(EVERYBODY).locator(".icon-button").click()
    left = net.chief.page.locator(".listener-name").filter(has_text=f"{NAMES[0]} · 2")
    await expect(left).to_have_count(1)
    began = time.monotonic()
    await second.page.close()
    await expect(left).to_have_count(0, timeout=8_000)  # four times 2 s: the page said that it was closed
    print(f"a closed page left after {time.monotonic() - began:.2f} s")
    await net.chief.page.keyboard.press("Escape")
    await second.close()


async def test_the_link_opened_again_on_the_same_phone_takes_over(net: PhoneNet) -> None:
    second = await TalkPhone.on(await net.a.page.context.new_page(), net.server, net.link)
    await expect(net.a.page.locator("[data-end]")).to_have_attribute("data-end", "elsewhere")
    await net.a.page.bring_to_front()
    await screenshot(net.a.page, "mobile-elsewhere")
    await second.page.bring_to_front()
    await second.turn_on()
    async with second.held():
        await net.b.until_hears()
    assert await net.a.packets() == 0  # its connection is closed
    await second.page.close()
    await net.a.page.get_by_role("button", name="改在这里使用").tap()
    await net.a.turn_on()


async def test_the_media_process_dies_and_the_sound_path_comes_back(net: PhoneNet) -> None:
    os.kill(media_pid(net.server), signal.SIGKILL)
    await net.a.until_look("wait")
    await expect(net.a.key).to_contain_text("话音未通")
    await screenshot(net.a.page, "mobile-path-down")
    for phone in (net.a, net.b):
        await phone.until_look("ready", 40)
    async with net.a.held():
        await net.b.until_hears()


async def test_the_server_restarts_and_everything_comes_back(net: PhoneNet) -> None:
    await net.b.choose(OTHERS)
    async with net.a.held():
        await net.a.until_look("tx")
        assert await net.server.stop(signal.SIGKILL) == -9
        await net.a.until_look("lost", 10)
        await net.a.until_sends_nothing()
    await net.server.restart()
    for phone in (net.a, net.b):
        await phone.until_look("ready", 60)
    await expect(net.b.page.locator(".group-bar")).to_contain_text(OTHERS)  # it talks where it did
    await net.b.choose(EVERYBODY)
    async with net.a.held():
        await net.b.until_hears()


async def test_a_locked_phone_gives_the_microphone_back_when_it_is_looked_at_again(net: PhoneNet) -> None:
    ended = """async () => {
      const tracks = peers.filter((one) => one.connectionState === 'connected').flatMap(
        (one) => one.getSenders().map((sender) => sender.track).filter(Boolean));
      for (const track of tracks) { track.stop(); track.dispatchEvent(new Event('ended')); }
      return tracks.length;
    }"""
    assert await net.a.page.evaluate(ended) >= 1
    await net.a.page.evaluate("() => document.dispatchEvent(new Event('visibilitychange'))")
    await net.a.until_look("ready")
    async with net.a.held():
        await net.a.until_look("tx")
        await net.b.until_hears()
