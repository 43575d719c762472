"""The entities that clients see, with revisions: what is true now, and what changed since a client last heard.

Sans-IO. Writers `put` and `remove` as often as they like; the shell calls `publish` at most ten times a second, which
makes everything since the last call one revision. No history of values is kept: each entity remembers the revision that
changed it, so a client that is behind by any number of revisions gets one delta with each entity once, whole. Removed
entities are remembered for a bounded while; a client from before that needs a snapshot.
"""

from __future__ import annotations

import functools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal, TypeAlias, cast

import msgspec

from server.signalling.entities import ENTITY_KINDS, Change, Entity, Kind
from server.signalling.messages import Delta, Snapshot

Key: TypeAlias = tuple[str, str]  # kind, id
Whose: TypeAlias = tuple[Literal["unit", "device", "group"], str]
Mark: TypeAlias = Whose | str  # whose something is, or its kind

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
        return kind in self.kinds and (self.everything or any(map(self._concerns, OF[kind](value))))

    def _concerns(self, whose: Whose) -> bool:
        kind, name = whose
        return name in self.groups if kind == "group" else bool(name) and name == getattr(self, kind)


@functools.lru_cache(maxsize=8192)
def marks_of(view: View) -> frozenset[Mark]:
    """What tells that a change may be for this view: whose it is, or its kind for who sees everything."""
    if view.everything:
        return frozenset(view.kinds)
    groups: list[Whose] = [("group", group) for group in view.groups]
    return frozenset([("unit", view.unit), ("device", view.device), *groups])


# Whose the entities of each kind are. A client that sees only its own things sees those of its device, its unit and
# its groups; what is nobody's it does not see.
OF: Final[dict[str, Callable[[Any], tuple[Whose, ...]]]] = {
    "unit": lambda value: (("unit", value.id),),
    "device": lambda value: (("device", value.id),),
    "stream": lambda value: (("device", value.device),),
    "link": lambda value: (),
    "health": lambda value: (),
    "group": lambda value: (("group", value.id),),
    "floor": lambda value: (("group", value.id),),
    "patch": lambda value: (),
    "call": lambda value: (("unit", value.caller.unit), ("unit", value.callee.unit)),
    "callback": lambda value: (("unit", value.unit),),
    "alarm": lambda value: (("unit", value.unit),),
    "hold": lambda value: (),
}


class _Entry(msgspec.Struct, kw_only=True):
    value: Entity
    changed: int  # revision
    gone: bool = False
    told: msgspec.Raw | None = None  # its Change as JSON, the same for everybody


class EntityStore:
    """`first` should be random (< 2**52), so that a revision of an earlier run of the server is not taken for ours."""

    def __init__(self, first: int, *, max_removed: int = MAX_REMOVED) -> None:
        self.rev = first
        self._first = first
        self._oldest = first  # deltas can be made for clients that know this revision
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()  # in order of change, newest last
        self._touched: dict[Mark, int] = {}  # mark -> the newest revision that has it, see `marks_of`
        self._touching: set[Mark] = set()  # marks since `publish`
        self._newest: frozenset[Mark] = frozenset()  # marks of the revision `rev`
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
                for whose in OF[old[0]](entry.value):
                    if self._touched[whose] <= revision:  # nobody who knows less gets a delta any more
                        del self._touched[whose]

    def _set(self, key: Key, value: Entity, *, gone: bool) -> None:
        self._entries[key] = _Entry(value=value, changed=self.rev + 1, gone=gone)
        self._entries.move_to_end(key)
        marks: tuple[Mark, ...] = (key[0], *OF[key[0]](value))
        for mark in marks:
            self._touched[mark] = self.rev + 1
            self._touching.add(mark)
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
        self._newest, self._touching = frozenset(self._touching), set()
        self._dirty = False
        return True

    def covers(self, since: int) -> bool:
        """Whether `delta(since)` can be made."""
        return self._oldest <= since <= self.rev

    def concerns(self, view: View, since: int) -> bool:
        """Whether something that the view may show changed after that revision: when not, there is no `delta`.

        Hundreds of clients with views of their own are asked this at each revision and left alone by most.
        """
        marks = marks_of(view)
        if since == self.rev - 1:
            return not marks.isdisjoint(self._newest)
        return since != self.rev and any(self._touched.get(mark, since) > since for mark in marks)

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
        if not self.concerns(view, since):
            return None
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
                changes.append(self._told(key, entry))
        if not changes:
            return None
        changes.reverse()
        return self._encoder.encode(Delta(rev=self.rev, changes=cast("tuple[Change, ...]", tuple(changes))))

    def _told(self, key: Key, entry: _Entry) -> msgspec.Raw:
        """Encoded once for however many views."""
        if entry.told is None:
            value = None if entry.gone else entry.value
            change = Change(kind=KIND_OF[type(entry.value)], id=key[1], value=value)
            entry.told = msgspec.Raw(self._encoder.encode(change))
        return entry.told

    def statistics(self) -> dict[str, object]:
        return {
            "entities": len(self._entries),
            "revisions_total": self.rev - self._first,
            "messages_encoded_total": self._encoded,
        }
