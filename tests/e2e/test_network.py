"""What networks do to a phone and a desk: a NAT that forgets, one of two paths that dies, both gone and back.

The server offers four addresses of loopback, each with a relay behind it that can rebind and be cut. The phone uses two
of them and the desk the others, so that each has two paths of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, WebSocketRoute, expect

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
    screenshot,
    until,
)
from support.running_server import running_server
from support.udp_relay import UdpRelay

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
PHONE_HOSTS, CONSOLE_HOSTS = HOSTS[:2], HOSTS[2:]
# Of what the server offers a page takes the candidates at these addresses only.
KEEP = """
(() => {
  const hosts = HOSTS, set = RTCPeerConnection.prototype.setRemoteDescription;
  const kept = (line) => !line.startsWith('a=candidate:') || hosts.includes(line.split(' ')[4]);
  RTCPeerConnection.prototype.setRemoteDescription = function ({type, sdp}) {
    return set.call(this, {type, sdp: sdp.split('\\r\\n').filter(kept).join('\\r\\n')});
  };
})();
"""
PATH_IN_USE = """
async () => {
  const report = await peers.at(-1).getStats();
  const transport = [...report.values()].find((row) => row.type === 'transport');
  return report.get(report.get(transport.selectedCandidatePairId).remoteCandidateId).address;
}
"""
PROMISE = 2.0  # s, P9


@dataclass(slots=True)
class Sockets:
    """Every WebSocket of a page. One that is silenced stays open and carries nothing, as over a path that is dead."""

    opened_count: int = 0
    silenced: int = 0  # so many of the first

    def opened(self, route: WebSocketRoute) -> None:
        self.opened_count += 1
        number, server = self.opened_count, route.connect_to_server()
        route.on_message(lambda message: None if number <= self.silenced else server.send(message))
        server.on_message(lambda message: None if number <= self.silenced else route.send(message))

    def silence(self) -> None:
        self.silenced = self.opened_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    console: Page
    phone: Page
    paths: dict[str, UdpRelay]
    sockets: Sockets  # of the phone

    @property
    def tile(self) -> Tile:
        return Tile(self.console, 0)

    def cut(self, *hosts: str) -> None:
        """These are cut, the others carry."""
        for host, relay in self.paths.items():
            relay.cut = host in hosts

    async def settled(self) -> None:
        """All paths carry, and the last restart is so long ago that the next one need not wait."""
        self.cut()
        await asyncio.sleep(11)
        await self.tile.moves(CAMERA_NUMBER)

    async def peers(self) -> tuple[int, int]:
        """How many connections each page has made."""
        return await self.console.evaluate("() => peers.length"), await self.phone.evaluate(
            "() => peers.length"
        )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def field(
    browser: Browser, identity: Identity, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Field]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    media = {"host": "127.0.0.1", "udp_port": port, "addresses": list(HOSTS)}
    async with contextlib.AsyncExitStack() as stack:
        paths = {host: await stack.enter_async_context(UdpRelay(host, port)) for host in HOSTS}
        folder = identity.data_folder(tmp_path_factory.mktemp("network"))
        server = await stack.enter_async_context(running_server(folder=folder, media=media))
        await server.setup_admin()
        console = await new_page(browser, server)
        await console.add_init_script(KEEP.replace("HOSTS", json.dumps(CONSOLE_HOSTS)))
        await log_in(console, server)
        phone = await new_page(browser, server, PHONE, phone=True)
        await phone.add_init_script(KEEP.replace("HOSTS", json.dumps(PHONE_HOSTS)))
        sockets = Sockets()
        await phone.route_web_socket(re.compile("/ws$"), lambda route: sockets.opened(route))
        await go_live(phone, await invite(console, "张强"))
        field = Field(console=console, phone=phone, paths=paths, sockets=sockets)
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
    """P8: what the phone would like to say does not arrive, and the picture goes on all the same."""
    peers = await field.peers()
    field.sockets.silence()
    async with field.tile.recorded() as looks:
        for path in field.paths.values():
            path.rebind()
        assert sum(path.rebound for path in field.paths.values()) >= 2
        end = time.monotonic() + 4
        await until(field.tile.look, lambda seen: time.monotonic() > end)
    longest = max(gaps(looks))
    print(f"NAT rebinding of both sides: {longest:.2f} s without a new picture")
    assert longest < 12  # promised: 3 s downlink, 0.5 s uplink
    assert await field.peers() == peers
    await field.tile.moves(CAMERA_NUMBER)


def back_after(cut_at: float, looks: Sequence[Seen]) -> float:
    """When the picture went on after the longest time that it stood, s after `cut_at` (wall clock)."""
    new = [looks[0], *(later for sooner, later in pairwise(looks) if later.drawn != sooner.drawn), looks[-1]]
    _, end = max((later.at - sooner.at, later.at) for sooner, later in pairwise(new) if later.at > cut_at)
    return end - cut_at


async def stood_and_went_on(tile: Tile, within: float) -> None:
    """Until the picture has stood for half a second and then moved for three; at the latest after `within` s."""
    end = time.monotonic() + within
    drawn, since, stood, went = (await tile.look()).drawn, time.monotonic(), False, 0.0
    while (now := time.monotonic()) < end and not (stood and went and now - went > 3):
        await asyncio.sleep(0.1)
        seen = (await tile.look()).drawn
        if seen != drawn:
            went = went or (now if stood else 0.0)
            drawn, since = seen, now
        elif now - since > 0.5:
            stood, went = True, 0.0


@pytest.mark.parametrize(
    "whose",
    [
        pytest.param("phone", marks=pytest.mark.long),
        pytest.param("console", marks=pytest.mark.long),
        "phone and console",
        "phone, signalling too",
    ],
)
async def test_path_that_dies_without_a_word_is_left_for_the_other(field: Field, whose: str) -> None:
    """P9 with the worst kind of death: the other path carries all the time, and no event of the browser says so."""
    await field.settled()
    peers = await field.peers()
    dying = [
        await page.evaluate(PATH_IN_USE)
        for name, page in (("phone", field.phone), ("console", field.console))
        if name in whose
    ]
    async with field.tile.recorded() as looks:
        await asyncio.sleep(0.3)
        field.cut(*dying)
        if "signalling" in whose:
            field.sockets.silence()
        cut_at = time.time()
        await stood_and_went_on(field.tile, within=4 * PROMISE)
    back = back_after(cut_at, looks)
    print(f"a path of {whose} died silently: live again after {back:.2f} s (promise {PROMISE} s)")
    print(story(looks))
    assert back < 4 * PROMISE
    assert old_ones_that_look_live(looks) == []
    # the same sessions went on
    assert {one.stream for one in looks} == {looks[0].stream}
    assert await field.peers() == peers
    await field.tile.moves(CAMERA_NUMBER)
    field.cut()


async def test_everything_gone_and_back(field: Field) -> None:
    await field.settled()
    peers = await field.phone.evaluate("() => peers.length")
    async with field.tile.recorded() as looks:
        field.cut(*HOSTS)
        await expect(field.phone.locator(".preview")).to_have_attribute("data-live", "interrupted")
        await expect(field.phone.locator(".live-bar")).to_contain_text("正在自动恢复，请保持本页打开")
        await expect(field.phone.locator(".live-bar")).to_contain_text(
            re.compile("服务器收不到画面|媒体连接正在建立")
        )
        await screenshot(field.phone, "phone-interrupted")
        await field.tile.until(lambda seen: seen.state == "frozen")
        await expect(field.console.locator('[data-link="media"]')).to_contain_text("恢复中")
        await screenshot(field.console, "wall-frozen")
        field.cut()
        start = time.monotonic()
        await field.tile.moves(CAMERA_NUMBER, within=30)
        await expect(field.phone.locator(".preview")).to_have_attribute("data-live", "live")
    print(f"service back: live again after {time.monotonic() - start:.1f} s")
    print(story(looks))
    assert old_ones_that_look_live(looks) == []
    assert await field.phone.evaluate("() => peers.length") == peers  # the same session went on
