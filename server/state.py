"""The entities that clients see, with revisions: what is true now, and what changed since a client last heard.

Sans-IO. Writers `put` and `remove` as often as they like; the shell calls `publish` at most ten times a second, which
makes everything since the last call one revision. No history of values is kept: each entity remembers the revision that
changed it, so a client that is behind by any number of revisions gets one delta with each entity once, whole. Removed
entities are remembered for a bounded while; a client from before that needs a snapshot.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias, cast

import msgspec

from server.signalling.messages import (
    ENTITY_KINDS,
    Change,
    Delta,
    Device,
    Entity,
    Kind,
    Snapshot,
    Stream,
    Unit,
)
from server.signalling.talk import Alarm, CallBack, PrivateCall

Key: TypeAlias = tuple[str, str]  # kind, id

MAX_REMOVED: Final = 2000
MAX_CACHED: Final = 256

KIND_OF: Final = {entity: cast(Kind, kind) for kind, entity in ENTITY_KINDS.items()}
# Where a snapshot has each kind.
FIELD_OF: Final[dict[str, str]] = {
    kind: kind if kind == "health" else f"{kind}s" if kind != "patch" else "patches" for kind in ENTITY_KINDS
}


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Who sees what: entities of `kinds`; unless `everything`, only those of one device, one unit and its groups.

    Clients with equal views get the same bytes, which are made once.
    """

    kinds: frozenset[str]
    everything: bool
    unit: str = ""
    device: str = ""
    groups: frozenset[str] = frozenset()

    def shows(self, value: Entity) -> bool:
        kind = KIND_OF[type(value)]
        return kind in self.kinds and (self.everything or OWN[kind](self, value))


# What a client that sees only its own things may see of each kind.
OWN: Final[dict[str, Callable[[View, Entity], bool]]] = {
    "unit": lambda view, value: isinstance(value, Unit) and value.id == view.unit,
    "device": lambda view, value: isinstance(value, Device) and value.id == view.device,
    "stream": lambda view, value: isinstance(value, Stream) and value.device == view.device,
    "link": lambda view, value: False,
    "health": lambda view, value: False,
    "group": lambda view, value: value.id in view.groups,
    "floor": lambda view, value: value.id in view.groups,
    "patch": lambda view, value: False,
    "call": lambda view, value: (
        isinstance(value, PrivateCall)
        and bool(view.unit)
        and view.unit in (value.caller.unit, value.callee.unit)
    ),
    "callback": lambda view, value: (
        isinstance(value, CallBack) and bool(view.unit) and value.unit == view.unit
    ),
    "alarm": lambda view, value: isinstance(value, Alarm) and bool(view.unit) and value.unit == view.unit,
}


class _Entry(msgspec.Struct, kw_only=True):
    value: Entity
    changed: int  # revision
    gone: bool = False


