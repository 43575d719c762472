"""Accounts, devices and the audit log of a data folder: what a running server and the command line share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.auth.audit import Audit
from server.auth.devices import Devices
from server.auth.passwords import Passwords
from server.auth.sealing import Sealer, load_sealer
from server.auth.users import Users
from server.clock import SystemClock
from server.config import Config
from server.datafolder import prepare_folder
from server.storage.engine import Database, open_database


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """All over one database."""

    database: Database
    clock: SystemClock
    audit: Audit
    users: Users
    devices: Devices
    sealer: Sealer
    passwords: Passwords


@contextlib.asynccontextmanager
async def open_people(config: Config) -> AsyncIterator[People]:
    """Open the data folder's database beside a running server, or in it. Raises StartError."""
    prepare_folder(config.data)
    sealer = load_sealer(config.data)
    clock = SystemClock()
    async with open_database(config.storage.url, config.data) as database:
        audit = Audit(database, clock)
        passwords = Passwords()
        try:
            yield People(
                database=database,
                clock=clock,
                audit=audit,
                users=Users(
                    database,
                    audit,
                    passwords,
                    clock,
                    password_min_length=config.auth.password_min_length,
                    server_name=config.server.name,
                ),
                devices=Devices(database, audit, sealer, clock),
                sealer=sealer,
                passwords=passwords,
            )
        finally:
            passwords.close()
