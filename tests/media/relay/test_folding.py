from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.relay.folding import Sample, fold

samples = st.lists(
    st.tuples(
        st.floats(0, 10, allow_nan=False),
        st.one_of(st.just(-1.0), st.floats(0, 10, allow_nan=False)),
        st.integers(1, 2000),
    ),
    max_size=40,
).map(sorted)


def test_samples_of_fifty_milliseconds_become_one_and_the_last_times_stand() -> None:
    raw = [(1.0, 5.0, 100), (1.02, 5.03, 200), (1.04, 5.04, 300), (1.06, 5.08, 400)]
    assert fold(raw) == [(1.04, 5.04, 600), (1.06, 5.08, 400)]


def test_lost_ones_are_not_mixed_with_others() -> None:
    raw = [(1.0, 5.0, 100), (1.01, -1.0, 200), (1.02, -1.0, 300), (1.03, 5.04, 400)]
    assert fold(raw) == [(1.0, 5.0, 100), (1.02, -1.0, 500), (1.03, 5.04, 400)]


def test_nothing_from_nothing() -> None:
    assert fold(()) == []


@given(samples)
def test_bytes_and_losses_stay_the_same(raw: list[Sample]) -> None:
    folded = fold(raw)
    for lost in (True, False):
        assert sum(size for _, arrival, size in folded if (arrival < 0) is lost) == sum(
            size for _, arrival, size in raw if (arrival < 0) is lost
        )
    assert [sent for sent, _, _ in folded] == sorted(sent for sent, _, _ in folded)
    assert len(folded) <= len(raw)
