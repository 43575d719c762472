"""Reads the sockets of hundreds of receivers cheaply: now and then, many datagrams in one call, only their beginnings.

Waking up for each datagram would cost the receiving process most of its time, and the waking itself is charged to
whoever sends, who is what a benchmark measures. Arrival times are the kernel's, so reading late falsifies nothing.
"""

from __future__ import annotations

import asyncio
import ctypes
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Final

HEAD: Final = 256  # bytes kept of each datagram
BATCH: Final = 64
_SO_TIMESTAMPNS: Final = 35
_CONTROL: Final = 32  # cmsghdr and timespec
_HEADER: Final = struct.Struct("=QIxxxxQQQQixxxxIxxxx")  # struct mmsghdr of 64-bit Linux
_LENGTHS: Final = [struct.Struct("=" + "56xI4x" * count) for count in range(BATCH + 1)]
_TIMES: Final = [struct.Struct("=" + "16xqq" * count) for count in range(BATCH + 1)]
_FLAGS: Final = int(socket.MSG_DONTWAIT | socket.MSG_TRUNC)
_recvmmsg: Final = ctypes.CDLL(None, use_errno=True).recvmmsg

Arrived = tuple[
    int, int, float
]  # where its beginning lies in `memory`, the datagram's whole size, monotonic arrival


class SharedDrain:
    """Calls `take(arrived)` for each socket that has something, every `every` s; `memory` is valid during the call."""

    def __init__(self, every: float = 0.025) -> None:
        self.memory = bytearray(HEAD * BATCH)
        self._control = bytearray(_CONTROL * BATCH)
        self._vectors = bytearray(16 * BATCH)
        self._headers = bytearray(_HEADER.size * BATCH)
        memory, control, vectors = map(_address, (self.memory, self._control, self._vectors))
        for index in range(BATCH):
            struct.pack_into("=QQ", self._vectors, 16 * index, memory + HEAD * index, HEAD)
            fields = (0, 0, vectors + 16 * index, 1, control + _CONTROL * index, _CONTROL, 0, 0)
            _HEADER.pack_into(self._headers, _HEADER.size * index, *fields)
        self._fresh = bytes(self._headers)
        self._pointer = ctypes.c_void_p(_address(self._headers))
        self._every = every
        self._epoll = select.epoll()
        self._takers: dict[int, Callable[[list[Arrived]], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(every, self._drain)

    def add(self, sock: socket.socket, take: Callable[[list[Arrived]], None]) -> None:
        """From now on nobody else reads from it."""
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._takers[sock.fileno()] = take
        self._epoll.register(sock.fileno(), select.EPOLLIN)

    def remove(self, sock: socket.socket) -> None:
        """Before it is closed; does nothing when it was never added."""
        if self._takers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def close(self) -> None:
        self._timer.cancel()
        self._epoll.close()

    def _drain(self) -> None:
        self._timer = self._loop.call_later(self._every, self._drain)
        shift = time.monotonic() - time.time()
        for fd, _ in self._epoll.poll(0, 4096):
            full = True
            while full and (take := self._takers.get(fd)) is not None:
                count = _recvmmsg(fd, self._pointer, BATCH, _FLAGS, None)
                if count <= 0:
                    break
                full = count == BATCH
                lengths = _LENGTHS[count].unpack_from(self._headers)
                times = _TIMES[count].unpack_from(self._control)
                self._headers[: _HEADER.size * count] = self._fresh[: _HEADER.size * count]
                take(
                    [
                        (HEAD * index, size, times[2 * index] + times[2 * index + 1] * 1e-9 + shift)
                        for index, size in enumerate(lengths)
                    ]
                )


def _address(memory: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
