"""Holds of evidence as every console sees them: what was held or let go of since the start, the newest of it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from server.model.ids import SpurtId
from server.recordings.spurts import Spurt
from server.signalling.talk import Hold
from server.state import EntityStore

MOST: Final = 200  # older ones are on the screens that were there, and in what is searched


class HoldsShown:
    """Give `changed` to `Evidence`."""

    def __init__(self, store: EntityStore) -> None:
        self._store = store
        self._shown: OrderedDict[SpurtId, None] = OrderedDict()

    def changed(self, spurt: Spurt) -> None:
        """A recording is held, or no longer."""
        self._store.put(Hold(id=spurt.id, hold=spurt.hold, held_by=spurt.held_by, held_why=spurt.held_why))
        self._shown[spurt.id] = None
        self._shown.move_to_end(spurt.id)
        while len(self._shown) > MOST:
            self._store.remove("hold", self._shown.popitem(last=False)[0])
