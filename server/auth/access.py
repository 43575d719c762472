"""Who may publish and watch with a token: device tokens and stream tokens, looked up in the database each time.

A device publishes its own channels (a new one is made at its first use) and watches the streams of its own unit.
Anything else takes a stream token, which an officer makes for one stream, one direction and five minutes.
"""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import func, insert, select
from sqlalchemy.exc import IntegrityError

from server.auth.audit import Audit
from server.auth.devices import Devices
from server.auth.permissions import Action, require
from server.auth.tokens import STREAM_TOKEN, Direction, StreamTokens
from server.model.clock import Clock
from server.model.errors import BadRequest, NotFound, Refused, TooMany
from server.model.ids import DeviceId, StreamId
from server.model.uuid7 import new_id
from server.storage.changes import bump
from server.storage.engine import Database
from server.storage.tables import devices, streams

CHANNEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}", re.ASCII)
MAX_CHANNELS: Final = 8  # of one device


class TokenAccess:
    """Fulfils `server.api.access.Access`."""

    def __init__(
        self, known: Devices, tokens: StreamTokens, database: Database, audit: Audit, clock: Clock
    ) -> None:
        self._devices = known
        self._tokens = tokens
        self._database = database
        self._audit = audit
        self._clock = clock

    async def publisher(self, token: str, address: str, channel: str) -> tuple[DeviceId, StreamId]:
        """Raises NotLoggedIn, Refused, NotFound, BadRequest (no channel's name), TooMany (channels), StorageAway."""
        if not CHANNEL.fullmatch(channel):
            raise BadRequest("a channel is 1 to 32 letters, digits and . _ -", field="channel")
        if token.startswith(STREAM_TOKEN):
            grant = self._tokens.grant(token)
            device, named = await self._stream(grant.stream)
            if grant.direction != "publish" or named != channel:
                raise Refused("this stream token is for another channel or direction")
            return device, grant.stream
        who = await self._devices.principal(token)
        require(who, Action.STREAM_PUBLISH)
        device = DeviceId(who.id)
        return device, await self._channel(device, channel, who.actor, address)

    async def viewer(self, token: str, stream: StreamId, address: str) -> None:
        """Raises NotLoggedIn, Refused, NotFound, StorageAway."""
        if token.startswith(STREAM_TOKEN):
            self._tokens.check(token, stream, "play")
            await self._stream(stream)
            return
        who = await self._devices.principal(token)
        require(who, Action.STREAM_WATCH)
        device, _ = await self._stream(stream)
        unit = select(devices.c.unit_id).where(devices.c.id == device).scalar_subquery()
        query = select(devices.c.id).where(devices.c.id == who.id, devices.c.unit_id == unit)
        async with self._database.read() as connection:
            if (await connection.execute(query)).first() is None:
                raise Refused("a device watches the streams of its own unit only; ask for a stream token")

    async def issue(self, stream: StreamId, direction: Direction) -> str:
        """A stream token for a stream that is there. Raises NotFound, Refused (`revoked`), StorageAway."""
        device, _ = await self._stream(stream)
        return self._tokens.issue(stream, direction, device)

    async def _stream(self, stream: StreamId) -> tuple[DeviceId, str]:
        """The device and channel of a stream. Raises NotFound, Refused (`revoked`)."""
        query = (
            select(streams.c.device_id, streams.c.channel, devices.c.revoked)
            .join(devices, devices.c.id == streams.c.device_id)
            .where(streams.c.id == stream)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            raise NotFound("there is no such stream")
        if row.revoked is not None:
            raise Refused("the stream's device was revoked", code="revoked")
        return DeviceId(row.device_id), str(row.channel)

    async def _channel(self, device: DeviceId, channel: str, actor: str, address: str) -> StreamId:
        """The stream of a device's channel, made when it is new. Raises TooMany, StorageAway."""
        query = select(streams.c.id).where(streams.c.device_id == device, streams.c.channel == channel)
        async with self._database.read() as connection:
            known = (await connection.execute(query)).scalar()
        if known is not None:
            return StreamId(known)
        stream = StreamId(new_id(self._clock.wallclock()))
        count = select(func.count()).where(streams.c.device_id == device)
        try:
            async with self._database.write() as connection:
                if (await connection.execute(count)).scalar_one() >= MAX_CHANNELS:
                    raise TooMany(f"a device has at most {MAX_CHANNELS} channels")
                await connection.execute(
                    insert(streams).values(id=stream, device_id=device, channel=channel, name=channel)
                )
                await bump(connection)
                await self._audit.append_in(
                    connection,
                    actor=actor,
                    action="stream.add",
                    object=stream,
                    address=address,
                    detail=channel,
                )
        except IntegrityError:  # it was made at the same moment
            async with self._database.read() as connection:
                return StreamId((await connection.execute(query)).scalar_one())
        return stream
