"""Who owns a floor: the one place where another node could be asked. Pure.

Alone on a machine this server owns every floor it makes. With several nodes a lease stands behind the same two methods
(design.md section 6): whoever cannot claim a floor must not arbitrate it, and a fence number that is larger than all
before it fences a revived old owner out.
"""

from __future__ import annotations

import itertools
from typing import Final, Protocol

import msgspec

from server.model.ids import FloorId

FENCE: Final = 1 << 20  # floor sequence numbers that one claim has room for


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """`fence`: larger than that of every claim of this floor before it."""

    floor: FloorId
    fence: int

    @property
    def sequence(self) -> int:
        """Where the floor's sequence numbers begin, so that what a former owner says is older."""
        return self.fence * FENCE


class Ownership(Protocol):
    """Claims are given back by `release`; one that is lost before is the holder's to notice."""

    def claim(self, floor: FloorId) -> Claim | None:
        """None = somebody else owns it."""

    def release(self, claim: Claim) -> None: ...


class Alone:
    """The only node there is."""

    def __init__(self) -> None:
        self._fences = itertools.count(1)

    def claim(self, floor: FloorId) -> Claim | None:
        return Claim(floor=floor, fence=next(self._fences))

    def release(self, claim: Claim) -> None:
        return None
