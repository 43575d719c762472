from __future__ import annotations

import pytest

from server.clock import SystemClock
from server.model.clock import JumpWatch


def test_a_jump_is_told_once_and_slewing_is_not() -> None:
    watch = JumpWatch(tolerance=1.0)
    assert watch.observe(10.0, 1000.0) == 0.0
    assert watch.observe(11.0, 1001.9) == 0.0
    assert watch.observe(12.0, 1002.8) == 0.0
    assert watch.observe(13.0, 4603.8) == pytest.approx(3600.0)
    assert watch.observe(14.0, 4604.8) == 0.0
    assert watch.observe(15.0, 1005.8) == pytest.approx(-3600.0)


def test_the_steady_clock_does_not_follow_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SystemClock()
    before = clock.steady()
    assert abs(before - clock.wallclock()) < 1.0
    monkeypatch.setattr("server.clock.time.time", lambda: 0.0)
    assert clock.wallclock() == 0.0
    assert 0.0 <= clock.steady() - before < 5.0
