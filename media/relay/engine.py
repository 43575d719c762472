"""The seam between whoever steers media and the engine that moves it."""

from __future__ import annotations

from typing import Protocol

from media.relay.messages import Ack, EngineStatistics, Event, Transaction


class RelayEngine(Protocol):
    """One engine. Steered by transactions, speaks by events; see `media.relay.messages`.

    `apply` is synchronous and takes effect between two packets. Events wait in one bounded queue: `event_fd()` is
    readable while the queue is not empty, `events()` empties it. `close()` releases every socket; nothing is sent
    afterwards. No method raises on bad peers' bytes; `apply` reports bad commands in its `Ack`.
    """

    def start(self) -> None: ...

    def apply(self, transaction: Transaction) -> Ack: ...

    def event_fd(self) -> int: ...

    def events(self) -> list[Event]: ...

    def statistics(self) -> EngineStatistics: ...

    def close(self) -> None: ...
