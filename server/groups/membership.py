"""Which groups there are, who is in them and what each may do there. Pure.

Who may be everywhere (officers) needs no row; all others are members by their unit, their account or their role. The
most exact row counts. Deny by default: who has none sees and hears nothing of a group.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

import msgspec

from server.auth.permissions import Action, Role, allowed
from server.groups.legs import Rights
from server.model.ids import GroupId, UnitId, UserId

OFFICER_PRIORITY: Final = 8
ALL_CALL_PRIORITY: Final = 12


class GroupKind(StrEnum):
    STATIC = "static"
    DYNAMIC = "dynamic"  # made on the spot
    TEMPORARY = "temporary"  # ends by itself
    BROADCAST = "broadcast"  # officers talk, the others listen
    ALL_CALL = "all_call"  # everybody hears it, tuned or not; there is one
    PRIVATE = "private"  # the two of a half-duplex call


class MemberKind(StrEnum):
    UNIT = "unit"
    USER = "user"
    ROLE = "role"


# The most exact row first.
EXACTNESS: Final = (MemberKind.USER, MemberKind.UNIT, MemberKind.ROLE)


class MemberRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`subject`: a unit's or account's id, or a role. `priority` 0 to 15, larger wins."""

    kind: MemberKind
    subject: str
    talk: bool = True
    priority: int = 4


def difference(before: Iterable[MemberRecord], after: Iterable[MemberRecord]) -> list[str]:
    """What is different about members, one line each, for the audit log."""
    old = {(member.kind, member.subject): member for member in before}
    new = {(member.kind, member.subject): member for member in after}
    return [
        *(f"-{kind} {subject}" for kind, subject in old if (kind, subject) not in new),
        *(f"+{_words(member)}" for key, member in new.items() if key not in old),
        *(_words(member) for key, member in new.items() if key in old and old[key] != member),
    ]


def _words(member: MemberRecord) -> str:
    talks = "" if member.talk else " listens"
    return f"{member.kind} {member.subject} priority {member.priority}{talks}"


class GroupRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`number` is unique and orders the groups. Times UTC s of the steady clock."""

    id: GroupId
    name: str
    number: int
    kind: GroupKind
    members: tuple[MemberRecord, ...] = ()
    created: float = 0.0
    created_by: str = ""
    expires: float | None = None


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to be in a group: "" = has no account, or no unit."""

    role: Role
    user: UserId = UserId("")
    unit: UnitId = UnitId("")


def rights_of(group: GroupRecord, subject: Subject) -> Rights | None:
    """What the subject may do in the group; None = it is no member."""
    member = _row(group, subject)
    broadcast = allowed(subject.role, Action.TALK_BROADCAST)
    override = allowed(subject.role, Action.TALK_OVERRIDE)
    if group.kind is GroupKind.ALL_CALL:
        return Rights(talk=broadcast, priority=ALL_CALL_PRIORITY, override=override, broadcast=broadcast)
    everywhere = allowed(subject.role, Action.TALK_EVERYWHERE) and group.kind is not GroupKind.PRIVATE
    if member is None and not everywhere:
        return None
    priority = max(member.priority if member is not None else 0, OFFICER_PRIORITY if everywhere else 0)
    return Rights(
        talk=everywhere or (member is not None and member.talk),
        priority=priority,
        override=override,
        broadcast=broadcast,
    )


def _row(group: GroupRecord, subject: Subject) -> MemberRecord | None:
    names = {MemberKind.USER: subject.user, MemberKind.UNIT: subject.unit, MemberKind.ROLE: subject.role}
    for kind in EXACTNESS:
        for member in group.members:
            if member.kind is kind and member.subject and member.subject == names[kind]:
                return member
    return None
