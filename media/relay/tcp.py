"""ICE-TCP: a passive listener and its connections, frames by RFC 4571 (two bytes of length before each packet).

For networks that let no UDP through. TCP repairs losses by waiting, so a slow connection grows a backlog; once its
oldest bytes have waited 250 ms the connection is `congested` and senders drop whole frames instead of adding to it.
What is already in the backlog is sent in full, since it is numbered and part of a byte stream.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

from media.relay.addresses import SocketAddress, to_message
from media.relay.messages import Address, ListenerKind
from media.relay.outgoing import SendBuffer
from media.relay.srtp import PacketBuffer
from media.relay.udp import MAX_DATAGRAM, Destination

MAX_CONNECTIONS: Final = 1_000  # per listener
MAX_UNPROVEN: Final = 200  # connections that have not carried a valid check; beyond them the oldest is closed
PROVE_WITHIN: Final = 10.0  # s
MAX_WAIT: Final = 0.250  # s the oldest byte may wait before senders are asked to drop
MAX_BACKLOG: Final = 1024 * 1024  # bytes; beyond it nothing is taken at all
READ_SIZE: Final = 65_536
READS_PER_EVENT: Final = 4
SEND_BUFFER: Final = 64 * 1024  # bytes of the kernel, small so that the backlog is ours to measure

_LENGTH: Final = struct.Struct(">H")

Receive = Callable[["TcpConnection", int, float], None]


class TcpConnection:
    """One accepted connection. `received` holds a frame during the call that hands it up."""

    def __init__(
        self, listener: TcpListener, number: int, accepted: socket.socket, remote: SocketAddress, now: float
    ) -> None:
        self.listener = listener
        self.number = number
        self.socket = accepted
        self.remote: Address = to_message(remote)
        self.local: Address = to_message(accepted.getsockname())
        self.key: tuple[object, ...] = (listener.listener, number)
        self.received = PacketBuffer(MAX_DATAGRAM)
        self.congested = False
        self.proven = False  # a path over it was validated
        self.opened = now
        self.closed = False
        self._counters = listener.counters
        self._input = bytearray()
        self._output: deque[tuple[bytes, float]] = deque()
        self._offset = 0  # bytes of the first output that are gone
        self.backlog = 0  # bytes that wait
        self.wants_write: Callable[[TcpConnection, bool], None] = _nobody

    def fileno(self) -> int:
        return self.socket.fileno()

    # ------------------------------------------------------------------ reading

    def drain(self, receive: Receive) -> bool:
        """Hand every whole frame to `receive(self, size, arrival)`; False when the connection is at its end."""
        for _ in range(READS_PER_EVENT):
            try:
                data = self.socket.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            if not data:
                return False
            self._input += data
            if not self._frames(receive):
                return False
        return True

    def _frames(self, receive: Receive) -> bool:
        data = self._input
        now = time.monotonic()
        at = 0
        while len(data) - at >= 2:
            (size,) = _LENGTH.unpack_from(data, at)
            if size > MAX_DATAGRAM:
                self._counters["frame_too_long"] += 1
                return False
            if len(data) - at - 2 < size:
                break
            self.received.data[:size] = data[at + 2 : at + 2 + size]
            at += 2 + size
            receive(self, size, now)
            if self.closed:
                return True
        del data[:at]
        return True

    # ------------------------------------------------------------------ writing

    def send(self, data: memoryview | bytes, to: Destination) -> bool:
        """One packet as a frame; False when the backlog takes no more (counted)."""
        if self.closed or self.backlog + len(data) + 2 > MAX_BACKLOG:
            self._counters["backlog_full"] += 1
            return False
        now = time.monotonic()
        self._output.append((_LENGTH.pack(len(data)) + bytes(data), now))
        self.backlog += len(data) + 2
        if len(self._output) == 1:
            self.flush(now)
        else:
            self.congested = now - self._output[0][1] > MAX_WAIT
        return True

    def send_train(self, out: SendBuffer, start: int, total: int, segment: int, to: Destination) -> None:
        """A frame for each segment of the train, copied out of the buffer at once."""
        for at in range(start, start + total, segment):
            self.send(out.view[at : min(at + segment, start + total)], to)

    def flush(self, now: float) -> bool:
        """Write what the socket takes; False when the connection broke."""
        output = self._output
        try:
            while output:
                first = output[0][0]
                sent = self.socket.send(memoryview(first)[self._offset :])
                self.backlog -= sent
                self._offset += sent
                if self._offset == len(first):
                    output.popleft()
                    self._offset = 0
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            return False
        self.congested = bool(output) and now - output[0][1] > MAX_WAIT
        self.wants_write(self, bool(output))
        return True

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.listener.connections.pop(self.number, None)
            self._output.clear()
            self.socket.close()


class TcpListener:
    """A listening socket. Raises OSError from the constructor when it cannot be bound."""

    kind = ListenerKind.TCP_MUX

    def __init__(self, listener: int, host: str, port: int, counters: Counter[str]) -> None:
        self.listener = listener
        self.counters = counters
        self.connections: dict[int, TcpConnection] = {}
        self._next = 1
        self.socket = _listening(host, port)
        self.port: int = self.socket.getsockname()[1]

    def fileno(self) -> int:
        return self.socket.fileno()

    def accept(self, now: float) -> TcpConnection | None:
        """The next waiting connection, None when there is none (or it was turned away and counted)."""
        try:
            accepted, remote = self.socket.accept()
        except OSError:
            return None
        if len(self.connections) >= MAX_CONNECTIONS:
            accepted.close()
            self.counters["connection_refused"] += 1
            return None
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        connection = TcpConnection(self, self._next, accepted, remote, now)
        self._next += 1
        self.connections[connection.number] = connection
        return connection

    def unproven(self, now: float) -> list[TcpConnection]:
        """Connections to close: no valid check in time, or too many that have none."""
        waiting = [connection for connection in self.connections.values() if not connection.proven]
        late = [connection for connection in waiting if now - connection.opened > PROVE_WITHIN]
        excess = len(waiting) - MAX_UNPROVEN
        return late if excess <= len(late) else waiting[:excess]

    def close(self) -> None:
        """Close the listening socket; connections are closed by the engine, which has to tell of them."""
        self.socket.close()


def _nobody(_connection: TcpConnection, _wanted: bool) -> None:
    return


def _listening(host: str, port: int) -> socket.socket:
    if host in {"", "::"} and socket.has_dualstack_ipv6():
        made = socket.create_server(("::", port), family=socket.AF_INET6, backlog=128, dualstack_ipv6=True)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family, backlog=128)
    made.setblocking(False)
    return made
