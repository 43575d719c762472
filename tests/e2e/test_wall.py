"""The wall with two agents and an RTSP camera: the right stream on each tile, whatever the officer does."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from PIL import Image
from playwright.async_api import Browser, Page, expect

from media.agent import colour_code
from media.agent.rtsp_camera import CameraSettings, SimulatedCamera
from media.agent.scene import Scene
from support.browser import Seen, Site, Tile, Watched, open_console, screenshot
from support.field_unit import field_unit

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNITS = {"突击一队": 11, "无人机二号": 22, "青山水库": 33}  # name: number in the colour code
TEAM, DRONE, DAM = UNITS


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def wall(browser: Browser, site: Site) -> AsyncIterator[Watched]:
    """An officer at the wall while three units are live."""
    server = site.server
    settings = CameraSettings(
        scene=Scene(name=DAM, number=UNITS[DAM]), port=site.rtsp_port, user="demo", password="水库 41"
    )
    async with contextlib.AsyncExitStack() as stack:
        camera = await stack.enter_async_context(SimulatedCamera(settings))
        await asyncio.gather(
            stack.enter_async_context(field_unit(server, TEAM, UNITS[TEAM], "h264")),
            stack.enter_async_context(field_unit(server, DRONE, UNITS[DRONE], "vp8")),
            server.add_device(
                *("大坝枪机", DAM, "--kind", "rtsp", "--url", camera.url),
                *("--username", "demo", "--password-stdin"),
                stdin=camera.password + "\n",
            ),
            server.add_user("wall", "dispatcher"),
        )
        page = await open_console(browser, server, "wall")
        watched = Watched.of(page, server)
        for name in UNITS:
            await expect(line(page, name)).to_have_attribute("data-state", "live")
        yield watched
        await page.context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(wall: Watched) -> AsyncIterator[Page]:
    """The wall with four empty tiles, the first one focused."""
    page = wall.page
    await page.get_by_role("button", name="清空").click()
    await layout(page, 4)
    await page.locator(".tile[data-slot]").first.focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowUp")
    yield page
    assert wall.problems == []
    assert wall.strangers == []


def line(page: Page, name: str):  # type: ignore[no-untyped-def]
    return page.locator(".line", has_text=name)


async def layout(page: Page, tiles: int) -> None:
    await page.get_by_role("button", name=f"{tiles} 画面", exact=True).click()
    await expect(page.locator(".grid")).to_have_attribute("data-layout", str(tiles))


async def place(page: Page, name: str) -> None:
    """By the unit's number and Enter."""
    for digit in await line(page, name).locator(".line-number").inner_text():
        await page.keyboard.press(f"Numpad{digit}")
    await expect(page.locator(".typed")).to_be_visible()
    await page.keyboard.press("Enter")


async def all_live(page: Page) -> None:
    for position, number in enumerate(UNITS.values()):
        await Tile(page, position).until_live(number)


def nothing_stale(looks: list[Seen], numbers: dict[str, int]) -> None:
    """No look at a picture that seems live shows another stream than the one that the tile names."""
    wrong = [
        look
        for look in looks
        if look.looks_live and look.stream and look.number not in (numbers[look.stream], None)
    ]
    assert wrong == []
    unreadable = [look for look in looks if look.looks_live and look.stream and look.number is None]
    assert len(unreadable) <= len(looks) // 10


async def test_units_are_placed_by_number_and_each_tile_shows_its_own(page: Page) -> None:
    for name in UNITS:
        await place(page, name)
    await all_live(page)
    for position, number in enumerate(UNITS.values()):
        await Tile(page, position).moves(number)
    await screenshot(page, "wall-4")
    await page.keyboard.press("Numpad9")
    await page.keyboard.press("Numpad9")
    await page.keyboard.press("Numpad9")
    await page.keyboard.press("Enter")
    await expect(page.locator(".said")).to_contain_text("没有编号为 999 的单位")


async def test_switching_shows_no_old_picture(page: Page) -> None:
    """Between codecs and from agent to camera: grey or black until the first picture of the new stream."""
    await layout(page, 1)
    tile = Tile(page, 0)
    numbers: dict[str, int] = {}
    for name, number in UNITS.items():
        await place(page, name)
        numbers[(await tile.until_live(number)).stream] = number
    assert len(numbers) == 3
    async with tile.recorded() as looks:
        for name in (TEAM, DRONE, DAM, TEAM, DAM, DRONE):
            await place(page, name)
            await tile.until_live(UNITS[name])
        for name in (TEAM, DRONE, DAM, TEAM):  # faster than the pictures come
            await place(page, name)
        await tile.until_live(UNITS[TEAM])
    nothing_stale(looks, numbers)
    hidden = [look for look in looks if not look.visible]
    assert {look.stream for look in hidden} == set(numbers)
    shown = [look.stream for look in looks if look.looks_live]
    assert len({*shown}) == 3


async def test_words_of_what_was_done_cover_no_button(page: Page) -> None:
    await place(page, TEAM)
    await expect(page.locator(".said:not(.only-read)")).to_be_visible()
    for button in await page.get_by_role("toolbar", name="视频墙").get_by_role("button").all():
        await button.click(trial=True, timeout=2000)
    await expect(page.locator(".said:not(.only-read)")).to_be_visible()


async def test_layouts_by_key(page: Page) -> None:
    for name in UNITS:
        await place(page, name)
    for tiles in (9, 16, 1, 4):
        await page.keyboard.press("v")
        await expect(page.locator(".grid")).to_have_attribute("data-layout", str(tiles))
        await expect(page.locator(".tile:visible")).to_have_count(tiles)
        if tiles != 1:
            await all_live(page)
        if tiles == 16:
            await screenshot(page, "wall-16")


