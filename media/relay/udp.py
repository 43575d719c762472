"""One UDP socket of the relay: drained in a loop on readiness, sent to in trains.

The wildcard socket is dual-stack with packet info, so that a reply leaves from the address that was asked. Arrival
times are the kernel's: under load a packet waits in the socket, and the time of reading would look like congestion to
the publisher. A train of equal datagrams for one peer is one `sendmsg` with the segment size as ancillary data
(UDP_SEGMENT); where the kernel or a device refuses that, datagrams leave one by one.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from media.relay.addresses import SocketAddress, packed, to_message, unpacked
from media.relay.messages import ListenerKind
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
_TRUNCATED: Final = int(socket.MSG_TRUNC)  # the enum's own operators are slow
_NO_GSO: Final = frozenset({errno.EIO, errno.EINVAL, errno.ENOTSUP, errno.ENOPROTOOPT})

Ancillary = tuple[int, int, bytes]
Receive = Callable[["UdpSocket", int, SocketAddress, bytes, float], None]


class UdpSocket:
    """A bound UDP socket. Raises OSError from the constructor when it cannot be bound.

    `host` "" = every address of both families (IPv4 only where the host has no IPv6).
    """

    def __init__(
        self, listener: int, kind: ListenerKind, host: str, port: int, counters: Counter[str]
    ) -> None:
        self.listener = listener
        self.kind = kind
        self._counters = counters
        self.socket, self._fixed_local = _bind(host, port, kind is not ListenerKind.UDP_PLAIN)
        self._pinned = not self._fixed_local and kind is not ListenerKind.UDP_PLAIN
        self.family: int = self.socket.family
        self.port: int = self.socket.getsockname()[1]
        self.received = PacketBuffer(MAX_DATAGRAM)
        self.segmentation = True
        self.backlog = 0
        self.congested = False  # a full socket drops and counts; only TCP holds back
        self._segments: dict[int, Ancillary] = {}

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()

    def drain(self, limit: int, receive: Receive) -> None:
        """Hand up to `limit` waiting datagrams to `receive(self, size, remote, local, arrival)`.

        The bytes lie in `self.received` only during the call. `local` is packed packet info, b"" when the socket
        is bound to one address. `arrival` is monotonic.
        """
        now = time.monotonic()
        shift = now - time.time()
        buffers = [self.received.view]
        recvmsg_into = self.socket.recvmsg_into
        unpack = _TIMESPEC.unpack
        for _ in range(limit):
            try:
                size, ancillary, flags, remote = recvmsg_into(buffers, _ANCILLARY_SIZE)
            except BlockingIOError:
                return
            except OSError:
                self._counters["receive_error"] += 1
                return
            if flags & _TRUNCATED:
                self._counters["datagram_too_long"] += 1
                continue
            local = b""
            arrival = now
            for level, kind, data in ancillary:
                if kind == _SO_TIMESTAMPNS and level == _SOL_SOCKET:
                    seconds, nanoseconds = unpack(data)
                    stamped = seconds + nanoseconds * 1e-9 + shift
                    if -1.0 < stamped - now < 1.0:
                        arrival = stamped
                elif kind == _IPV6_PKTINFO and level == _SOL_IPV6:
                    local = data[:16]
                elif kind == _IP_PKTINFO and level == _SOL_IP:
                    local = data[8:12]
            receive(self, size, remote, local, arrival)

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

    def reply_info(self, local_host: str) -> tuple[bytes, list[Ancillary]]:
        """(what `drain` gives as `local`, ancillary data to send from it) for a local address.

        Raises ValueError when it is no address.
        """
        if not self._pinned:
            return b"", []
        local = packed(local_host, self.family)
        if self.family == socket.AF_INET6:
            return local, [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, local + _INTERFACE.pack(0))]
        return local, [(socket.IPPROTO_IP, _IP_PKTINFO, _INTERFACE.pack(0) + local + bytes(4))]

    def send(self, data: memoryview | bytes, remote: SocketAddress, info: list[Ancillary]) -> bool:
        """One datagram; False when it was not sent (counted)."""
        try:
            self.socket.sendmsg((data,), info, 0, remote)
        except BlockingIOError:
            self._counters["send_blocked"] += 1
            return False
        except OSError:
            self._counters["send_error"] += 1
            return False
        return True

    def send_train(
        self, data: memoryview, segment: int, remote: SocketAddress, info: list[Ancillary]
    ) -> None:
        """Several datagrams of `segment` bytes each, the last one possibly shorter, that lie behind each other."""
        if len(data) <= segment:
            self.send(data, remote, info)
            return
        if self.segmentation:
            cached = self._segments.get(segment)
            if cached is None:
                cached = self._segments[segment] = (_SOL_UDP, _UDP_SEGMENT, _SEGMENT.pack(segment))
            try:
                self.socket.sendmsg((data,), [*info, cached], 0, remote)
                return
            except BlockingIOError:
                self._counters["send_blocked"] += 1
                return
            except OSError as error:
                if error.errno in _NO_GSO:
                    self.segmentation = False
                    self._counters["segmentation_refused"] += 1
                elif error.errno != errno.EMSGSIZE:
                    self._counters["send_error"] += 1
                    return
        for start in range(0, len(data), segment):
            self.send(data[start : start + segment], remote, info)


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
