"""The name of this system: made once, kept in the database, shared by all nodes that use it."""

from __future__ import annotations

from typing import Final

from sqlalchemy import insert, select

from server.model.uuid7 import new_id
from server.storage.engine import Database
from server.storage.tables import settings

KEY: Final = "system.id"


async def system_id(database: Database, wallclock: float) -> str:
    """A UUIDv7, the same for ever. Raises StorageAway."""
    query = select(settings.c.value).where(settings.c.key == KEY)
    async with database.write() as connection:
        known = (await connection.execute(query)).scalar()
        if known is not None:
            return str(known)
        made = new_id(wallclock)
        await connection.execute(insert(settings).values(key=KEY, value=made))
        return made
