"""What one key press costs the control process, without sockets and media: `python -m bench.press_loop [groups]`.

It wants PYTHONPATH=tests. 50 groups of five phones, each with a view of its own, and 20 desks that see everything; a
revision after every third press. Prints processor time for each press and its parts, the cost of a change of groups,
and of everybody coming back.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from server.auth.permissions import Principal, Role
from server.model.ids import LegId, MediaSessionId
from server.signalling.clients import Client
from server.signalling.commands import perform
from server.signalling.messages import HelloClient, MediaOffer, ServerInfo
from server.signalling.session import Connection, Phase
from server.signalling.talk import FloorRelease, FloorRequest, GroupCreate, GroupTune, MemberWish
from server.signalling.websocket import OWN_KINDS
from server.signalling.wire import Command
from server.state import View
from support.control import Control, control

PHONES: Final = 5
DESKS: Final = 20
AT_ONCE: Final = 3  # presses between two revisions: 28 a second, 10 revisions a second
ALIVE: Final = 6  # signs of life in 1.2 s
ROUNDS: Final = 6
INFO: Final = ServerInfo(name="x", level="county", version="1", time=0.0, media=True)
ADMIN: Final = Principal(role=Role.ADMIN, id="c", name="c")
DESK: Final = Principal(role=Role.DISPATCHER, id="d", name="d", session="s")


@dataclass(kw_only=True)
class Phone:
    client: Client
    group: str
    path: MediaSessionId


@dataclass(kw_only=True)
class Loop:
    """Everybody, and what their sockets would send."""

    centre: Control
    phones: list[Phone] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    woken: dict[Connection, None] = field(default_factory=dict)
    spent: Counter[str] = field(default_factory=Counter)  # ns
    sent: int = 0

    async def do(self, client: Client, command: Command) -> Any:
        reply = await perform(self.centre.services, client, command)
        assert reply.ok, reply
        return json.loads(bytes(reply.result))

    def connect(self, client: Client, view: View) -> None:
        client.admission = msgspec.structs.replace(client.admission, view=view)
        connection = Connection(0.0, lambda: self.woken.setdefault(connection))
        connection.phase, client.connection = Phase.ADMITTING, connection
        hello = HelloClient(schema=1, client="x" * 16)
        connection.admit(client, hello, INFO, self.centre.store, resumable=False)
        self.connections.append(connection)

    async def open(self, groups: int) -> None:
        centre = self.centre
        secrets = [
            (await centre.registration.create_link(name=f"u{n}", unit="", hours=2, who=ADMIN, address=""))[1]
            for n in range(groups * PHONES)
        ]
        await centre.roster.reload()
        desk = centre.client(DESK)
        for number in range(groups):
            guests = [centre.roster.guest(secret) for secret in secrets[number * PHONES :][:PHONES]]
            members = tuple(MemberWish(kind="unit", id=device.unit) for _, device in guests)
            made = await self.do(desk, GroupCreate(id="g", name=f"g{number}", members=members))
            for who, device in guests:
                client, view = centre.client(who), View(kinds=OWN_KINDS, everything=False)
                mine = frozenset({made["group"]})
                self.connect(
                    client,
                    msgspec.structs.replace(view, unit=device.unit, device=device.id, groups=mine),
                )
                session = (await self.do(client, MediaOffer(id="o", kind="voice", sdp="v=0\r\n")))["session"]
                centre.events.session_step(session, "dtls", "")
                self.phones.append(Phone(client=client, group=made["group"], path=session))
                await self.tune(self.phones[-1])
        for _ in range(DESKS):
            kinds = OWN_KINDS | {"link", "health", "patch"}
            self.connect(centre.client(DESK), View(kinds=kinds, everything=True))
        await asyncio.sleep(2.5)
        self.publish()

    async def tune(self, phone: Phone) -> None:
        groups = (phone.group,)
        await self.do(phone.client, GroupTune(id="t", listening=groups, selected=groups))

    def publish(self) -> None:
        """A revision, as `WebSockets` makes it leave."""
        store = self.centre.store
        if store.publish():
            for connection in self.connections:
                connection.published(store)
        for connection in self.woken:
            while (data := connection.take(store)) is not None:
                self.sent += len(data)
        self.woken.clear()

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        begun = time.process_time_ns()
        yield
        self.spent[name] += time.process_time_ns() - begun

    async def presses(self, round_: int) -> int:
        """Every group's first phone presses once."""
        talkers = self.phones[::PHONES]
        for start in range(0, len(talkers), AT_ONCE):
            some = talkers[start : start + AT_ONCE]
            with self.part("request"):
                for phone in some:
                    await self.do(phone.client, FloorRequest(id=f"p{round_}", groups=(phone.group,)))
            await self._media(some, True)
            with self.part("alive"):
                for phone in some * ALIVE:
                    self.centre.services.exchange.alive(LegId(phone.client.public))
            with self.part("release"):
                for phone in some:
                    await self.do(phone.client, FloorRelease(id=f"r{round_}"))
            await self._media(some, False)
            self.centre.clock.advance(0.1)
        return len(talkers)

    async def _media(self, some: list[Phone], active: bool) -> None:
        with self.part("voice"):
            for phone in some:
                self.centre.media.speak(phone.path, active)
        with self.part("timer and routes"):
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        with self.part("publish"):
            self.publish()


async def measure(groups: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with control(Path(folder)) as centre:
            services = [asyncio.ensure_future(run()) for run in centre.talk.services.values()]
            loop = Loop(centre=centre)
            await loop.open(groups)
            await loop.presses(0)
            gc.collect()
            gc.freeze()
            loop.spent.clear()
            loop.sent = count = 0
            for number in range(1, ROUNDS + 1):
                count += await loop.presses(number)
            parts = {name: round(spent / count / 1e3) for name, spent in loop.spent.items()}
            print(f"{sum(parts.values())} us for each press: {parts}, {loop.sent // count} bytes")
            with loop.part("regroup"):
                centre.talk.exchange.regroup()
            print(f"{loop.spent['regroup'] / 1e6:.1f} ms for a change of groups")
            loop.sent = 0
            with loop.part("tune"):
                for start in range(0, len(loop.phones), 25):
                    for phone in loop.phones[start : start + 25]:
                        centre.talk.exchange.detach(LegId(phone.client.public))
                        await loop.tune(phone)
                    await asyncio.sleep(0.1)
                    loop.publish()
            came = f"{len(loop.phones)} clients that come back, {loop.sent // 1000} kB"
            print(f"{loop.spent['tune'] / 1e6:.0f} ms for {came}")
            for service in services:
                service.cancel()
            await asyncio.gather(*services, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 50))
