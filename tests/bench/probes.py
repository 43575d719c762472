"""The process that looks closely: viewers that decrypt, for added delay and the time from joining to a picture."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bench.load import MarkReader
from bench.signalling import Session, Sessions, Site
from bench.workers import BenchFailed
from support.counting_peer import CountingPeer

PICTURE_WITHIN: Final = 10.0  # s


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Add a viewer of each path. Answered by None when each has had a picture."""

    site: Site
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Open a socket for packets that come directly: the noise floor. Answered by its port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeDelays:
    """Answered by the Delays since the last time it was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOnce:
    """Join a stream, wait for a picture and leave. Answered by Joined."""

    site: Site
    path: str
    kinds: str = "v"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """From a packet's making to its reading, ns. `key`: packets of key frames, `delta`: of other frames."""

    key: list[int]
    delta: list[int]
    sound: list[int]
    direct: list[int]
    unmarked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """s since the POST began: the answer was there, keys were there, the first packet of a key frame was there."""

    answered: float
    connected: float
    picture: float


class _DirectReader:
    def __init__(self, take: Callable[[int], None]) -> None:
        self._take = take
        self._reader = MarkReader()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        asyncio.get_running_loop().add_reader(self.socket.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            while True:
                marked = self._reader.read(self.socket.recv(2048))
                if marked is not None:
                    self._take(time.monotonic_ns() - marked.sent_ns)
        except BlockingIOError:
            return

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.socket.fileno())
        self.socket.close()


class Probes:
    """The role of the process."""

    def __init__(self) -> None:
        self._sessions: Sessions | None = None
        self._watching: list[tuple[CountingPeer, Session]] = []
        self._direct: _DirectReader | None = None
        self._delays = Delays(key=[], delta=[], sound=[], direct=[])
        self._unmarked = 0

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {
            Watch: self._watch,
            Listen: self._listen,
            TakeDelays: self._take_delays,
            JoinOnce: self._join_once,
        }

    async def close(self) -> None:
        if self._direct is not None:
            self._direct.close()
        for peer, session in self._watching:
            with contextlib.suppress(Exception):  # the server may be gone already
                await self._sessions_at(None).end(session)
            peer.close()
        if self._sessions is not None:
            await self._sessions.close()

    def _sessions_at(self, site: Site | None) -> Sessions:
        if self._sessions is None:
            if site is None:
                raise BenchFailed("no session was opened")
            self._sessions = Sessions(site)
        return self._sessions

    async def _watch(self, question: Watch) -> None:
        for path in question.paths:
            reader, pictured = MarkReader(), asyncio.Event()

            def on_packet(
                data: bytes, _now: float, reader: MarkReader = reader, pictured: asyncio.Event = pictured
            ) -> None:
                marked = reader.read(data)
                if marked is None:
                    self._unmarked += 1
                    return
                delay = time.monotonic_ns() - marked.sent_ns
                if not marked.video:
                    self._delays.sound.append(delay)
                elif marked.key:
                    self._delays.key.append(delay)
                    pictured.set()
                else:
                    self._delays.delta.append(delay)

            peer = CountingPeer(on_packet=on_packet)
            session = await self._sessions_at(question.site).open(path, peer.offer("recvonly", "av"))
            self._watching.append((peer, session))
            peer.apply(session.answer)
            await _within(pictured, f"a viewer of {path} has no picture")

    async def _listen(self, _question: Listen) -> int:
        self._direct = self._direct or _DirectReader(lambda delay: self._delays.direct.append(delay))
        return int(self._direct.socket.getsockname()[1])

    async def _take_delays(self, _question: TakeDelays) -> Delays:
        taken, self._delays = self._delays, Delays(key=[], delta=[], sound=[], direct=[])
        unmarked, self._unmarked = self._unmarked, 0
        return Delays(
            key=taken.key, delta=taken.delta, sound=taken.sound, direct=taken.direct, unmarked=unmarked
        )

    async def _join_once(self, question: JoinOnce) -> Joined:
        sessions = self._sessions_at(question.site)
        reader, pictured = MarkReader(), asyncio.Event()
        seen = 0.0

        def on_packet(data: bytes, _now: float) -> None:
            nonlocal seen
            marked = reader.read(data)
            if marked is not None and marked.key_start and not pictured.is_set():
                seen = time.monotonic()
                pictured.set()

        peer = CountingPeer(on_packet=on_packet)
        session: Session | None = None
        try:
            offer = peer.offer("recvonly", question.kinds)
            begun = time.monotonic()
            session = await sessions.open(question.path, offer)
            answered = time.monotonic()
            peer.apply(session.answer)
            await _within(peer.connected, f"a viewer of {question.path} does not connect")
            connected = time.monotonic()
            await _within(pictured, f"a viewer of {question.path} has no picture")
            return Joined(answered=answered - begun, connected=connected - begun, picture=seen - begun)
        finally:
            if session is not None:
                await sessions.end(session)
            peer.close()


async def _within(event: asyncio.Event, otherwise: str) -> None:
    try:
        async with asyncio.timeout(PICTURE_WITHIN):
            await event.wait()
    except TimeoutError:
        raise BenchFailed(f"{otherwise} within {PICTURE_WITHIN:g} s") from None
