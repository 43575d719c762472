"""One UDP socket of the relay: drained in a loop on readiness, sent to in trains, many datagrams a system call.

The wildcard socket is dual-stack with packet info, so that a reply leaves from the address that was asked. Arrival
times are the kernel's: under load a packet waits in the socket, and the time of reading would look like congestion to
the publisher. A train of equal datagrams for one peer is one message with the segment size as ancillary data
(UDP_SEGMENT); the trains of a turn leave in as few `sendmmsg` as they fit in (`media.relay.mmsg`). Where the kernel or
a device refuses segmentation, datagrams leave one by one; where it has no such calls, so do trains.
"""

from __future__ import annotations

import errno
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from media.relay.addresses import SocketAddress, packed, to_message, to_raw, unpacked
from media.relay.messages import ListenerKind
from media.relay.mmsg import SENT_AT_ONCE, Ancillary, ReceiveBatch, SendBatch, address_of, control_messages
from media.relay.outgoing import SendBuffer
from media.relay.srtp import PacketBuffer

SOCKET_BUFFER: Final = 4 * 1024 * 1024  # bytes; the kernel may grant less
MAX_SEGMENTS: Final = 64  # UDP_MAX_SEGMENTS
MAX_TRAIN: Final = 65_000  # bytes
MAX_DATAGRAM: Final = 2048  # longer ones are dropped; WebRTC peers stay below 1,500

_SO_TIMESTAMPNS: Final = 35
_IP_PKTINFO: Final = 8
_IPV6_PKTINFO: Final = socket.IPV6_PKTINFO
_SOL_SOCKET: Final = socket.SOL_SOCKET
_SOL_IP: Final = int(socket.IPPROTO_IP)
_SOL_IPV6: Final = int(socket.IPPROTO_IPV6)
_SOL_UDP: Final = 17
_UDP_SEGMENT: Final = 103
_TIMESPEC: Final = struct.Struct("=qq")
_SEGMENT: Final = struct.Struct("=H")
_INTERFACE: Final = struct.Struct("=I")
_ANCILLARY_SIZE: Final = 128
_MAX_CONTROLS: Final = 4096  # segment sizes whose ancillary data is kept
_TRUNCATED: Final = int(socket.MSG_TRUNC)  # the enum's own operators are slow
_NO_GSO: Final = frozenset({errno.EIO, errno.EINVAL, errno.ENOTSUP, errno.ENOPROTOOPT})
# What the kernel tells of a datagram at the wildcard socket, read in one go: arrival time, then packet info. Level and
# kind of each are one number here.
_TIMED_INFO: Final = struct.Struct("=8xQqq8xQ16s")
_TIMED_INFO_SIZE: Final = 72
_PAIR: Final = struct.Struct("=ii")
_TIMED: Final = int.from_bytes(_PAIR.pack(_SOL_SOCKET, _SO_TIMESTAMPNS), sys.byteorder)
_INFORMED: Final = int.from_bytes(_PAIR.pack(_SOL_IPV6, _IPV6_PKTINFO), sys.byteorder)

Receive = Callable[["UdpSocket", PacketBuffer, int, bytes, bytes, float], None]


class Destination:
    """A peer's address and what goes with each datagram to it, for `sendmsg` and, as memory, for `sendmmsg`."""

    __slots__ = ("controls", "info", "name", "name_address", "raw", "remote")

    def __init__(self, remote: SocketAddress, info: list[Ancillary], controls: Controls) -> None:
        self.remote = remote
        self.info = info
        self.raw = to_raw(remote)
        self.name = bytearray(self.raw)
        self.name_address = address_of(self.name)
        self.controls = controls


class Controls:
    """Ancillary data by segment size (0 = a single datagram) for all that leaves from one local address."""

    __slots__ = ("_info", "kept")

    def __init__(self, info: list[Ancillary]) -> None:
        self._info = info
        self.kept: dict[int, tuple[int, int, bytearray]] = {}

    def get(self, segment: int) -> tuple[int, int, bytearray]:
        """(address, size, the memory itself, to be held while it is used)."""
        found = self.kept.get(segment)
        if found is None:
            if len(self.kept) >= _MAX_CONTROLS:
                self.kept.clear()
            memory = control_messages([*self._info, _segmented(segment)] if segment else self._info)
            found = self.kept[segment] = (address_of(memory) if memory else 0, len(memory), memory)
        return found


NOWHERE: Final = Destination(("0.0.0.0", 0), [], Controls([]))  # noqa: S104 - what a TCP connection needs to know
# To, start, size, segment or 0 = one datagram, its ancillary data, which must live until it has left.
Queued = tuple[Destination, int, int, int, bytearray]


