"""Real browsers in front of the real server: pages as people use them, and what is read back from their screens.

async with chromium(*flags(spki), camera_flag(file)) as browser, running_server(folder=folder) as server:
    console = await open_console(browser, server)
    await tile(console, 0).until_live(number=7)
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
from av import VideoFrame
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]
from numpy.typing import NDArray
from playwright.async_api import Browser, BrowserContext, Page, expect

from media.agent import colour_code
from media.agent.scene import Scene
from server.tls import Tls
from support.running_server import PASSWORD, ROOT, Account, RunningServer

RESULTS: Final = ROOT / "test-results"
DESK: Final = (1920, 1080)
PHONE: Final = (390, 844)
PATIENCE: Final = 20.0  # s; four times what is promised, on a machine that does other things too
SMALL: Final = (160, 90)  # the size in which pictures are read back
CAMERA_NUMBER: Final = 200  # of the fake camera's colour code
CAMERA_SECONDS: Final = 6  # length of its looped file; a picture's age is known modulo this

expect.set_options(timeout=PATIENCE * 1000)

# What is on a tile's screen right now, read in one go so that words and picture belong together. `visible`: somebody
# looking at the screen sees the video, `greyed`: and sees that it is an old one.
READ: Final = """
window.peers = [];  // every peer connection that the page makes
window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(...settings) {
    super(...settings);
    window.peers.push(this);
  }
};
window.readTile = (article) => {
  const video = article.querySelector('video');
  const style = getComputedStyle(video);
  const seen = {
    at: Date.now() / 1000,
    slot: Number(article.dataset.slot),
    state: article.dataset.state,
    stream: article.dataset.stream,
    words: article.querySelector('.chip')?.innerText.trim() ?? '',
    cover: article.querySelector('.cover')?.innerText.trim() ?? '',
    visible: style.display !== 'none' && style.visibility === 'visible' && Number(style.opacity) > 0,
    greyed: style.filter.includes('grayscale') && article.querySelector('.cover') !== null
      || getComputedStyle(article.closest('main')).filter.includes('grayscale'),
    width: video.videoWidth,
    height: video.videoHeight,
    picture: '',
  };
  if (video.videoWidth) seen.picture = readPicture(video);
  return seen;
};
window.readPicture = (video) => {
  const canvas = window.readCanvas ??= new OffscreenCanvas(160, 90);
  const context = canvas.getContext('2d', {willReadFrequently: true});
  context.drawImage(video, 0, 0, 160, 90);
  const {data} = context.getImageData(0, 0, 160, 90);
  let text = '';
  for (let i = 0; i < data.length; i += 4) text += String.fromCharCode(data[i + 1]);
  return btoa(text);
};
0;  // Playwright would call a function that is the value of the script
"""

# Reads one tile at every animation frame until told to stop.
RECORD: Final = """
(article) => {
  const seen = window.recorded = [];
  window.recording = true;
  const step = () => {
    seen.push(readTile(article));
    if (window.recording) requestAnimationFrame(step);
  };
  step();
}
"""

COMMAND: Final = """
({command, token}) => new Promise((resolve) => {
  const client = crypto.randomUUID(), socket = new WebSocket('wss://' + location.host + '/ws');
  const end = (message) => { resolve(message); socket.close(); };
  socket.onopen = () => {
    socket.send(JSON.stringify({type: 'hello', schema: 1, client, token, rev: 0, want: []}));
    socket.send(JSON.stringify({id: '1', ...command}));
  };
  socket.onmessage = ({data}) => {
    const message = JSON.parse(data);
    if (message.type === 'reply' || message.type === 'goodbye') end(message);
  };
  socket.onclose = () => end({type: 'closed'});
})
"""

T = TypeVar("T")


async def until(
    ask: Callable[[], Awaitable[T]], good: Callable[[T], object], within: float = PATIENCE, every: float = 0.1
) -> T:
    """Ask again and again until the answer is good. Raises AssertionError with the last answer."""
    deadline = time.monotonic() + within
    while True:
        answer = await ask()
        if good(answer):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r} after {within:g} s")
        await asyncio.sleep(every)


# ---------------------------------------------------------------------- the camera


def write_camera(path: Path, *, rate: int = 10) -> None:
    """A file for --use-file-for-fake-video-capture, which loops it. Pictures are dated from 0 to CAMERA_SECONDS."""
    scene = Scene(name="手机", number=CAMERA_NUMBER, width=1280, height=720)
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{scene.width} H{scene.height} F{rate}:1 Ip A1:1 C420jpeg\n".encode())
        for i in range(CAMERA_SECONDS * rate):
            picture = scene.frame(i / rate, f"{i / rate:05.2f}")
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            file.write(b"FRAME\n" + frame.to_ndarray().tobytes())


# ---------------------------------------------------------------------- the server's certificate


@dataclass(frozen=True, slots=True)
class Identity:
    """One certificate for all servers of a run, so that one browser takes them all: `spki` is its exception."""

    folder: Path
    spki: str

    @classmethod
    def make(cls, folder: Path) -> Identity:
        return cls(folder, Tls(folder=folder, certificate="", key="", names=["127.0.0.1"]).info.spki)

    def data_folder(self, folder: Path) -> Path:
        """Prepare `folder` for `running_server(folder=...)`."""
        (folder / "data").mkdir(mode=0o700, parents=True)
        shutil.copytree(self.folder, folder / "data" / "tls")
        return folder

    @property
    def flag(self) -> str:
        return f"--ignore-certificate-errors-spki-list={self.spki}"


# ---------------------------------------------------------------------- pages


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running server with its administrator. `rtsp_port`: where it admits a camera on this machine."""

    server: RunningServer
    admin: Account
    rtsp_port: int


