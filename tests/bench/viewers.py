"""The process that receives: groups of counting viewers of our server, of Janus and of the bare loop."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.janus import JanusClient, local_address
from bench.signalling import Session, Sessions, Site
from bench.workers import BenchFailed
from support.counting_peer import CountingPeer
from support.shared_drain import Arrived, SharedDrain

CONNECT_WITHIN: Final = 15.0  # s
AT_ONCE: Final = 4  # joins under way
RECEIVE_BUFFER: Final = 1 << 20  # bytes per viewer; the kernel may grant less


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWhep:
    """`count` more viewers of the stream at `path`. `kinds`: "v" or "av". Answered by None when all are connected."""

    group: str
    site: Site
    path: str
    count: int
    kinds: str = "av"


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinJanus:
    group: str
    url: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenPlain:
    """Viewers that only have a socket. Answered by their addresses."""

    group: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """End all viewers of a group."""

    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GetReceived:
    """Answered by Received."""

    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Since the viewers of a group joined. `missing`: gaps in sequence numbers; `lost`: connections that ended."""

    viewers: int = 0
    packets: int = 0
    bytes: int = 0
    missing: int = 0
    lost: int = 0
    profiles: dict[str, int] = field(default_factory=dict)


class _PlainViewer:
    """Counts datagrams."""

    def __init__(self, drain: SharedDrain) -> None:
        self._drain = drain
        self.packets = self.bytes = 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.setblocking(False)
        self.socket.bind(("127.0.0.1", 0))
        drain.add(self.socket, self._arrived)

    def _arrived(self, arrived: list[Arrived]) -> None:
        self.packets += len(arrived)
        self.bytes += sum(size for _, size, _ in arrived)

    def close(self) -> None:
        self._drain.remove(self.socket)
        self.socket.close()


@dataclass(slots=True)
class _Group:
    peers: list[CountingPeer] = field(default_factory=list)
    plain: list[_PlainViewer] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    handles: list[int] = field(default_factory=list)


class Viewers:
    """The role of the process."""

    def __init__(self) -> None:
        self._drain = SharedDrain()
        self._groups: dict[str, _Group] = {}
        self._sessions: Sessions | None = None
        self._janus: JanusClient | None = None

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {
            JoinWhep: self._join_whep,
            JoinJanus: self._join_janus,
            OpenPlain: self._open_plain,
            Leave: self._leave,
            GetReceived: self._received,
        }

    async def close(self) -> None:
        for name in tuple(self._groups):
            with contextlib.suppress(Exception):  # the server may be gone already
                await self._leave(Leave(group=name))
        if self._sessions is not None:
            await self._sessions.close()
        if self._janus is not None:
            await self._janus.close()
        self._drain.close()

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())

    async def _join_whep(self, question: JoinWhep) -> None:
        sessions = self._sessions = self._sessions or Sessions(question.site)
        group = self._group(question.group)

        async def join() -> None:
            peer = CountingPeer(receive_buffer=RECEIVE_BUFFER, drain=self._drain)
            group.peers.append(peer)
            session = await sessions.open(question.path, peer.offer("recvonly", question.kinds))
            group.sessions.append(session)
            peer.apply(session.answer)
            await _connected(peer)

        await _few_at_once(join, question.count)

    async def _join_janus(self, question: JoinJanus) -> None:
        if self._janus is None:
            self._janus = JanusClient(question.url)
            await self._janus.open()
        janus = self._janus
        group = self._group(question.group)

        async def join() -> None:
            handle, offer = await janus.watch()
            group.handles.append(handle)
            peer = CountingPeer(bind=local_address(offer), receive_buffer=RECEIVE_BUFFER, drain=self._drain)
            group.peers.append(peer)
            await janus.start(handle, peer.answer(offer))
            await _connected(peer)

        await _few_at_once(join, question.count)

    async def _open_plain(self, question: OpenPlain) -> list[tuple[str, int]]:
        group = self._group(question.group)
        opened = [_PlainViewer(self._drain) for _ in range(question.count)]
        group.plain += opened
        return [viewer.socket.getsockname() for viewer in opened]

    async def _leave(self, question: Leave) -> None:
        group = self._groups.pop(question.group, _Group())
        for handle in group.handles:
            if self._janus is not None:
                await self._janus.leave(handle)
        ending = iter(group.sessions)

        async def end() -> None:
            if self._sessions is not None:
                await self._sessions.end(next(ending))

        await _few_at_once(end, len(group.sessions))
        for peer in group.peers:
            peer.close()
        for viewer in group.plain:
            viewer.close()

    async def _received(self, question: GetReceived) -> Received:
        group = self._group(question.group)
        streams = [stream for peer in group.peers for stream in peer.received.values()]
        return Received(
            viewers=len(group.peers) + len(group.plain),
            packets=sum(one.packets for one in streams) + sum(viewer.packets for viewer in group.plain),
            bytes=sum(one.bytes for one in streams) + sum(viewer.bytes for viewer in group.plain),
            missing=sum(one.missing for one in streams),
            lost=sum(peer.closed.is_set() for peer in group.peers),
            profiles=dict(Counter(peer.profile.name for peer in group.peers if peer.profile is not None)),
        )


async def _connected(peer: CountingPeer) -> None:
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            await peer.connected.wait()
    except TimeoutError:
        raise BenchFailed(f"a viewer does not connect in {CONNECT_WITHIN:g} s {peer.fail_reason}") from None


async def _few_at_once(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    left = itertools.repeat(None, count)

    async def one_after_the_other() -> None:
        for _ in left:
            await work()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(min(AT_ONCE, count)):
                tasks.create_task(one_after_the_other())
    except ExceptionGroup as failed:
        if failed.split(BenchFailed)[1] is not None:
            raise
        raise failed.exceptions[0] from None
