"""The floors of this node with the groups that share each and the legs that are in it, found from either side. Pure.

A key press concerns the floors of one leg and the timer one floor: neither may cost as much as there are floors.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.groups.floor import Floor, FloorRules
from server.groups.ownership import Claim
from server.model.ids import FloorId, GroupId, LegId


class Row:
    """A floor of ours. `due`: when to look at it again, None = never; not later than its deadline."""

    def __init__(self, claim: Claim, rules: FloorRules, groups: tuple[GroupId, ...]) -> None:
        self.claim = claim
        self.floor = Floor(claim.floor, rules, sequence=claim.sequence)
        self.groups = groups
        self.legs: dict[LegId, None] = {}
        self.due: float | None = None

    @property
    def id(self) -> FloorId:
        return self.floor.id


class Rows:
    """Iterating gives a copy: what is found may be changed meanwhile."""

    def __init__(self) -> None:
        self._rows: dict[FloorId, Row] = {}
        self._of_leg: dict[LegId, dict[FloorId, Row]] = {}

    def __iter__(self) -> Iterator[Row]:
        return iter(list(self._rows.values()))

    def __contains__(self, floor: FloorId) -> bool:
        return floor in self._rows

    def __getitem__(self, floor: FloorId) -> Row:
        return self._rows[floor]

    def get(self, floor: FloorId) -> Row | None:
        return self._rows.get(floor)

    def add(self, row: Row) -> None:
        self._rows[row.id] = row

    def remove(self, row: Row) -> None:
        for leg in tuple(row.legs):
            self.leave(row, leg)
        del self._rows[row.id]

    # ------------------------------------------------------------------ legs

    def enter(self, row: Row, leg: LegId) -> bool:
        """False = it was there."""
        first = leg not in row.legs
        row.legs[leg] = None
        self._of_leg.setdefault(leg, {})[row.id] = row
        return first

    def leave(self, row: Row, leg: LegId) -> None:
        row.legs.pop(leg, None)
        floors = self._of_leg.get(leg, {})
        floors.pop(row.id, None)
        if not floors:
            self._of_leg.pop(leg, None)

    def of_leg(self, leg: LegId) -> list[Row]:
        return list(self._of_leg.get(leg, {}).values())

    # ------------------------------------------------------------------ time

    @property
    def next_due(self) -> float | None:
        """When one of them is due; None = none ever is."""
        return min((row.due for row in self._rows.values() if row.due is not None), default=None)