@dataclass(slots=True)
class Watched:
    """A page and everything that went wrong on it: uncaught errors, refused policies, requests to other origins."""

    page: Page
    origin: str
    problems: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, page: Page, server: RunningServer) -> Watched:
        """Begins to watch; what was before is not known."""
        watched = cls(page, server.url)
        page.on("pageerror", lambda error: watched.problems.append(f"uncaught: {error}"))
        page.on("console", lambda said: watched._said(said.type, said.text))
        page.on("request", lambda request: watched._asked(request.url))
        page.on("websocket", lambda socket: watched._asked(socket.url.replace("wss://", "https://")))
        return watched

    def _said(self, kind: str, text: str) -> None:
        if kind == "error" or "Content Security Policy" in text:
            self.problems.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.origin + "/", "blob:" + self.origin + "/", "data:")):
            self.strangers.append(url)


async def new_context(
    browser: Browser, size: tuple[int, int] = DESK, *, phone: bool = False, **options: Any
) -> BrowserContext:
    context = await browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        locale="zh-CN",
        timezone_id="Asia/Shanghai",
        has_touch=phone,
        is_mobile=phone,
        **options,
    )
    context.set_default_timeout(PATIENCE * 1000)
    await context.add_init_script(READ)
    return context


async def new_page(
    browser: Browser, server: RunningServer, size: tuple[int, int] = DESK, **options: Any
) -> Page:
    return await (await new_context(browser, size, **options)).new_page()


async def log_in(
    page: Page, server: RunningServer, username: str = "chief", password: str = PASSWORD
) -> None:
    """Through the log-in page; returns when the page behind it is there."""
    await page.goto(server.url + "/login")
    await page.get_by_label("用户名").fill(username)
    await page.get_by_label("密码", exact=True).fill(password)
    await page.get_by_role("button", name="登录").click()
    await page.wait_for_url(re.compile(r"/(wall|m)$"))


async def open_console(
    browser: Browser, server: RunningServer, username: str = "chief", size: tuple[int, int] = DESK
) -> Page:
    """A logged-in officer at the wall, with a connection."""
    page = await new_page(browser, server, size)
    await log_in(page, server, username)
    await expect(page.locator('[data-link="server"]')).to_have_attribute("data-words", "link_ok")
    return page


