"""One Firefox with fake devices, driven by WebDriver BiDi over a WebSocket: Debian's Firefox is not one that Playwright
can drive, and there is no geckodriver.

    async with firefox() as fox:
        await fox.go(server.url + "/m")
        words = await fox.run("document.title")
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

COMMAND: Final = "firefox-esr"
START_TIMEOUT: Final = 60.0
PATIENCE: Final = 30.0
LISTENING: Final = "WebDriver BiDi listening on "
PREFERENCES: Final[dict[str, object]] = {
    "remote.prefs.recommended": True,
    "media.navigator.permission.disabled": True,
    "media.navigator.streams.fake": True,
    "media.autoplay.default": 0,  # sound needs no gesture
    "media.peerconnection.ice.obfuscate_host_addresses": False,  # nobody answers mDNS here
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.update.enabled": False,
    "browser.startup.page": 0,
    "intl.accept_languages": "zh-CN, zh",
}


class FirefoxFailed(AssertionError):
    """It did not start, or a command was refused; the text says why."""


def available() -> bool:
    return shutil.which(COMMAND) is not None


@dataclass(slots=True)
class Firefox:
    """One tab."""

    socket: aiohttp.ClientWebSocketResponse
    context: str = ""
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def command(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command of the protocol; returns its result. Raises FirefoxFailed."""
        number = next(self._ids)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            while True:
                message = await self.socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise FirefoxFailed(f"{method}: the connection is gone")
                answer: dict[str, Any] = json.loads(message.data)
                if answer.get("id") != number:
                    continue
                if answer["type"] != "success":
                    raise FirefoxFailed(f"{method}: {answer['error']}: {answer['message']}")
                result: dict[str, Any] = answer["result"]
                return result

    async def go(self, url: str) -> None:
        await self.command("browsingContext.navigate", context=self.context, url=url, wait="interactive")

    async def run(self, expression: str) -> Any:
        """Evaluate in the page; the value comes back as by JSON. Raises FirefoxFailed."""
        answer = await self.command(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({expression})) ?? 'null')()",
            target={"context": self.context},
            awaitPromise=True,
        )
        if answer["type"] != "success":
            raise FirefoxFailed(f"{expression[:200]}: {answer['exceptionDetails']['text']}")
        return json.loads(answer["result"]["value"])

    async def click(self, selector: str) -> None:
        """With the pointer, in the middle of the element."""
        found = await self.command(
            "browsingContext.locateNodes",
            context=self.context,
            locator={"type": "css", "value": selector},
            maxNodeCount=1,
        )
        if not found["nodes"]:
            raise FirefoxFailed(f"there is no {selector}")
        origin = {"type": "element", "element": {"sharedId": found["nodes"][0]["sharedId"]}}
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": origin}
        press = [{"type": "pointerDown", "button": 0}, {"type": "pointerUp", "button": 0}]
        pointer = {"type": "pointer", "id": "mouse", "actions": [move, *press]}
        await self.command("input.performActions", context=self.context, actions=[pointer])

    async def type(self, selector: str, text: str) -> None:
        """Click into a field and type."""
        await self.click(selector)
        keys = [{"type": kind, "value": letter} for letter in text for kind in ("keyDown", "keyUp")]
        board = {"type": "key", "id": "keys", "actions": keys}
        await self.command("input.performActions", context=self.context, actions=[board])


@contextlib.asynccontextmanager
async def firefox(
    size: tuple[int, int] = (1920, 1080), preload: str = "", **preferences: object
) -> AsyncIterator[Firefox]:
    """A browser for as long as the block runs; `preload` runs in every page before its own scripts."""
    with tempfile.TemporaryDirectory(prefix="fengsui-firefox-") as profile:
        _write_preferences(Path(profile), {**PREFERENCES, **preferences})
        process = await asyncio.create_subprocess_exec(
            *(COMMAND, "--headless", "--no-remote", "--profile", profile),
            *(f"--width={size[0]}", f"--height={size[1]}", "--remote-debugging-port=0", "about:blank"),
            env={**os.environ, "HOME": profile},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        try:
            async with asyncio.timeout(START_TIMEOUT):
                while LISTENING not in (line := (await process.stderr.readline()).decode()):
                    if not line:
                        raise FirefoxFailed("Firefox ended before it could be driven")
            drain = asyncio.create_task(process.stderr.read())
            address = line.split(LISTENING)[1].strip() + "/session"
            async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
                fox = Firefox(socket)
                await fox.command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
                tree = await fox.command("browsingContext.getTree")
                fox.context = tree["contexts"][0]["context"]
                viewport = {"width": size[0], "height": size[1]}
                await fox.command("browsingContext.setViewport", context=fox.context, viewport=viewport)
                if preload:
                    await fox.command("script.addPreloadScript", functionDeclaration=f"() => {{ {preload} }}")
                yield fox
            drain.cancel()
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 10)
                except TimeoutError:
                    process.kill()
                    await process.wait()


def _write_preferences(profile: Path, preferences: Mapping[str, object]) -> None:
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
    (profile / "user.js").write_text("".join(lines), encoding="utf-8")
