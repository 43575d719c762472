"""What a path takes at once, from how far apart trains arrive."""

from __future__ import annotations

from media.relay.dispersion import Dispersion


def test_a_thin_link_takes_little_and_a_fast_one_much() -> None:
    thin, fast = Dispersion(), Dispersion()
    for _ in range(3):
        thin.note(2_200, 0.0088)  # 2 Mbit/s
        fast.note(2_200, 0.0)
    assert thin.burst == 5_000
    assert fast.burst > 100_000


def test_nothing_is_known_of_a_path_that_has_carried_no_train() -> None:
    assert Dispersion().burst == 0


def test_a_receiver_that_reads_late_now_and_then_makes_no_link_fast() -> None:
    path = Dispersion()
    for number in range(40):
        path.note(2_200, 0.0 if number % 3 == 0 else 0.0088)
    assert path.burst == 5_000


def test_a_path_that_has_become_thin_is_known_after_a_few_trains() -> None:
    path = Dispersion()
    for _ in range(20):
        path.note(2_200, 0.0)
    for _ in range(5):
        path.note(2_200, 0.0088)
    assert path.burst == 5_000
