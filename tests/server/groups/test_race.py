"""Two who press at once, a thousand times: there is one talker, and the other hears what became of its press (P5)."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.auth.permissions import Role
from server.groups.exchange import Exchange
from server.groups.floor import Urgency
from server.groups.legs import Leg
from server.groups.membership import Subject
from server.model.ids import DeviceId, GroupId, LegId, MediaSessionId, UserId
from server.signalling.talk import FloorTold, VoiceSlot
from server.signalling.wire import Message
from support.control import Control, control

RACES = 1_000
OVER = ("denied", "revoked", "ended")


class Desk:
    """A leg that believes what it is told. `holds`: it may talk now; `waits`: it has a place in the queue."""

    def __init__(self, centre: Control, name: str, role: Role) -> None:
        self.exchange: Exchange = centre.talk.exchange
        self.id = LegId(f"leg-{name}")
        self.path = MediaSessionId(f"path-{name}")
        self.holds = self.waits = False
        self.causes: list[str] = []
        self.hears: str | None = None
        subject = Subject(role=role, user=UserId(name))
        self.exchange.attach(Leg(id=self.id, kind="browser"), subject, name, DeviceId(""), self)
        self.exchange.opened(self.id, self.path)
        self.exchange.session_step(self.path, "dtls", "")

    def tell(self, message: Message) -> None:
        if isinstance(message, FloorTold):
            self._became(message.state, message.cause)
        elif isinstance(message, VoiceSlot):
            self.hears = message.talker.leg if message.talker is not None else None

    def _became(self, state: str, cause: str) -> None:
        if state == "granted":
            self.holds, self.waits = True, False
        elif state == "queued":
            self.waits = True
        elif state in OVER:
            self.holds = self.waits = False
            self.causes.append(cause)

    def press(self, group: GroupId, *, barge_in: bool) -> str:
        answer = self.exchange.request(self.id, [group], Urgency.NORMAL, barge_in=barge_in)[0]
        self._became(answer.state, answer.cause)
        return answer.state

    def let_go(self) -> None:
        self.exchange.release(self.id)
        self.waits = False


@pytest.fixture
async def centre(tmp_path: Path) -> AsyncIterator[Control]:
    async with control(tmp_path) as made:
        tasks = [asyncio.ensure_future(run()) for run in made.talk.services.values()]
        yield made
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


@pytest.mark.parametrize(
    ("role", "barges_in"), [(Role.DISPATCHER, False), (Role.DISPATCHER, True), (Role.GUEST, True)]
)
async def test_never_two_holders_and_the_loser_is_told(centre: Control, role: Role, barges_in: bool) -> None:
    """Who comes second waits; a dispatcher that barges in has the floor, which no phone can do."""
    chance = random.Random(role.value)
    takes = barges_in and role is Role.DISPATCHER
    group = next(one.id for one in centre.talk.groups.records.values() if one.name == "全员")
    one, two = Desk(centre, "one", role), Desk(centre, "two", role)
    ear = Desk(centre, "ear", role)
    for desk in (one, two, ear):
        desk.exchange.tune(desk.id, [group], [group])
    for race in range(RACES):
        first, second = (one, two) if chance.random() < 0.5 else (two, one)
        first.causes.clear()
        states = []
        for desk in (first, second):
            desk.exchange.voice_activity(desk.path, True, 0.0)
            if chance.random() < 0.3:
                await asyncio.sleep(0)
            states.append(desk.press(group, barge_in=barges_in))
            centre.clock.advance(chance.random() * 0.05)
            assert [one.holds, two.holds] != [True, True], race
        assert states[0] == "granted"
        if not takes:
            assert (states[1], first.holds, second.waits) == ("queued", True, True), race
            talker = first
        else:
            assert (states[1], first.causes, second.holds) == ("granted", ["pre_empted"], True), race
            talker = second
        assert ear.hears == talker.id, race
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        routed = [path for path in (one.path, two.path) if _listeners(centre, path)]
        assert routed == [talker.path], race
        for desk in (first, second) if chance.random() < 0.5 else (second, first):
            desk.let_go()
            desk.exchange.voice_activity(desk.path, False, 0.0)
            assert [one.holds, two.holds] != [True, True], race
        assert [one.holds, two.holds] == [False, False], race
        assert ear.hears is None


def _listeners(centre: Control, path: MediaSessionId) -> bool:
    route = centre.media.routes.get(path)
    return route is not None and bool(route.listeners)
