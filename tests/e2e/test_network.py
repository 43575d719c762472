"""What networks do to a phone and a desk: a NAT that forgets, one of two paths that dies, both gone and back.

The server offers two addresses of loopback, each with a relay behind it that can rebind and be cut.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    new_page,
    open_console,
    screenshot,
    until,
)
from support.running_server import running_server
from support.udp_relay import UdpRelay

pytestmark = pytest.mark.asyncio(loop_scope="session")

UFRAG = "() => /a=ice-ufrag:(\\S+)/.exec(peers.at(-1).localDescription.sdp)[1]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    console: Page
    phone: Page
    paths: tuple[UdpRelay, UdpRelay]

    @property
    def tile(self) -> Tile:
        return Tile(self.console, 0)

    def cut(self, *paths: bool) -> None:
        for relay, cut in zip(self.paths, paths, strict=True):
            relay.cut = cut

    async def ufrags(self) -> tuple[str, str]:
        return await self.console.evaluate(UFRAG), await self.phone.evaluate(UFRAG)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def field(
    browser: Browser, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Field]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    media = {"host": "127.0.0.1", "udp_port": port, "addresses": ["127.0.0.2", "127.0.0.3"]}
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(UdpRelay("127.0.0.2", port))
        second = await stack.enter_async_context(UdpRelay("127.0.0.3", port))
        folder = identity.data_folder(tmp_path_factory.mktemp("network"))
        server = await stack.enter_async_context(running_server(folder=folder, media=media))
        await server.setup_admin()
        console = await open_console(browser, server)
        phone = await new_page(browser, server, PHONE, phone=True)
        await go_live(phone, await invite(console, "张强"))
        field = Field(console=console, phone=phone, paths=(first, second))
        await field.tile.moves(CAMERA_NUMBER)
        yield field
        await phone.context.close()
        await console.context.close()


def gaps(looks: Sequence[Seen]) -> list[float]:
    """How long each picture stood, s."""
    new = [looks[0], *(later for sooner, later in pairwise(looks) if later.drawn != sooner.drawn), looks[-1]]
    return [later.at - sooner.at for sooner, later in pairwise(new)]


def story(looks: Sequence[Seen]) -> str:
    """What the tile said, and for how many seconds."""
    parts, first = [], looks[0]
    for look in [*looks[1:], None]:
        if look is None or (look.state, look.height) != (first.state, first.height):
            parts.append(f"{first.words or first.state} {first.height}p from {first.at - looks[0].at:.1f} s")
            first = look or first
    return "; ".join(parts)


def old_ones_that_look_live(looks: Sequence[Seen]) -> list[Seen]:
    """Looks at a picture that stands for longer than the 3 s after which it must be grey (and a second of drawing)."""
    since, found = looks[0].at, []
    for sooner, later in pairwise(looks):
        if later.drawn != sooner.drawn:
            since = later.at
        if later.looks_live and later.at - since > 4:
            found.append(later)
    return found


async def test_nat_gives_new_ports_and_nobody_has_to_say_anything(field: Field) -> None:
    ufrags = await field.ufrags()
    async with field.tile.recorded() as looks:
        for path in field.paths:
            path.rebind()
        assert sum(path.rebound for path in field.paths) >= 2
        end = time.monotonic() + 4
        await until(field.tile.look, lambda seen: time.monotonic() > end)
    longest = max(gaps(looks))
    print(f"NAT rebinding of both sides: {longest:.2f} s without a new picture")
    assert longest < 12  # promised: 3 s downlink, 0.5 s uplink
    assert await field.ufrags() == ufrags
    await field.tile.moves(CAMERA_NUMBER)


async def test_dead_path_is_grey_until_the_other_one_carries(field: Field) -> None:
    before = await field.tile.moves(CAMERA_NUMBER)
    async with field.tile.recorded() as looks:
        field.cut(True, False)
        start = time.monotonic()
        stopped = await field.tile.until(lambda seen: seen.state == "frozen")
        assert stopped.greyed
        assert stopped.words.startswith("画面已停")
        await field.tile.moves(CAMERA_NUMBER, within=30)
    print(f"one of two paths died: live again after {time.monotonic() - start:.1f} s")
    print(story(looks))
    assert old_ones_that_look_live(looks) == []
    assert {one.stream for one in looks} == {before[0].stream}
    field.cut(False, False)


async def test_everything_gone_and_back(field: Field) -> None:
    await field.tile.moves(CAMERA_NUMBER)
    peers = await field.phone.evaluate("() => peers.length")
    async with field.tile.recorded() as looks:
        field.cut(True, True)
        await expect(field.phone.locator(".preview")).to_have_attribute("data-live", "interrupted")
        await expect(field.phone.locator(".live-bar")).to_contain_text("正在自动恢复，请保持本页打开")
        await expect(field.phone.locator(".live-bar")).to_contain_text(
            re.compile("服务器收不到画面|媒体连接正在建立")
        )
        await screenshot(field.phone, "phone-interrupted")
        await field.tile.until(lambda seen: seen.state == "frozen")
        await expect(field.console.locator('[data-link="media"]')).to_contain_text("恢复中")
        await screenshot(field.console, "wall-frozen")
        field.cut(False, False)
        start = time.monotonic()
        await field.tile.moves(CAMERA_NUMBER, within=30)
        await expect(field.phone.locator(".preview")).to_have_attribute("data-live", "live")
    print(f"service back: live again after {time.monotonic() - start:.1f} s")
    print(story(looks))
    assert old_ones_that_look_live(looks) == []
    assert await field.phone.evaluate("() => peers.length") == peers  # the same session went on
