"""Who hears whom: each talker once, nobody itself, slots that stay where they are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.groups.hearing import Ears, Heard, Slots, Talking, hear
from server.model.ids import LegId


def talking(leg: str, *names: str) -> Talking:
    return Talking(leg=LegId(leg), names=names)


def ears(leg: str, *names: str, deaf: bool = False) -> Ears:
    return Ears(leg=LegId(leg), listening=names, deaf=deaf)


def slots(*legs: str) -> dict[LegId, Slots]:
    return {LegId(leg): Slots() for leg in legs}


def pairs(heard: list[Heard]) -> set[tuple[str, str, str]]:
    return {(each.talker, each.listener, each.name) for each in heard}


def test_members_hear_the_talker_and_others_do_not() -> None:
    heard = hear(
        [talking("a", "g1")],
        [ears("a", "g1"), ears("b", "g1"), ears("c", "g2"), ears("d", "g2", "g1")],
        slots("a", "b", "c", "d"),
    )
    assert pairs(heard) == {("a", "b", "g1"), ("a", "d", "g1")}


def test_who_talks_in_two_groups_is_heard_once_in_the_listener_s_better_one() -> None:
    heard = hear([talking("a", "g1", "g2")], [ears("b", "g2", "g1")], slots("b"))
    assert pairs(heard) == {("a", "b", "g2")}


def test_a_half_duplex_talker_hears_nothing() -> None:
    both = [talking("a", "g1"), talking("b", "g2")]
    heard = hear(both, [ears("a", "g1", "g2", deaf=True), ears("b", "g1", "g2")], slots("a", "b"))
    assert pairs(heard) == {("a", "b", "g1")}


def test_a_slot_stays_with_its_group_until_another_needs_it() -> None:
    own = Slots(2)
    assert own.assign(["g1"]) == {"g1": 0}
    assert own.assign(["g2"]) == {"g2": 1}
    assert own.assign(["g1"]) == {"g1": 0}
    assert own.assign(["g3"]) == {"g3": 1}  # g2 has been silent for longest
    assert own.assign(["g3", "g1"]) == {"g3": 1, "g1": 0}


def test_more_talkers_than_slots_leave_the_last_ones_out() -> None:
    own = slots("z")
    heard = hear(
        [talking(f"t{number}", f"g{number}") for number in range(12)],
        [ears("z", *(f"g{number}" for number in range(12)))],
        own,
    )
    assert {each.name for each in heard} == {f"g{number}" for number in range(8)}


names = st.lists(st.sampled_from([f"g{number}" for number in range(6)]), unique=True, max_size=6)


@given(st.lists(names, max_size=5), st.lists(names, max_size=5))
def test_nobody_hears_itself_or_anybody_twice_and_no_slot_has_two(
    talks: list[list[str]], listens: list[list[str]]
) -> None:
    talkers = [talking(str(leg), *groups) for leg, groups in enumerate(talks)]
    listeners = [ears(str(leg), *groups) for leg, groups in enumerate(listens)]
    own = slots(*(str(leg) for leg in range(5)))
    for _ in range(2):
        heard = hear(talkers, listeners, own)
        assert all(each.talker != each.listener for each in heard)
        assert all(each.name in listens[int(each.listener)] for each in heard)
        assert all(each.name in talks[int(each.talker)] for each in heard)
        assert len({(each.listener, each.slot) for each in heard}) == len(heard)
        assert len({(each.listener, each.talker) for each in heard}) == len(heard)
