"""The one object of `fengsui bench relay --json`, made from made-up measurements."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from bench.report import HalfLoad, Measurements, Run, make_report, percentile

MS = 1_000_000  # ns


def run(
    subject: str,
    publishers: int,
    viewers: int,
    us: float,
    *,
    kinds: str = "av",
    idle: float = 0.5,
    number: int = 1,
) -> Run:
    """10,000 packets in 2 s, `us` for each; half a second of processor time a second is spent anyway."""
    return Run(
        subject=subject,
        publishers=publishers,
        viewers=viewers,
        kinds=kinds,
        round=number,
        seconds=2.0,
        cpu_us=us * 10_000,
        delivered=10_000,
        expected=10_000,
        idle=idle,
        resting_us_per_s=500.0,
    )


def half_load(*, idle: float = 0.4, joins_idle: float = 0.4) -> HalfLoad:
    """100 delays of 1 to 100 ms, ten joins of 0.1 to 1 s."""
    return HalfLoad(
        publishers=20,
        deliveries=200,
        idle=idle,
        delivered=1000,
        expected=1000,
        shares={"media": 0.25},
        key_delays=[each * MS for each in range(1, 11)],
        delta_delays=[each * MS for each in range(11, 91)],
        sound_delays=[each * MS for each in range(91, 101)],
        direct_delays=[MS // 2],
        joins=[each / 10 for each in range(1, 11)],
        joins_answered=[0.01] * 10,
        joins_connected=[0.02] * 10,
        joins_failed=0,
        joins_idle=joins_idle,
    )


def measurements(**changes: Any) -> Measurements:
    plain: dict[str, Any] = {
        "machine": {"processor": "made up", "cores": 2},
        "versions": {"fengsui": "0"},
        "parameters": {"rounds": 3},
        "viewers": (10, 400),
        "compared_viewers": 100,
        "runs": [
            run("ours", 1, 400, 4.8, kinds="v"),
            run("ours", 40, 10, 6.0, kinds="v"),
            run("ours", 1, 100, 5.0),
            run("ours", 1, 100, 7.0, number=2),
            run("ours", 1, 100, 4.0, number=3),
            run("janus", 1, 100, 20.0),
            run("bare_loop", 1, 100, 2.5),
        ],
        "memory_kb": {0: 100_000, 400: 180_000},
        "half_load": [half_load()],
    }
    return Measurements(**(plain | changes))


def test_the_figures_by_name() -> None:
    report = json.loads(msgspec.json.encode(make_report(measurements())))
    assert report["bench"] == "relay"
    assert report["machine"]["cores"] == 2
    assert report["method"]["compared_viewers"] == 100
    assert report["cpu_us_per_packet"] == 5.0  # the median of 5, 7 and 4
    assert report["ratio_to_janus"] == 0.25
    assert report["ratio_to_bare_loop"] == 2.0
    assert report["ratio_flat"] == 0.8
    assert report["kb_per_viewer"] == 200.0
    assert report["join_ms_p95"] == 1000.0
    assert report["added_delay_ms_p50"] == 50.0
    assert report["added_delay_ms_p99"] == 99.0
    assert report["added_delay_ms_by_kind"]["direct"]["p99"] == 0.5
    assert report["direct_delay_ms_p99"] == 0.5
    assert report["cpu_us_per_packet_by_viewers"] == {"10": 6.0, "400": 4.8}
    assert report["runs"][0]["net_us_per_packet"] == 4.7  # 48,000 us without 2 s of 500
    assert report["idle_least"] == 0.5
    assert report["reasons"] == {}
    assert len(report["runs"]) == 7


def test_without_janus_its_ratio_is_null_and_says_why() -> None:
    runs = [each for each in measurements().runs if each.subject != "janus"]
    report = make_report(measurements(runs=runs, janus_missing="Janus is not installed"))
    assert report.ratio_to_janus is None
    assert report.reasons == {"ratio_to_janus": "Janus is not installed"}
    assert report.ratio_to_bare_loop == 2.0


def test_a_busy_machine_voids_what_was_measured_then_and_nothing_else() -> None:
    runs = [
        run("ours", 1, 100, 5.0, idle=0.2),
        run("ours", 1, 100, 50.0, idle=0.09, number=2),
        run("janus", 1, 100, 20.0, idle=0.05),
        run("bare_loop", 1, 100, 2.5),
    ]
    report = make_report(
        measurements(runs=runs, viewers=(100,), memory_kb={0: 1000}, half_load=[half_load(idle=0.02)])
    )
    assert report.cpu_us_per_packet == 5.0
    assert report.idle_least == 0.2
    assert report.ratio_to_janus is None
    assert (
        report.reasons["ratio_to_janus"] == "janus with 1 × 100 viewers: void, the machine was only 5% idle"
    )
    assert report.reasons["added_delay_ms_p99"] == "void, the machine was only 2% idle"
    assert report.added_delay_ms_p99 is None
    assert report.join_ms_p95 == 1000.0  # the machine was idle enough then
    assert (report.ratio_flat, report.reasons["ratio_flat"]) == (None, "it takes two numbers of viewers")
    assert (report.kb_per_viewer, report.reasons["kb_per_viewer"]) == (None, "was not measured")
    assert [each["void"] for each in report.runs] == [
        "",
        "the machine was only 9% idle",
        "the machine was only 5% idle",
        "",
    ]


def test_packets_that_did_not_arrive_void_a_run() -> None:
    lossy = msgspec.structs.replace(run("ours", 1, 100, 5.0), delivered=9_400)
    assert lossy.void == "only 9400 of 10000 packets were delivered"
    assert msgspec.structs.replace(lossy, delivered=9_500).void == ""
    nothing = msgspec.structs.replace(lossy, delivered=0)
    report = make_report(measurements(runs=[nothing], janus_missing="-", half_load=[]))
    assert report.cpu_us_per_packet is None
    assert report.ratio_to_bare_loop is None
    assert (
        report.reasons["cpu_us_per_packet"]
        == "ours with 1 × 100 viewers: void, only 0 of 10000 packets were delivered"
    )
    assert report.reasons["join_ms_p95"] == "was not measured"
    assert report.runs[0]["us_per_packet"] is None


def test_what_was_broken_off_says_so() -> None:
    broken = {"cost": "not within 180 s", "half_load": "the server refuses"}
    report = make_report(measurements(runs=[], half_load=[], memory_kb={}, broken_off=broken))
    assert report.reasons == {
        "cpu_us_per_packet": "ours with 1 × 100 viewers: not within 180 s",
        "ratio_to_janus": "ours with 1 × 100 viewers: not within 180 s",
        "ratio_to_bare_loop": "ours with 1 × 100 viewers: not within 180 s",
        "cpu_us_per_packet_by_viewers": "ours with 40 × 10 viewers: not within 180 s",
        "ratio_flat": "ours with 40 × 10 viewers: not within 180 s",
        "kb_per_viewer": "was not measured",
        "join_ms_p95": "the server refuses",
        "added_delay_ms_p99": "the server refuses",
        "added_delay_ms_p95": "the server refuses",
        "added_delay_ms_p50": "the server refuses",
        "direct_delay_ms_p99": "the server refuses",
    }


def test_a_later_measurement_at_half_load_counts_when_the_first_was_void() -> None:
    report = make_report(measurements(half_load=[half_load(idle=0.01, joins_idle=0.01), half_load()]))
    assert report.added_delay_ms_p99 == 99.0
    assert report.join_ms["picture_p50"] == 500.0


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([5.0], 99) == 5.0
    assert percentile(range(1, 101), 95) == 95
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([1, 2], 50) == 1
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)
