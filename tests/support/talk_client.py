"""The WebSocket of a client of talk groups, written from PROTOCOL.md alone: what it was told, and its key.

`TalkClient` has no sound: `voice_client.Radio` adds one by aiortc that is heard, `sound_path.SoundPath` one that is
counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Final, cast

import aiohttp
import msgspec

from support.waiting import until

KEEP_ALIVE: Final = 0.2
PING_EVERY: Final = 2.0
REPLY_WITHIN: Final = 10.0  # s
VOICE_KINDS: Final = (
    "unit",
    "device",
    "stream",
    "group",
    "floor",
    "patch",
    "call",
    "callback",
    "alarm",
)
PLURALS: Final = {"patches": "patch", "health": "health"}


@dataclass(kw_only=True)
class TalkClient:
    """One client. `entities`: kind -> id -> value; `told`: messages that are not entities, newest last.

    `on_told` hears of each of those when it comes. `goodbye`: the reason, once the server said one.
    """

    http: aiohttp.ClientSession
    socket: aiohttp.ClientWebSocketResponse
    client: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    me: dict[str, Any] = field(default_factory=dict)
    entities: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    slots: dict[int, dict[str, Any]] = field(default_factory=dict)
    session: str = ""
    rev: int = 0  # of what it knows
    goodbye: str = ""
    on_told: Callable[[dict[str, Any]], None] | None = None
    _replies: dict[str, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _alive: asyncio.Task[None] | None = None

    # ------------------------------------------------------------------ the socket

    async def hello(self, token: str = "", rev: int = 0, want: tuple[str, ...] = VOICE_KINDS) -> None:
        """Returns when the server has said who this is. Raises ConnectionError with the reason of a goodbye."""
        await self.send(
            {
                "type": "hello",
                "schema": 1,
                "client": self.client,
                "token": token,
                "rev": rev,
                "want": list(want),
            }
        )
        self._tasks += [asyncio.create_task(self._read()), asyncio.create_task(self._ping())]
        await until(lambda: bool(self.me) or bool(self.goodbye), REPLY_WITHIN)
        if self.goodbye:
            raise ConnectionError(self.goodbye)

    async def send(self, message: dict[str, Any]) -> None:
        await self.socket.send_str(msgspec.json.encode(message).decode())

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_EVERY)
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self.send({"type": "ping", "t": 0})

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                return
            self._take(msgspec.json.decode(message.data))

    def _take(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "pong":
                return
            case "hello":
                self.me = message
            case "goodbye":
                self.goodbye = message["reason"]
            case "snapshot":
                self.entities, self.rev = {}, message["rev"]
                for field_name, values in message.items():
                    if isinstance(values, list):
                        kind = PLURALS.get(field_name, field_name[:-1])
                        self.entities[kind] = {value["id"]: value for value in values}
            case "delta":
                self.rev = message["rev"]
                for change in message["changes"]:
                    known = self.entities.setdefault(change["kind"], {})
                    if change["value"] is None:
                        known.pop(change["id"], None)
                    else:
                        known[change["id"]] = change["value"]
            case "reply":
                waiting = self._replies.pop(message["id"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case "voice.slot":
                self.slots[message["slot"]] = message
                self._note(message)
            case _:
                self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        self.told.append(message)
        if self.on_told is not None:
            self.on_told(message)

    async def command(self, type: str, **fields: Any) -> dict[str, Any]:
        """Send it; the reply."""
        name = f"c{next(self._ids)}"
        waiting = self._replies[name] = asyncio.get_running_loop().create_future()
        await self.send({"type": type, "id": name, **fields})
        return await asyncio.wait_for(waiting, REPLY_WITHIN)

    async def do(self, type: str, **fields: Any) -> Any:
        """The result; fails when it was refused."""
        reply = await self.command(type, **fields)
        assert reply["ok"], reply
        return reply["result"]

    @property
    def step(self) -> str:
        """Of the sound path."""
        steps = [
            one["step"] for one in self.told if one["type"] == "media" and one["session"] == self.session
        ]
        return steps[-1] if steps else ""

    # ------------------------------------------------------------------ groups and the key

    def group(self, name: str) -> dict[str, Any]:
        return next(group for group in self.entities["group"].values() if group["name"] == name)

    def floor(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.entities["floor"][self.group(name)["id"]]
        return found

    async def tune(self, *names: str) -> None:
        """Listen to these groups, and talk in them."""
        await until(
            lambda: {group["name"] for group in self.entities.get("group", {}).values()} >= set(names)
        )
        groups = [self.group(name)["id"] for name in names]
        await self.do("group.tune", listening=groups, selected=groups)

    async def ask(self, *names: str, urgency: str = "normal") -> list[dict[str, Any]]:
        """The key is down and stays so (`floor.alive`); the answers. There is no sound."""
        self.hold()
        groups = [self.group(name)["id"] for name in names]
        result = await self.do("floor.request", groups=groups, urgency=urgency)
        return cast(list[dict[str, Any]], result["answers"])

    def hold(self) -> None:
        """Say every 200 ms that the key is held."""
        if self._alive is not None:
            self._alive.cancel()
        self._alive = asyncio.create_task(self._keep_alive())

    async def _keep_alive(self) -> None:
        while True:
            with contextlib.suppress(ConnectionError, RuntimeError):
                await self.send({"type": "floor.alive"})
            await asyncio.sleep(KEEP_ALIVE)

    async def let_go(self) -> None:
        """The key is up."""
        if self._alive is not None:
            self._alive.cancel()
        await self.do("floor.release")

    def states(self, state: str) -> list[dict[str, Any]]:
        """What was told of own requests."""
        return [one for one in self.told if one["type"] == "floor.told" and one["state"] == state]

    async def until_told(self, state: str, **fields: Any) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next(
                (
                    one
                    for one in self.states(state)
                    if all(one[name] == value for name, value in fields.items())
                ),
                None,
            )

        await until(lambda: found() is not None)
        told = found()
        assert told is not None
        return told

    async def until_floor(self, name: str, when: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        await until(lambda: bool(when(self.floor(name))))
        return self.floor(name)

    # ------------------------------------------------------------------ ends

    async def come_back(self, url: str, token: str = "", cookie: str = "") -> None:
        """The same client on a new socket; it goes on from the revision that it knows."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self.me, self.goodbye = {}, ""
        self.socket = await connect(self.http, url, cookie)
        await self.hello(token, self.rev)

    async def vanish(self) -> None:
        """As a process that is killed: nothing is said any more."""
        if self._alive is not None:
            self._alive.cancel()
        for task in self._tasks:
            task.cancel()
        connection = self.socket._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()

    async def close(self) -> None:
        if self._alive is not None:
            self._alive.cancel()
        for task in self._tasks:
            task.cancel()
        with contextlib.suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self.socket.close()


async def connect(http: aiohttp.ClientSession, url: str, cookie: str = "") -> aiohttp.ClientWebSocketResponse:
    """A WebSocket to the server at `url`, from its own origin; it is given up after 20 s."""
    headers = {"Origin": url, **({"Cookie": cookie} if cookie else {})}
    async with asyncio.timeout(20.0):
        return await http.ws_connect(url + "/ws", headers=headers, max_msg_size=0)


@contextlib.asynccontextmanager
async def talk_client(
    http: aiohttp.ClientSession, url: str, *, cookie: str = "", token: str = "", **hello: Any
) -> AsyncIterator[TalkClient]:
    """A client without sound for as long as the block runs."""
    made = TalkClient(http=http, socket=await connect(http, url, cookie))
    try:
        await made.hello(token, **hello)
        yield made
    finally:
        await made.close()


async def phone_token(officer: TalkClient, name: str) -> str:
    """A join link's secret for a phone of this unit."""
    made = await officer.do("link.create", name=name)
    return cast(str, made["url"].rsplit("/", 1)[1])
