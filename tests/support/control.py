"""The control plane without HTTP and with a media node that a test moves: real database, clock by hand."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import insert, select

from server.auth.audit import Audit
from server.auth.devices import Camera, Devices
from server.auth.permissions import Principal, Role
from server.auth.sealing import Sealer
from server.auth.sessions import Session, Sessions
from server.auth.users import User
from server.groups.floor import FloorRules
from server.media_events import MediaEvents
from server.model.ids import ClientId, DeviceId, StreamId, UserId
from server.model.uuid7 import new_id
from server.positions.store import Positions
from server.recordings.evidence import Evidence
from server.recordings.index import SpurtIndex
from server.recordings.recorder import SpurtRecorder
from server.recordings.shown import HoldsShown
from server.signalling.clients import Admission, Client, Clients
from server.signalling.entities import Device, Stream, Unit
from server.signalling.messages import User as WireUser
from server.signalling.table import Services
from server.state import EntityStore, View
from server.storage.changes import ChangeWatch
from server.storage.engine import Database, open_database
from server.storage.tables import users
from server.talk import Talk, make_talk
from server.units.presence import Presence
from server.units.registration import Registration
from server.units.roster import Roster
from server.video.catalogue import Catalogue
from support.clock import FakeClock
from support.fake_media import FakeMedia

FIRST_REVISION = 5_000
BASE = "https://fengsui.test:8443"


class RunningClock(FakeClock):
    """Goes by itself, and may be moved forward besides."""

    def __init__(self) -> None:
        super().__init__()
        self._began = time.monotonic()

    def now(self) -> float:
        return super().now() + time.monotonic() - self._began

    def steady(self) -> float:
        return super().steady() + time.monotonic() - self._began

    def wallclock(self) -> float:
        return super().wallclock() + time.monotonic() - self._began


@dataclass(kw_only=True)
class Control:
    """Everything that `Services` works with, and a few deeds."""

    database: Database
    clock: FakeClock
    audit: Audit
    sealer: Sealer
    sessions: Sessions
    devices: Devices
    store: EntityStore
    presence: Presence
    registration: Registration
    roster: Roster
    events: MediaEvents
    media: FakeMedia
    catalogue: Catalogue
    positions: Positions
    talk: Talk
    services: Services

    async def user(self, name: str, role: Role) -> User:
        user = User(
            id=UserId(new_id(self.clock.wallclock())),
            username=name,
            name=name,
            role=role,
            disabled=False,
            created=self.clock.wallclock(),
        )
        async with self.database.write() as connection:
            await connection.execute(
                insert(users).values(
                    id=user.id,
                    username=name,
                    name=name,
                    role=role,
                    created=user.created,
                    password_hash="none",
                )
            )
        return user

    async def log_in(self, name: str, role: Role) -> tuple[str, Session]:
        """A new account's cookie and session."""
        return await self.sessions.open(await self.user(name, role), address="192.0.2.1", agent="test")

    async def agent(self, name: str, unit: str) -> tuple[DeviceId, StreamId]:
        """A device with a token, and its stream."""
        row, _ = await self.devices.add(name=name, unit=unit, actor="test")
        return row.id, await self._main(row.id)

    async def camera(self, name: str, url: str, password: str = "") -> tuple[DeviceId, StreamId]:
        row, _ = await self.devices.add(
            name=name,
            unit=name,
            unit_kind="camera",
            camera=Camera(url=url, username="viewer" if password else "", password=password),
            actor="test",
        )
        return row.id, await self._main(row.id)

    async def _main(self, device: DeviceId) -> StreamId:
        await self.roster.reload()
        stream = self.roster.directory.channel(device, "main")
        assert stream is not None
        return stream.id

    def client(self, who: Principal, *, media_kind: str = "") -> Client:
        """A client as if it had been admitted; with `media_kind` it has a media session."""
        device = self.roster.directory.devices.get(DeviceId(who.device))
        stream = self.roster.directory.channel(device.id, "main") if device else None
        admission = Admission(
            principal=who,
            user=WireUser(id=who.id, name=who.name, role=who.role, permissions=()),
            view=View(kinds=frozenset({"unit"}), everything=True),
            stream=stream.id if stream else "",
            address="192.0.2.7",
            base=BASE,
        )
        client = Client((f"{who.role}:{who.id}", ClientId(secrets.token_hex(8))), admission)
        return client

    # what clients see

    def unit(self, which: str) -> Unit:
        return next(
            one for one in self.store.all("unit") if isinstance(one, Unit) and which in (one.id, one.name)
        )

    def device(self, which: str) -> Device:
        found = self.store.get("device", which)
        assert isinstance(found, Device)
        return found

    def stream(self, which: str) -> Stream:
        self.catalogue.refresh()
        found = self.store.get("stream", which)
        assert isinstance(found, Stream)
        return found


@contextlib.asynccontextmanager
async def control(
    folder: Path,
    *,
    url: str = "",
    rtsp_enabled: bool = True,
    media_up: bool = True,
    clock: FakeClock | None = None,
    recorded: bool = False,
) -> AsyncIterator[Control]:
    clock = clock or FakeClock()
    async with open_database(url, folder) as database:
        audit = Audit(database, clock)
        sealer = Sealer(bytes(32))
        sessions = Sessions(database, clock, idle=12 * 3600, absolute=24 * 3600)
        devices = Devices(database, audit, sealer, clock)
        store = EntityStore(FIRST_REVISION)
        presence = Presence()
        registration = Registration(database, audit, clock)
        roster = Roster(registration, presence, store, clock)
        events = MediaEvents()
        media = FakeMedia(events)
        catalogue = Catalogue(roster, presence, store, media, sealer, clock, rtsp_enabled=rtsp_enabled)
        events.on_stream_changed(catalogue.stream_changed)
        events.on_session_step(catalogue.session_step)
        positions = Positions(database, clock)
        await sessions.load()
        await roster.reload()

        async def account_names() -> dict[str, str]:
            async with database.read() as connection:
                return {row.id: row.name for row in (await connection.execute(select(users))).all()}

        changes = ChangeWatch(database)
        index = SpurtIndex(database)
        recorder = SpurtRecorder(index, clock, folder / "recordings" if recorded else None)
        talk = await make_talk(
            database,
            audit,
            clock,
            media,
            events,
            store,
            roster,
            recorder,
            changes,
            account_names,
            FloorRules(),
        )
        talk.exchange.regroup()
        services = Services(
            node=media,
            clients=Clients(per_credential=20),
            store=store,
            roster=roster,
            registration=registration,
            catalogue=catalogue,
            presence=presence,
            positions=positions,
            groups=talk.groups,
            exchange=talk.exchange,
            calls=talk.calls,
            callbacks=talk.callbacks,
            alarms=talk.alarms,
            recorder=recorder,
            evidence=Evidence(index, audit, recorder.changed, HoldsShown(store).changed),
            audit=audit,
            sessions=sessions,
            clock=clock,
            media_up=lambda: media_up,
            join_link_hours=12.0,
            max_join_link_hours=168.0,
        )
        yield Control(
            database=database,
            clock=clock,
            audit=audit,
            sealer=sealer,
            sessions=sessions,
            devices=devices,
            store=store,
            presence=presence,
            registration=registration,
            roster=roster,
            events=events,
            media=media,
            catalogue=catalogue,
            positions=positions,
            talk=talk,
            services=services,
        )
