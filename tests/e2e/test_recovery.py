"""Things that die: the agent, the media process, the whole server. The wall says so, and comes back by itself."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from support.browser import (
    CAMERA_NUMBER,
    PHONE,
    Identity,
    Seen,
    Tile,
    go_live,
    invite,
    log_in,
    new_page,
    open_console,
    screenshot,
    until,
)
from support.field_unit import FieldUnit, field_unit
from support.running_server import RunningServer, media_pid, running_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

NUMBER = 44

# The first offer takes longer than the page waits; of a connection closed meanwhile it is never made, as browsers do it
# (WebRTC, "chain an operation": the promise does not settle)
SLOW_OFFER = """
    const { prototype } = RTCPeerConnection;
    const { createOffer } = prototype;
    prototype.createOffer = async function (...options) {
        prototype.createOffer = createOffer;
        const offer = await createOffer.apply(this, options);
        await new Promise((resolve) => setTimeout(resolve, 13_500));
        window.givenUp = this.signalingState === "closed";
        return window.givenUp ? new Promise(() => {}) : offer;
    };
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The agent is on the first tile, the phone on the second."""

    server: RunningServer
    console: Page
    phone: Page
    unit: FieldUnit

    @property
    def agent_tile(self) -> Tile:
        return Tile(self.console, 0)

    @property
    def phone_tile(self) -> Tile:
        return Tile(self.console, 1)

    async def all_live(self, within: float = 60) -> None:
        await self.agent_tile.moves(NUMBER, within)
        await self.phone_tile.moves(CAMERA_NUMBER, within)
        await expect(self.phone.locator(".preview")).to_have_attribute("data-live", "live")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    browser: Browser, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Desk]:
    folder = identity.data_folder(tmp_path_factory.mktemp("recovery"))
    async with running_server(folder=folder) as server:
        await server.setup_admin()
        async with field_unit(server, "突击四队", NUMBER, "h264") as unit:
            console = await open_console(browser, server)
            await Tile(console, 0).until_live(NUMBER)
            phone = await new_page(browser, server, PHONE, phone=True)
            await go_live(phone, await invite(console, "张强"))
            desk = Desk(server=server, console=console, phone=phone, unit=unit)
            await desk.all_live()
            yield desk
            await phone.context.close()
            await console.context.close()


def grey_or_hidden(seen: Seen) -> bool:
    return not seen.looks_live


async def test_agent_that_dies_is_told_and_comes_back(desk: Desk) -> None:
    await desk.all_live()
    await desk.unit.end(signal.SIGKILL)
    start = time.monotonic()
    seen = await desk.agent_tile.until(grey_or_hidden, 12)
    print(f"killed agent: grey after {time.monotonic() - start:.1f} s, {seen.words}: {seen.cover!r}")
    assert seen.words.startswith("画面已停")
    assert "超过 1 秒没有收到数据" in seen.cover
    await screenshot(desk.console, "wall-agent-died")
    assert (await desk.phone_tile.look()).looks_live  # nobody else is concerned
    await desk.unit.start(desk.server)
    await desk.agent_tile.moves(NUMBER, 40)


async def test_agent_that_stops_is_offline_with_the_time(desk: Desk) -> None:
    await desk.all_live()
    await desk.unit.end(signal.SIGTERM)
    start = time.monotonic()
    seen = await desk.agent_tile.until(lambda seen: seen.state == "offline", 12)
    print(f"stopped agent: offline after {time.monotonic() - start:.1f} s")
    assert grey_or_hidden(seen)
    assert seen.words.startswith("离线（")
    assert "推送由设备一侧结束" in seen.cover
    row = desk.console.locator(".line", has_text="突击四队")
    await expect(row).to_have_attribute("data-state", "offline")
    await desk.unit.start(desk.server)
    await desk.agent_tile.moves(NUMBER, 40)


async def test_media_process_that_dies_is_replaced(desk: Desk) -> None:
    await desk.all_live()
    before = media_pid(desk.server)
    os.kill(before, signal.SIGKILL)
    start = time.monotonic()
    seen = await desk.agent_tile.until(grey_or_hidden, 12)
    print(f"killed media process: grey after {time.monotonic() - start:.1f} s ({seen.words}: {seen.cover!r})")
    assert re.search("媒体服务刚刚重启|本席位到媒体服务器的连接尚未建立", seen.cover)
    await expect(desk.console.locator('[data-link="server"]')).to_have_attribute("data-words", "link_ok")
    await desk.phone_tile.moves(CAMERA_NUMBER, 40)
    print(f"phone back after {time.monotonic() - start:.1f} s")
    await desk.agent_tile.moves(NUMBER, 40)
    print(f"agent back after {time.monotonic() - start:.1f} s")
    await desk.all_live()
    assert media_pid(desk.server) != before


async def test_server_that_dies_greys_everything_at_once_and_all_come_back(desk: Desk) -> None:
    await desk.all_live()
    assert await desk.server.stop(signal.SIGKILL) == -9
    start = time.monotonic()
    lost = desk.console.locator(".lost")
    await expect(lost).to_be_visible(timeout=5000)
    print(f"killed server: told after {time.monotonic() - start:.1f} s")
    await expect(lost).to_contain_text("与服务器失去联系")
    for link in ("server", "media"):  # of media nothing is known either
        chip = desk.console.locator(f'[data-link="{link}"]')
        await expect(chip).to_have_text(re.compile(r"失联（\d\d:\d\d:\d\d 起）"), timeout=500)
    assert grey_or_hidden(await desk.agent_tile.look())
    await expect(lost.locator("strong")).to_contain_text("4 秒")  # it counts
    await expect(desk.phone.locator(".preview")).to_have_attribute("data-live", "interrupted")
    # nobody can know about the field now, so the tile speaks of this side only
    here = await desk.agent_tile.until(lambda seen: seen.state == "frozen")
    assert "本席位到媒体服务器的连接尚未建立" in here.cover
    await screenshot(desk.console, "wall-server-lost")
    await desk.server.restart()
    start = time.monotonic()
    await expect(lost).to_have_count(0, timeout=40_000)
    print(f"server back: console after {time.monotonic() - start:.1f} s")
    await desk.phone_tile.moves(CAMERA_NUMBER, 40)
    print(f"phone on the wall after {time.monotonic() - start:.1f} s")
    await desk.agent_tile.moves(NUMBER, 40)
    print(f"agent on the wall after {time.monotonic() - start:.1f} s")
    await desk.all_live()


async def test_a_connection_given_up_in_the_middle_of_its_offer_is_followed_by_another(
    desk: Desk, browser: Browser
) -> None:
    console = await new_page(browser, desk.server)
    await console.add_init_script(SLOW_OFFER)
    await log_in(console, desk.server)
    await Tile(console, 0).moves(NUMBER, 40)
    await until(lambda: console.evaluate("window.givenUp"), bool)
    await console.context.close()