class UdpSocket:
    """A bound UDP socket. Raises OSError from the constructor when it cannot be bound.

    `host` "" = every address of both families (IPv4 only where the host has no IPv6). `inbox` is the memory for what
    arrives, which sockets share, None = one datagram a call, in both directions.
    """

    def __init__(
        self,
        listener: int,
        kind: ListenerKind,
        host: str,
        port: int,
        counters: Counter[str],
        out: SendBuffer,
        inbox: ReceiveBatch | None = None,
    ) -> None:
        self.listener = listener
        self.kind = kind
        self._counters = counters
        self.socket, self._fixed_local = _bind(host, port, kind is not ListenerKind.UDP_PLAIN)
        self._pinned = not self._fixed_local and kind is not ListenerKind.UDP_PLAIN
        self.family: int = self.socket.family
        self.port: int = self.socket.getsockname()[1]
        self.segmentation = True
        self.backlog = 0
        self.congested = False  # a full socket drops and counts; only TCP holds back
        self._out = out
        self._inbox = inbox
        self._outbox = SendBatch() if inbox is not None else None
        self._received = PacketBuffer(MAX_DATAGRAM) if inbox is None else inbox.buffers[0]
        self._queue: list[Queued] = []
        self._controls: dict[bytes, Controls] = {}

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.flush()
        self.socket.close()

    # ------------------------------------------------------------------ arriving

    def drain(self, limit: int, receive: Receive) -> bool:
        """Hand up to `limit` waiting datagrams to `receive(self, buffer, size, remote, local, arrival)`; whether more
        may wait.

        The bytes lie in `buffer` only during the call. `remote` is the sender's sockaddr; `local` is packed packet
        info, b"" when the socket is bound to one address. `arrival` is monotonic.
        """
        if self._inbox is None:
            return self._drain_singly(limit, receive)
        inbox = self._inbox
        descriptor = self.socket.fileno()
        while limit > 0:
            now = time.monotonic()
            shift = now - time.time()
            try:
                count = inbox.receive(descriptor)
            except BlockingIOError:
                return False
            except OSError:
                self._counters["receive_error"] += 1
                return False
            filled = inbox.filled(count)
            for index in range(count):
                name, control, flags, size = filled[4 * index : 4 * index + 4]
                if flags & _TRUNCATED:
                    self._counters["datagram_too_long"] += 1
                    continue
                timed, seconds, nanoseconds, informed, local = _TIMED_INFO.unpack_from(
                    inbox.control, inbox.stride * index
                )
                arrival = seconds + nanoseconds * 1e-9 + shift
                if (
                    control != _TIMED_INFO_SIZE
                    or timed != _TIMED
                    or informed != _INFORMED
                    or not -1.0 < arrival - now < 1.0
                ):
                    local, arrival = _read(inbox.ancillary(index, control), now, shift)
                receive(self, inbox.buffers[index], size, inbox.name(index, name), local, arrival)
            if count < len(inbox.buffers):
                return False
            limit -= count
        return True

    def _drain_singly(self, limit: int, receive: Receive) -> bool:
        now = time.monotonic()
        shift = now - time.time()
        buffer = self._received
        for _ in range(limit):
            try:
                size, ancillary, flags, remote = self.socket.recvmsg_into([buffer.view], _ANCILLARY_SIZE)
            except BlockingIOError:
                return False
            except OSError:
                self._counters["receive_error"] += 1
                return False
            if flags & _TRUNCATED:
                self._counters["datagram_too_long"] += 1
                continue
            local, arrival = _read(ancillary, now, shift)
            receive(self, buffer, size, to_raw(remote), local, arrival)
        return True

    def local_host(self, local: bytes) -> str:
        """The text form of a `local` that `drain` gave."""
        return unpacked(local) if local else self._fixed_local

    def local_towards(self, remote: SocketAddress) -> str:
        """The local address from which the kernel would send to `remote`."""
        if self._fixed_local:
            return self._fixed_local
        with socket.socket(self.family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(remote)
            except OSError:
                return "::" if self.family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - unreachable for now
            return to_message(probe.getsockname()).host

    def destination(self, remote: SocketAddress, local_host: str) -> tuple[bytes, Destination]:
        """(what `drain` gives as `local`, where to send to) for a peer and the local address it knows us by.

        Raises ValueError when that is no address.
        """
        local, info = b"", []
        if self._pinned:
            local = packed(local_host, self.family)
            if self.family == socket.AF_INET6:
                info = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local + _INTERFACE.pack(0))]
            else:
                info = [(socket.IPPROTO_IP, _IP_PKTINFO, _INTERFACE.pack(0) + local + bytes(4))]
        controls = self._controls.get(local)
        if controls is None:
            controls = self._controls[local] = Controls(info)
        return local, Destination(remote, info, controls)

    # ------------------------------------------------------------------ leaving

    def send(self, data: memoryview | bytes, to: Destination) -> bool:
        """One datagram, at once; False when it was not sent (counted)."""
        try:
            self.socket.sendmsg((data,), to.info, 0, to.remote)
        except OSError as error:
            self._count(error)
            return False
        return True

    def send_train(self, out: SendBuffer, start: int, total: int, segment: int, to: Destination) -> None:
        """Datagrams of `segment` bytes each, the last one possibly shorter, that lie in `out` from `start` on.

        They leave when the buffer is flushed; until then their memory is theirs.
        """
        if self._outbox is None:
            self._send_singly(out.view[start : start + total], segment, to)
            return
        queue = self._queue
        if not queue:
            out.waiting.append(self)
        if total <= segment:
            segment = 0
        control, size, memory = to.controls.kept.get(segment) or to.controls.get(segment)
        self._outbox.put(len(queue), out.address + start, total, to.name_address, len(to.name), control, size)
        queue.append((to, start, total, segment, memory))
        out.at = start + total
        if len(queue) == SENT_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Send what `send_train` left in the buffer. What the socket does not take is lost and counted."""
        queue, self._queue = self._queue, []
        outbox = self._outbox
        done = 0
        while done < len(queue) and outbox is not None and self.segmentation:
            done += self._send_together(outbox, queue, done)
        for to, start, total, segment, _ in queue[done:]:
            self._send_singly(self._out.view[start : start + total], segment or total, to)

    def _send_together(self, outbox: SendBatch, queue: list[Queued], first: int) -> int:
        """One system call for what waits from `first` on, as much as the kernel takes; how many are dealt with."""
        try:
            return outbox.send(self.socket.fileno(), first, len(queue) - first)
        except OSError as error:
            to, start, total, segment, _ = queue[first]
            if segment and self._unsegmented(error):
                self._send_apart(self._out.view[start : start + total], segment, to)
            else:
                self._count(error)
            return 1

    def _send_singly(self, data: memoryview, segment: int, to: Destination) -> None:
        """A train in one `sendmsg`, or apart where the kernel cannot."""
        if len(data) <= segment:
            self.send(data, to)
            return
        if self.segmentation:
            try:
                self.socket.sendmsg((data,), [*to.info, _segmented(segment)], 0, to.remote)
                return
            except OSError as error:
                if not self._unsegmented(error):
                    self._count(error)
                    return
        self._send_apart(data, segment, to)

    def _send_apart(self, data: memoryview, segment: int, to: Destination) -> None:
        for start in range(0, len(data), segment):
            self.send(data[start : start + segment], to)

    def _unsegmented(self, error: OSError) -> bool:
        """Whether a train that was refused with this error may leave apart."""
        if error.errno in _NO_GSO:
            self.segmentation = False
            self._counters["segmentation_refused"] += 1
            return True
        return error.errno == errno.EMSGSIZE

    def _count(self, error: OSError) -> None:
        self._counters["send_blocked" if isinstance(error, BlockingIOError) else "send_error"] += 1


def _segmented(segment: int) -> Ancillary:
    return (_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment))


def _read(ancillary: list[Ancillary], now: float, shift: float) -> tuple[bytes, float]:
    """(packed packet info or b"", monotonic arrival) from the control messages of a datagram."""
    local, arrival = b"", now
    for level, kind, data in ancillary:
        if kind == _SO_TIMESTAMPNS and level == _SOL_SOCKET:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            stamped = seconds + nanoseconds * 1e-9 + shift
            if -1.0 < stamped - now < 1.0:
                arrival = stamped
        elif kind == _IPV6_PKTINFO and level == _SOL_IPV6:
            local = data[:16]
        elif kind == _IP_PKTINFO and level == _SOL_IP:
            local = data[8:12]
    return local, arrival


def _bind(host: str, port: int, informed: bool) -> tuple[socket.socket, str]:
    """A non-blocking socket and its one local address ("" when it has several). `informed`: with packet info."""
    if host in {"", "::"} and socket.has_ipv6:
        try:
            return _wildcard(socket.AF_INET6, "::", port, informed), ""
        except OSError as error:
            if error.errno not in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}:
                raise
    if host in {"", "0.0.0.0"}:  # noqa: S104 - every address is what was asked for
        return _wildcard(socket.AF_INET, "0.0.0.0", port, informed), ""  # noqa: S104
    bound = _configured(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound, host


def _wildcard(family: socket.AddressFamily, host: str, port: int, informed: bool) -> socket.socket:
    bound = _configured(family)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, informed)
        elif informed:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


def _configured(family: socket.AddressFamily) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
    made.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    return made
