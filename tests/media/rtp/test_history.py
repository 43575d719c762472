from hypothesis import given
from hypothesis import strategies as st

from media.rtp.history import PacketHistory


def test_held_by_extended_and_found_by_wrapped_number() -> None:
    history: PacketHistory[bytes] = PacketHistory()
    for sequence in range(65_530, 65_550):
        history.add(sequence, b"%d" % sequence, 0.0)
    assert history.get(65_540, 0.5) == b"65540"
    assert history.find(65_535, 0.5) == b"65535"
    assert history.find(4, 0.5) == b"65540"
    assert history.find(20, 0.5) is None
    assert history.get(4, 0.5) is None
    assert history.statistics().found == 3
    assert history.statistics().missed == 2


def test_at_most_a_thousand_packets() -> None:
    history: PacketHistory[int] = PacketHistory()
    for sequence in range(1_500):
        history.add(sequence, sequence, 0.0)
    assert len(history) == 1_000
    assert history.get(499, 0.0) is None
    assert history.get(500, 0.0) == 500


def test_at_most_a_second() -> None:
    history: PacketHistory[int] = PacketHistory()
    history.add(1, 1, 10.0)
    history.add(2, 2, 10.6)
    assert history.get(1, 11.0) == 1
    assert history.get(1, 11.01) is None  # too old even before anything pushes it out
    history.add(3, 3, 11.1)
    assert len(history) == 2
    assert history.get(2, 11.1) == 2


def test_the_first_packet_of_a_number_stays() -> None:
    history: PacketHistory[str] = PacketHistory()
    history.add(1, "first", 0.0)
    history.add(1, "second", 0.0)
    assert history.get(1, 0.0) == "first"
    assert len(history) == 1


@given(
    st.lists(st.tuples(st.integers(-100, 100), st.floats(0, 0.6)), max_size=200),
    st.integers(1, 20),
)
def test_bounds_hold_for_any_order(additions: list[tuple[int, float]], limit: int) -> None:
    history: PacketHistory[int] = PacketHistory(max_packets=limit)
    now = 0.0
    for sequence, step in additions:
        now += step
        history.add(sequence, sequence, now)
        assert history.get(sequence, now) == sequence
        assert len(history) <= limit
