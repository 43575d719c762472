"""The relay engine in Rust, in a thread of its own: `media/native`, whose boundary is described in its CONTRACT.md.

Importing this module raises ImportError where the engine was not built, or was built for another contract.
"""

from __future__ import annotations

from typing import Final

import msgspec

from media import _native
from media.relay.messages import Ack, EngineStatistics, Event, Transaction

CONTRACT: Final = 1

if _native.CONTRACT != CONTRACT:
    raise ImportError(f"media._native has contract {_native.CONTRACT}, not {CONTRACT}")


class NativeEngine:
    """A RelayEngine; see `media.relay.engine`. Raises OSError when the system gives it no thread or descriptor."""

    def __init__(self) -> None:
        self._native = _native.Engine()
        self._fd = self._native.event_fd()
        self._closed = False
        self._encoder = msgspec.msgpack.Encoder()
        self._acks = msgspec.msgpack.Decoder(Ack)
        self._events = msgspec.msgpack.Decoder(list[Event])
        self._statistics = msgspec.msgpack.Decoder(EngineStatistics)

    def start(self) -> None:
        """Begin to read. Listeners may be added before or after."""
        self._native.start()

    def apply(self, transaction: Transaction) -> Ack:
        """See `RelayEngine.apply`."""
        if self._closed:
            return Ack(number=transaction.number, error="the engine is closed", command=0)
        return self._acks.decode(self._native.apply(self._encoder.encode(transaction)))

    def event_fd(self) -> int:
        """Readable while events wait."""
        return self._fd

    def events(self) -> list[Event]:
        """Take the waiting events."""
        return [] if self._closed else self._events.decode(self._native.events())

    def statistics(self) -> EngineStatistics:
        """A snapshot, empty once the engine is closed."""
        if self._closed:
            return EngineStatistics(transports=(), sources=(), sinks=(), counters={})
        return self._statistics.decode(self._native.statistics())

    def close(self) -> None:
        """Close every socket and end the thread. Nothing is sent afterwards."""
        if not self._closed:
            self._closed = True
            self._native.close()