async def invite(console: Page, name: str) -> str:
    """Make a join link in the dialog as an officer does; returns its address. Closes the dialog."""
    await console.get_by_role("button", name="邀请手机").click()
    await console.get_by_label("单位名称").fill(name)
    await console.get_by_role("button", name="生成二维码").click()
    await expect(console.locator(".qr svg path").first).to_be_visible()
    address = await console.locator(".invite-made .link-text").input_value()
    await console.keyboard.press("Escape")
    await expect(console.get_by_role("dialog")).to_have_count(0)
    return address


async def go_live(phone: Page, address: str) -> None:
    """Open a join link on a phone and go live; returns when the page says so."""
    await phone.goto(address)
    await phone.locator('[data-control="live"]').click()
    await expect(phone.locator(".preview")).to_have_attribute("data-live", "live")


async def command(page: Page, type: str, token: str = "", **fields: Any) -> dict[str, Any]:
    """One command on a WebSocket of its own, with the page's cookie or a join link's token; returns the reply, or the
    goodbye when there is none."""
    answer: dict[str, Any] = await page.evaluate(
        COMMAND, {"command": {"type": type, **fields}, "token": token}
    )
    return answer


# ---------------------------------------------------------------------- tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One look at a tile. `number` and `drawn` are the colour code's, None where none can be read."""

    at: float
    slot: int
    state: str
    stream: str
    words: str
    cover: str
    visible: bool
    greyed: bool
    width: int
    height: int
    number: int | None
    drawn: float | None

    @property
    def looks_live(self) -> bool:
        return self.visible and not self.greyed


def seen_of(raw: dict[str, Any]) -> Seen:
    code = colour_code.read(luma_of(raw.pop("picture"))) if raw.get("picture") else None
    raw.pop("picture", None)
    return Seen(**raw, number=code[0] if code else None, drawn=code[1] if code else None)


def luma_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(SMALL[1], SMALL[0])


@dataclass(frozen=True, slots=True)
class Tile:
    """The tile at a position of the wall, counted from 0 as the eyes count: left to right, top to bottom."""

    page: Page
    position: int

    @property
    def article(self) -> Any:
        return self.page.locator(f'.tile[style*="order: {self.position};"]')

    async def look(self) -> Seen:
        return seen_of(await self.article.evaluate("article => readTile(article)"))

    async def until(self, good: Callable[[Seen], object], within: float = PATIENCE) -> Seen:
        return await until(self.look, good, within)

    async def until_shows(self, number: int, within: float = PATIENCE) -> Seen:
        """Until the stream with this number can be seen and is not said to be old; it may be a lower layer."""
        return await self.until(lambda seen: seen.looks_live and seen.number == number, within)

    async def until_live(self, number: int, within: float = PATIENCE) -> Seen:
        """Until it shows the stream with this number and says 实时."""
        return await self.until(
            lambda seen: seen.words == "实时" and seen.looks_live and seen.number == number, within
        )

    async def moves(self, number: int, within: float = PATIENCE) -> tuple[Seen, Seen]:
        """Two looks with different dates at the right stream, neither said to be old."""
        first = await self.until_shows(number, within)
        return first, await self.until(
            lambda seen: seen.looks_live and seen.number == number and seen.drawn != first.drawn, within
        )

    @contextlib.asynccontextmanager
    async def recorded(self) -> AsyncIterator[list[Seen]]:
        """Look at every animation frame while the block runs; the list is filled at its end."""
        looks: list[Seen] = []
        await self.article.evaluate(RECORD)
        try:
            yield looks
        finally:
            await self.page.evaluate("() => { window.recording = false; }")
            looks += [seen_of(raw) for raw in await self.page.evaluate("() => window.recorded")]


async def barriers(page: Page) -> list[dict[str, Any]]:
    """What axe calls serious or critical on the page as it is now, short enough to be read."""
    results = await Axe().run(page)
    return [
        {"rule": one["id"], "help": one["help"], "where": [node["html"][:160] for node in one["nodes"][:4]]}
        for one in results.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


async def screenshot(page: Page, name: str) -> None:
    """Keep what the page looks like, to be looked at by people."""
    RESULTS.mkdir(exist_ok=True)
    await page.screenshot(path=RESULTS / f"{name}.png")
