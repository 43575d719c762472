"""Faults are counted always and logged once a second."""

from __future__ import annotations

import io
import json

import structlog

from media.log import FaultLog


def test_a_thousand_faults_in_a_second_are_one_line_and_a_thousand_in_the_counter() -> None:
    out = io.StringIO()
    log = structlog.wrap_logger(structlog.PrintLogger(out), processors=[structlog.processors.JSONRenderer()])
    now = 50.0
    faults = FaultLog(log, lambda: now)
    for index in range(1000):
        now = 50.0 + index / 1000
        faults.report("bad_thing", seen=index)
        faults.report("other_thing")
    now = 51.5
    faults.report("bad_thing", seen=1000)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines == [
        {"event": "bad_thing", "seen": 0, "times": 1},
        {"event": "other_thing", "times": 1},
        {"event": "bad_thing", "seen": 1000, "times": 1000},
    ]
    assert faults.counters == {"bad_thing": 1001, "other_thing": 1000}
