from __future__ import annotations

from media.transport.token_bucket import TokenBucket


def test_a_burst_at_once_and_then_the_rate() -> None:
    bucket = TokenBucket(rate=10.0, burst=3.0)
    assert [bucket.take(100.0) for _ in range(5)] == [True, True, True, False, False]
    assert sum(bucket.take(100.0 + tick / 100) for tick in range(1, 101)) == 10


def test_it_never_holds_more_than_the_burst() -> None:
    bucket = TokenBucket(rate=10.0, burst=3.0)
    assert [bucket.take(1e9) for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_steps_back_gives_nothing_and_breaks_nothing() -> None:
    bucket = TokenBucket(rate=1.0, burst=1.0)
    assert bucket.take(100.0)
    assert not bucket.take(50.0)
    assert bucket.take(51.0)
