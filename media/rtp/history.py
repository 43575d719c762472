"""The packets a sender may be asked for again: bounded in number and in age."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Packet = TypeVar("Packet")


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStatistics:
    """`held` now; `found` and `missed` requests since the start."""

    held: int
    found: int
    missed: int


class PacketHistory(Generic[Packet]):
    """Packets of one stream by extended sequence number (see `ExtendedSequence`).

    Holds at most `max_packets`, none older than `max_age` seconds; the one added first goes first.
    """

    __slots__ = ("_found", "_highest", "_max_age", "_max_packets", "_missed", "_order", "_packets")

    def __init__(self, *, max_packets: int = 1_000, max_age: float = 1.0) -> None:
        self._max_packets = max_packets
        self._max_age = max_age
        self._packets: dict[int, tuple[float, Packet]] = {}
        self._order: deque[int] = deque()
        self._highest = 0
        self._found = 0
        self._missed = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, sequence: int, packet: Packet, now: float) -> None:
        """Keep a packet. A sequence number that is already held keeps its first packet."""
        packets, order = self._packets, self._order
        horizon = now - self._max_age
        while order and packets[order[0]][0] < horizon:
            del packets[order.popleft()]
        if sequence in packets:
            return
        if not packets or sequence > self._highest:
            self._highest = sequence
        packets[sequence] = (now, packet)
        order.append(sequence)
        if len(order) > self._max_packets:
            del packets[order.popleft()]

    def get(self, sequence: int, now: float) -> Packet | None:
        """The packet with this extended sequence number, or None when it is not held or too old."""
        entry = self._packets.get(sequence)
        if entry is None or entry[0] < now - self._max_age:
            self._missed += 1
            return None
        self._found += 1
        return entry[1]

    def find(self, sequence: int, now: float) -> Packet | None:
        """As `get`, by a 16-bit sequence number such as a NACK carries: the newest packet that has it."""
        return self.get(self._highest - ((self._highest - sequence) & 0xFFFF), now)

    def statistics(self) -> HistoryStatistics:
        """A snapshot."""
        return HistoryStatistics(held=len(self._packets), found=self._found, missed=self._missed)
