"""Who may do what in a group: the most exact row counts, officers need none, nobody else gets in."""

from __future__ import annotations

from typing import Any

import pytest

from server.auth.permissions import Role
from server.groups.legs import Rights
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord, Subject, rights_of
from server.model.ids import GroupId, UnitId, UserId


def group(kind: GroupKind = GroupKind.STATIC, *members: MemberRecord) -> GroupRecord:
    return GroupRecord(id=GroupId("g"), name="一组", number=1, kind=kind, members=members)


def row(kind: MemberKind, subject: str, **fields: Any) -> MemberRecord:
    return MemberRecord(kind=kind, subject=subject, **fields)


PHONE = Subject(role=Role.GUEST, unit=UnitId("u1"))
FIELD = Subject(role=Role.FIELD, user=UserId("x"), unit=UnitId("u2"))
OFFICER = Subject(role=Role.DISPATCHER, user=UserId("o"))


def test_who_has_no_row_is_no_member() -> None:
    assert rights_of(group(), PHONE) is None
    assert rights_of(group(GroupKind.STATIC, row(MemberKind.UNIT, "u9")), PHONE) is None


def test_an_empty_name_is_nobody_s() -> None:
    assert rights_of(group(GroupKind.STATIC, row(MemberKind.USER, "")), PHONE) is None


def test_the_most_exact_row_counts() -> None:
    rows = (
        row(MemberKind.ROLE, "field", priority=1),
        row(MemberKind.UNIT, "u2", talk=False, priority=5),
        row(MemberKind.USER, "x", priority=9),
    )
    assert rights_of(group(GroupKind.STATIC, *rows), FIELD) == Rights(priority=9)
    assert rights_of(group(GroupKind.STATIC, *rows[:2]), FIELD) == Rights(talk=False, priority=5)
    assert rights_of(group(GroupKind.STATIC, rows[0]), FIELD) == Rights(priority=1)


def test_officers_are_everywhere_but_in_private_calls_of_others() -> None:
    assert rights_of(group(), OFFICER) == Rights(talk=True, priority=8, override=True, broadcast=True)
    assert rights_of(group(GroupKind.PRIVATE), OFFICER) is None
    own = group(GroupKind.PRIVATE, row(MemberKind.USER, "o"))
    assert rights_of(own, OFFICER) is not None


@pytest.mark.parametrize(("who", "talks"), [(PHONE, False), (FIELD, False), (OFFICER, True)])
def test_everybody_hears_the_all_call_and_officers_make_it(who: Subject, talks: bool) -> None:
    rights = rights_of(group(GroupKind.ALL_CALL), who)
    assert rights is not None
    assert rights.talk is talks


def test_in_a_broadcast_group_only_officers_have_the_right() -> None:
    rights = rights_of(group(GroupKind.BROADCAST, row(MemberKind.UNIT, "u1")), PHONE)
    assert rights is not None
    assert not rights.broadcast
