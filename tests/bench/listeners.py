"""The processes that listen: `ears` look into every packet, the crowd only counts; consoles see floors change."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.talk_client import Seat, TalkSite, TalkSockets, few_at_once, open_path
from support.shared_drain import SharedDrain
from support.sound_path import SoundPath, VoiceMark, mark_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenListeners:
    """Connect one client for each seat, with its sound path. `closely`: they look into packets. Answered by None."""

    site: TalkSite
    seats: tuple[Seat, ...]
    closely: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenConsoles:
    """Desks of this log-in, without sound. Answered by None."""

    site: TalkSite
    cookie: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenEcho:
    """Open a socket for marks that come over the echo. Answered by its port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeHeard:
    """Answered by Ear since the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What one listener got of one press: lowest and highest number, how many, and when the first one came."""

    press: int
    first: int
    last: int
    packets: int
    first_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ear:
    """`delays`: (press, number in it, ns under way); `echoes`: ns. `packets`: of everybody, looked into or not."""

    spoken: list[Spoken]
    delays: list[tuple[int, int, int]]
    echoes: list[int]
    packets: int
    unmarked: int


class Listeners:
    """The role of the process."""

    def __init__(self) -> None:
        self._sockets = TalkSockets()
        self._drain = SharedDrain()
        self._paths: list[SoundPath] = []
        self._delays: list[tuple[int, int, int]] = []
        self._echoes: list[int] = []
        self._echo: socket.socket | None = None
        self._counted = 0

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {
            OpenListeners: self._open,
            OpenConsoles: self._consoles,
            ListenEcho: self._listen_echo,
            TakeHeard: self._take,
        }

    async def close(self) -> None:
        for path in self._paths:
            path.close()
        if self._echo is not None:
            asyncio.get_running_loop().remove_reader(self._echo.fileno())
            self._echo.close()
        await self._sockets.close()
        self._drain.close()

    async def _open(self, question: OpenListeners) -> None:
        async def one(seat: Seat) -> None:
            client = await self._sockets.phone(question.site, seat)
            path = SoundPath(on_mark=self._marked) if question.closely else SoundPath(drain=self._drain)
            self._paths.append(path)
            await open_path(client, path)

        await few_at_once(one, question.seats)

    async def _consoles(self, question: OpenConsoles) -> None:
        for _ in range(question.count):
            await self._sockets.console(question.site, question.cookie)

    def _marked(self, mark: VoiceMark, now_ns: int) -> None:
        self._delays.append((mark.press, mark.index, now_ns - mark.sent_ns))

    async def _listen_echo(self, _question: ListenEcho) -> int:
        sock = self._echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        asyncio.get_running_loop().add_reader(sock.fileno(), self._echoed, sock)
        return int(sock.getsockname()[1])

    def _echoed(self, sock: socket.socket) -> None:
        try:
            while True:
                mark = mark_of(sock.recv(2048))
                if mark is not None:
                    self._echoes.append(time.monotonic_ns() - mark.sent_ns)
        except BlockingIOError:
            return

    async def _take(self, _question: TakeHeard) -> Ear:
        spoken = [
            Spoken(
                press=press,
                first=heard.first,
                last=heard.last,
                packets=heard.packets,
                first_ns=heard.first_ns,
            )
            for path in self._paths
            for press, heard in path.heard.items()
        ]
        counted = sum(one.packets for path in self._paths for one in path.peer.received.values())
        packets, self._counted = counted - self._counted, counted
        delays, self._delays = self._delays, []
        echoes, self._echoes = self._echoes, []
        unmarked = sum(path.unmarked for path in self._paths)
        for path in self._paths:
            path.heard.clear()
            path.unmarked = 0
        return Ear(spoken=spoken, delays=delays, echoes=echoes, packets=packets, unmarked=unmarked)
