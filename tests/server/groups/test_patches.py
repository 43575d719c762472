"""Patches: names, members, mutes, and that no group is ever in two."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.groups.patches import Patches
from server.model.errors import BadRequest, Conflict, FengsuiError, NotFound, TooMany
from server.model.ids import GroupId, PatchId

A, B, C, D = (GroupId(name) for name in "abcd")
P1, P2, P3 = PatchId("P1"), PatchId("P2"), PatchId("P3")


@pytest.fixture
def patches() -> Patches:
    return Patches()


def test_a_patch_gets_the_lowest_free_number(patches: Patches) -> None:
    assert patches.make([A, B]).id == "P1"
    assert patches.make([C, D]).id == "P2"
    patches.end(P1)
    assert patches.make([GroupId("e"), GroupId("f")]).id == "P1"
    assert [patch.id for patch in patches.all()] == ["P1", "P2"]


def test_groups_keep_their_order_and_are_named_once(patches: Patches) -> None:
    assert patches.make([B, A, B]).groups == (B, A)


@pytest.mark.parametrize("groups", [[], [A], [A, A]])
def test_one_group_is_no_patch(patches: Patches, groups: list[GroupId]) -> None:
    with pytest.raises(BadRequest) as caught:
        patches.make(groups)
    assert caught.value.field == "groups"


def test_a_group_is_in_one_patch_only(patches: Patches) -> None:
    patches.make([A, B])
    with pytest.raises(Conflict) as caught:
        patches.make([C, A])
    assert (caught.value.field, str(caught.value)) == ("groups", "the group a is in P1 already")
    assert patches.of(C) is None


def test_there_are_nine_patches_at_most(patches: Patches) -> None:
    for number in range(9):
        patches.make([GroupId(f"x{number}"), GroupId(f"y{number}")])
    with pytest.raises(TooMany) as caught:
        patches.make([A, B])
    assert caught.value.field == "groups"


def test_a_patch_has_sixteen_groups_at_most(patches: Patches) -> None:
    groups = [GroupId(f"g{number}") for number in range(17)]
    with pytest.raises(TooMany):
        patches.make(groups)
    patches.make(groups[:16])
    with pytest.raises(TooMany) as caught:
        patches.add(P1, groups[16])
    assert caught.value.field == "group"


def test_add(patches: Patches) -> None:
    patches.make([A, B])
    assert patches.add(P1, C).groups == (A, B, C)
    assert patches.add(P1, C).groups == (A, B, C)
    patches.make([D, GroupId("e")])
    with pytest.raises(Conflict) as conflict:
        patches.add(P2, A)
    assert conflict.value.field == "group"
    with pytest.raises(NotFound) as missing:
        patches.add(P3, GroupId("f"))
    assert missing.value.field == "patch"


def test_a_patch_with_one_group_left_ends(patches: Patches) -> None:
    patches.make([A, B, C])
    left = patches.remove(P1, A)
    assert left is not None
    assert left.groups == (B, C)
    with pytest.raises(NotFound) as caught:
        patches.remove(P1, A)
    assert caught.value.field == "group"
    assert patches.remove(P1, B) is None
    assert patches.all() == ()
    assert patches.floor_of(C) == "c"


def test_end_tells_who_was_in_it(patches: Patches) -> None:
    patches.make([A, B])
    assert patches.end(P1).groups == (A, B)
    with pytest.raises(NotFound):
        patches.end(P1)


def test_the_floor_of_a_group(patches: Patches) -> None:
    assert patches.floor_of(A) == "a"
    patches.make([A, B, C])
    assert patches.floor_of(A) == "P1"
    assert patches.hears(A) == (A, B, C)


def test_a_muted_group_talks_by_itself_until_its_time_is_over(patches: Patches) -> None:
    patches.make([A, B, C])
    patches.mute(P1, B, 20.0)
    assert (patches.floor_of(B), patches.hears(B), patches.hears(A)) == ("b", (B,), (A, C))
    assert patches.deadline() == 20.0
    assert patches.tick(19.9) == []
    assert [patch.muted for patch in patches.tick(20.0)] == [{}]
    assert patches.floor_of(B) == "P1"
    assert patches.deadline() is None


def test_a_mute_without_an_end_lasts_until_unmute(patches: Patches) -> None:
    patches.make([A, B])
    patches.mute(P1, B, None)
    assert patches.tick(1e9) == []
    assert patches.unmute(P1, B).muted == {}
    with pytest.raises(NotFound):
        patches.mute(P1, C, None)


def test_a_removed_group_takes_its_mute_along(patches: Patches) -> None:
    patches.make([A, B, C])
    patches.mute(P1, B, 20.0)
    patches.remove(P1, B)
    assert patches.deadline() is None
    assert patches.add(P1, B).muted == {}


groups = st.sampled_from([GroupId(name) for name in "abcdefghijklmnopqrstuvwx"])
names = st.sampled_from([PatchId(f"P{number}") for number in range(1, 11)])
acts = st.one_of(
    st.tuples(st.just("make"), st.lists(groups, max_size=4)),
    st.tuples(st.just("add"), names, groups),
    st.tuples(st.just("remove"), names, groups),
    st.tuples(st.just("end"), names),
    st.tuples(st.just("mute"), names, groups, st.none() | st.floats(0.0, 100.0)),
    st.tuples(st.just("unmute"), names, groups),
    st.tuples(st.just("tick"), st.floats(0.0, 100.0)),
)


@given(st.lists(acts, max_size=60))
def test_whatever_is_done_no_group_is_in_two_patches(done: list[tuple[str, object]]) -> None:
    patches = Patches()
    for name, *arguments in done:
        before, refused = patches.all(), True
        with suppress(FengsuiError):
            getattr(patches, name)(*arguments)
            refused = False
        assert not refused or patches.all() == before
        inside = [group for patch in patches.all() for group in patch.groups]
        assert len(inside) == len(set(inside))
        assert len(patches.all()) <= 9
        for patch in patches.all():
            assert len(patch.groups) >= 2
            assert patch.muted.keys() <= set(patch.groups)
            for group in patch.groups:
                expected = group if group in patch.muted else patch.id
                assert patches.floor_of(group) == expected
                assert group in patches.hears(group)
