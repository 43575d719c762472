"""Groups, floors and patches as everybody sees them: entities made of records and states."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from server.groups.causes import Cause
from server.groups.floor import FloorState
from server.groups.membership import GroupRecord, MemberKind, MemberRecord
from server.groups.patches import Patch as PatchRecord
from server.groups.registry import Groups
from server.model.clock import Clock
from server.model.ids import FloorId, GroupId
from server.signalling.talk import Floor, Group, Listener, Member, Patch, Talker
from server.state import EntityStore

DRIFT: Final = 0.5  # s by which the wall clock may move before times are told anew

# Causes whose names on the wire (PROTOCOL.md "Talk groups") are other than the floor's own.
CAUSE_NAMES: Final = {Cause.BLOCKED: "all_call", Cause.WAITED: "queue_timeout"}

Names = Callable[[MemberRecord], str]


def cause_name(cause: Cause) -> str:
    return CAUSE_NAMES.get(cause, cause.value)


class GroupShow:
    """`names` says what a unit or account is called."""

    def __init__(self, store: EntityStore, clock: Clock, names: Names) -> None:
        self._store = store
        self._clock = clock
        self._names = names
        self._shift = clock.wallclock() - clock.now()
        self._idle_since: dict[FloorId, tuple[int, float]] = {}  # sequence, wallclock

    def wall(self, now: float | None) -> float | None:
        """A monotonic time as UTC, the same for the same time unless the wall clock was set."""
        if now is None:
            return None
        shift = self._clock.wallclock() - self._clock.now()
        if abs(shift - self._shift) > DRIFT:
            self._shift = shift
        return round(now + self._shift, 3)

    def groups_are(self, groups: Groups) -> None:
        """Forget what is no more, and show the patches."""
        for kind in ("group", "floor"):
            for entity in [entity.id for entity in self._store.all(kind)]:
                if GroupId(entity) not in groups.records:
                    self._store.remove(kind, entity)
        patches = {patch.id: patch for patch in groups.patches.all()}
        for gone in [one.id for one in self._store.all("patch") if one.id not in patches]:
            self._store.remove("patch", gone)
        for patch in patches.values():
            row = groups.made.get(patch.id)
            self._store.put(
                Patch(
                    id=patch.id,
                    name=patch.id,
                    groups=patch.groups,
                    since=row.created if row else 0.0,
                    created_by=row.created_by if row else "",
                )
            )

    def floor(
        self, floor: FloorId, groups: Iterable[GroupId], state: FloorState, talker: Talker | None
    ) -> None:
        """What the floor is like, for each of its groups."""
        since = self.wall(state.since)
        if since is None:
            known = self._idle_since.get(floor)
            if known is None or known[0] != state.sequence:
                known = self._idle_since[floor] = (state.sequence, round(self._clock.wallclock(), 3))
            since = known[1]
        hanging = talker is None and state.hang_until is not None
        for group in groups:
            self._store.put(
                Floor(
                    id=group,
                    floor=floor,
                    state=("tail" if state.in_tail else "taken") if talker else "hang" if hanging else "idle",
                    sequence=state.sequence,
                    since=since,
                    talker=talker,
                    urgency=state.urgency.name.lower(),
                    until=self.wall(state.hang_until if hanging else state.until),
                    queued=len(state.queue),
                    blocked=cause_name(state.blocked) if state.blocked else "",
                    collision=bool(state.over),
                )
            )

    def group(
        self,
        record: GroupRecord,
        listeners: list[Listener],
        patch: PatchRecord | None,
        emergency: bool,
    ) -> None:
        muted = patch is not None and record.id in patch.muted
        self._store.put(
            Group(
                id=record.id,
                name=record.name,
                number=record.number,
                kind=record.kind.value,
                members=tuple(
                    Member(
                        kind=member.kind.value,
                        id=member.subject,
                        name=self._names(member) if member.kind is not MemberKind.ROLE else "",
                        talk=member.talk,
                        priority=member.priority,
                    )
                    for member in record.members
                ),
                listeners=tuple(sorted(listeners, key=lambda listener: (listener.name, listener.leg))),
                patch=patch.id if patch is not None else "",
                muted=self.wall(patch.muted[record.id]) if muted and patch is not None else None,
                emergency=emergency,
                expires=record.expires,
                created_by=record.created_by,
            )
        )
