"""The living copy of groups and patches: who is asked, what a client may see, what ended by itself.

It is changed by officers through `create`, `change`, `delete` and the patch methods; each is in the database when it
returns. Private groups, of half-duplex calls, live in memory only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from server.auth.permissions import Action, allowed
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord, Subject
from server.groups.patches import Patch, Patches
from server.groups.stored import Author, PatchRow, StoredGroups
from server.model.clock import Clock
from server.model.errors import BadRequest, Conflict, NotFound
from server.model.ids import FloorId, GroupId, PatchId
from server.model.names import clean_name

MAX_HOURS: Final = 24.0 * 31
SERVER: Final = Author(actor="server", name="", user="", address="")


class Groups:
    """`load` first. Listeners of `on_changed` must not block."""

    def __init__(self, stored: StoredGroups, clock: Clock) -> None:
        self.records: dict[GroupId, GroupRecord] = {}
        self.patches = Patches()
        self.made: dict[PatchId, PatchRow] = {}  # when and by whom
        self.all_call: GroupRecord | None = None
        self._of_member: dict[tuple[MemberKind, str], set[GroupId]] = {}
        self._open: set[GroupId] = set()  # to who may be everywhere
        self._stored = stored
        self._clock = clock
        self._on_changed: list[Callable[[], None]] = []

    def on_changed(self, listener: Callable[[], None]) -> None:
        """Called when groups, members or patches are different."""
        self._on_changed.append(listener)

    async def load(self) -> None:
        """Raises StorageAway."""
        records, patches = await self._stored.load()
        private = {key: record for key, record in self.records.items() if record.kind is GroupKind.PRIVATE}
        self.records = {record.id: record for record in records} | private
        self.patches = Patches()
        shift = self._clock.now() - self._clock.steady()
        for row in patches:
            if len(row.groups) > 1:
                muted = {group: until + shift for group, until in row.muted.items()}
                self.patches.restore(Patch(id=row.id, groups=row.groups, muted=dict(muted)))
        self.made = {row.id: row for row in patches}
        self._changed()

    def _changed(self) -> None:
        self._index()
        for listener in self._on_changed:
            listener()

    # ------------------------------------------------------------------ readers

    def get(self, group: str) -> GroupRecord:
        """Raises NotFound."""
        record = self.records.get(GroupId(group))
        if record is None:
            raise NotFound("there is no such group", field="group")
        return record

    def visible(self, subject: Subject) -> frozenset[GroupId]:
        """The groups that the subject is in: those where `rights_of` gives it any."""
        found: set[GroupId] = set()
        for kind, name in (
            (MemberKind.USER, subject.user),
            (MemberKind.UNIT, subject.unit),
            (MemberKind.ROLE, subject.role),
        ):
            found |= self._of_member.get((kind, name), set())
        if allowed(subject.role, Action.TALK_EVERYWHERE):
            found |= self._open
        if self.all_call is not None:
            found.add(self.all_call.id)
        return frozenset(found)

    def _index(self) -> None:
        """So that what hundreds of clients may see is not found by asking every group for each."""
        self._of_member = {}
        for record in self.records.values():
            for member in record.members:
                if member.subject:
                    self._of_member.setdefault((member.kind, member.subject), set()).add(record.id)
        self._open = {record.id for record in self.records.values() if record.kind is not GroupKind.PRIVATE}
        self.all_call = next((one for one in self.records.values() if one.kind is GroupKind.ALL_CALL), None)

    def floor_of(self, group: GroupId) -> FloorId:
        return self.patches.floor_of(group)

    def ordered(self) -> list[GroupRecord]:
        return sorted(self.records.values(), key=lambda record: record.number)

    # ------------------------------------------------------------------ groups

    async def create(
        self,
        *,
        name: str,
        kind: GroupKind,
        members: Sequence[MemberRecord],
        hours: float | None,
        author: Author,
    ) -> GroupId:
        """Raises BadRequest, TooMany, StorageAway."""
        name = self._name(name)
        if kind is GroupKind.TEMPORARY and hours is None:
            raise BadRequest("a temporary group needs its hours", field="hours")
        group = await self._stored.create(
            name=name, kind=kind, members=members, expires=self._expires(hours), author=author
        )
        await self.load()
        return group

    async def change(
        self,
        group: str,
        *,
        name: str | None,
        members: Sequence[MemberRecord] | None,
        hours: float | None,
        author: Author,
    ) -> None:
        """Raises BadRequest, NotFound, Conflict, StorageAway."""
        record = self.get(group)
        self._ours(record)
        await self._stored.change(
            record.id,
            name=None if name is None else self._name(name),
            members=members,
            expires=self._expires(hours),
            author=author,
        )
        await self.load()

    async def delete(self, group: str, *, reason: str, author: Author) -> None:
        """Raises NotFound, Conflict, StorageAway."""
        record = self.get(group)
        self._ours(record)
        if record.kind is GroupKind.STATIC and not record.created_by:
            raise Conflict("this group belongs to the server and stays", field="group")
        await self._take_out_of_patch(record.id, author)
        await self._stored.delete(record.id, reason=reason, author=author)
        await self.load()

    def add_private(self, record: GroupRecord) -> None:
        """The group of a half-duplex call."""
        self.records[record.id] = record
        self._changed()

    def remove_private(self, group: GroupId) -> None:
        if self.records.pop(group, None) is not None:
            self._changed()

    def _ours(self, record: GroupRecord) -> None:
        if record.kind in (GroupKind.ALL_CALL, GroupKind.PRIVATE):
            raise Conflict("this group cannot be changed", field="group")

    def _name(self, name: str) -> str:
        name = clean_name(name, 32)
        if not name:
            raise BadRequest("a group needs a name", field="name")
        return name

    def _expires(self, hours: float | None) -> float | None:
        if hours is None:
            return None
        if not 0 < hours <= MAX_HOURS:
            raise BadRequest(f"more than 0 and at most {MAX_HOURS:g} hours", field="hours")
        return self._clock.steady() + hours * 3600

    # ------------------------------------------------------------------ patches

    async def make_patch(self, groups: Iterable[str], author: Author) -> Patch:
        """Raises BadRequest, NotFound, Conflict, TooMany, StorageAway."""
        for group in (records := [self.get(group) for group in groups]):
            self._ours(group)
        patch = self.patches.make(record.id for record in records)
        await self._write(patch, "patch.create", author)
        return patch

    async def change_patch(self, patch: str, groups: Iterable[str], author: Author) -> None:
        """Its complete list; fewer than two end it. Raises as `make_patch`."""
        found = self.patches.get(PatchId(patch))
        wanted = [self.get(group) for group in dict.fromkeys(groups)]
        for record in wanted:
            self._ours(record)
        if len(wanted) < 2:
            self.patches.end(found.id)
            await self._stored.end_patch(found.id, author=author)
            self._changed()
            return
        keep = {record.id for record in wanted}
        after: Patch | None = found
        for group in keep - set(found.groups):
            after = self.patches.add(found.id, group)
        for group in set(found.groups) - keep:
            after = self.patches.remove(found.id, group)
        if after is not None:
            await self._write(after, "patch.change", author)

    async def mute(self, group: str, seconds: float, author: Author) -> None:
        """Raises NotFound (no such group, or it is in no patch), StorageAway."""
        record = self.get(group)
        patch = self.patches.of(record.id)
        if patch is None:
            raise NotFound("this group is in no patch", field="group")
        if seconds > 0:
            patch = self.patches.mute(patch.id, record.id, self._clock.now() + seconds)
        else:
            patch = self.patches.unmute(patch.id, record.id)
        await self._write(patch, "patch.mute", author)

    async def _take_out_of_patch(self, group: GroupId, author: Author) -> None:
        patch = self.patches.of(group)
        if patch is not None:
            await self.change_patch(patch.id, [one for one in patch.groups if one != group], author)

    async def _write(self, patch: Patch, act: str, author: Author) -> None:
        """The floor is changed first: a patch that the database does not take yet joins people all the same."""
        before = self.made.get(patch.id)
        shift = self._clock.steady() - self._clock.now()
        row = PatchRow(
            id=patch.id,
            created=before.created if before and act != "patch.create" else self._clock.steady(),
            created_by=before.created_by if before and act != "patch.create" else author.name,
            groups=patch.groups,
            muted={group: until + shift for group, until in patch.muted.items() if until is not None},
        )
        self.made[patch.id] = row
        self._changed()
        await self._stored.write_patch(row, act=act, author=author)

    # ------------------------------------------------------------------ time

    async def tick(self) -> None:
        """About once a second: groups whose time is over end, mutes too. Raises StorageAway."""
        if self.patches.tick(self._clock.now()):
            self._changed()
        now = self._clock.steady()
        for record in list(self.records.values()):
            if record.expires is not None and record.expires <= now:
                await self.delete(record.id, reason="expired", author=SERVER)

    def statistics(self) -> dict[str, object]:
        return {"groups": len(self.records), "patches": len(self.patches.all())}
