"""Whatever dies, in any order, before the last thing has come back: pictures and voice are there again by themselves.

Nobody reloads a page. FENGSUI_CHAOS=SEED repeats a run, FENGSUI_CHAOS_ROUNDS says how many faults (30).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from support.browser import CAMERA_NUMBER, Tile
from support.field_unit import FieldUnit, field_unit
from support.phone_net import PhoneNet, phone_net
from support.running_server import RunningServer, media_pid

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long, pytest.mark.timeout(1800)]

NUMBER: Final = 47
BACK_WITHIN: Final = 60.0  # s


# What a page says of its connections when something has not come back
STATE: Final = """() => [
    document.querySelector('[data-control="talk"], .press-state')?.innerText,
    [...document.querySelectorAll('[data-link]')].map((one) => one.innerText),
    peers.map((pc) => [pc.connectionState, pc.iceConnectionState, pc.signalingState, pc.getTransceivers().length]
        .join(' ')).filter((text) => !text.startsWith('closed')),
]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """An agent and phone a on the wall; both phones and the officer in one group."""

    net: PhoneNet
    unit: FieldUnit
    chance: random.Random

    @property
    def server(self) -> RunningServer:
        return self.net.server

    # ------------------------------------------------------------------ faults

    async def server_dies(self) -> None:
        await self.server.stop(signal.SIGKILL)
        await asyncio.sleep(self.chance.uniform(0, 4))
        await self.server.restart()

    async def server_dies_again_while_all_come_back(self) -> None:
        await self.server_dies()
        await asyncio.sleep(self.chance.uniform(0, 2))
        await self.server_dies()

    async def server_is_restarted(self) -> None:
        await self.server.stop()
        await self.server.restart()

    async def media_dies(self) -> None:
        """Unless it is dead already."""
        with contextlib.suppress(AssertionError, ProcessLookupError):
            os.kill(media_pid(self.server), signal.SIGKILL)

    async def media_dies_again_while_all_come_back(self) -> None:
        await self.media_dies()
        await asyncio.sleep(self.chance.uniform(1, 3))
        await self.media_dies()

    async def media_hangs(self) -> None:
        with contextlib.suppress(AssertionError, ProcessLookupError):  # dead already, or replaced meanwhile
            pid = media_pid(self.server)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(self.chance.uniform(0.3, 6))
            os.kill(pid, signal.SIGCONT)

    async def agent_dies(self) -> None:
        await self.unit.end(signal.SIGKILL)
        await self.unit.start(self.server)

    async def everybody_loses_signalling(self) -> None:
        pages = [one.page for one in (self.net.chief, self.net.a, self.net.b)]
        gone = self.chance.sample(pages, self.chance.randint(1, 3))
        for page in gone:
            await page.context.set_offline(True)
        await asyncio.sleep(self.chance.uniform(0.2, 8))
        if self.chance.random() < 0.5:
            await self.media_dies()
        for page in gone:
            await page.context.set_offline(False)

    async def page_stands_still(self) -> None:
        one = self.chance.choice((self.net.chief, self.net.a, self.net.b))
        debugger = await one.page.context.new_cdp_session(one.page)
        await debugger.send("Debugger.enable")
        await debugger.send("Debugger.pause")
        await asyncio.sleep(self.chance.uniform(1, 12))
        if self.chance.random() < 0.5:
            await self.media_dies()
        await debugger.send("Debugger.disable")
        await debugger.detach()

    # ------------------------------------------------------------------ what must be there again

    async def all_well(self) -> None:
        try:
            await self._all_well()
        except BaseException:
            for name, one in (("console", self.net.chief), ("a", self.net.a), ("b", self.net.b)):
                print(f"{name}: {await one.page.evaluate(STATE)}", flush=True)
            raise

    async def _all_well(self) -> None:
        console = self.net.chief.page
        await Tile(console, 0).moves(NUMBER, BACK_WITHIN)
        await Tile(console, 1).moves(CAMERA_NUMBER, BACK_WITHIN)
        for talker, other in ((self.net.a, self.net.b), (self.net.b, self.net.a)):
            await talker.until_look("ready", BACK_WITHIN)
            async with talker.held():
                await talker.until_look("tx")
                await other.until_hears()
                await self.net.chief.until_hears()
            await other.until_silent()
        await expect(self.net.a.page.locator(".preview")).to_have_attribute("data-live", "live")


FAULTS: Final[tuple[Callable[[Field], Awaitable[None]], ...]] = (
    Field.server_dies,
    Field.server_dies_again_while_all_come_back,
    Field.server_is_restarted,
    Field.media_dies,
    Field.media_dies_again_while_all_come_back,
    Field.media_hangs,
    Field.agent_dies,
    Field.everybody_loses_signalling,
    Field.page_stands_still,
)


@pytest_asyncio.fixture(loop_scope="session")
async def field(talking_browser: Browser, server: RunningServer) -> AsyncIterator[Field]:
    seed = os.environ.get("FENGSUI_CHAOS") or str(random.SystemRandom().randrange(10**6))
    print(f"FENGSUI_CHAOS={seed}")
    async with (
        field_unit(server, "突击五队", NUMBER, "h264") as unit,
        phone_net(talking_browser, server) as net,
    ):
        console = net.chief.page
        await Tile(console, 0).moves(NUMBER, BACK_WITHIN)
        await net.a.page.locator('[data-control="live"]').click()
        await Tile(console, 1).moves(CAMERA_NUMBER, BACK_WITHIN)
        yield Field(net=net, unit=unit, chance=random.Random(seed))


async def test_all_come_back_by_themselves(field: Field) -> None:
    await field.all_well()
    for number in range(int(os.environ.get("FENGSUI_CHAOS_ROUNDS", "30"))):
        fault = field.chance.choice(FAULTS)
        print(f"{number}: {fault.__name__}", flush=True)
        await fault(field)
        began = time.monotonic()
        if field.chance.random() < 0.3:  # the next one comes before all are back
            await asyncio.sleep(field.chance.uniform(0, 3))
            continue
        await field.all_well()
        print(f"   all well after {time.monotonic() - began:.1f} s", flush=True)
    await field.all_well()
