"""Who gets which layer: the rules as properties, the cases a dispatcher would notice as examples."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.relay.allocation import (
    Allocator,
    Choice,
    LayerInfo,
    Wish,
    allocate,
    need,
    target_layer,
)

Q = LayerInfo(live=True, height=180, bitrate=150_000)
H = LayerInfo(live=True, height=360, bitrate=500_000)
F = LayerInfo(live=True, height=720, bitrate=1_500_000)
SIMULCAST = (Q, H, F)


def wish(sink: int, height: int = 720, **more: Any) -> Wish:
    return Wish(**{"sink": sink, "height": height, "layers": SIMULCAST, **more})


layers = st.lists(
    st.builds(
        LayerInfo,
        live=st.booleans(),
        height=st.sampled_from([0, 90, 180, 360, 720, 1080]),
        bitrate=st.integers(0, 3_000_000),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
wishes = st.lists(
    st.builds(
        Wish,
        sink=st.integers(1, 1000),
        height=st.sampled_from([0, 100, 180, 400, 720, 2160]),
        layers=layers,
        priority=st.integers(0, 3),
        current=st.integers(-1, 3),
    ),
    max_size=8,
    unique_by=lambda each: each.sink,
)


@pytest.mark.parametrize(
    ("height", "layer"), [(90, 0), (180, 0), (181, 1), (360, 1), (500, 2), (720, 2), (2160, 2)]
)
def test_the_smallest_layer_that_fills_the_tile(height: int, layer: int) -> None:
    assert target_layer(height, SIMULCAST) == layer


def test_layers_that_do_not_arrive_are_not_chosen() -> None:
    gone = dataclasses.replace(F, live=False)
    assert target_layer(720, (Q, H, gone)) == 1
    assert target_layer(720, (gone, gone)) == -1


@given(wishes, st.integers(0, 8_000_000))
def test_the_budget_holds_except_for_one_lowest_layer(wanted: list[Wish], budget: int) -> None:
    choices = allocate(wanted, budget)
    taken = [each for each in wanted if choices[each.sink].layer >= 0 and any(x.live for x in each.layers)]
    if need(wanted, choices) > budget:
        (only,) = taken
        assert choices[only.sink].layer == min(i for i, layer in enumerate(only.layers) if layer.live)


@given(wishes, st.integers(0, 8_000_000))
def test_no_one_gets_more_than_wanted_or_what_is_not_there(wanted: list[Wish], budget: int) -> None:
    free = allocate(wanted, None)
    for each in wanted:
        choice = allocate(wanted, budget)[each.sink]
        assert choice.layer <= free[each.sink].layer
        if choice.layer >= 0 and any(layer.live for layer in each.layers):
            assert each.layers[choice.layer].live
        if not each.height:
            assert choice == Choice(layer=-1, reason="paused")


@given(wishes, st.integers(0, 8_000_000), st.integers(1, 3))
def test_more_important_never_means_less(wanted: list[Wish], budget: int, more: int) -> None:
    before = allocate(wanted, budget)
    for index, each in enumerate(wanted):
        raised = dataclasses.replace(each, priority=each.priority + more)
        after = allocate([*wanted[:index], raised, *wanted[index + 1 :]], budget)
        assert after[each.sink].layer >= before[each.sink].layer


@given(wishes, st.integers(0, 8_000_000))
def test_the_order_of_the_list_does_not_matter(wanted: list[Wish], budget: int) -> None:
    assert allocate(wanted, budget) == allocate(wanted[::-1], budget)


@given(wishes, st.integers(0, 8_000_000))
def test_the_least_important_are_paused_first(wanted: list[Wish], budget: int) -> None:
    choices = allocate(wanted, budget)
    starved = [each.priority for each in wanted if choices[each.sink].reason == "bandwidth"]
    fed = [
        each.priority
        for each in wanted
        if choices[each.sink].layer >= 0 and any(layer.live for layer in each.layers)
    ]
    assert max(starved, default=-1) <= min(fed, default=99)


def test_lowest_for_all_before_more_for_one() -> None:
    # 3 × 150 = 450; the rest (550) raises one of them to 500 × 1.15 = 575 in place of 150 × 1.15.
    choices = allocate([wish(1), wish(2), wish(3)], 1_000_000)
    assert [choices[sink].layer for sink in (1, 2, 3)] == [1, 0, 0]
    assert {choice.degraded for choice in choices.values()} == {"bandwidth"}


def test_the_pinned_tile_is_raised_first() -> None:
    choices = allocate([wish(1), wish(2, priority=5)], 2_000_000)
    assert (choices[1].layer, choices[2].layer) == (0, 2)


def test_a_link_too_thin_for_anything_still_gets_one_picture() -> None:
    choices = allocate([wish(1), wish(2)], 30_000)
    assert choices == {1: Choice(layer=0, degraded="bandwidth"), 2: Choice(layer=-1, reason="bandwidth")}


def test_what_the_publisher_does_not_send_is_said() -> None:
    gone = dataclasses.replace(F, live=False)
    assert allocate([wish(1, layers=(Q, H, gone))], None)[1] == Choice(layer=1, degraded="source")
    # A camera with one layer smaller than the tile gives all it has: nothing is missing.
    assert allocate([wish(1, layers=(H,))], None)[1] == Choice(layer=0)


def test_a_source_that_pauses_keeps_its_layer() -> None:
    gone = tuple(dataclasses.replace(layer, live=False) for layer in SIMULCAST)
    assert allocate([wish(1, layers=gone, current=2)], 0)[1] == Choice(layer=2)
    assert allocate([wish(1, layers=gone)], 0)[1] == Choice(layer=0)


def test_a_layer_not_measured_yet_is_taken_to_need_what_is_usual() -> None:
    assert LayerInfo(live=True, height=720).cost == 1_500_000
    assert LayerInfo(live=True, height=2160).cost == 4_000_000


def choose(allocator: Allocator, now: float, current: int = -1, audio: int = 0) -> int:
    return allocator.choose([wish(1, current=current)], audio=audio, now=now)[1].layer


def test_without_feedback_nothing_is_held_back() -> None:
    assert choose(Allocator(), 0.0) == 2


def test_down_at_once_and_up_after_four_seconds() -> None:
    allocator = Allocator()
    allocator.estimated(3_000_000, congested=False, now=0.0)
    assert choose(allocator, 0.0) == 2
    allocator.estimated(600_000, congested=True, now=1.0)
    assert choose(allocator, 1.0, current=2) == 1
    for tenth in range(11, 49):
        allocator.estimated(3_000_000, congested=False, now=tenth / 10)
        assert choose(allocator, tenth / 10, current=1) == 1
    allocator.estimated(3_000_000, congested=False, now=5.2)
    assert choose(allocator, 5.2, current=1) == 2


def test_a_link_that_was_never_full_is_not_held_to_its_first_estimate() -> None:
    allocator = Allocator()
    allocator.estimated(300_000, congested=False, now=0.0)
    assert choose(allocator, 0.0) == 2
    assert allocator.choose([wish(1)], audio=0, now=0.1)[1].degraded == ""
    assert allocator.trying
    for tenth in range(1, 100):
        allocator.estimated(300_000 + 20_000 * tenth, congested=False, now=tenth / 10)
        assert choose(allocator, tenth / 10, current=2) == 2
    assert not allocator.trying
    # A second tile is a reason to try again, at once.
    both = [wish(1, current=2), wish(2)]
    choices = allocator.choose(both, audio=0, now=10.0)
    assert {choice.layer for choice in choices.values()} == {2}
    assert allocator.trying


def test_a_fresh_link_is_not_tried_with_more_than_eight_times_its_first_estimate() -> None:
    allocator = Allocator()
    allocator.estimated(300_000, congested=False, now=0.0)
    choices = allocator.choose([wish(number) for number in range(1, 10)], audio=0, now=0.0)
    layers = [choice.layer for choice in choices.values()]
    assert 300_000 < sum(SIMULCAST[layer].bitrate for layer in layers if layer >= 0) <= 2_400_000
    assert {choice.degraded for choice in choices.values()} == {"bandwidth"}  # and what is held back is said


def test_the_first_congestion_ends_the_opening_at_once_and_what_is_less_is_said() -> None:
    allocator = Allocator()
    allocator.estimated(1_000_000, congested=False, now=0.0)
    assert choose(allocator, 0.0) == 2
    allocator.estimated(600_000, congested=True, now=0.2)
    choices = allocator.choose([wish(1, current=2)], audio=0, now=0.2)
    assert choices[1] == Choice(layer=1, degraded="bandwidth")
    assert not allocator.trying
    allocator.estimated(700_000, congested=False, now=0.3)
    assert choose(allocator, 0.3, current=1) == 1


def test_audio_is_reserved_before_any_picture() -> None:
    allocator = Allocator()
    allocator.estimated(650_000, congested=True, now=0.0)
    # 617,500 carry 500,000 × 1.15; less 2 × 40,000 for audio they do not.
    assert choose(allocator, 0.0) == 1
    assert choose(allocator, 0.0, audio=2) == 0


def test_a_calm_link_is_tried_with_the_next_layer_and_believed() -> None:
    allocator = Allocator()
    allocator.estimated(250_000, congested=True, now=0.0)
    assert choose(allocator, 0.0) == 0
    for second in range(1, 5):
        allocator.estimated(250_000, congested=False, now=second)
        assert choose(allocator, second, current=0) == 0
    allocator.estimated(250_000, congested=False, now=5.0)
    assert choose(allocator, 5.0, current=0) == 1
    for second in (6, 7, 8, 9, 12):
        assert allocator.trying is (second < 9)
        allocator.estimated(250_000, congested=False, now=second)
        assert choose(allocator, second, current=1) == 1
    allocator.estimated(250_000, congested=False, now=13.0)
    assert choose(allocator, 13.0, current=1) == 2


def test_a_trial_that_congests_ends_at_once_and_the_next_comes_later() -> None:
    allocator = Allocator()
    allocator.estimated(250_000, congested=True, now=0.0)
    waits: list[int] = []
    now, last = 0.0, 0.0
    layer = 0
    while len(waits) < 6:
        congested = layer == 1
        allocator.estimated(250_000, congested=congested, now=now)
        before, layer = layer, choose(allocator, now, current=layer)
        if congested:
            assert (before, layer) == (1, 0)
            last = now
        elif layer == 1:
            waits.append(round(now - last))
        now += 0.5
    assert waits == [5, 10, 20, 40, 80, 80]


def test_a_trial_without_reports_proves_nothing() -> None:
    allocator = Allocator()
    allocator.estimated(250_000, congested=True, now=0.0)
    assert choose(allocator, 5.0, current=0) == 1
    assert choose(allocator, 8.5, current=1) == 0
