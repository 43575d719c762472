"""The first reference: Janus with its streaming plugin, from Debian's package, with a configuration of its own.

Its API is on a WebSocket at loopback. Janus never offers loopback addresses for media, so its viewers use one of the
machine's own addresses; between two local addresses packets do not leave the machine either.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import json
import re
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.load import OPUS_TYPE, VP8_TYPE
from bench.workers import BenchFailed

START_WITHIN: Final = 10.0  # s
ANSWER_WITHIN: Final = 10.0
STOP_WITHIN: Final = 5.0
MOUNTPOINT: Final = 1
PLUGIN_FOLDERS: Final = (
    "/usr/lib/x86_64-linux-gnu/janus",
    "/usr/lib/aarch64-linux-gnu/janus",
    "/usr/lib/janus",
)
USED: Final = frozenset({"libjanus_streaming.so", "libjanus_websockets.so"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJanus:
    """`video_port`, `audio_port`: where plain RTP goes; `url`: of its API."""

    pid: int
    version: str
    url: str
    video_port: int
    audio_port: int


def missing() -> str:
    """Why Janus cannot be run here, "" when it can."""
    if shutil.which("janus") is None:
        return "Janus is not installed (Debian package janus)"
    if _plugins() is None:
        return "Janus is installed without its streaming plugin or WebSocket transport"
    return ""


@contextlib.asynccontextmanager
async def running_janus() -> AsyncIterator[RunningJanus]:
    """Janus for as long as the block runs. Raises BenchFailed when it does not start."""
    with tempfile.TemporaryDirectory(prefix="bench-janus-") as name:
        folder = Path(name)
        api, video, audio = _free_ports()
        _configure(folder, api, video, audio)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                "janus",
                f"--config={folder / 'janus.jcfg'}",
                f"--configs-folder={folder}",
                "--disable-colors",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            if not await _listening(process, api):
                said = (folder / "log").read_text(errors="replace")
                raise BenchFailed(f"Janus does not start:\n{said[-2000:]}")
            found = re.search(r"version: \d+ \(([^)]*)\)", (folder / "log").read_text(errors="replace"))
            yield RunningJanus(
                pid=process.pid,
                version=found.group(1) if found else "",
                url=f"ws://127.0.0.1:{api}",
                video_port=video,
                audio_port=audio,
            )
        finally:
            await _end(process)


class JanusClient:
    """One session of the Janus API, with a handle for each viewer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client = aiohttp.ClientSession()
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._session = 0
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()

    async def open(self) -> None:
        """Call once, before anything else."""
        self._socket = await self._client.ws_connect(self._url, protocols=("janus-protocol",))
        self._session = int((await self._ask(janus="create"))["data"]["id"])

    async def watch(self) -> tuple[int, str]:
        """A new viewer: its handle and the offer Janus makes it. Raises BenchFailed."""
        attached = await self._ask(janus="attach", plugin="janus.plugin.streaming")
        handle = int(attached["data"]["id"])
        offered = await self._ask(
            janus="message", handle_id=handle, body={"request": "watch", "id": MOUNTPOINT}
        )
        if "jsep" not in offered:
            raise BenchFailed(f"Janus makes no offer: {offered}")
        return handle, str(offered["jsep"]["sdp"])

    async def start(self, handle: int, answer: str) -> None:
        await self._ask(
            janus="message",
            handle_id=handle,
            body={"request": "start"},
            jsep={"type": "answer", "sdp": answer},
        )

    async def leave(self, handle: int) -> None:
        await self._ask(janus="detach", handle_id=handle)

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self._client.close()

    async def _ask(self, **message: object) -> dict[str, Any]:
        """Send a request and skip whatever is no answer to it."""
        async with self._turn, asyncio.timeout(ANSWER_WITHIN):
            if self._socket is None:
                raise BenchFailed("the Janus API was not opened")
            number = str(next(self._numbers))
            session = {"session_id": self._session} if self._session else {}
            await self._socket.send_json({**message, **session, "transaction": number})
            while True:
                said = await self._socket.receive()
                if said.type is not aiohttp.WSMsgType.TEXT:
                    raise BenchFailed(f"Janus closed its API during {message}")
                answer: dict[str, Any] = json.loads(said.data)
                if answer.get("transaction") != number or answer["janus"] == "ack":
                    continue
                if answer["janus"] == "error":
                    raise BenchFailed(f"Janus refuses {message}: {answer['error']}")
                return answer


def local_address(offer: str) -> str:
    """The first IPv4 address Janus offers, which is one of this machine's. Raises BenchFailed."""
    for host in re.findall(r"^a=candidate:\S+ 1 udp \d+ (\S+) \d+ typ host", offer, re.MULTILINE):
        if ipaddress.ip_address(host).version == 4:
            return str(host)
    raise BenchFailed("Janus offers no IPv4 address: it never offers loopback, and there is no other")


def _plugins() -> Path | None:
    for folder in map(Path, PLUGIN_FOLDERS):
        names = {path.name for path in folder.glob("*/*.so")}
        if names >= USED:
            return folder
    return None


def _free_ports() -> tuple[int, int, int]:
    with contextlib.ExitStack() as stack:
        ports = []
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM):
            probe = stack.enter_context(socket.socket(socket.AF_INET, kind))
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
    return ports[0], ports[1], ports[2]


def _configure(folder: Path, api: int, video: int, audio: int) -> None:
    """Only what is needed: one plugin, one transport, ICE-lite as ours; no recorder, events or loggers."""
    plugins = _plugins()
    if plugins is None:
        raise BenchFailed(missing())

    def unused(kind: str) -> str:
        names = {path.name for path in (plugins / kind).glob("*.so")} - USED
        return ",".join(sorted(names))

    files = {
        "janus.jcfg": f"""
general: {{
    plugins_folder = "{plugins}/plugins"
    transports_folder = "{plugins}/transports"
    events_folder = "{folder}/none"
    loggers_folder = "{folder}/none"
    debug_level = 4
    session_timeout = 0
}}
nat: {{ ice_lite = true }}
plugins: {{ disable = "{unused("plugins")}" }}
transports: {{ disable = "{unused("transports")}" }}
""",
        "janus.transport.websockets.jcfg": f"""
general: {{
    json = "compact"
    ws = true
    ws_port = {api}
    ws_ip = "127.0.0.1"
    wss = false
}}
admin: {{ admin_ws = false }}
""",
        "janus.plugin.streaming.jcfg": f"""
bench: {{
    type = "rtp"
    id = {MOUNTPOINT}
    audio = true
    audioport = {audio}
    audiopt = {OPUS_TYPE}
    audiocodec = "opus"
    audioiface = "127.0.0.1"
    video = true
    videoport = {video}
    videopt = {VP8_TYPE}
    videocodec = "vp8"
    videoiface = "127.0.0.1"
}}
""",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")


async def _listening(process: asyncio.subprocess.Process, port: int) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_WITHIN):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                return True
    return False


async def _end(process: asyncio.subprocess.Process) -> None:
    for end in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            end()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_WITHIN):
                await process.wait()