class EntityStore:
    """`first` should be random (< 2**52), so that a revision of an earlier run of the server is not taken for ours."""

    def __init__(self, first: int, *, max_removed: int = MAX_REMOVED) -> None:
        self.rev = first
        self._first = first
        self._oldest = first  # deltas can be made for clients that know this revision
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # in order of change, newest last
        self._removed: deque[tuple[Key, int]] = deque()
        self._max_removed = max_removed
        self._dirty = False
        self._on_dirty: list[Callable[[], None]] = []
        self._cache: OrderedDict[tuple[View, int], tuple[int, bytes | None]] = OrderedDict()
        self._encoder = msgspec.json.Encoder()
        self._encoded = 0

    def on_dirty(self, listener: Callable[[], None]) -> None:
        """Called when something is different since `publish`, at once if it is already; must not block."""
        self._on_dirty.append(listener)
        if self._dirty:
            listener()

    @property
    def dirty(self) -> bool:
        return self._dirty

    # ------------------------------------------------------------------ writers

    def put(self, value: Entity) -> bool:
        """Set an entity. False = it was like this already."""
        key = (KIND_OF[type(value)], value.id)
        entry = self._entries.get(key)
        if entry is not None and not entry.gone and entry.value == value:
            return False
        self._set(key, value, gone=False)
        return True

    def remove(self, kind: str, entity: str) -> None:
        """Nothing happens when there is none."""
        key = (kind, entity)
        entry = self._entries.get(key)
        if entry is None or entry.gone:
            return
        self._set(key, entry.value, gone=True)
        self._removed.append((key, self.rev + 1))
        while len(self._removed) > self._max_removed:
            old, revision = self._removed.popleft()
            entry = self._entries.get(old)
            if entry is not None and entry.gone and entry.changed == revision:
                del self._entries[old]
                self._oldest = max(self._oldest, revision)

    def _set(self, key: Key, value: Entity, *, gone: bool) -> None:
        self._entries[key] = _Entry(value=value, changed=self.rev + 1, gone=gone)
        self._entries.move_to_end(key)
        if not self._dirty:
            self._dirty = True
            for listener in self._on_dirty:
                listener()

    # ------------------------------------------------------------------ readers

    def get(self, kind: str, entity: str) -> Entity | None:
        entry = self._entries.get((kind, entity))
        return None if entry is None or entry.gone else entry.value

    def all(self, kind: str) -> Iterator[Entity]:
        """In no order that means anything."""
        return (entry.value for key, entry in self._entries.items() if key[0] == kind and not entry.gone)

    # ------------------------------------------------------------------ the shell

    def publish(self) -> bool:
        """Make what changed a revision. False = nothing did."""
        if not self._dirty:
            return False
        self.rev += 1
        self._dirty = False
        return True

    def covers(self, since: int) -> bool:
        """Whether `delta(since)` can be made."""
        return self._oldest <= since <= self.rev

    def snapshot(self, view: View) -> bytes:
        """A Snapshot message of what the view shows, as of `rev` or a little newer (a delta repeats that)."""
        data = self._cached(view, -1, lambda: self._encode_snapshot(view))
        assert data is not None  # noqa: S101 - for the type checker
        return data

    def delta(self, view: View, since: int) -> bytes | None:
        """One Delta message that brings a client from `since` to `rev`; None = nothing that it sees changed.

        Raises ValueError when not `covers(since)`.
        """
        if not self.covers(since):
            raise ValueError(f"revision {since} is too old or not of this run")
        return self._cached(view, since, lambda: self._encode_delta(view, since))

    def _cached(self, view: View, since: int, make: Callable[[], bytes | None]) -> bytes | None:
        found = self._cache.get((view, since))
        if found is not None and found[0] == self.rev:
            return found[1]
        data = make()
        self._encoded += 1
        self._cache[view, since] = (self.rev, data)
        self._cache.move_to_end((view, since))
        while len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return data

    def _encode_snapshot(self, view: View) -> bytes:
        shown = [
            entry.value for entry in self._entries.values() if not entry.gone and view.shows(entry.value)
        ]
        shown.sort(key=lambda value: value.id)
        fields: dict[str, list[Any]] = {name: [] for name in FIELD_OF.values()}
        for value in shown:
            fields[FIELD_OF[KIND_OF[type(value)]]].append(value)
        return self._encoder.encode(
            Snapshot(rev=self.rev, **{name: tuple(values) for name, values in fields.items()})
        )

    def _encode_delta(self, view: View, since: int) -> bytes | None:
        changes = []
        for key, entry in reversed(self._entries.items()):
            if entry.changed <= since:
                break
            if entry.changed <= self.rev and view.shows(entry.value):
                changes.append(
                    Change(
                        kind=KIND_OF[type(entry.value)], id=key[1], value=None if entry.gone else entry.value
                    )
                )
        if not changes:
            return None
        changes.reverse()
        return self._encoder.encode(Delta(rev=self.rev, changes=tuple(changes)))

    def statistics(self) -> dict[str, object]:
        return {
            "entities": len(self._entries),
            "revisions_total": self.rev - self._first,
            "messages_encoded_total": self._encoded,
        }
