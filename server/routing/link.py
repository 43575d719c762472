"""One media process as routing needs it: its listeners, its addresses, and requests that fail in our own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, Protocol

import structlog

from media.protocol import Apply, Done, Notice, Ready, Request
from media.relay.messages import AddListener, Command, ListenerKind
from media.sdp.candidates import Candidate, candidates_for
from server.model.errors import FengsuiError, Overloaded, Unavailable

UDP_LISTENER: Final = 1
TCP_LISTENER: Final = 2

log = structlog.get_logger("server.routing")


class MediaLink(Protocol):
    """`media.client.MediaClient`, as far as it is used here."""

    ready: Ready
    gone: asyncio.Event

    async def request(self, request: Request) -> Done: ...

    def notices(self) -> AsyncIterator[Notice]: ...


class PortUnavailable(Unavailable):
    """The media process could not bind its ports."""


class Link:
    """A media process that is ready, with its ports bound."""

    def __init__(self, client: MediaLink, udp_port: int, tcp_port: int) -> None:
        self.client = client
        self.udp_port = udp_port
        self.tcp_port = tcp_port

    @classmethod
    async def open(cls, client: MediaLink, host: str, udp_port: int, tcp_port: int) -> Link:
        """Bind the ports (0 = any). Raises PortUnavailable."""
        done = await client.request(
            Apply(
                number=0,
                commands=(
                    AddListener(listener=UDP_LISTENER, kind=ListenerKind.UDP_MUX, host=host, port=udp_port),
                    AddListener(listener=TCP_LISTENER, kind=ListenerKind.TCP_MUX, host=host, port=tcp_port),
                ),
            )
        )
        if done.error:
            raise PortUnavailable(f"media ports {udp_port}/udp and {tcp_port}/tcp: {done.error}")
        return cls(client, *done.ports)

    @property
    def fingerprint(self) -> str:
        return self.client.ready.fingerprint

    def candidates(self, hosts: Iterable[str]) -> tuple[Candidate, ...]:
        return candidates_for(hosts, self.udp_port, self.tcp_port)

    async def apply(self, commands: Sequence[Command]) -> None:
        """One transaction; nothing is sent for none. Raises as `ask`."""
        if commands:
            await self.ask(Apply(number=0, commands=tuple(commands)))

    async def ask(self, request: Request) -> None:
        """Raises MediaAway, Overloaded, Unavailable (refused: a fault of ours, logged)."""
        done = await self.client.request(request)
        if done.error:
            raise _refused(request, done.error)


def _refused(request: Request, error: str) -> FengsuiError:
    if error == "too_many_transports":
        return Overloaded("the media process has all the connections it takes", retry_after=5.0)
    log.error("the media process refused a request", request=type(request).__name__, error=error)
    return Unavailable(f"the media process refused {type(request).__name__}: {error}")
