"""Firefox as an officer's browser and as a phone's."""

from __future__ import annotations

import pytest
from playwright.async_api import Browser, expect

from support.browser import READ, Seen, Site, Tile, invite, open_console, seen_of, until
from support.field_unit import field_unit
from support.firefox import Firefox, available, firefox
from support.running_server import PASSWORD

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not available(), reason="Firefox is not installed (Debian: firefox-esr)"),
]


async def look(fox: Firefox, stream: str) -> Seen:
    return seen_of(await fox.run(f"readTile(document.querySelector('.tile[data-stream=\"{stream}\"]'))"))


async def test_firefox_shows_vp8_and_says_what_it_does_of_h264(site: Site) -> None:
    server = site.server
    await server.add_user("fox", "dispatcher")
    async with (
        field_unit(server, "狐一队", 61, "vp8"),
        field_unit(server, "狐二队", 62, "h264"),
        firefox(preload=READ) as fox,
    ):
        await fox.go(server.url + "/wall")
        await until(lambda: fox.run("location.pathname"), lambda path: path == "/login")
        await until(lambda: fox.run("document.querySelector('input') !== null"), bool)
        await fox.type("input[name=username]", "fox")
        await fox.type("input[name=password]", PASSWORD)
        await fox.click("button[type=submit]")
        await until(lambda: fox.run("location.pathname"), lambda path: path == "/wall")
        streams = {}
        for name in ("狐一队", "狐二队"):
            line = f"[...document.querySelectorAll('.line')].find(one => one.innerText.includes('{name}'))"
            await until(lambda: fox.run(f"{line}?.dataset.state ?? ''"), lambda state: state == "live")  # noqa: B023
            streams[name] = await fox.run(f"{line}.dataset.line")
            await fox.run(f"void {line}.dispatchEvent(new MouseEvent('dblclick', {{bubbles: true}}))")
        seen = await until(
            lambda: look(fox, streams["狐一队"]), lambda seen: seen.looks_live and seen.number == 61
        )
        again = await until(
            lambda: look(fox, streams["狐一队"]), lambda one: one.looks_live and one.drawn != seen.drawn
        )
        assert again.number == 61
        # its H.264 is a plug-in that may be absent: then the tile says so, in words
        other = await until(
            lambda: look(fox, streams["狐二队"]),
            lambda seen: seen.state == "codec" or (seen.looks_live and seen.number == 62),
        )
        print(f"Firefox and H.264: {other.words} {other.cover!r}")
        if other.state == "codec":
            assert other.words == "编码不支持"
            assert "换用 Chrome、Edge 观看" in other.cover


async def test_firefox_as_a_phone_is_live_on_the_wall(browser: Browser, site: Site) -> None:
    console = await open_console(browser, site.server)
    link = await invite(console, "狐三队")
    async with firefox((390, 844), preload=READ) as fox:
        await fox.go(link)
        await until(lambda: fox.run("document.querySelector('[data-control=live]') !== null"), bool)
        await fox.click("[data-control=live]")
        state = await until(
            lambda: fox.run("document.querySelector('.preview')?.dataset.live"), lambda live: live == "live"
        )
        assert state == "live"
        row = console.locator(".line", has_text="狐三队")
        await expect(row).to_have_attribute("data-state", "live")
        await row.dblclick()
        stream = await row.get_attribute("data-line")
        position = await console.locator(f'.tile[data-stream="{stream}"]').evaluate(
            "tile => Number(tile.style.order)"
        )
        tile = Tile(console, position)
        await tile.until(lambda seen: seen.looks_live)
        read = "tile => readPicture(tile.querySelector('video'))"
        first = await tile.article.evaluate(read)
        await until(lambda: tile.article.evaluate(read), lambda now: now != first)
        ladder = await fox.run("document.querySelector('[data-chip=uplink]').innerText")
        print(f"Firefox's uplink: {ladder!r}")
    await expect(row).not_to_have_attribute("data-state", "live")  # it is gone
    await console.context.close()
