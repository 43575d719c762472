"""Reads what is registered, and registers what a running server makes: join links and phones of accounts.

Devices with a token and cameras are made by `server.auth.devices`. Every write bumps `changes` in its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.auth.audit import Audit
from server.auth.permissions import Principal, Role
from server.auth.tokens import hashed, new_link_secret
from server.model.clock import Clock
from server.model.errors import BadRequest, NotFound, TooMany
from server.model.ids import DeviceId, LinkId, StreamId, UnitId, UserId
from server.model.names import clean_name
from server.model.uuid7 import new_id
from server.storage.changes import bump
from server.storage.engine import Database
from server.storage.tables import devices, join_links, streams, units, users
from server.units.directory import (
    CameraRecord,
    DeviceRecord,
    Directory,
    LinkRecord,
    StreamRecord,
    UnitRecord,
)

MAIN: Final = "main"  # the channel every device has
MAX_DEVICES: Final = 10_000
HISTORY: Final = (
    86_400.0  # s that a link that ended, or a device that may not connect any more, is still shown
)


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """When (steady s) and from where a join link was last used."""

    at: float
    address: str


class Registration:
    """`who` and `address` of each call go into the audit log."""

    def __init__(self, database: Database, audit: Audit, clock: Clock) -> None:
        self._database = database
        self._audit = audit
        self._clock = clock

    async def load(self) -> Directory:
        """Everything that is registered, without what ended more than a day ago. Raises StorageAway."""
        since = self._clock.steady() - HISTORY
        async with self._database.read() as connection:
            unit_rows = (await connection.execute(select(units))).all()
            device_rows = (
                await connection.execute(
                    select(devices).where(devices.c.revoked.is_(None) | (devices.c.revoked > since))
                )
            ).all()
            stream_rows = (await connection.execute(select(streams))).all()
            link_rows = (
                await connection.execute(
                    select(join_links, users.c.name.label("creator"))
                    .outerjoin(users, users.c.id == join_links.c.created_by)
                    .where(join_links.c.device_id.is_not(None))
                )
            ).all()
        links = [
            LinkRecord(
                id=row.id,
                secret_hash=row.token_hash,
                device=row.device_id,
                unit=row.unit_id,
                name=row.name,
                created=row.created,
                expires=row.expires,
                created_by=row.creator or "",
                used=row.used,
                revoked=row.revoked,
            )
            for row in link_rows
        ]
        every = Directory(
            units=[
                UnitRecord(id=row.id, name=row.name, kind=row.kind, number=row.number) for row in unit_rows
            ],
            devices=[_device(row._asdict()) for row in device_rows],
            streams=[
                StreamRecord(id=row.id, device=row.device_id, channel=row.channel, name=row.name)
                for row in stream_rows
            ],
            links=links,
        )
        return _without_old(every, since, self._clock.steady())

    async def create_link(
        self, *, name: str, unit: str, hours: float, who: Principal, address: str
    ) -> tuple[LinkId, str]:
        """A join link with a phone of its own, and its secret, which is kept nowhere.

        The phone belongs to the unit with the id `unit`, else to the one called `name`, made when there is none.
        Raises BadRequest, NotFound, TooMany, StorageAway.
        """
        name = clean_name(name)
        if not name and not unit:
            raise BadRequest("a join link needs a name", field="name")
        secret = new_link_secret()
        now = self._clock.steady()
        link, device = LinkId(new_id(now)), DeviceId(new_id(now))
        async with self._database.write() as connection:
            if unit:
                found = (await connection.execute(select(units.c.name).where(units.c.id == unit))).scalar()
                if found is None:
                    raise NotFound("there is no such unit", field="unit")
                unit_id, name = UnitId(unit), name or found
            else:
                unit_id = await self._unit_called(connection, name)
            await self._phone(connection, device, unit_id, name, None)
            await connection.execute(
                insert(join_links).values(
                    id=link,
                    token_hash=hashed(secret),
                    device_id=device,
                    unit_id=unit_id,
                    name=name,
                    created=now,
                    expires=now + hours * 3600,
                    created_by=who.id,
                )
            )
            await bump(connection)
            await self._audit.append_in(
                connection,
                actor=who.actor,
                action="link.create",
                object=link,
                address=address,
                detail=f"{name}, {hours:g} h",
            )
        return link, secret

    async def revoke_link(self, link: str, *, who: Principal, address: str) -> None:
        """Raises NotFound, StorageAway. A link that has ended already stays as it is."""
        async with self._database.write() as connection:
            row = (await connection.execute(select(join_links).where(join_links.c.id == link))).first()
            if row is None:
                raise NotFound("there is no such join link", field="link")
            if row.revoked is not None:
                return
            await connection.execute(
                update(join_links).where(join_links.c.id == link).values(revoked=self._clock.steady())
            )
            await bump(connection)
            await self._audit.append_in(
                connection,
                actor=who.actor,
                action="link.revoke",
                object=link,
                address=address,
                detail=row.name,
            )

    async def rename_unit(self, unit: str, name: str, *, who: Principal, address: str) -> None:
        """Raises BadRequest, NotFound, StorageAway."""
        name = clean_name(name)
        if not name:
            raise BadRequest("a unit needs a name", field="name")
        async with self._database.write() as connection:
            before = (await connection.execute(select(units.c.name).where(units.c.id == unit))).scalar()
            if before is None:
                raise NotFound("there is no such unit", field="unit")
            await connection.execute(update(units).where(units.c.id == unit).values(name=name))
            await bump(connection)
            await self._audit.append_in(
                connection,
                actor=who.actor,
                action="unit.rename",
                object=unit,
                address=address,
                detail=f"{before} → {name}",
            )

    async def phone_of(self, who: Principal, *, address: str) -> DeviceId:
        """The phone of a field account, made with a unit of its own at the first use. Raises TooMany, StorageAway."""
        now = self._clock.steady()
        async with self._database.write() as connection:
            found = (
                await connection.execute(select(devices.c.id).where(devices.c.user_id == who.id))
            ).scalar()
            if found is not None:
                return DeviceId(found)
            name = clean_name(who.name)
            device = DeviceId(new_id(now))
            unit = await self._new_unit(connection, name)
            await self._phone(connection, device, unit, name, UserId(who.id))
            await bump(connection)
            await self._audit.append_in(
                connection,
                actor=who.actor,
                action="device.add",
                object=device,
                address=address,
                detail=f"{name}, the account's own phone",
            )
        return device

    async def links_used(self, used: Mapping[LinkId, Use]) -> None:
        """Note when links were last used; the first use of each is audited. Raises StorageAway."""
        async with self._database.write() as connection:
            for link, use in used.items():
                row = (await connection.execute(select(join_links).where(join_links.c.id == link))).first()
                if row is None:
                    continue
                if row.used is None:
                    await self._audit.append_in(
                        connection,
                        actor=f"{Role.GUEST}:{link}:{row.name}",
                        action="link.use",
                        object=link,
                        address=use.address,
                        detail="first use",
                    )
                await connection.execute(
                    update(join_links).where(join_links.c.id == link).values(used=use.at)
                )

    async def _phone(
        self,
        connection: AsyncConnection,
        device: DeviceId,
        unit: UnitId,
        name: str,
        user: UserId | None,
    ) -> None:
        count = (await connection.execute(select(func.count()).select_from(devices))).scalar_one()
        if count >= MAX_DEVICES:
            raise TooMany(f"there are {count} devices, more than {MAX_DEVICES} are not kept")
        now = self._clock.steady()
        await connection.execute(
            insert(devices).values(
                id=device, unit_id=unit, name=name, kind="phone", created=now, user_id=user
            )
        )
        await connection.execute(
            insert(streams).values(id=StreamId(new_id(now)), device_id=device, channel=MAIN, name=name)
        )

    async def _unit_called(self, connection: AsyncConnection, name: str) -> UnitId:
        found = (
            await connection.execute(
                select(units.c.id).where(units.c.name == name).order_by(units.c.number).limit(1)
            )
        ).scalar()
        return UnitId(found) if found is not None else await self._new_unit(connection, name)

    async def _new_unit(self, connection: AsyncConnection, name: str) -> UnitId:
        unit = UnitId(new_id(self._clock.wallclock()))
        highest = (await connection.execute(select(func.max(units.c.number)))).scalar() or 0
        await connection.execute(insert(units).values(id=unit, name=name, kind="rescuer", number=highest + 1))
        return unit


def _device(row: dict[str, object]) -> DeviceRecord:
    camera = None
    if row["kind"] == "rtsp" and row["rtsp_url"]:
        camera = CameraRecord(
            url=str(row["rtsp_url"]),
            username=str(row["rtsp_username"] or ""),
            sealed=msgspec.convert(row["sealed_password"] or b"", bytes),
            transport=str(row["rtsp_transport"] or "tcp"),
        )
    fields = {
        "id": row["id"],
        "unit": row["unit_id"],
        "name": row["name"],
        "kind": row["kind"],
        "created": row["created"],
        "revoked": row["revoked"],
        "user": row["user_id"],
        "camera": camera,
    }
    return msgspec.convert(fields, DeviceRecord)


def _without_old(every: Directory, since: float, now: float) -> Directory:
    """Without devices that may not connect since before `since`, their streams and links."""
    kept = {
        device.id: device
        for device in every.devices.values()
        if (gone := every.gone_since(device, now)) is None or gone > since
    }
    return Directory(
        units=every.units.values(),
        devices=kept.values(),
        streams=[stream for stream in every.streams.values() if stream.device in kept],
        links=[link for link in every.links.values() if link.device in kept and link.end > since],
    )
