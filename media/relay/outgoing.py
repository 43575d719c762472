"""The memory that packets leave from: written, protected and handed to the kernel in place, for many viewers at once.

Trains lie behind each other until the buffer is full or the turn is over; then every socket that has some sends them.
Nothing waits here across two turns of the loop.
"""

from __future__ import annotations

from typing import Final, Protocol

from media.relay.mmsg import address_of
from media.relay.srtp import PacketBuffer

SIZE: Final = 160_000  # bytes: two of the longest trains, and small enough for a processor's cache


class Sender(Protocol):
    """A socket with trains in the buffer."""

    def flush(self) -> None: ...


class SendBuffer(PacketBuffer):
    """`at`: where the next train may be written, after `room` was asked for it."""

    __slots__ = ("address", "at", "size", "waiting")

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.size = size
        self.address = address_of(self.data)
        self.at = 0
        self.waiting: list[Sender] = []  # sockets that have trains here

    def room(self, total: int) -> int:
        """Where a train of so many bytes, at most `size`, may be written; what lies there already may leave first."""
        if self.at + total > self.size:
            self.flush()
        return self.at

    def flush(self) -> None:
        """Everything leaves now."""
        waiting, self.waiting = self.waiting, []
        for sender in waiting:
            sender.flush()
        self.at = 0
