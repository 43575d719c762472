"""A phone joins by link and is watched on the wall: both are Chromium, with the whole server between them."""

from __future__ import annotations

import statistics
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from media.agent import colour_code
from support.browser import (
    CAMERA_NUMBER,
    CAMERA_SECONDS,
    PHONE,
    Seen,
    Site,
    Tile,
    Watched,
    go_live,
    invite,
    luma_of,
    new_page,
    open_console,
    screenshot,
    until,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

PREVIEW = "() => [Date.now() / 1000, readPicture(document.querySelector('.preview video'))]"
PATH = """() => {
  const peer = peers.at(-1), ufrag = (one) => /a=ice-ufrag:(\\S+)/.exec(one?.sdp)?.[1];
  return {
    peers: peers.length,
    ufrag: ufrag(peer.localDescription),
    answered: ufrag(peer.remoteDescription),
    connected: peer.connectionState === 'connected' && peer.signalingState === 'stable',
  };
}"""


@dataclass(frozen=True, slots=True)
class Pair:
    """A console at the wall and a phone that is live on its first tile."""

    console: Watched
    phone: Watched

    @property
    def tile(self) -> Tile:
        return Tile(self.console.page, 0)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(browser: Browser, site: Site) -> AsyncIterator[Pair]:
    officer = await open_console(browser, site.server)
    console = Watched.of(officer, site.server)
    link = await invite(officer, "二中队 张强")
    page = await new_page(browser, site.server, PHONE, phone=True)
    phone = Watched.of(page, site.server)
    await go_live(page, link)
    await officer.locator(".line", has_text="二中队 张强").dblclick()
    yield Pair(console, phone)
    await page.context.close()
    await officer.context.close()


async def preview_code(phone: Page) -> tuple[float, float]:
    """(when it was looked at, date in the picture) of the phone's own preview."""

    async def look() -> tuple[float, tuple[int, float] | None]:
        at, picture = await phone.evaluate(PREVIEW)
        return at, colour_code.read(luma_of(picture))

    at, code = await until(look, lambda found: found[1] is not None)
    assert code is not None
    assert code[0] == CAMERA_NUMBER
    return at, code[1]


def changes(looks: Sequence[Seen]) -> list[Seen]:
    """The looks that saw another picture than the one before."""
    return [look for before, look in pairwise(looks) if look.drawn != before.drawn]


async def delay(pair: Pair) -> float:
    """How much later than in the phone's preview a picture is on the wall, s."""
    at, drawn = await preview_code(pair.phone.page)
    seen = await pair.tile.until_live(CAMERA_NUMBER)
    assert seen.drawn is not None
    half = CAMERA_SECONDS / 2
    return ((seen.at - seen.drawn) - (at - drawn) + half) % CAMERA_SECONDS - half


async def test_the_right_picture_moves_on_the_tile(pair: Pair) -> None:
    await pair.tile.until_live(CAMERA_NUMBER)
    first, second = await pair.tile.moves(CAMERA_NUMBER)
    assert first.stream == second.stream != ""
    delays = [await delay(pair) for _ in range(15)]
    print(
        f"phone to wall: median {statistics.median(delays) * 1000:.0f} ms, all {[round(d, 2) for d in delays]}"
    )
    assert -0.2 < statistics.median(delays) < 2  # pictures are 0.1 s apart
    await expect(pair.phone.page.locator(".live-bar")).to_contain_text("1 人观看")
    await screenshot(pair.phone.page, "phone-live")


async def test_health_shows_every_step_up_to_shown(pair: Pair) -> None:
    page = pair.console.page
    await page.keyboard.press("g")
    await page.keyboard.press("h")
    ladder = page.locator(".ladder", has=page.get_by_role("heading", name="二中队 张强"))
    await expect(ladder.locator("[data-step]")).to_have_count(7)
    await expect(ladder.locator('[data-reached="true"]')).to_have_count(7)
    names = await ladder.locator("[data-step]").evaluate_all("steps => steps.map(step => step.dataset.step)")
    assert names == ["registered", "signalled", "ice", "dtls", "packets", "key_frame", "shown"]
    await screenshot(page, "health")
    await page.keyboard.press("g")
    await page.keyboard.press("w")
    await pair.tile.until_live(CAMERA_NUMBER)  # the tile was not received meanwhile, and is live again
    await page.wait_for_url("**/wall")


async def test_tile_size_chooses_the_layer_both_ways(pair: Pair) -> None:
    page = pair.console.page
    for layout, heights in ((1, {720}), (16, {180, 360}), (1, {720})):
        await page.get_by_role("button", name=f"{layout} 画面", exact=True).click()

        def fits(seen: Seen, heights: set[int] = heights) -> bool:
            return seen.height in heights and seen.words == "实时"

        await pair.tile.until(fits, 30)
        await pair.tile.moves(CAMERA_NUMBER)
    await screenshot(page, "wall-1")
    await page.get_by_role("button", name="4 画面", exact=True).click()


async def test_another_network_on_the_phone_restarts_ice_and_the_stream_goes_on(pair: Pair) -> None:
    """What a browser tells when the network changes is told here by its own network emulation."""
    page = pair.phone.page
    before = await pair.tile.until_live(CAMERA_NUMBER)
    path = await page.evaluate(PATH)
    async with pair.tile.recorded() as looks:
        await page.context.set_offline(True)
        await page.context.set_offline(False)
        after = await until(lambda: page.evaluate(PATH), lambda now: now["ufrag"] != path["ufrag"])
        await until(
            lambda: page.evaluate(PATH), lambda now: now["answered"] != path["answered"] and now["connected"]
        )
        await expect(page.locator(".preview")).to_have_attribute("data-live", "live")
        await pair.tile.moves(CAMERA_NUMBER)
    assert after["peers"] == path["peers"]  # the same connection, not a new one
    assert {one.stream for one in looks} == {before.stream}
    longest = max(later.at - sooner.at for sooner, later in pairwise(changes(looks)))
    print(f"longest time without a new picture: {longest:.2f} s")
    assert longest < 2


async def test_phone_that_stops_is_told_and_starts_again(pair: Pair) -> None:
    live = pair.phone.page.locator('[data-control="live"]')
    await live.click()
    await expect(live).to_contain_text("再按一次停止")
    await live.click()
    await expect(pair.phone.page.locator(".preview")).to_have_attribute("data-live", "off")
    gone = await pair.tile.until(lambda seen: seen.state == "offline")
    assert gone.words.startswith("离线")
    assert "推送由设备一侧结束" in gone.cover
    assert not gone.looks_live
    page = pair.console.page
    await page.get_by_role("link", name="运行监测").click()
    ladder = page.locator(".ladder", has=page.get_by_role("heading", name="二中队 张强"))
    await expect(ladder).to_have_attribute("data-state", "offline")
    colours = "steps => [...new Set(steps.map(step => getComputedStyle(step).borderTopColor))]"
    assert await ladder.locator('[data-reached="true"]').evaluate_all(colours) == [
        "rgb(98, 116, 138)"
    ]  # grey
    await screenshot(page, "health-offline")
    await page.get_by_role("link", name="视频墙").click()
    await live.click()
    await pair.tile.moves(CAMERA_NUMBER)


async def test_nothing_went_wrong_on_either_page(pair: Pair) -> None:
    assert (pair.console.problems, pair.console.strangers) == ([], [])
    assert pair.phone.strangers == []
    assert [one for one in pair.phone.problems if "ERR_INTERNET_DISCONNECTED" not in one] == []
