"""What a bus is, and the envelope that every message travels in.

Two ways to send. `publish` reaches whoever listens now; a listener that does not keep up loses the oldest (presence,
levels: the next one makes it good). `append` is kept: a reader that was away goes on where it was, and is told when it
was away for longer than is kept.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from server.model.errors import FengsuiError, Unavailable

VERSION: Final = 1
MAX_MESSAGE: Final = 256 * 1024  # bytes of an envelope
QUEUE: Final = 1000  # messages a listener may be behind; then the oldest is dropped and counted
KEPT: Final = 10_000  # messages of a kept topic

Body = TypeVar("Body", bound=msgspec.Struct)
BodyOut = TypeVar("BodyOut", bound=msgspec.Struct, covariant=True)
Position = str

START: Final[Position] = ""  # the oldest message that is kept
END: Final[Position] = "$"  # only what comes from now on


class BusAway(Unavailable):
    """The bus does not answer; this node goes on alone."""

    code = "bus_away"


class Gap(FengsuiError):
    """Messages after the reader's position are gone: read the state anew and follow from END."""

    code = "gap"


class BadEnvelope(ValueError):
    """Not a message of ours, of a version we do not speak, or not what its topic says."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, array_like=True, forbid_unknown_fields=True):
    """`system`: the nodes that belong together share it. `sender`: a node."""

    version: int
    system: str
    sender: str
    topic: str
    body: msgspec.Raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic(Generic[Body]):
    """A name and the type of its messages."""

    name: str
    model: type[Body]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[BodyOut]):
    """A message as it arrived; `position` "" when it was published and not kept."""

    body: BodyOut
    sender: str
    position: Position = ""


class Bus(Protocol):
    """Messages arrive at every listener, the sender's own included, in the order of each sender."""

    async def publish(self, topic: Topic[Body], body: Body) -> None:
        """To whoever listens now. Raises BusAway, ValueError (too large)."""

    async def append(self, topic: Topic[Body], body: Body) -> Position:
        """Keep it, and to whoever follows. Raises BusAway, ValueError (too large)."""

    def listen(self, topic: Topic[Body]) -> AbstractAsyncContextManager[AsyncIterator[Event[Body]]]:
        """What is published, from the moment the block is entered."""

    def follow(
        self, topic: Topic[Body], after: Position
    ) -> AbstractAsyncContextManager[AsyncIterator[Event[Body]]]:
        """What is appended after a position. Iterating raises Gap."""

    def statistics(self) -> dict[str, object]: ...


class EnvelopeCodec:
    """Makes and reads envelopes of one system. Pure."""

    def __init__(self, system: str, node: str) -> None:
        self._system = system
        self._node = node
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Envelope).decode

    def pack(self, topic: Topic[Body], body: Body) -> bytes:
        """Raises ValueError when it is too large."""
        data = self._encode(
            Envelope(
                version=VERSION,
                system=self._system,
                sender=self._node,
                topic=topic.name,
                body=msgspec.Raw(self._encode(body)),
            )
        )
        if len(data) > MAX_MESSAGE:
            raise ValueError(f"a message of {len(data)} bytes; {MAX_MESSAGE} are allowed")
        return data

    def unpack(self, topic: Topic[Body], data: object, position: Position = "") -> Event[Body]:
        """Raises BadEnvelope."""
        if not isinstance(data, bytes) or len(data) > MAX_MESSAGE:
            raise BadEnvelope("no bytes, or too many")
        try:
            envelope = self._decode(data)
            if envelope.version != VERSION:
                raise BadEnvelope(f"version {envelope.version}")
            if envelope.system != self._system or envelope.topic != topic.name:
                raise BadEnvelope("of another system or topic")
            body = msgspec.msgpack.decode(envelope.body, type=topic.model)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadEnvelope(str(error)) from error
        return Event(body=body, sender=envelope.sender, position=position)
