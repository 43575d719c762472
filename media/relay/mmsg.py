"""Many datagrams in one system call: `recvmmsg` and `sendmmsg` over memory that is laid out once.

All knowledge of the C structures is here (64-bit Linux: `struct mmsghdr` of 64 bytes). `media.relay.udp` has the plain
twin, one datagram a call, for where these calls do not exist. Addresses are `sockaddr` bytes as the kernel writes them.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final

from media.relay.srtp import PacketBuffer

RECEIVED_AT_ONCE: Final = 64
SENT_AT_ONCE: Final = 64

_NAME: Final = 32  # bytes kept for a sockaddr
_CONTROL: Final = 128  # bytes kept for the ancillary data of one datagram
_HEADER: Final = struct.Struct("=QIxxxxQQQQixxxxIxxxx")  # name, iov, control, flags; bytes received or sent
_VECTOR: Final = struct.Struct("=QQ")
# Of each header what recvmmsg writes: sizes of name and control, flags, length of the datagram.
_FILLED: Final = [struct.Struct("=" + "8xI28xQi4xI4x" * count) for count in range(RECEIVED_AT_ONCE + 1)]
_WAIT_FOR_NONE: Final = int(socket.MSG_DONTWAIT)
_ALIGNED: Final = 8  # bytes control messages are aligned to
_CONTROL_HEADER: Final = struct.Struct("=Qii")

Ancillary = tuple[int, int, bytes]


_libc: Final = ctypes.CDLL(None, use_errno=True)
AVAILABLE: Final = (
    sys.platform.startswith("linux")
    and struct.calcsize("P") == 8
    and hasattr(_libc, "recvmmsg")
    and hasattr(_libc, "sendmmsg")
)


def address_of(memory: bytearray) -> int:
    """Where the bytes lie; the array must not change its size afterwards."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def control_messages(ancillary: Sequence[Ancillary]) -> bytearray:
    """Ancillary data as `msg_control` takes it (cmsg(3)): each message with a header and padding."""
    memory = bytearray()
    for level, kind, data in ancillary:
        memory += _CONTROL_HEADER.pack(_CONTROL_HEADER.size + len(data), level, kind) + data
        memory += bytes(-len(memory) % _ALIGNED)
    return memory


class ReceiveBatch:
    """Room for one `recvmmsg`. Several sockets may share it, since nothing stays in it between two turns.

    After `receive` each datagram has its place: `buffers[i]` has the bytes, `filled(count)` the sizes,
    `name(i, size)` the sender's sockaddr, `control` its ancillary data from `i * stride` on.
    """

    stride: Final = _CONTROL

    def __init__(self, size: int) -> None:
        """`size`: bytes kept of a datagram."""
        count = RECEIVED_AT_ONCE
        self.buffers = [PacketBuffer(size) for _ in range(count)]
        self.control = bytearray(_CONTROL * count)
        self._names = bytearray(_NAME * count)
        self._vectors = bytearray(_VECTOR.size * count)
        self._headers = bytearray(_HEADER.size * count)
        names, vectors, control = map(address_of, (self._names, self._vectors, self.control))
        for index, buffer in enumerate(self.buffers):
            _VECTOR.pack_into(self._vectors, _VECTOR.size * index, address_of(buffer.data), size)
            name, vector = names + _NAME * index, vectors + _VECTOR.size * index
            fields = (name, _NAME, vector, 1, control + _CONTROL * index, _CONTROL, 0, 0)
            _HEADER.pack_into(self._headers, _HEADER.size * index, *fields)
        self._fresh = bytes(self._headers)
        self._pointer = ctypes.c_void_p(address_of(self._headers))

    def receive(self, descriptor: int) -> int:
        """How many datagrams were taken, at most RECEIVED_AT_ONCE. Raises OSError, BlockingIOError when none waits."""
        count: int = _libc.recvmmsg(descriptor, self._pointer, RECEIVED_AT_ONCE, _WAIT_FOR_NONE, None)
        if count < 0:
            raise OSError(ctypes.get_errno(), "recvmmsg")
        return count

    def filled(self, count: int) -> tuple[int, ...]:
        """Of each datagram in turn: size of its name, size of its control messages, flags, size."""
        sizes = _FILLED[count].unpack_from(self._headers)
        used = _HEADER.size * count
        self._headers[:used] = self._fresh[:used]
        return sizes

    def name(self, index: int, size: int) -> bytes:
        at = _NAME * index
        return bytes(self._names[at : at + size])

    def ancillary(self, index: int, size: int) -> list[Ancillary]:
        """The control messages of one datagram; what is no whole message ends the list."""
        found: list[Ancillary] = []
        at, end = _CONTROL * index, _CONTROL * index + min(size, _CONTROL)
        while at + _CONTROL_HEADER.size <= end:
            length, level, kind = _CONTROL_HEADER.unpack_from(self.control, at)
            if length < _CONTROL_HEADER.size or at + length > end:
                break
            found.append((level, kind, bytes(self.control[at + _CONTROL_HEADER.size : at + length])))
            at += length + -length % _ALIGNED
        return found


class SendBatch:
    """The headers of one `sendmmsg`: `put` up to SENT_AT_ONCE datagrams or trains, then `send`."""

    def __init__(self) -> None:
        self._vectors = bytearray(_VECTOR.size * SENT_AT_ONCE)
        self._headers = bytearray(_HEADER.size * SENT_AT_ONCE)
        vectors, headers = address_of(self._vectors), address_of(self._headers)
        # Of each place: where its vector and its header lie, and the vector's address.
        self._places = [
            (_VECTOR.size * index, _HEADER.size * index, vectors + _VECTOR.size * index)
            for index in range(SENT_AT_ONCE)
        ]
        self._pointers = [ctypes.c_void_p(headers + _HEADER.size * index) for index in range(SENT_AT_ONCE)]

    def put(
        self, index: int, data: int, size: int, name: int, name_size: int, control: int, control_size: int
    ) -> None:
        """Place `index`: addresses and sizes of memory that must stay until `send` has returned."""
        vector_at, header_at, vector = self._places[index]
        _VECTOR.pack_into(self._vectors, vector_at, data, size)
        _HEADER.pack_into(self._headers, header_at, name, name_size, vector, 1, control, control_size, 0, 0)

    def send(self, descriptor: int, first: int, count: int) -> int:
        """How many of `count` from place `first` on were sent, at least one. Raises OSError when none was."""
        sent: int = _libc.sendmmsg(descriptor, self._pointers[first], count, _WAIT_FOR_NONE)
        if sent < 0:
            raise OSError(ctypes.get_errno(), "sendmmsg")
        return sent
