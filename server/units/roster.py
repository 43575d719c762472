"""The living copy of what is registered: clients see it, and it notices what ended.

It follows the database (`reload` is a listener of `ChangeWatch`), and the clock: a join link ends by itself. Whoever
must act on an end, such as closing media, subscribes with `on_link_end` and `on_device_gone`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from server.auth.permissions import Principal, Role
from server.auth.tokens import hashed
from server.model.clock import Clock
from server.model.errors import NotLoggedIn, Refused
from server.model.ids import DeviceId, LinkId, UnitId, UserId
from server.signalling.entities import Device, JoinLink, Position, Unit
from server.state import EntityStore
from server.storage.engine import StorageAway
from server.units.directory import DeviceRecord, Directory, LinkRecord
from server.units.presence import Presence
from server.units.registration import Registration, Use

TICK: Final = 0.5  # s; what ended is acted on within 2 s
WRITE_USED: Final = 5.0  # s between writes of when links were used
MAX_USED: Final = 1000  # links whose use waits to be written; more are counted and not noted

log = structlog.get_logger("server.units")


class Roster:
    """`reload` first, then `run`."""

    def __init__(
        self, registration: Registration, presence: Presence, store: EntityStore, clock: Clock
    ) -> None:
        self.directory = Directory()
        self._registration = registration
        self._presence = presence
        self._store = store
        self._clock = clock
        self._positions: dict[UnitId, Position] = {}
        self._used: dict[LinkId, float] = {}
        self._unwritten: dict[LinkId, Use] = {}
        self._unnoted = 0
        self._ended: set[LinkId] = set()
        self._gone: set[DeviceId] = set()
        self._loading = asyncio.Lock()
        self._on_reload: list[Callable[[], None]] = []
        self._on_link_end: list[Callable[[LinkId, str], None]] = []
        self._on_device_gone: list[Callable[[DeviceId, str], None]] = []

    def on_reload(self, listener: Callable[[], None]) -> None:
        """`listener()` after `directory` was replaced. No listener may block."""
        self._on_reload.append(listener)

    def on_link_end(self, listener: Callable[[LinkId, str], None]) -> None:
        """`listener(link, reason)`, reason "expired" or "revoked"."""
        self._on_link_end.append(listener)

    def on_device_gone(self, listener: Callable[[DeviceId, str], None]) -> None:
        """`listener(device, reason)`: it may not connect any more; reason "expired" or "revoked"."""
        self._on_device_gone.append(listener)

    # ------------------------------------------------------------------ who comes

    def guest(self, secret: str, address: str = "") -> tuple[Principal, DeviceRecord]:
        """Who a join link's secret stands for. Raises NotLoggedIn (no such link), Refused (`expired`, `revoked`)."""
        link = self.directory.link_of_hash(hashed(secret))
        if link is None:
            raise NotLoggedIn("there is no such join link")
        reason = link.ended(self._clock.steady())
        device = self.directory.devices.get(link.device)
        if reason or device is None:
            reason = reason or "revoked"
            raise Refused(f"this join link was {reason}", code=reason)
        self._check_device(device)
        self._note_use(link, address)
        who = Principal(role=Role.GUEST, id=link.id, name=link.name, device=device.id)
        return who, device

    async def phone_of(self, who: Principal, address: str) -> DeviceRecord:
        """The phone of a field account, made at its first use. Raises Refused (`revoked`), TooMany, StorageAway."""
        device = self.directory.device_of_user(UserId(who.id))
        if device is None:
            made = await self._registration.phone_of(who, address=address)
            await self.reload()
            device = self.directory.devices.get(made)
            if device is None:
                raise Refused("this account's phone was revoked", code="revoked")
        self._check_device(device)
        return device

    def _check_device(self, device: DeviceRecord) -> None:
        if device.revoked is not None:
            raise Refused("this device was revoked", code="revoked")

    def _note_use(self, link: LinkRecord, address: str) -> None:
        if len(self._unwritten) >= MAX_USED and link.id not in self._unwritten:
            self._unnoted += 1
            return
        self._used[link.id] = now = self._clock.steady()
        self._unwritten[link.id] = Use(at=now, address=address)
        self._show_link(link)

    # ------------------------------------------------------------------ what changes

    async def reload(self) -> None:
        """Take over what the database says. Raises StorageAway."""
        async with self._loading:
            directory = await self._registration.load()
            before, self.directory = self.directory, directory
            for kind, old, new in (
                ("unit", before.units, directory.units),
                ("device", before.devices, directory.devices),
                ("link", before.links, directory.links),
            ):
                for gone in old.keys() - new.keys():
                    self._store.remove(kind, gone)
            self._positions = {
                unit: position for unit, position in self._positions.items() if unit in directory.units
            }
            self._used = {link: when for link, when in self._used.items() if link in directory.links}
            self._presence.forget(frozenset(directory.devices))
            for unit in directory.units:
                self.show_unit(unit)
            for listener in self._on_reload:
                listener()
            for link in before.links.keys() - directory.links.keys() - self._ended:
                self._tell_link_end(link, "revoked")
            for device in before.devices.keys() - directory.devices.keys() - self._gone:
                self._tell_device_gone(device, "revoked")
            now = self._clock.steady()
            self._ended.intersection_update(directory.links)
            self._gone = {
                device.id
                for device in directory.devices.values()
                if device.id in self._gone and directory.gone_since(device, now) is not None
            }
            self.tick()
            for device in directory.devices:
                self.show_device(device)
            for record in directory.links.values():
                self._show_link(record)

    def tick(self) -> None:
        """About twice a second: tell of links that ended and devices that may not connect any more."""
        now = self._clock.steady()
        for link in self.directory.links.values():
            reason = link.ended(now)
            if reason and link.id not in self._ended:
                self._tell_link_end(link.id, reason)
        for device in self.directory.devices.values():
            if device.id not in self._gone and self.directory.gone_since(device, now) is not None:
                self._tell_device_gone(device.id, "expired" if device.revoked is None else "revoked")
        for moved in self._presence.tick(self._clock.wallclock()):
            self.show_device(moved)

    def is_gone(self, device: DeviceId) -> bool:
        """Whether it may not connect any more."""
        return device in self._gone or device not in self.directory.devices

    def set_position(self, unit: UnitId, position: Position) -> None:
        """The unit's newest position."""
        if unit in self.directory.units:
            self._positions[unit] = position
            self.show_unit(unit)

    def position(self, unit: UnitId) -> Position | None:
        return self._positions.get(unit)

    def _tell_link_end(self, link: LinkId, reason: str) -> None:
        self._ended.add(link)
        if record := self.directory.links.get(link):
            self._show_link(record)
        for listener in self._on_link_end:
            listener(link, reason)

    def _tell_device_gone(self, device: DeviceId, reason: str) -> None:
        self._gone.add(device)
        self.show_device(device)
        for listener in self._on_device_gone:
            listener(device, reason)

    # ------------------------------------------------------------------ what clients see

    def show_unit(self, unit: UnitId) -> None:
        record = self.directory.units[unit]
        self._store.put(
            Unit(
                id=record.id,
                name=record.name,
                kind=record.kind,
                number=record.number,
                position=self._positions.get(unit),
            )
        )

    def show_device(self, device: DeviceId) -> None:
        """Call when its presence changed."""
        record = self.directory.devices.get(device)
        if record is None:
            return
        seen = self._presence.seen(device)
        self._store.put(
            Device(
                id=record.id,
                unit=record.unit,
                name=record.name,
                kind=record.kind,
                online=seen.online,
                last_seen=seen.last_seen,
                battery=seen.battery,
                charging=seen.charging,
                network=seen.network,
                revoked=device in self._gone,
            )
        )

    def _show_link(self, link: LinkRecord) -> None:
        self._store.put(
            JoinLink(
                id=link.id,
                unit=link.unit,
                name=link.name,
                created=link.created,
                expires=link.expires,
                created_by=link.created_by,
                used=self._used.get(link.id, link.used),
                revoked=link.revoked is not None,
            )
        )

    # ------------------------------------------------------------------ the service

    async def run(self) -> None:
        """Until cancelled."""
        written = self._clock.now()
        while True:
            await asyncio.sleep(TICK)
            self.tick()
            if self._unwritten and self._clock.now() - written >= WRITE_USED:
                written = self._clock.now()
                await self.write_used()

    async def write_used(self) -> None:
        """Write when links were used; what the database does not take now waits for the next time."""
        used, self._unwritten = self._unwritten, {}
        try:
            await self._registration.links_used(used)
        except StorageAway as error:
            log.warning("cannot note the use of join links", error=str(error))
            self._unwritten = used | self._unwritten

    def statistics(self) -> dict[str, object]:
        return {
            "units": len(self.directory.units),
            "devices": len(self.directory.devices),
            "links": len(self.directory.links),
            "uses_not_noted_total": self._unnoted,
        }
