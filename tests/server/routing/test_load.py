"""When pictures are refused, when they go, and when they come back (P14)."""

from __future__ import annotations

from server.routing.load import Load


class Busy:
    """A media process that uses a share of a core, second by second."""

    def __init__(self) -> None:
        self.load = Load(0.8)
        self.now = 100.0
        self.cpu = 7.0

    def run(self, share: float, seconds: int = 1, lag: float = 0.0) -> None:
        for _ in range(seconds):
            self.now += 1.0
            self.cpu += share
            self.load.measured(self.cpu, lag, self.now)


def test_from_80_percent_on_nothing_begins() -> None:
    media = Busy()
    media.run(0.78, 20)
    assert not media.load.crowded
    media.run(0.83, 20)
    assert media.load.crowded
    assert media.load.to_shed(100, media.now) == 0  # nobody goes yet
    media.run(0.75, 20)
    assert media.load.crowded  # a little less is not enough
    assert not media.load.may_return(media.now)
    media.run(0.70, 20)
    assert not media.load.crowded
    assert media.load.may_return(media.now)


def test_a_second_of_work_is_no_overload() -> None:
    media = Busy()
    media.run(0.3, 20)
    media.run(1.0)
    assert not media.load.crowded


def test_what_goes_goes_by_tenths_and_with_pauses() -> None:
    media = Busy()
    media.run(0.99, 20)
    assert media.load.to_shed(45, media.now) == 5
    assert media.load.to_shed(40, media.now) == 0  # what went has to show first
    media.run(0.99, 3)
    assert media.load.to_shed(3, media.now) == 1
    media.run(0.99, 3)
    assert media.load.to_shed(0, media.now) == 0


def test_a_process_that_gets_no_whole_core_is_as_busy() -> None:
    media = Busy()
    media.run(0.5, 20)
    media.run(0.5, 4, lag=0.3)
    assert not media.load.crowded
    media.run(0.5, 1, lag=0.3)
    assert media.load.crowded
    assert media.load.to_shed(10, media.now) == 1
    media.run(0.5)
    assert not media.load.crowded


def test_a_new_process_is_measured_anew() -> None:
    media = Busy()
    media.run(0.99, 20)
    media.cpu = 0.0
    media.run(0.5)
    assert media.load.crowded  # what is less than before says nothing
    media.load.forget()
    assert (media.load.share, media.load.crowded) == (0.0, False)
    media.cpu = 0.0
    media.run(0.1, 2)
    assert not media.load.crowded
