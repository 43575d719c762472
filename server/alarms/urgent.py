"""The cameras of units in distress: media must never refuse them, and takes their pictures away last."""

from __future__ import annotations

import asyncio

from server.alarms.desk import AlarmDesk
from server.model.ids import StreamId
from server.model.ports import MediaNode
from server.units.roster import Roster


class UrgentStreams:
    """`run` it: media is told whenever they are others."""

    def __init__(self, alarms: AlarmDesk, roster: Roster, node: MediaNode) -> None:
        self._alarms = alarms
        self._roster = roster
        self._node = node
        self._look = asyncio.Event()
        alarms.on_change(self._look.set)
        roster.on_reload(self._look.set)

    @property
    def streams(self) -> frozenset[StreamId]:
        """Of every device of a unit that has an open alarm, and of the device that raised it."""
        directory = self._roster.directory
        alarms = self._alarms.open
        units = {alarm.unit for alarm in alarms if alarm.unit}
        devices = {alarm.device for alarm in alarms} | {
            device.id for device in directory.devices.values() if device.unit in units
        }
        return frozenset(stream.id for device in devices for stream in directory.streams_of(device)) | {
            alarm.stream for alarm in alarms if alarm.stream
        }

    async def run(self) -> None:
        """Until cancelled."""
        told: frozenset[StreamId] = frozenset()
        self._look.set()
        while True:
            await self._look.wait()
            self._look.clear()
            if (streams := self.streams) != told:
                await self._node.set_urgent(streams)
                told = streams
