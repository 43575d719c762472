"""A dispatcher's page whose WebSocket is answered from here, so that every state of the console can be looked at.

The page, its files and its log-in come from the real server; what it is told over the WebSocket is written by the test.

    script = await ScriptedTalk.on(page)
    await page.goto(server.url + "/wall")
    script.put("group", group("g1", 1, "救援一组"))
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from typing import Any

from playwright.async_api import Page, WebSocketRoute

PERMISSIONS = (
    *("stream.watch", "link.create", "health.read", "talk.use", "talk.override", "talk.everywhere"),
    *("talk.broadcast", "floor.revoke", "group.manage", "emergency.raise", "alarm.handle"),
    "recording.search",
    "recording.hold",
)
TABLES = {
    **{
        kind: kind + "s"
        for kind in ("unit", "device", "stream", "link", "group", "floor", "call", "callback", "hold")
    },
    "health": "health",
    "patch": "patches",
    "alarm": "alarms",
}


def talker(name: str, *, kind: str = "phone", unit: str = "", user: str = "") -> dict[str, Any]:
    return {"leg": f"leg-{name}", "name": name, "kind": kind, "unit": unit, "user": user}


def listener(name: str, **over: Any) -> dict[str, Any]:
    return {**talker(name), "selected": False, "talk": True, "voice": True, **over}


def group(id: str, number: int, name: str, **over: Any) -> dict[str, Any]:
    return {
        **{"id": id, "number": number, "name": name, "kind": "static", "members": [], "listeners": []},
        **{"patch": "", "muted": None, "emergency": False, "expires": None, "createdBy": "总值班"},
        **over,
    }


def floor(id: str, state: str = "idle", **over: Any) -> dict[str, Any]:
    return {
        **{"id": id, "floor": id, "state": state, "sequence": 1, "since": time.time(), "talker": None},
        **{"urgency": "normal", "until": None, "queued": 0, "blocked": "", "collision": False},
        **over,
    }


def alarm(id: str, name: str, **over: Any) -> dict[str, Any]:
    return {
        **{"id": id, "kind": "emergency", "state": "new", "name": name, "unit": "u-" + id, "device": "d"},
        **{"group": "", "stream": "", "raised": time.time(), "position": None, "owner": "", "reason": ""},
        **{"until": None, "times": 1, "history": []},
        "pressed": over.get("raised", time.time()),
        **over,
    }


class ScriptedTalk:
    """`replies`: result of a command by its type (else null); `heard`: every message of the page, in order."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = defaultdict(dict)
        self.replies: dict[str, Any] = {"spurt.search": {"spurts": [], "more": False}}
        self.errors: dict[str, str] = {"media.offer": "media_away"}
        self.heard: list[dict[str, Any]] = []
        self.rev = 1
        self._socket: WebSocketRoute | None = None
        self._silent = False

    @classmethod
    async def on(cls, page: Page) -> ScriptedTalk:
        script = cls()
        await page.route_web_socket("**/ws", script._opened)
        return script

    def put(self, kind: str, value: dict[str, Any]) -> None:
        """An entity is new or different."""
        self.tables[kind][value["id"]] = value
        self._changed(kind, value["id"], value)

    def drop(self, kind: str, id: str) -> None:
        self.tables[kind].pop(id, None)
        self._changed(kind, id, None)

    def tell(self, type: str, **fields: Any) -> None:
        self._send({"type": type, **fields})

    def told(self, group: str, state: str, **over: Any) -> None:
        """`floor.told`."""
        self.tell("floor.told", **{**answer(group, state), "urgency": "normal", **over})

    def commands(self, type: str) -> list[dict[str, Any]]:
        return [one for one in self.heard if one["type"] == type]

    def vanish(self) -> None:
        """Say nothing more, also not to pings: the page will count the server as lost."""
        self._silent = True

    async def command(self, type: str, count: int = 1, within: float = 5.0) -> dict[str, Any]:
        """Wait until the page has said so `count` times; returns the last."""
        deadline = time.monotonic() + within
        while len(found := self.commands(type)) < count:
            assert time.monotonic() < deadline, f"no {type} in {[one['type'] for one in self.heard[-20:]]}"
            await asyncio.sleep(0.01)
        return found[count - 1]

    def _opened(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(self._said)

    def _said(self, text: str | bytes) -> None:
        message = json.loads(text)
        self.heard.append(message)
        kind = message["type"]
        if kind == "hello":
            self._send(
                {
                    **{"type": "hello", "schema": 1, "rev": self.rev, "resumed": False, "stream": ""},
                    "client": message["client"],
                    "user": {"id": "u1", "name": "总值班", "role": "admin", "permissions": PERMISSIONS},
                    "server": {
                        **{
                            "name": "陇南市应急指挥中心",
                            "level": "city",
                            "version": "0",
                            "time": time.time(),
                        },
                        **{"media": True, "drill": False},
                    },
                }
            )
            tables = {name: list(self.tables[table].values()) for table, name in TABLES.items()}
            self._send({"type": "snapshot", "rev": self.rev, **tables})
        elif kind == "ping":
            self._send({"type": "pong", "t": message["t"], "time": time.time()})
        elif "id" in message:
            self._reply(message)

    def _reply(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        code = self.errors.get(kind)
        if kind == "floor.request" and kind not in self.replies:
            result: Any = {"answers": [answer(one, "granted") for one in message["groups"]]}
        else:
            result = self.replies.get(kind)
        self._send(
            {
                **{"type": "reply", "id": message["id"], "ok": code is None},
                "result": None if code else result,
                "error": {"code": code, "message": "", "field": "", "retryAfter": 0} if code else None,
            }
        )

    def _changed(self, kind: str, id: str, value: dict[str, Any] | None) -> None:
        self.rev += 1
        change = {"kind": kind, "id": id, "value": value}
        self._send({"type": "delta", "rev": self.rev, "changes": [change]})

    def _send(self, message: dict[str, Any]) -> None:
        if self._socket is not None and not self._silent:
            self._socket.send(json.dumps(message))


def answer(group: str, state: str, **over: Any) -> dict[str, Any]:
    """What becomes of a request in one group."""
    return {
        **{"group": group, "state": state, "sequence": 1, "until": None, "position": 0, "size": 0},
        **{"cause": "", "talker": None},
        **over,
    }
