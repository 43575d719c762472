"""The bare UDP echo: a process that sends on what it gets and does nothing else, as one wake-up in between costs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StartEcho:
    """Send on to this port of loopback. Answered by the port to send to."""

    port: int


class Echo:
    """The role of the process."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(("127.0.0.1", 0))
        self._to = ("127.0.0.1", 0)

    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {StartEcho: self._start}

    async def _start(self, question: StartEcho) -> int:
        self._to = ("127.0.0.1", question.port)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._readable)
        return int(self._socket.getsockname()[1])

    def _readable(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionRefusedError):
            while True:
                self._socket.sendto(self._socket.recv(2048), self._to)

    async def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
