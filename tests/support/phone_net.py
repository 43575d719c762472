"""Two phones and a dispatcher's console that talk: all Chromium, with the whole server between them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from playwright.async_api import Browser

from support.browser import invite
from support.running_server import RunningServer
from support.talk_console import TalkConsole
from support.talk_phone import TalkPhone

EVERYBODY = "全员"
NAMES = ("一中队 李四", "二中队 张强")


@dataclass(frozen=True)
class PhoneNet:
    server: RunningServer
    chief: TalkConsole
    a: TalkPhone
    b: TalkPhone
    link: str  # of a


@contextlib.asynccontextmanager
async def phone_net(browser: Browser, server: RunningServer) -> AsyncIterator[PhoneNet]:
    chief = await TalkConsole.on_shift(browser, server, "chief")
    links = [await invite(chief.page, name) for name in NAMES]
    a, b = [await TalkPhone.ready(browser, server, link) for link in links]
    await chief.choose(EVERYBODY)
    yield PhoneNet(server, chief, a, b, links[0])
    for one in (chief, a, b):
        lost = (
            "ERR_INTERNET_DISCONNECTED",
            "WebSocket connection to",
        )  # tests take the network, and the server
        problems = [text for text in one.watched.problems if not any(name in text for name in lost)]
        assert (problems, one.watched.strangers) == ([], [])
        await one.close()
