"""H17: what is impossible is refused, what is implausible is flagged, the map is unharmed."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.positions.position import Track, distance, position_of, problem_of
from server.signalling.entities import Position
from server.signalling.messages import ReportedPosition

NOW = 1_800_000_000.0  # 2027


def report(**fields: Any) -> ReportedPosition:
    return msgspec.structs.replace(ReportedPosition(key="k", lat=31.2, lon=121.5, time=NOW), **fields)


def at(lat: float, lon: float, time: float) -> Position:
    return Position(lat=lat, lon=lon, accuracy=5.0, time=time)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"lat": 91.0}, "lat"),
        ({"lat": -90.001}, "lat"),
        ({"lat": math.nan}, "lat"),
        ({"lon": 180.5}, "lon"),
        ({"lon": -math.inf}, "lon"),
        ({"accuracy": -1.0}, "accuracy"),
        ({"altitude": 60_000.0}, "altitude"),
        ({"heading": 361.0}, "heading"),
        ({"speed": 1_001.0}, "speed"),
        ({"time": 0.0}, "time"),  # 1970
        ({"time": 4_291_747_200.0}, "time"),  # 2106
        ({"time": NOW + 121}, "time"),
        ({"time": NOW - 31 * 86_400}, "time"),
        ({"time": math.nan}, "time"),
    ],
)
def test_impossible(fields: dict[str, float], field: str) -> None:
    problem = problem_of(report(**fields), NOW)
    assert problem is not None
    assert problem.field == field


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"lat": 90.0, "lon": -180.0},
        {"lat": -90.0, "lon": 180.0},
        {"time": NOW + 119},
        {"time": NOW - 29 * 86_400},
        {"accuracy": 0.0, "altitude": -400.0, "heading": 360.0, "speed": 0.0},
    ],
)
def test_possible(fields: dict[str, float]) -> None:
    assert problem_of(report(**fields), NOW) is None


def test_distance() -> None:
    shanghai, beijing = at(31.2304, 121.4737, 0), at(39.9042, 116.4074, 0)
    assert distance(shanghai, beijing) == pytest.approx(1_067_000, rel=0.005)
    assert distance(at(0, 179.999, 0), at(0, -179.999, 0)) == pytest.approx(222, rel=0.01)
    assert distance(at(0, 0, 0), at(0, 180, 0)) == pytest.approx(20_015_000, rel=0.001)


def test_a_jump_of_500_km_is_suspect_and_not_shown() -> None:
    track = Track()
    assert track.add(at(31.0, 121.0, 100)) is False
    assert track.add(at(35.5, 121.0, 110)) is True  # 500 km in 10 s
    assert track.newest == at(31.0, 121.0, 100)
    assert track.add(at(31.001, 121.0, 120)) is False
    assert track.newest == at(31.001, 121.0, 120)


def test_two_that_agree_outvote_the_first() -> None:
    track = Track(at(0.0, 0.0, 100))  # the fix was wrong
    assert track.add(at(31.0, 121.0, 110)) is True
    assert track.add(at(31.001, 121.0, 120)) is False
    assert track.newest == at(31.001, 121.0, 120)


def test_a_long_way_in_a_long_time_is_no_jump() -> None:
    track = Track(at(31.0, 121.0, 0))
    assert track.add(at(39.9, 116.4, 3 * 3600)) is False


def test_an_older_report_is_kept_and_not_shown() -> None:
    track = Track(at(31.0, 121.0, 100))
    assert track.add(at(31.0, 121.001, 50)) is False
    assert track.newest == at(31.0, 121.0, 100)


numbers = st.none() | st.floats()


@given(st.floats(), st.floats(), st.floats(), numbers, numbers, numbers, numbers)
def test_any_numbers(
    lat: float,
    lon: float,
    time: float,
    accuracy: float | None,
    altitude: float | None,
    heading: float | None,
    speed: float | None,
) -> None:
    made = ReportedPosition(
        key="k",
        lat=lat,
        lon=lon,
        time=time,
        accuracy=accuracy,
        altitude=altitude,
        heading=heading,
        speed=speed,
    )
    if problem_of(made, NOW) is None:
        track = Track(at(31.0, 121.0, NOW))
        track.add(position_of(made))
        assert track.newest is not None
        assert -90 <= track.newest.lat <= 90
        assert -180 <= track.newest.lon <= 180
