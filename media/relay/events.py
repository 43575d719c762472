"""The engine's one way to speak: a bounded queue of events with a file descriptor that tells when it is not empty."""

from __future__ import annotations

import os
from collections import deque
from typing import Final

from media.relay.messages import Event, EventsDropped

MAX_EVENTS: Final = 10_000  # beyond it new events are lost and counted in the next EventsDropped


class EventQueue:
    """`put` by the engine, `take` by whoever steers it, when `fd` is readable."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._signalled = False
        self._closed = False

    def put(self, event: Event, *, soon: bool = True) -> None:
        """Queue an event; when the queue is full it is lost and counted.

        What need not be known `soon` waits for the next one that must, or for `signal`: waking the reader costs more
        than what most events bring.
        """
        if len(self._events) >= MAX_EVENTS:
            self._dropped += 1
            return
        self._events.append(event)
        if soon:
            self.signal()

    @property
    def waiting(self) -> bool:
        """Whether there are events that nobody was woken for."""
        return bool(self._events) and not self._signalled

    def signal(self) -> None:
        """Wake the reader, if it was not woken since it last took everything."""
        if not self._signalled and not self._closed:
            self._signalled = True
            os.eventfd_write(self.fd, 1)

    def take(self) -> list[Event]:
        """Everything queued, in order; the count of lost events comes last."""
        if self._signalled:
            self._signalled = False
            if not self._closed:
                os.eventfd_read(self.fd)
        events = list(self._events)
        self._events.clear()
        if self._dropped:
            events.append(EventsDropped(count=self._dropped))
            self._dropped = 0
        return events

    def close(self) -> None:
        """Close the descriptor; what is queued can still be taken."""
        self._closed = True
        os.close(self.fd)
