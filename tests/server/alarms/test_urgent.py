"""The cameras of units in distress, as media is told of them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from server.alarms.alarm import Officer
from server.alarms.desk import Press
from server.alarms.urgent import UrgentStreams
from server.model.ids import DeviceId, GroupId, StreamId, UnitId, UserId
from support.control import Control, control
from support.waiting import until

WANG = Officer(id=UserId("u1"), name="王")


def told(centre: Control) -> list[set[str]]:
    return [set(call[1:]) for call in centre.media.calls if call[0] == "set_urgent"]


async def test_all_cameras_of_a_unit_are_urgent_from_its_alarm_until_that_is_closed(tmp_path: Path) -> None:
    async with control(tmp_path) as centre:
        helmet, seen = await centre.agent("头盔", "一号员")
        _, other = await centre.agent("无人机", "一号员")
        await centre.agent("别人的", "二号员")
        alarms = centre.talk.alarms
        task = asyncio.create_task(UrgentStreams(alarms, centre.roster, centre.media).run())
        alarm = alarms.press(
            Press(
                key="sos",
                kind="emergency",
                unit=UnitId(centre.unit("一号员").id),
                device=DeviceId(helmet),
                name="一号员",
                group=GroupId("g1"),
                stream=StreamId(seen),
                position=None,
                actor="test",
                address="",
            )
        )
        await until(lambda: told(centre) == [{seen, other}])
        _, third = await centre.agent("云台", "一号员")  # registered while the alarm is open
        await until(lambda: told(centre)[-1] == {seen, other, third})
        for act in ("acknowledge", "park", "resume"):
            await alarms.move(alarm.id, act, WANG, reason="等", seconds=60, actor="test", address="")
        assert len(told(centre)) == 2
        await alarms.move(alarm.id, "close", WANG, reason="已救出", seconds=0, actor="test", address="")
        await until(lambda: told(centre)[-1] == set())
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
