"""The one object of `fengsui bench ptt --json`, made from made-up measurements."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from bench.ptt_report import Measurements, MouthToEar, Press, Stage, is_live, lost_of, make_report

MS = 1_000_000  # ns


def press(
    answered: float | None = 10.0, *heard: tuple[int, int, int] | None, state: str = "granted"
) -> Press:
    return Press(
        state=state,
        cause="" if state == "granted" else "busy",
        answered_ms=answered,
        first_packet_ms=answered,
        sent=60,
        heard=heard or ((0, 59, 60),),
    )


def stage(groups: int, *presses: Press, idle: float = 0.4, delivered: int = 1000) -> Stage:
    return Stage(
        groups=groups,
        listeners=4,
        seconds=10.0,
        idle=idle,
        presses=list(presses) or [press(float(each)) for each in range(1, 101)],
        delays=[each * MS for each in range(1, 101)],
        echoes=[MS] * 100,
        delivered=delivered,
        expected=1000,
        shares={"media": 0.3},
    )


def measurements(**changes: Any) -> Measurements:
    plain: dict[str, Any] = {
        "machine": {"processor": "made up", "cores": 2},
        "versions": {"fengsui": "0"},
        "parameters": {"seconds": 10},
        "groups": (1, 50),
        "stages": [stage(1), stage(50)],
        "mouth": [MouthToEar(delays=[float(each) for each in range(101, 201)], beeps=100, idle=0.5)],
    }
    return Measurements(**(plain | changes))


def test_the_figures_by_name() -> None:
    report = json.loads(msgspec.json.encode(make_report(measurements())))
    assert report["bench"] == "ptt"
    assert (report["grant_ms_p50"], report["grant_ms_p95"], report["grant_ms_p99"]) == (50, 95, 99)
    assert report["first_packet_ms_p95"] == 95
    assert report["forward_ms_p95"] == 94  # 95 without the echo's 1
    assert (report["clipped_ms_p50"], report["clipped_ms_p99"]) == (0, 0)
    assert report["mouth_to_ear_ms_p95"] == 195
    assert report["by_groups"]["50"]["echo_ms_p95"] == 1
    assert report["idle"] == {"1": 0.4, "50": 0.4, "mouth_to_ear": 0.5}
    assert report["reasons"] == {}
    assert report["runs"][0]["presses"] == {"granted": 100}
    assert report["method"]["parameters"] == {"seconds": 10}


def test_what_is_missing_of_a_press_is_clipped_a_gap_or_cut_off() -> None:
    clipped, gaps, cut = lost_of(
        [press(5.0, (2, 59, 57), None), press(5.0, (0, 57, 58)), press(5.0, (0, 59, 60))]
    )
    assert clipped == [40.0, 1200.0, 0.0, 0.0]  # nothing heard = all of it is
    assert gaps == [20.0, 0.0, 0.0]
    assert cut == [0.0, 40.0, 0.0]


def test_only_granted_presses_count_and_the_others_are_listed() -> None:
    report = make_report(
        measurements(stages=[stage(1, press(4.0), press(900.0, state="denied"))], groups=(1,))
    )
    assert report.grant_ms_p99 == 4.0
    assert report.runs[0]["presses"] == {"granted": 1, "denied: busy": 1}


def test_a_busy_machine_voids_what_was_measured_then_and_nothing_else() -> None:
    report = make_report(
        measurements(
            stages=[stage(1), stage(50, press(500.0), idle=0.04), stage(50, press(600.0), idle=0.05)],
            mouth=[MouthToEar(delays=[900.0], beeps=1, idle=0.01)],
        )
    )
    assert report.grant_ms_p99 == 99
    assert list(report.by_groups) == ["1"]
    assert report.reasons == {
        "by_groups.50": "void, the machine was only 5% idle",
        "mouth_to_ear_ms_p95": "void, the machine was only 1% idle",
    }
    assert report.mouth_to_ear_ms_p95 is None
    assert [run["void"] for run in report.runs] == [
        "",
        "the machine was only 4% idle",
        "the machine was only 5% idle",
        "the machine was only 1% idle",
    ]
    assert report.runs[2]["grant_ms_p95"] == 600.0  # what was seen can still be read


def test_a_second_try_counts_when_the_first_was_void() -> None:
    report = make_report(measurements(stages=[stage(1, idle=0.01), stage(1), stage(50)]))
    assert report.reasons == {}
    assert report.idle["1"] == 0.4


def test_packets_that_nobody_heard_void_a_stage() -> None:
    report = make_report(measurements(stages=[stage(1, delivered=900)], groups=(1,), mouth_missing="-"))
    assert report.grant_ms_p50 is None
    assert report.reasons["grant_ms_p50"] == "void, only 900 of 1000 packets were heard"


def test_what_was_not_measured_says_so() -> None:
    report = make_report(
        measurements(stages=[], mouth=[], mouth_missing="left out", broken_off="not within 9 s")
    )
    assert report.forward_ms_p95 is None
    assert report.reasons["forward_ms_p95"] == "not within 9 s"
    assert report.reasons["by_groups.1"] == "not within 9 s"
    assert report.reasons["mouth_to_ear_ms_p95"] == "left out"
    assert report.by_groups == {}


def test_a_packet_is_live_when_what_was_kept_before_it_has_left() -> None:
    assert not is_live(0, 0.0)
    assert is_live(15, 0.0)
    assert not is_live(15, 20.0)  # 20 ms were kept, which takes 100 ms to catch up
    assert is_live(20, 20.0)
