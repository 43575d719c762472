"""Addresses between the messages' text form and what a dual-stack socket takes and gives.

An IPv4 peer of an IPv6 wildcard socket appears as ::ffff:a.b.c.d; in messages it is plain IPv4. A
link-local address keeps its interface as `%number`.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from media.relay.messages import Address

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_INET: Final = struct.Struct("=H2s4s8x")  # struct sockaddr_in; the port is in network order
_INET6: Final = struct.Struct("=H2s4x16sI")  # struct sockaddr_in6 without flow information
_MAPPED: Final = "::ffff:"
_MAPPED_BYTES: Final = bytes(10) + b"\xff\xff"


def to_message(address: SocketAddress) -> Address:
    """The message form of an address that recvmsg or accept gave."""
    host = address[0]
    if len(address) == 4:
        if host.startswith(_MAPPED) and "." in host:
            host = host[len(_MAPPED) :]
        elif address[3]:
            host = f"{host.partition('%')[0]}%{address[3]}"
    return Address(host, address[1])


def to_socket(address: Address, family: int) -> SocketAddress:
    """The form that a socket of `family` takes. Raises ValueError when the text is no address of that
    family."""
    host, _, scope = address.host.partition("%")
    if not 0 < address.port < 65536:
        raise ValueError(f"port {address.port}")
    if ":" in host:
        if family != socket.AF_INET6:
            raise ValueError(f"{host} over an IPv4 socket")
        socket.inet_pton(socket.AF_INET6, host)
        return (host, address.port, 0, int(scope) if scope.isdigit() else 0)
    socket.inet_pton(socket.AF_INET, host)
    if family == socket.AF_INET6:
        return (_MAPPED + host, address.port, 0, 0)
    return (host, address.port)


def to_raw(address: SocketAddress) -> bytes:
    """The `sockaddr` of a socket address, as the kernel gives it with a datagram."""
    port = address[1].to_bytes(2, "big")
    if len(address) == 4:
        host = address[0].partition("%")[0]
        return _INET6.pack(socket.AF_INET6, port, socket.inet_pton(socket.AF_INET6, host), address[3])
    return _INET.pack(socket.AF_INET, port, socket.inet_pton(socket.AF_INET, address[0]))


def from_raw(raw: bytes) -> Address:
    """The message form of a `sockaddr` that the kernel gave."""
    if len(raw) == _INET6.size:
        _, port, host, scope = _INET6.unpack(raw)
        text = socket.inet_ntop(socket.AF_INET6, host)
        return to_message((text, int.from_bytes(port, "big"), 0, scope))
    _, port, host = _INET.unpack(raw)
    return Address(socket.inet_ntop(socket.AF_INET, host), int.from_bytes(port, "big"))


def packed(host: str, family: int) -> bytes:
    """The address as packet info holds it: 16 bytes (IPv4 mapped) for AF_INET6, else 4. Raises ValueError."""
    host = host.partition("%")[0]
    try:
        if family == socket.AF_INET6:
            if ":" in host:
                return socket.inet_pton(socket.AF_INET6, host)
            return _MAPPED_BYTES + socket.inet_pton(socket.AF_INET, host)
        return socket.inet_pton(socket.AF_INET, host)
    except OSError as error:
        raise ValueError(f"{host} is no address") from error


def unpacked(data: bytes) -> str:
    """The text form of packet-info bytes."""
    if len(data) == 4:
        return socket.inet_ntop(socket.AF_INET, data)
    if data[:12] == _MAPPED_BYTES:
        return socket.inet_ntop(socket.AF_INET, data[12:])
    return socket.inet_ntop(socket.AF_INET6, data)
