"""A client of talk groups in Python, written from PROTOCOL.md alone: a WebSocket, a sound path by aiortc, ears.

`Radio.press` and `let_go` are its key; its microphone is a tone of its own that begins, at each press, with 20 ms of a
marker tone, so that whoever hears it can say whether the first 20 ms arrived. `Ears` keep what came out of each slot.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final, cast

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from av import AudioFrame
from numpy.typing import NDArray

from support.running_server import Account, RunningServer
from support.waiting import until

RATE: Final = 48_000
FRAME: Final = 960  # samples in 20 ms
MARKER: Final = 3000.0  # Hz, the first 20 ms of every press
LOUD: Final = 500  # a tone's sample amplitude is 12,000
KEEP_ALIVE: Final = 0.2
SLOTS: Final = 8

Sound = NDArray[np.int16]


class Microphone(MediaStreamTrack):
    """A tone of `pitch` Hz while `sending`; nothing at all else, as an encoding that is not active."""

    kind = "audio"

    def __init__(self, pitch: float) -> None:
        super().__init__()
        self.pitch = pitch
        self.sending = asyncio.Event()
        self.pressed_at = 0.0
        self._sample = 0
        self._due = 0.0
        self._first = True

    def start(self) -> None:
        self._first = True
        self.pressed_at = self._due = time.monotonic()
        self._sample = int(self._due * RATE)
        self.sending.set()

    def stop_speaking(self) -> None:
        self.sending.clear()

    async def recv(self) -> AudioFrame:
        while True:
            await self.sending.wait()
            self._due += FRAME / RATE
            await asyncio.sleep(max(0.0, self._due - time.monotonic()))
            if self.sending.is_set():
                break
        pitch, self._first = MARKER if self._first else self.pitch, False
        phase = (self._sample + np.arange(FRAME)) * (2 * np.pi * pitch / RATE)
        samples = (12_000 * np.sin(phase)).astype(np.int16)
        frame = AudioFrame.from_ndarray(np.repeat(samples, 2).reshape(1, -1), format="s16", layout="stereo")
        frame.pts, frame.sample_rate, frame.time_base = self._sample, RATE, Fraction(1, RATE)
        self._sample += FRAME
        return frame


@dataclass
class Ears:
    """What came out of the voice slots: (monotonic s, mono samples of 20 ms) of each."""

    heard: dict[int, list[tuple[float, Sound]]] = field(default_factory=dict)

    def sound(self, slot: int, since: float = 0.0) -> Sound:
        """Everything loud, one after the other."""
        parts = [part for at, part in self.heard.get(slot, []) if at >= since and np.abs(part).max() > LOUD]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int16)

    def all(self, since: float = 0.0) -> Sound:
        return np.concatenate(
            [self.sound(slot, since) for slot in sorted(self.heard)] or [np.zeros(0, np.int16)]
        )


def pitches(sound: Sound, size: int = FRAME) -> list[float]:
    """The loudest frequency of each 20 ms."""
    found = []
    for start in range(0, len(sound) - size + 1, size):
        spectrum = np.abs(np.fft.rfft(sound[start : start + size] * np.hanning(size)))
        found.append(float(np.argmax(spectrum) * RATE / size))
    return found


def has(sound: Sound, pitch: float, least: int = 5) -> bool:
    """Whether at least so many pieces of 20 ms are this tone."""
    return sum(abs(found - pitch) <= 60 for found in pitches(sound)) >= least


@dataclass(kw_only=True)
class Radio:
    """One client. `entities`: kind -> id -> value; `told`: messages that are not entities, newest last."""

    http: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse
    microphone: Microphone
    client: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    me: dict[str, Any] = field(default_factory=dict)
    entities: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    ears: Ears = field(default_factory=Ears)
    peer: RTCPeerConnection | None = None
    session: str = ""
    slots: dict[int, dict[str, Any]] = field(default_factory=dict)
    _replies: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _alive: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ the socket

    async def hello(self, token: str = "") -> None:
        await self.send(
            {
                "type": "hello",
                "schema": 1,
                "client": self.client,
                "token": token,
                "want": ["unit", "device", "stream", "group", "floor", "patch", "call", "callback", "alarm"],
            }
        )
        self._tasks += [asyncio.create_task(self._read()), asyncio.create_task(self._ping())]
        await until(lambda: bool(self.me))

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send_str(json.dumps(message))

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(2.0)
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self.send({"type": "ping", "t": 0})

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self._take(json.loads(message.data))

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "hello":
                self.me = message
            case "snapshot":
                self.entities = {}
                names = {"patches": "patch", "health": "health"}
                for field_name, values in message.items():
                    if isinstance(values, list):
                        kind = names.get(field_name, field_name[:-1])
                        self.entities[kind] = {value["id"]: value for value in values}
            case "delta":
                for change in message["changes"]:
                    known = self.entities.setdefault(change["kind"], {})
                    if change["value"] is None:
                        known.pop(change["id"], None)
                    else:
                        known[change["id"]] = change["value"]
            case "reply":
                waiting = self._replies.pop(message["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case "voice.slot":
                self.slots[message["slot"]] = message
                self.told.append(message)
            case _:
                self.told.append(message)

    async def command(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send it; the reply."""
        name = f"c{next(self._ids)}"
        waiting = self._replies[name] = asyncio.get_running_loop().create_future()
        await self.send({"type": type, "id": name, **fields})
        async with asyncio.timeout(10):
            return await waiting

    async def do(self, type: str, **fields: Any) -> Any:
        """The result; fails when it was refused."""
        reply = await self.command(type, **fields)
        assert reply["ok"], reply
        return reply["result"]

    # ------------------------------------------------------------------ the sound path

    async def open(self) -> None:
        """Until packets can flow."""
        peer = self.peer = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        peer.addTransceiver(self.microphone, "sendonly")
        for _ in range(SLOTS):
            peer.addTransceiver("audio", "recvonly")
        await peer.setLocalDescription(await peer.createOffer())
        answer = await self.do("media.offer", kind="voice", sdp=peer.localDescription.sdp)
        self.session = answer["session"]
        assert [slot["slot"] for slot in answer["slots"]] == list(range(SLOTS))
        await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        for slot, transceiver in enumerate(peer.getTransceivers()[1:]):
            self._tasks.append(asyncio.create_task(self._listen(slot, transceiver.receiver.track)))
        await until(lambda: self.step in ("dtls", "path"))

    @property
    def step(self) -> str:
        """Of the sound path."""
        steps = [
            one["step"] for one in self.told if one["type"] == "media" and one["session"] == self.session
        ]
        return steps[-1] if steps else ""

    async def _listen(self, slot: int, track: MediaStreamTrack) -> None:
        heard = self.ears.heard.setdefault(slot, [])
        with contextlib.suppress(Exception):
            while True:
                frame = cast(AudioFrame, await track.recv())
                samples = frame.to_ndarray().reshape(-1)
                mono = samples[::2] if len(frame.layout.channels) == 2 else samples
                heard.append((time.monotonic(), mono.astype(np.int16)))

    # ------------------------------------------------------------------ groups and the key

    def group(self, name: str) -> dict[str, Any]:
        return next(group for group in self.entities["group"].values() if group["name"] == name)

    def floor(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.entities["floor"][self.group(name)["id"]]
        return found

    async def tune(self, *names: str) -> None:
        """Listen to these groups, and talk in them."""
        await until(lambda: {group["name"] for group in self.entities["group"].values()} >= set(names))
        groups = [self.group(name)["id"] for name in names]
        await self.do("group.tune", listening=groups, selected=groups)

    async def press(self, *names: str, urgency: str = "normal", speak: bool = True) -> list[dict[str, Any]]:
        """The key is down: the microphone sends at once; the answers."""
        if speak:
            self.microphone.start()
        self._alive = asyncio.create_task(self._keep_alive())
        groups = [self.group(name)["id"] for name in names]
        answers = (await self.do("floor.request", groups=groups, urgency=urgency))["answers"]
        if not any(answer["state"] == "granted" for answer in answers):
            self.microphone.stop_speaking()
        return cast(list[dict[str, Any]], answers)

    async def _keep_alive(self) -> None:
        while True:
            await self.send({"type": "floor.alive"})
            await asyncio.sleep(KEEP_ALIVE)

    async def let_go(self) -> None:
        """The key is up."""
        if self._alive is not None:
            self._alive.cancel()
        self.microphone.stop_speaking()
        await self.do("floor.release")

    def states(self, state: str) -> list[dict[str, Any]]:
        """What was told of own requests."""
        return [one for one in self.told if one["type"] == "floor.told" and one["state"] == state]

    async def until_told(self, state: str, **fields: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next(
                (
                    one
                    for one in self.states(state)
                    if all(one[name] == value for name, value in fields.items())
                ),
                None,
            )

        await until(lambda: found() is not None)
        told = found()
        assert told is not None
        return told

    async def until_floor(self, name: str, when: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        await until(lambda: bool(when(self.floor(name))))
        return self.floor(name)

    # ------------------------------------------------------------------ ends

    async def vanish(self) -> None:
        """As a process that is killed: nothing is said any more."""
        if self._alive is not None:
            self._alive.cancel()
        self.microphone.stop_speaking()
        for task in self._tasks:
            task.cancel()
        transport = self.socket._response.connection
        if transport is not None and transport.transport is not None:
            transport.transport.abort()

    async def close(self) -> None:
        if self._alive is not None:
            self._alive.cancel()
        for task in self._tasks:
            task.cancel()
        if self.peer is not None:
            await self.peer.close()
        await self.socket.close()


@contextlib.asynccontextmanager
async def radio(
    server: RunningServer,
    account: Account | None = None,
    *,
    token: str = "",
    pitch: float = 1000.0,
    path: bool = True,
) -> AsyncIterator[Radio]:
    """An officer (by account) or a phone (by a join link's token), with its sound path up."""
    http = account.client if account is not None else server.client()
    headers = {"Origin": server.url}
    if account is not None:
        headers["Cookie"] = account.cookie
    socket = await http.ws_connect(server.url + "/ws", headers=headers, max_msg_size=0)
    made = Radio(http=http, socket=socket, microphone=Microphone(pitch))
    try:
        await made.hello(token)
        if path:
            await made.open()
        yield made
    finally:
        await made.close()


async def phone_token(officer: Radio, name: str) -> str:
    """A join link's secret for a phone of this unit."""
    made = await officer.do("link.create", name=name)
    return cast(str, made["url"].rsplit("/", 1)[1])
