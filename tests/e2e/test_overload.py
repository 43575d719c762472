"""A server that has too much to do (P14): pictures are refused and go, while people talk as if nothing were."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
import pytest

from support.counting_peer import CountingPeer
from support.field_unit import FieldUnit, field_unit
from support.running_server import RunningServer, running_server
from support.sound_path import SoundPath
from support.talk_client import TalkClient, connect, phone_token
from support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

FULL: Final = 0.06  # of a core: what a test can fill, in place of 0.8
AT_ONCE: Final = 30
ANSWER: Final = 4 * 0.05  # s, P1
EMERGENCY: Final = 4 * 0.3  # s, P7


@dataclass(kw_only=True)
class Talker:
    client: TalkClient
    path: SoundPath


@dataclass(kw_only=True)
class Scene:
    """A server, a unit that publishes, its spectators, and three who talk."""

    server: RunningServer
    http: aiohttp.ClientSession
    unit: FieldUnit
    stream: str
    officer: Talker
    one: Talker
    two: Talker
    group: str
    spectators: list[CountingPeer] = field(default_factory=list)

    async def watch(self) -> tuple[int, dict[str, Any]]:
        """One more spectator; status and problem of the answer."""
        peer = CountingPeer()
        headers = {"Authorization": f"Bearer {self.unit.token}", "Content-Type": "application/sdp"}
        async with self.http.post(
            f"{self.server.url}/whep/{self.stream}", data=peer.offer("recvonly").encode(), headers=headers
        ) as answer:
            if answer.status != 201:
                peer.close()
                return answer.status, await answer.json() | {"after": answer.headers.get("Retry-After", "")}
            peer.apply(await answer.text())
        self.spectators.append(peer)
        with contextlib.suppress(TimeoutError):  # it may be sent away before it has connected
            await asyncio.wait_for(peer.connected.wait(), 5)
        return 201, {}

    async def until_refused(self) -> dict[str, Any]:
        """Many at a time, so that more are in than the server can serve; what the first that is refused hears."""
        async with asyncio.timeout(60):
            while True:
                joined = await asyncio.gather(*(self.watch() for _ in range(AT_ONCE)))
                refused = [problem for status, problem in joined if status == 503]
                if refused:
                    return refused[0]
                assert {status for status, _ in joined} == {201}

    async def until_let_in(self) -> None:
        async with asyncio.timeout(30):
            while (await self.watch())[0] != 201:  # noqa: ASYNC110 - there is nothing else to wait for
                await asyncio.sleep(0.5)

    @property
    def watching(self) -> int:
        return sum(not peer.closed.is_set() for peer in self.spectators)

    async def talk(self, press: int) -> float:
        """One of the two speaks for a second and the other hears all of it; s until the grant."""
        talker, listener = (self.one, self.two) if press % 2 else (self.two, self.one)
        talker.client.hold()
        talker.path.speak(press)
        begun = time.monotonic()
        result = await talker.client.do("floor.request", groups=[self.group], urgency="normal")
        taken = time.monotonic() - begun
        assert result["answers"][0]["state"] == "granted", result
        await asyncio.sleep(1.0)
        talker.path.hush()
        await talker.client.let_go()
        await until(lambda: talker.client.entities["floor"][self.group]["talker"] is None)
        heard = listener.path.heard[press]
        assert heard.first == 0
        assert heard.packets > 0.9 * talker.path.sent, (heard, talker.path.sent)
        return taken


async def _talker(
    stack: AsyncExitStack, server: RunningServer, http: aiohttp.ClientSession, token: str, cookie: str
) -> Talker:
    client = TalkClient(http=http, socket=await connect(http, server.url, cookie))
    stack.push_async_callback(client.close)
    await client.hello(token)
    path = SoundPath()
    stack.callback(path.close)
    answer = await client.do("media.offer", kind="voice", sdp=path.offer())
    client.session = answer["session"]
    path.apply(answer["sdp"])
    await until(lambda: client.step in ("dtls", "path"), 20)
    return Talker(client=client, path=path)


@contextlib.asynccontextmanager
async def scene(full_load: float) -> AsyncIterator[Scene]:
    async with (
        running_server(
            media={"full_load": full_load, "engine": "python"},  # the one that a test can keep busy
            limits={"pending_media_per_token": 1000, "requests_per_minute": 100_000},
        ) as server,
        AsyncExitStack() as stack,
    ):
        admin = await server.setup_admin()
        http = server.client()
        unit = await stack.enter_async_context(field_unit(server, "远端", 42))
        officer = await _talker(stack, server, http, "", admin.cookie)
        tokens = [await phone_token(officer.client, name) for name in ("一号", "二号")]
        one, two = [await _talker(stack, server, http, token, "") for token in tokens]
        group = (
            await officer.client.do("group.create", name="搜救", members=[{"kind": "role", "id": "guest"}])
        )["group"]
        for each in (one, two):
            await until(lambda each=each: group in each.client.entities["group"])  # type: ignore[misc]
            await each.client.do("group.tune", listening=[group], selected=[group])
        await until(
            lambda: any(each["state"] == "live" for each in officer.client.entities["stream"].values()), 20
        )
        stream = next(
            each["id"] for each in officer.client.entities["stream"].values() if each["state"] == "live"
        )
        made = Scene(
            server=server, http=http, unit=unit, stream=stream, officer=officer, one=one, two=two, group=group
        )
        try:
            yield made
        finally:
            for peer in made.spectators:
                peer.close()


async def emergency(there: Scene) -> None:
    begun = time.monotonic()
    there.one.client.hold()
    done = await there.one.client.do("emergency.start", key="sos", group=there.group)
    assert done["answer"]["state"] == "granted"
    assert time.monotonic() - begun < EMERGENCY
    await there.one.client.let_go()
    await until(lambda: done["alarm"] in there.officer.client.entities["alarm"])


async def opens_camera(client: TalkClient) -> str:
    """A phone's picture; "" = it is let in, else why not."""
    peer = CountingPeer()
    try:
        reply = await client.command("media.offer", kind="phone", sdp=peer.offer("sendonly"))
        return "" if reply["ok"] else reply["error"]["code"]
    finally:
        peer.close()


async def test_pictures_are_refused_and_spectators_go_while_people_talk() -> None:
    async with scene(FULL) as there:
        taken = [await there.talk(1)]
        problem = await there.until_refused()
        assert (problem["code"], problem["after"]) == ("overloaded", "10")
        assert "talk goes on" in problem["detail"]
        most = len(there.spectators)
        async with field_unit(there.server, "后来", 7) as late:  # it asks again by itself, in vain
            taken += [await there.talk(press) for press in range(2, 8)]
            assert await opens_camera(there.one.client) == "overloaded"
            await emergency(there)
            assert await opens_camera(there.one.client) == ""  # whoever calls for help is seen
            assert await opens_camera(there.two.client) == "overloaded"
            assert late.process is not None
            assert late.process.returncode is None
            named = {each["name"]: each["id"] for each in there.officer.client.entities["device"].values()}
            states = {
                each["device"]: each["state"] for each in there.officer.client.entities["stream"].values()
            }
            assert states[named["后来相机"]] == "offline"
            assert states[named["远端相机"]] == "live"
        await until(lambda: there.watching < most, 20)
        print(f"{most} spectators, {there.watching} left; grants {[round(each * 1e3) for each in taken]} ms")
        assert statistics.median(taken) < ANSWER
        for peer in there.spectators:
            peer.close()
        await there.until_let_in()
