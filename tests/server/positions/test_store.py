"""Positions on disk: once each, acknowledged when written, the newest known after a restart (P17)."""

from __future__ import annotations

from sqlalchemy import text

from server.model.ids import DeviceId, UnitId
from server.positions.store import Positions
from server.signalling.messages import ReportedPosition
from support.control import Control


def report(centre: Control, key: str, lat: float = 31.0, ago: float = 0.0) -> ReportedPosition:
    return ReportedPosition(key=key, lat=lat, lon=121.0, time=centre.clock.wallclock() - ago, accuracy=5.0)


async def place(centre: Control) -> tuple[DeviceId, UnitId]:
    device, _ = await centre.agent("头盔", "一号员")
    return device, centre.roster.directory.devices[device].unit


async def rows(centre: Control) -> list[tuple[str, bool]]:
    async with centre.database.read() as connection:
        found = await connection.execute(text("SELECT key, suspect FROM positions ORDER BY time"))
        return [(row.key, bool(row.suspect)) for row in found]


async def test_reports_are_written_once_each(centre: Control) -> None:
    device, unit = await place(centre)
    batch = [report(centre, "a", ago=20), report(centre, "b", ago=10), report(centre, "c")]
    stored, newest = await centre.positions.report(device, unit, batch)
    assert (stored.stored, stored.refused) == (3, ())
    assert newest is not None
    assert newest.time == centre.clock.wallclock()
    again, _ = await centre.positions.report(device, unit, [*batch, report(centre, "d"), report(centre, "d")])
    assert again.stored == 5  # all of them are on disk
    assert [key for key, _ in await rows(centre)] == ["a", "b", "c", "d"]


async def test_impossible_reports_do_not_hold_up_the_others(centre: Control) -> None:
    device, unit = await place(centre)
    stored, newest = await centre.positions.report(
        device,
        unit,
        [report(centre, "bad", lat=91.0), report(centre, "old", ago=9e9), report(centre, "good")],
    )
    assert stored.stored == 1
    assert [(one.key, one.field) for one in stored.refused] == [("bad", "lat"), ("old", "time")]
    assert newest is not None
    assert newest.lat == 31.0
    assert await rows(centre) == [("good", False)]


async def test_a_jump_is_kept_flagged_and_not_shown(centre: Control) -> None:
    device, unit = await place(centre)
    await centre.positions.report(device, unit, [report(centre, "a", ago=10)])
    _, newest = await centre.positions.report(device, unit, [report(centre, "jump", lat=35.5, ago=5)])
    assert newest is not None
    assert newest.lat == 31.0
    _, newest = await centre.positions.report(device, unit, [report(centre, "agrees", lat=35.5)])
    assert newest is not None
    assert newest.lat == 35.5
    assert await rows(centre) == [("a", False), ("jump", True), ("agrees", False)]


async def test_the_newest_is_known_after_a_restart(centre: Control) -> None:
    device, unit = await place(centre)
    await centre.positions.report(
        device, unit, [report(centre, "a", ago=10), report(centre, "b", lat=31.001)]
    )
    await centre.positions.report(device, unit, [report(centre, "jump", lat=60.0)])
    again = Positions(centre.database, centre.clock)
    found = await again.load()
    assert {one: position.lat for one, position in found.items()} == {unit: 31.001}
    _, newest = await again.report(device, unit, [report(centre, "late", ago=300)])
    assert newest == found[unit]


async def test_nothing_to_write(centre: Control) -> None:
    device, unit = await place(centre)
    stored, newest = await centre.positions.report(device, unit, [])
    assert (stored.stored, newest) == (0, None)
