"""What a client may see, by index and by asking every group."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from server.auth.permissions import Role
from server.groups.membership import GroupKind, GroupRecord, MemberKind, MemberRecord, Subject, rights_of
from server.groups.registry import Groups
from server.model.ids import GroupId, UnitId, UserId
from support.clock import FakeClock

NAMES = st.sampled_from(["", "1", "2", "guest", "dispatcher"])
MEMBERS = st.builds(MemberRecord, kind=st.sampled_from(MemberKind), subject=NAMES, talk=st.booleans())
KINDS = st.sampled_from([kind for kind in GroupKind if kind is not GroupKind.ALL_CALL])
SUBJECTS = st.builds(Subject, role=st.sampled_from(Role), user=NAMES.map(UserId), unit=NAMES.map(UnitId))


@given(st.lists(st.tuples(KINDS, st.lists(MEMBERS, max_size=3))), st.booleans(), SUBJECTS)
def test_visible_is_where_there_are_rights(
    made: list[tuple[GroupKind, list[MemberRecord]]], with_all_call: bool, subject: Subject
) -> None:
    groups = Groups(cast(Any, None), FakeClock())
    if with_all_call:
        made = [*made, (GroupKind.ALL_CALL, [])]
    for number, (kind, members) in enumerate(made):
        groups.add_private(
            GroupRecord(id=GroupId(f"g{number}"), name="x", number=number, kind=kind, members=tuple(members))
        )
    wanted = {record.id for record in groups.records.values() if rights_of(record, subject) is not None}
    assert groups.visible(subject) == wanted
    assert (groups.all_call is not None) == with_all_call
