"""Messages of `media.protocol` as bytes on a stream: a 4-byte big-endian length, then msgpack."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from media.protocol import MAX_MESSAGE

T = TypeVar("T")
LENGTH = 4


class BrokenStreamError(Exception):
    """The other side sent what is not a message of this protocol; the connection must be closed."""


_encoder = msgspec.msgpack.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """One message with its length. Raises ValueError when it is larger than the protocol allows."""
    body = _encoder.encode(message)
    if len(body) > MAX_MESSAGE:
        raise ValueError(f"{type(message).__name__} of {len(body)} bytes")
    return len(body).to_bytes(LENGTH, "big") + body


class MessageStream(Generic[T]):
    """Cuts a byte stream into messages of one (union) type. Holds at most one incomplete message."""

    def __init__(self, kind: type[T]) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._waiting = bytearray()

    def feed(self, data: bytes) -> list[T]:
        """The messages that `data` completes. Raises BrokenStreamError; nothing may be fed afterwards."""
        self._waiting += data
        messages = []
        at = 0
        while len(self._waiting) - at >= LENGTH:
            size = int.from_bytes(self._waiting[at : at + LENGTH], "big")
            if size > MAX_MESSAGE:
                raise BrokenStreamError(f"a message of {size} bytes")
            if len(self._waiting) - at - LENGTH < size:
                break
            body = bytes(self._waiting[at + LENGTH : at + LENGTH + size])
            try:
                messages.append(self._decoder.decode(body))
            except (msgspec.DecodeError, RecursionError) as error:
                raise BrokenStreamError(str(error)) from error
            at += LENGTH + size
        del self._waiting[:at]
        return messages
