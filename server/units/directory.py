"""What is registered, as one immutable picture: units, their devices, the devices' streams, join links. Pure.

`server.units.registration` reads it from the database; a new picture replaces the old one whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from server.model.ids import DeviceId, LinkId, StreamId, UnitId, UserId


class UnitRecord(msgspec.Struct, frozen=True, kw_only=True):
    id: UnitId
    name: str
    kind: str
    number: int


class CameraRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Where to pull a camera; `sealed` is its password, sealed for its device id."""

    url: str
    username: str
    sealed: bytes
    transport: str


class DeviceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Times UTC s of the steady clock. `user`: the account whose own phone it is."""

    id: DeviceId
    unit: UnitId
    name: str
    kind: str
    created: float
    revoked: float | None
    user: UserId | None = None
    camera: CameraRecord | None = None


class StreamRecord(msgspec.Struct, frozen=True, kw_only=True):
    id: StreamId
    device: DeviceId
    channel: str
    name: str


class LinkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A join link; `secret_hash` is the SHA-256 of its secret in hex. Times UTC s of the steady clock."""

    id: LinkId
    secret_hash: str
    device: DeviceId
    unit: UnitId
    name: str
    created: float
    expires: float
    created_by: str  # a name
    used: float | None = None
    revoked: float | None = None

    def ended(self, now: float) -> str:
        """Why it is worth nothing, as a goodbye reason; "" = it is good."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if now >= self.expires else ""

    @property
    def end(self) -> float:
        """When it ends or ended."""
        return self.expires if self.revoked is None else min(self.revoked, self.expires)


class Directory:
    """Indexes over the records."""

    def __init__(
        self,
        units: Iterable[UnitRecord] = (),
        devices: Iterable[DeviceRecord] = (),
        streams: Iterable[StreamRecord] = (),
        links: Iterable[LinkRecord] = (),
    ) -> None:
        self.units: Mapping[UnitId, UnitRecord] = {unit.id: unit for unit in units}
        self.devices: Mapping[DeviceId, DeviceRecord] = {device.id: device for device in devices}
        self.streams: Mapping[StreamId, StreamRecord] = {stream.id: stream for stream in streams}
        self.links: Mapping[LinkId, LinkRecord] = {link.id: link for link in links}
        self._by_hash = {link.secret_hash: link for link in self.links.values()}
        self._of_user = {device.user: device for device in self.devices.values() if device.user}
        self._channels = {(stream.device, stream.channel): stream for stream in self.streams.values()}
        self._streams_of: dict[DeviceId, list[StreamRecord]] = {}
        for stream in self.streams.values():
            self._streams_of.setdefault(stream.device, []).append(stream)
        self._links_of: dict[DeviceId, list[LinkRecord]] = {}
        for link in self.links.values():
            self._links_of.setdefault(link.device, []).append(link)

    def link_of_hash(self, secret_hash: str) -> LinkRecord | None:
        return self._by_hash.get(secret_hash)

    def device_of_user(self, user: UserId) -> DeviceRecord | None:
        return self._of_user.get(user)

    def channel(self, device: DeviceId, channel: str) -> StreamRecord | None:
        return self._channels.get((device, channel))

    def streams_of(self, device: DeviceId) -> list[StreamRecord]:
        return self._streams_of.get(device, [])

    def gone_since(self, device: DeviceRecord, now: float) -> float | None:
        """Since when the device may not connect any more: revoked, or all the links that made it have ended."""
        links = self._links_of.get(device.id, [])
        ends = [link.end for link in links] if links and device.user is None else []
        by_links = max(ends) if ends and max(ends) <= now else None
        moments = [moment for moment in (device.revoked, by_links) if moment is not None]
        return min(moments, default=None)
