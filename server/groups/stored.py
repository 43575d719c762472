"""Groups and patches in the database. Every write is audited in its own transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec
from sqlalchemy import Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.auth.audit import Audit
from server.auth.permissions import Role
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord, difference
from server.model.clock import Clock
from server.model.errors import Conflict, NotFound, TooMany
from server.model.ids import GroupId, PatchId
from server.model.uuid7 import new_id
from server.storage.changes import bump
from server.storage.engine import Database
from server.storage.tables import group_members, groups, patch_groups, patches

MAX_GROUPS: Final = 1000
ALL_CALL_NUMBER: Final = 0
FIRST_NUMBER: Final = 1

# What a fresh server has: a group that everybody is in, and the all-call.
SEEDS: Final = (
    ("全呼", ALL_CALL_NUMBER, GroupKind.ALL_CALL, ()),
    ("全员", FIRST_NUMBER, GroupKind.STATIC, tuple(Role)),
)


class Author(msgspec.Struct, frozen=True, kw_only=True):
    """Who does it: as the audit log names it, a name for people, an account, an address."""

    actor: str
    name: str
    user: str
    address: str


class PatchRow(msgspec.Struct, frozen=True, kw_only=True):
    """`muted`: until when each group is out of it. Times UTC s of the steady clock."""

    id: PatchId
    created: float
    created_by: str
    groups: tuple[GroupId, ...]
    muted: dict[GroupId, float] = {}


class StoredGroups:
    """All methods raise StorageAway. Groups that are written are told to other processes (`changes`)."""

    def __init__(self, database: Database, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    # ------------------------------------------------------------------ groups

    async def load(self) -> tuple[list[GroupRecord], list[PatchRow]]:
        """Everything; a fresh database gets its first groups."""
        async with self._database.read() as connection:
            new = await self._is_new(connection)
        if new:
            async with self._database.write() as connection:
                await self._seed(connection)
        async with self._database.read() as connection:
            rows = (await connection.execute(select(groups).order_by(groups.c.number))).all()
            members = (await connection.execute(select(group_members))).all()
            patch_rows = (await connection.execute(select(patches).order_by(patches.c.id))).all()
            patched = (await connection.execute(select(patch_groups))).all()
        of: dict[str, list[MemberRecord]] = {}
        for row in members:
            of.setdefault(row.group_id, []).append(_member(row))
        records = [
            GroupRecord(
                id=GroupId(row.id),
                name=row.name,
                number=row.number,
                kind=GroupKind(row.kind),
                members=tuple(of.get(row.id, ())),
                created=row.created,
                created_by=row.created_by,
                expires=row.expires,
            )
            for row in rows
        ]
        return records, [
            PatchRow(
                id=PatchId(row.id),
                created=row.created,
                created_by=row.created_by,
                groups=tuple(GroupId(each.group_id) for each in patched if each.patch_id == row.id),
                muted={
                    GroupId(each.group_id): each.muted_until
                    for each in patched
                    if each.patch_id == row.id and each.muted_until is not None
                },
            )
            for row in patch_rows
        ]

    async def _is_new(self, connection: AsyncConnection) -> bool:
        return not (await connection.execute(select(func.count()).select_from(groups))).scalar_one()

    async def _seed(self, connection: AsyncConnection) -> None:
        if not await self._is_new(connection):
            return
        now = self._clock.steady()
        for name, number, kind, roles in SEEDS:
            group = GroupId(new_id(now))
            await connection.execute(
                insert(groups).values(
                    id=group, name=name, number=number, kind=kind.value, created=now, created_by=""
                )
            )
            rows = [MemberRecord(kind=MemberKind.ROLE, subject=role.value) for role in roles]
            await self._write_members(connection, group, rows)

    async def create(
        self,
        *,
        name: str,
        kind: GroupKind,
        members: Iterable[MemberRecord],
        expires: float | None,
        author: Author,
    ) -> GroupId:
        """With the lowest free number. Raises TooMany."""
        now = self._clock.steady()
        group = GroupId(new_id(now))
        async with self._database.write() as connection:
            await self._seed(connection)
            taken = set((await connection.execute(select(groups.c.number))).scalars())
            if len(taken) >= MAX_GROUPS:
                raise TooMany(f"there are {len(taken)} groups, more than {MAX_GROUPS} are not kept")
            number = next(number for number in range(FIRST_NUMBER, MAX_GROUPS + 2) if number not in taken)
            await connection.execute(
                insert(groups).values(
                    id=group,
                    name=name,
                    number=number,
                    kind=kind.value,
                    created=now,
                    created_by=author.user,
                    expires=expires,
                )
            )
            await self._write_members(connection, group, members)
            await bump(connection)
            await self._note(connection, author, "group.create", group, name)
        return group

    async def change(
        self,
        group: GroupId,
        *,
        name: str | None,
        members: Iterable[MemberRecord] | None,
        expires: float | None,
        author: Author,
    ) -> None:
        """What is None stays. Raises NotFound."""
        values = {key: value for key, value in (("name", name), ("expires", expires)) if value is not None}
        async with self._database.write() as connection:
            before = (await connection.execute(select(groups.c.name).where(groups.c.id == group))).scalar()
            if before is None:
                raise NotFound("there is no such group", field="group")
            if values:
                await connection.execute(update(groups).where(groups.c.id == group).values(**values))
            what = [f"{key} {value}" for key, value in values.items()]
            if members is not None:
                rows = (
                    await connection.execute(select(group_members).where(group_members.c.group_id == group))
                ).all()
                members = tuple(members)
                what += difference(map(_member, rows), members)
                await connection.execute(delete(group_members).where(group_members.c.group_id == group))
                await self._write_members(connection, group, members)
            await bump(connection)
            await self._note(connection, author, "group.change", group, f"{before}: {', '.join(what)}")

    async def delete(self, group: GroupId, *, reason: str, author: Author) -> None:
        async with self._database.write() as connection:
            name = (await connection.execute(select(groups.c.name).where(groups.c.id == group))).scalar()
            await connection.execute(delete(groups).where(groups.c.id == group))
            await bump(connection)
            await self._note(connection, author, "group.delete", group, f"{name}: {reason}")

    async def _write_members(
        self, connection: AsyncConnection, group: GroupId, members: Iterable[MemberRecord]
    ) -> None:
        rows = {(member.kind, member.subject): member for member in members}
        if rows:
            await connection.execute(
                insert(group_members),
                [
                    {
                        "group_id": group,
                        "kind": member.kind.value,
                        "subject": member.subject,
                        "talk": member.talk,
                        "priority": member.priority,
                    }
                    for member in rows.values()
                ],
            )

    # ------------------------------------------------------------------ patches

    async def write_patch(self, patch: PatchRow, *, act: str, author: Author) -> None:
        """A patch as it is now, in place of what it was. Raises Conflict when one of its groups is gone."""
        try:
            async with self._database.write() as connection:
                await connection.execute(delete(patches).where(patches.c.id == patch.id))
                await connection.execute(
                    insert(patches).values(id=patch.id, created=patch.created, created_by=patch.created_by)
                )
                await connection.execute(
                    insert(patch_groups),
                    [
                        {"group_id": group, "patch_id": patch.id, "muted_until": patch.muted.get(group)}
                        for group in patch.groups
                    ],
                )
                await self._note(connection, author, act, patch.id, ", ".join(patch.groups))
        except IntegrityError as error:
            raise Conflict("one of the groups is gone or in another patch", field="groups") from error

    async def end_patch(self, patch: PatchId, *, author: Author) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(patches).where(patches.c.id == patch))
            await self._note(connection, author, "patch.end", patch, "")

    async def _note(
        self, connection: AsyncConnection, author: Author, action: str, what: str, detail: str
    ) -> None:
        await self._audit.append_in(
            connection,
            actor=author.actor,
            action=action,
            object=what,
            address=author.address,
            detail=detail,
        )


def _member(row: Row[Any]) -> MemberRecord:
    return MemberRecord(kind=MemberKind(row.kind), subject=row.subject, talk=row.talk, priority=row.priority)
