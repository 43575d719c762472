"""Credentials of devices: provision, list, revoke, renew, and who a bearer token is.

A unit is named by its name; one that does not exist is made. Cameras (kind "rtsp") have no token: we connect to them.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.auth.audit import Audit
from server.auth.permissions import Principal, Role
from server.auth.sealing import Sealer
from server.auth.tokens import device_of_token, hashed, new_device_token
from server.model.clock import Clock
from server.model.errors import BadRequest, Conflict, NotFound, NotLoggedIn, Refused
from server.model.ids import DeviceId, UnitId
from server.model.names import clean_name
from server.model.uuid7 import new_id
from server.storage.changes import bump
from server.storage.engine import Database
from server.storage.tables import devices, streams, units

UNIT_KINDS: Final = ("rescuer", "vehicle", "drone", "camera", "post")
MAIN: Final = "main"  # the channel every device has
DEFAULT_RTSP_PORT: Final = 554


class DeviceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One device as the command line lists it. Times wallclock s."""

    id: DeviceId
    name: str
    kind: str
    unit: str
    number: int
    created: float
    revoked: float | None
    rtsp_url: str | None


class Camera(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how to pull. `url` without credentials; `transport` "tcp" or "udp"."""

    url: str
    username: str = ""
    password: str = ""
    transport: str = "tcp"


def checked_rtsp_url(url: str) -> str:
    """Raises BadRequest. Networks and ports are checked where the connection is made."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise BadRequest(f"this is no address: {error}", field="url") from error
    if parts.scheme != "rtsp" or not parts.hostname or port == 0:
        raise BadRequest("a camera's address looks like rtsp://host:554/path", field="url")
    if parts.username or parts.password:
        raise BadRequest(
            "give user and password apart from the address: there it would be shown", field="url"
        )
    if len(url) > 1024 or any(ord(character) <= 32 for character in url):
        raise BadRequest("the address is too long or has spaces or control characters", field="url")
    return url


class Devices:
    def __init__(self, database: Database, audit: Audit, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._sealer = sealer
        self._clock = clock

    async def add(
        self,
        *,
        name: str,
        unit: str,
        unit_kind: str = "rescuer",
        camera: Camera | None = None,
        actor: str,
        address: str = "",
    ) -> tuple[DeviceRow, str]:
        """A new device with its channel "main", and its token, which is shown this once ("" for a camera).

        Raises BadRequest, Conflict (the unit has a device of that name), StorageAway.
        """
        name, unit = clean_name(name), clean_name(unit)
        if not name or not unit:
            raise BadRequest("a device and its unit need names", field="name" if not name else "unit")
        if unit_kind not in UNIT_KINDS:
            raise BadRequest(f"a unit is one of {', '.join(UNIT_KINDS)}", field="unit_kind")
        now = self._clock.wallclock()
        device = DeviceId(new_id(now))
        token = "" if camera else new_device_token(device)
        async with self._database.write() as connection:
            unit_id = await self._unit(connection, unit, unit_kind)
            known = select(func.count()).where(
                devices.c.unit_id == unit_id, devices.c.name == name, devices.c.revoked.is_(None)
            )
            if (await connection.execute(known)).scalar_one():
                raise Conflict(f"{unit!r} has a device {name!r} already", field="name")
            await connection.execute(
                insert(devices).values(
                    id=device,
                    unit_id=unit_id,
                    name=name,
                    kind="rtsp" if camera else "agent",
                    token_hash=hashed(token) if token else None,
                    created=now,
                    rtsp_url=checked_rtsp_url(camera.url) if camera else None,
                    rtsp_username=camera.username if camera else None,
                    sealed_password=self._sealer.seal(camera.password, device) if camera else None,
                    rtsp_transport=camera.transport if camera else None,
                )
            )
            await connection.execute(
                insert(streams).values(id=new_id(now), device_id=device, channel=MAIN, name=name)
            )
            await bump(connection)
            await self._audit.append_in(
                connection,
                actor=actor,
                action="device.add",
                object=device,
                address=address,
                detail=f"{unit}/{name}",
            )
        return await self.find(device), token

    async def all(self) -> list[DeviceRow]:
        """By unit number and name. Raises StorageAway."""
        return await self._rows()

    async def find(self, which: str) -> DeviceRow:
        """By id or by name. Raises NotFound, Conflict (several have that name), StorageAway."""
        rows = await self._rows()
        found = [row for row in rows if row.id == which] or [
            row for row in rows if row.name == which and row.revoked is None
        ]
        if not found:
            raise NotFound(f"there is no device {which!r}")
        if len(found) > 1:
            raise Conflict(f"{len(found)} devices are called {which!r}; name one by its id")
        return found[0]

    async def revoke(self, which: str, *, actor: str, address: str = "") -> DeviceRow:
        """Its token is worth nothing from now on; what it publishes ends within 2 s. Raises as `find`."""
        device = await self.find(which)
        now = self._clock.wallclock()
        await self._change(device, "device.revoke", {"revoked": now, "token_hash": None}, actor, address)
        return msgspec.structs.replace(device, revoked=now)

    async def renew_token(self, which: str, *, actor: str, address: str = "") -> tuple[DeviceRow, str]:
        """A new token; the old one is worth nothing. Raises as `find`, Conflict for a camera or a revoked device."""
        device = await self.find(which)
        if device.kind == "rtsp" or device.revoked is not None:
            raise Conflict(f"{device.name!r} has no token: it is revoked or a camera")
        token = new_device_token(device.id)
        await self._change(device, "device.token", {"token_hash": hashed(token)}, actor, address)
        return device, token

    async def principal(self, token: str) -> Principal:
        """Whose device token this is. Raises NotLoggedIn, Refused (`revoked`), StorageAway."""
        claimed = device_of_token(token)
        if claimed is None:
            raise NotLoggedIn("this is no device token")
        query = select(devices.c.id, devices.c.name, devices.c.token_hash, devices.c.revoked).where(
            devices.c.id == claimed
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is not None and row.revoked is not None:
            raise Refused("this device was revoked", code="revoked")
        if row is None or row.token_hash != hashed(token):
            raise NotLoggedIn("this device token is not known")
        return Principal(role=Role.DEVICE, id=row.id, name=row.name, device=row.id)

    async def _unit(self, connection: AsyncConnection, name: str, kind: str) -> UnitId:
        found = (await connection.execute(select(units.c.id).where(units.c.name == name).limit(1))).scalar()
        if found is not None:
            return UnitId(found)
        highest = (await connection.execute(select(func.max(units.c.number)))).scalar() or 0
        unit = UnitId(new_id(self._clock.wallclock()))
        await connection.execute(insert(units).values(id=unit, name=name, kind=kind, number=highest + 1))
        return unit

    async def _change(
        self, device: DeviceRow, action: str, values: dict[str, object], actor: str, address: str
    ) -> None:
        async with self._database.write() as connection:
            await connection.execute(update(devices).where(devices.c.id == device.id).values(values))
            await bump(connection)
            await self._audit.append_in(
                connection,
                actor=actor,
                action=action,
                object=device.id,
                address=address,
                detail=f"{device.unit}/{device.name}",
            )

    async def _rows(self) -> list[DeviceRow]:
        query = (
            select(devices, units.c.name.label("unit"), units.c.number)
            .join(units, units.c.id == devices.c.unit_id)
            .order_by(units.c.number, devices.c.name, devices.c.created)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).all()
        return [
            msgspec.convert({name: getattr(row, name) for name in DeviceRow.__struct_fields__}, DeviceRow)
            for row in rows
        ]
