"""One type per noun, so that a stream is never passed for a device. All are UUIDv7 text unless said otherwise."""

from __future__ import annotations

from typing import NewType

UserId = NewType("UserId", str)
UnitId = NewType("UnitId", str)
DeviceId = NewType("DeviceId", str)
StreamId = NewType("StreamId", str)
SpurtId = NewType("SpurtId", str)  # one transmission in talk groups, and its recording
LinkId = NewType("LinkId", str)  # a join link; the secret in its address is something else
MediaSessionId = NewType("MediaSessionId", str)  # one media connection; secret, 128 random bits, URL-safe
ClientId = NewType("ClientId", str)  # one WebSocket client (tab), survives its reconnections
LegId = NewType("LegId", str)  # one way of one member into a group: a console tab, a phone, a radio
GroupId = NewType("GroupId", str)
PatchId = NewType("PatchId", str)  # "P1" to "P9"
FloorId = NewType("FloorId", str)  # the GroupId or PatchId it arbitrates
AlarmId = NewType("AlarmId", str)
