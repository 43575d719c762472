"""Voice through the command table: clients with sound paths, and what media, a fake that remembers routes, was told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from server.auth.permissions import Principal, Role
from server.model.ids import MediaSessionId
from server.model.ports import VoiceRoute
from server.signalling.clients import Client
from server.signalling.commands import perform
from server.signalling.messages import MediaOffer
from server.signalling.talk import (
    Floor,
    FloorRelease,
    FloorRequest,
    FloorTold,
    Group,
    GroupTune,
    VoiceSlot,
)
from server.signalling.wire import Command, Message
from support.control import Control, RunningClock, control
from support.waiting import until

SDP = "v=0\r\n"
EVERYBODY = "全员"


class Radio(Client):
    """A client with a sound path that remembers what it was told."""

    def __init__(self, centre: Control, client: Client) -> None:
        super().__init__(client.key, client.admission)
        self.centre = centre
        self.heard: list[Message] = []
        self.path = MediaSessionId("")

    def tell(self, message: Message) -> None:
        self.heard.append(message)
        super().tell(message)

    async def do(self, command: Command) -> Any:
        reply = await perform(self.centre.services, self, command)
        assert reply.error is None, reply.error
        return msgspec.json.decode(reply.result)

    async def refused(self, command: Command) -> str:
        reply = await perform(self.centre.services, self, command)
        assert reply.error is not None
        return reply.error.code

    async def up(self) -> Radio:
        answer = await self.do(MediaOffer(id="o", kind="voice", sdp=SDP))
        self.path = MediaSessionId(answer["session"])
        self.centre.events.session_step(self.path, "dtls", "")
        return self

    async def tune(self, *groups: str, selected: tuple[str, ...] | None = None) -> Radio:
        chosen = groups if selected is None else selected
        await self.do(GroupTune(id="t", listening=groups, selected=chosen))
        return self

    async def press(self, *groups: str, urgency: Any = "normal") -> list[dict[str, Any]]:
        answers = await self.do(FloorRequest(id="p", groups=groups, urgency=urgency))
        found: list[dict[str, Any]] = answers["answers"]
        return found

    async def let_go(self) -> None:
        await self.do(FloorRelease(id="r"))

    def speak(self, active: bool) -> None:
        self.centre.media.speak(self.path, active)

    def told(self, state: str) -> list[FloorTold]:
        return [one for one in self.heard if isinstance(one, FloorTold) and one.state == state]

    def slots(self) -> list[tuple[int, str, str]]:
        return [
            (one.slot, one.group or one.call, one.talker.name if one.talker else "")
            for one in self.heard
            if isinstance(one, VoiceSlot)
        ]


@dataclass
class Net:
    centre: Control

    async def officer(self, name: str) -> Radio:
        who = Principal(role=Role.DISPATCHER, id=name, name=name, session=f"s-{name}")
        return await Radio(self.centre, self.centre.client(who)).up()

    async def phone(self, name: str) -> Radio:
        _, secret = await self.centre.registration.create_link(
            name=name, unit="", hours=2, who=Principal(role=Role.ADMIN, id="c", name="c"), address=""
        )
        await self.centre.roster.reload()
        who, device = self.centre.roster.guest(secret)
        client = self.centre.client(who)
        view = msgspec.structs.replace(client.view, everything=False, unit=device.unit, device=device.id)
        client.admission = msgspec.structs.replace(client.admission, view=view)
        return await Radio(self.centre, client).up()

    def group(self, which: str) -> Group:
        return next(
            one
            for one in self.centre.store.all("group")
            if isinstance(one, Group) and which in (one.id, one.name)
        )

    def floor(self, which: str) -> Floor:
        floor = self.centre.store.get("floor", self.group(which).id)
        assert isinstance(floor, Floor)
        return floor

    def route(self, talker: Radio) -> VoiceRoute | None:
        return self.centre.media.routes.get(talker.path)

    async def hears(self, talker: Radio, *listeners: Radio) -> None:
        """Media was told that these, and no others, get the talker."""
        wanted = {listener.path for listener in listeners}

        def routed() -> bool:
            route = self.route(talker)
            return route is not None and {each.session for each in route.listeners} == wanted

        await until(routed)


@contextlib.asynccontextmanager
async def open_net(folder: Path, *, recorded: bool = False) -> AsyncIterator[Net]:
    async with control(folder, clock=RunningClock(), recorded=recorded) as centre:
        tasks = [asyncio.ensure_future(run()) for run in centre.talk.services.values()]
        yield Net(centre)
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
