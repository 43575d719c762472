"""A NAT on loopback: clients talk to one address, the server to another, and the way between them can fail.

async with UdpRelay("127.0.0.2", server_udp_port) as nat:  # the server offers 127.0.0.2 to its clients
    nat.rebind()      # every client comes from a new port from now on
    nat.cut = True    # nothing passes
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import cast

Address = tuple[str, int]


class UdpRelay:
    """Forwards from (`host`, `port`) to (127.0.0.1, `port`); each client has an outer socket of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.cut = False
        self.rebound = 0
        self._inner_address = (host, port)
        self._server = ("127.0.0.1", port)
        self._inner: asyncio.DatagramTransport | None = None
        self._outer: dict[Address, _Outer] = {}

    async def __aenter__(self) -> UdpRelay:
        loop = asyncio.get_running_loop()
        self._inner, _ = await loop.create_datagram_endpoint(
            lambda: _Inner(self), local_addr=self._inner_address
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._inner is not None
        self._inner.close()
        self.rebind()

    def rebind(self) -> None:
        """Forget every outer socket: the next packet of a client opens a new one, from a new port."""
        for outer in self._outer.values():
            outer.close()
        self.rebound += len(self._outer)
        self._outer.clear()

    def from_client(self, data: bytes, client: Address) -> None:
        if self.cut:
            return
        outer = self._outer.get(client)
        if outer is None:
            outer = self._outer[client] = _Outer(self, client)
        outer.send(data, self._server)

    def to_client(self, data: bytes, client: Address) -> None:
        if not self.cut and self._inner is not None and not self._inner.is_closing():
            self._inner.sendto(data, client)


class _Inner(asyncio.DatagramProtocol):
    def __init__(self, relay: UdpRelay) -> None:
        self._relay = relay

    def datagram_received(self, data: bytes, address: Address) -> None:
        self._relay.from_client(data, address)


class _Outer(asyncio.DatagramProtocol):
    """One client's socket towards the server. What comes before it is open is kept."""

    def __init__(self, relay: UdpRelay, client: Address) -> None:
        self._relay = relay
        self._client = client
        self._early: list[tuple[bytes, Address]] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._closed = False
        self._opening = asyncio.ensure_future(
            asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        if self._closed:
            transport.close()
        for data, server in self._early:
            self._transport.sendto(data, server)
        self._early.clear()

    def datagram_received(self, data: bytes, address: Address) -> None:
        if not self._closed:
            self._relay.to_client(data, self._client)

    def send(self, data: bytes, server: Address) -> None:
        if self._transport is None:
            self._early.append((data, server))
        else:
            self._transport.sendto(data, server)

    def close(self) -> None:
        self._closed = True
        if self._transport is not None:
            self._transport.close()
