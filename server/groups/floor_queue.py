"""Who waits for the floor, in the order in which they get it: urgency, priority, arrival (TS 24.380 4.1.1.2). Pure.

Bounded by whoever puts: at most one entry for each member.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from server.groups.floor_events import Queued, Urgency
from server.model.ids import LegId


class Waiting(msgspec.Struct, kw_only=True):
    """`holding`: the key is held, so that no confirmation is needed."""

    leg: LegId
    urgency: Urgency
    priority: int
    arrived: float  # now, s
    holding: bool


class FloorQueue:
    """`least`: what every urgency counts as at least (set while the group is in an emergency)."""

    def __init__(self) -> None:
        self.least = Urgency.NORMAL
        self._entries: dict[LegId, Waiting] = {}  # in order of arrival
        self._told: dict[LegId, int] = {}  # positions

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Waiting]:
        """Next one first; may be changed while it is read."""
        return iter(
            sorted(  # stable: arrival decides among equals
                self._entries.values(), key=lambda entry: (-max(entry.urgency, self.least), -entry.priority)
            )
        )

    def get(self, leg: LegId) -> Waiting | None:
        return self._entries.get(leg)

    def put(self, entry: Waiting) -> None:
        """Add, or change without losing the place among equals; `moves` will tell the position (again)."""
        self._entries[entry.leg] = entry
        self._told.pop(entry.leg, None)

    def pop(self, leg: LegId) -> Waiting | None:
        self._told.pop(leg, None)
        return self._entries.pop(leg, None)

    def moves(self) -> Iterator[Queued]:
        """Positions that are not as they were told last; they count as told."""
        for position, entry in enumerate(self, start=1):
            if self._told.get(entry.leg) != position:
                self._told[entry.leg] = position
                yield Queued(leg=entry.leg, position=position, size=len(self._entries))
