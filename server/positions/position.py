"""Which reported positions are possible, and which are plausible after the ones before. Pure.

Impossible ones (off the globe, from a clock that cannot be right) are refused. An implausible jump is kept but flagged
`suspect` and not shown, until a second report agrees with it: then it was the earlier one that was wrong.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

from server.signalling.entities import Position
from server.signalling.messages import ReportedPosition

EARTH_RADIUS: Final = 6_371_008.8  # m, mean (IUGG)
OLDEST: Final = 30 * 86_400.0  # s before its receipt: reports wait in a phone that is cut off
FUTURE: Final = 120.0  # s after its receipt: clocks differ
FASTEST: Final = 340.0  # m/s: faster than any aircraft we follow
NEAR: Final = 2_000.0  # m that are no jump, however fast: fixes scatter

# Field -> smallest and largest value; None is always allowed where the message allows it.
RANGES: Final[dict[str, tuple[float, float]]] = {
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 180.0),
    "accuracy": (0.0, 100_000.0),  # m
    "altitude": (-500.0, 50_000.0),  # m
    "heading": (0.0, 360.0),  # degrees
    "speed": (0.0, 1_000.0),  # m/s
}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    field: str
    message: str


def problem_of(report: ReportedPosition, wallclock: float) -> Problem | None:
    """Why a report that is received at `wallclock` is impossible; None = it is not."""
    for field, (least, most) in RANGES.items():
        value = getattr(report, field)
        if value is None:
            continue
        if not math.isfinite(value) or not least <= value <= most:
            return Problem(field=field, message=f"{field} is not between {least:g} and {most:g}")
    if not math.isfinite(report.time) or report.time < wallclock - OLDEST:
        return Problem(field="time", message="the time is more than 30 days ago: is the clock right?")
    if report.time > wallclock + FUTURE:
        return Problem(field="time", message="the time is in the future: is the clock right?")
    return None


def position_of(report: ReportedPosition) -> Position:
    """What of a report is shown."""
    return Position(
        lat=report.lat,
        lon=report.lon,
        accuracy=report.accuracy,
        time=report.time,
        altitude=report.altitude,
        heading=report.heading,
        speed=report.speed,
    )


def distance(a: Position, b: Position) -> float:
    """Great-circle distance in m (haversine)."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half_lat = (lat_b - lat_a) / 2
    half_lon = math.radians(b.lon - a.lon) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return 2 * EARTH_RADIUS * math.asin(math.sqrt(min(1.0, chord)))


def is_plausible(before: Position, after: Position) -> bool:
    """Whether somebody can have come from one to the other in the time between."""
    return distance(before, after) <= NEAR + FASTEST * abs(after.time - before.time)


class Track:
    """The newest plausible position of one unit."""

    def __init__(self, newest: Position | None = None) -> None:
        self.newest = newest
        self._suspect: Position | None = None

    def add(self, position: Position) -> bool:
        """Take a possible position; True = it is suspect. `newest` moves when it is not and is not older."""
        if self.newest is None or is_plausible(self.newest, position):
            self._suspect = None
            self._move(position)
            return False
        if self._suspect is not None and is_plausible(self._suspect, position):
            self._suspect = None
            self.newest = position  # two agree against one
            return False
        self._suspect = position
        return True

    def _move(self, position: Position) -> None:
        if self.newest is None or position.time >= self.newest.time:
            self.newest = position