async def test_dragging_places_and_exchanges_without_tearing(page: Page) -> None:
    first, last = Tile(page, 0), Tile(page, 3)
    await line(page, DRONE).drag_to(last.article)
    stream = (await last.until_live(UNITS[DRONE])).stream
    await line(page, DAM).drag_to(first.article)
    dam = (await first.until_live(UNITS[DAM])).stream
    async with last.recorded() as looks:
        await last.article.drag_to(first.article)
        await first.moves(UNITS[DRONE])
        await last.until_live(UNITS[DAM])
    # the recorded element went along with its stream and never stopped showing it
    assert {look.stream for look in looks} == {stream}
    assert all(look.looks_live for look in looks)
    nothing_stale(looks, {stream: UNITS[DRONE], dam: UNITS[DAM]})


async def test_card_of_a_line_never_pushes_it_from_under_a_drag(page: Page) -> None:
    """In a list as low as its last line, the card that a chosen line opens would cover that line."""
    last = page.locator(".line").last
    words = await last.inner_text()
    name = next(name for name in UNITS if name in words)
    await page.locator(".line").first.click()
    await expect(page.locator(".card")).to_be_visible()
    await page.reload()
    await expect(page.locator("[data-group]").first).to_be_visible()
    await expect(page.locator(".card")).to_have_count(0)
    box, room = await last.bounding_box(), await page.locator(".lines").bounding_box()
    assert box
    assert room
    spare = room["y"] + room["height"] - box["y"] - box["height"]
    try:
        await page.set_viewport_size({"width": 1920, "height": round(1080 - spare)})
        await last.drag_to(Tile(page, 3).article)
        await Tile(page, 3).until_live(UNITS[name])
        await last.click()
        await expect(page.locator(".card")).to_contain_text(name)
    finally:
        await page.set_viewport_size({"width": 1920, "height": 1080})


async def test_placing_from_the_list_by_keyboard(page: Page) -> None:
    await page.keyboard.press("Slash")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.insert_text("水库")
    await expect(page.locator(".line")).to_have_count(1)
    await page.keyboard.press("Enter")  # to the line
    await page.keyboard.press("Enter")
    await Tile(page, 0).until_live(UNITS[DAM])
    await page.locator("#search").fill("")
    await page.keyboard.press("ArrowDown")
    await expect(page.locator(".line:focus")).to_have_count(1)
    await page.keyboard.press("Home")
    for _ in range(await page.locator(".line").count()):
        if TEAM in await page.locator(".line:focus").inner_text():
            break
        await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await Tile(page, 1).until_live(UNITS[TEAM])
    await Tile(page, 1).article.focus()
    await page.keyboard.press("Delete")
    await expect(Tile(page, 1).article).to_have_attribute("data-state", "empty")


async def test_full_screen_and_back(page: Page) -> None:
    for name in UNITS:
        await place(page, name)
    await all_live(page)
    second = Tile(page, 1)
    await second.article.focus()
    await page.keyboard.press("f")
    await page.wait_for_function("() => document.fullscreenElement?.classList.contains('tile')")
    assert await page.evaluate("() => document.fullscreenElement.clientHeight") == 1080
    await second.moves(UNITS[DRONE])
    await screenshot(page, "wall-fullscreen")
    await page.keyboard.press("f")
    await page.wait_for_function("() => document.fullscreenElement === null")
    await all_live(page)


async def test_snapshot_is_a_picture_of_the_tile(page: Page) -> None:
    await place(page, DRONE)
    await Tile(page, 0).until_live(UNITS[DRONE])
    async with page.expect_download() as waiting:
        await page.keyboard.press("s")
    download = await waiting.value
    assert re.fullmatch(r"\d+_无人机二号_\d{14}\.png", download.suggested_filename)
    with open(await download.path(), "rb") as file:  # noqa: ASYNC230 - a small file of our own
        image = Image.open(io.BytesIO(file.read()))
    assert image.format == "PNG"
    assert image.width == 640
    luma = np.asarray(image.convert("L"))
    code = colour_code.read(np.ascontiguousarray(luma[:360]))
    assert code is not None
    assert code[0] == UNITS[DRONE]
    assert luma[360:].std() > 5  # the caption is written


async def test_statistics_are_numbers(page: Page) -> None:
    await place(page, TEAM)
    await Tile(page, 0).until_live(UNITS[TEAM])
    await page.keyboard.press("i")
    panel = Tile(page, 0).article.locator(".statistics")
    for label, words in {
        "分辨率": r"640×360",
        "帧率": r"(9|1\d)",
        "码率": r"\d+ kbit/s|\d\.\d+ Mbit/s",
        "丢包": r"\d+\.\d %",
        "缓冲": r"\d+ 毫秒",
        "往返": r"\d+ 毫秒",
        "编码": r"H264",
    }.items():
        value = panel.locator("div", has=page.locator(f"dt:text-is('{label}')")).locator("dd")
        await expect(value).to_have_text(re.compile(words))
    await screenshot(page, "wall-statistics")
    await page.keyboard.press("i")
    await expect(panel).to_have_count(0)


async def test_wall_nobody_has_arranged_shows_what_is_live(
    browser: Browser, site: Site, wall: Watched
) -> None:
    await site.server.add_user("fresh", "dispatcher")
    page = await open_console(browser, site.server, "fresh")
    shown = {
        (await Tile(page, position).until(lambda seen: seen.number and seen.looks_live)).number
        for position in range(3)
    }
    assert shown == set(UNITS.values())
    await page.context.close()
