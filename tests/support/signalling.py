"""Both ends of a WebSocket connection without a socket: a client, and the shell's part of the server's end."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from server.auth.permissions import Principal, Role
from server.signalling.clients import Admission, Client, Clients
from server.signalling.messages import Reply, ServerInfo, User
from server.signalling.session import CommandReceived, Connection, HelloReceived, KeyAlive, Phase
from server.state import EntityStore, View

WALL = 1_800_000_000.0
INFO = ServerInfo(name="烽燧", level="county", version="1", time=WALL, media=True)
VIEW = View(kinds=frozenset({"unit"}), everything=True)
CLIENT = "0123456789abcdef"


def admission(user: str = "user-1", session: str = "session-1", view: View = VIEW) -> Admission:
    who = Principal(role=Role.DISPATCHER, id=user, name="值班员", session=session)
    return Admission(
        principal=who, user=User(id=user, name="值班员", role="dispatcher", permissions=()), view=view
    )


def text(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode()


def hello(**fields: Any) -> bytes:
    return text({"type": "hello", "schema": 1, "client": CLIENT, **fields})


class Peer:
    """A client's end of a connection, and the shell's part of the server's end."""

    def __init__(self, clients: Clients | None = None, store: EntityStore | None = None) -> None:
        self.clients = clients or Clients(per_credential=20)
        self.store = store or EntityStore(5_000)
        self.now = 1000.0
        self.wakes = 0
        self.connection = Connection(self.now, self.wake)

    def wake(self) -> None:
        self.wakes += 1

    def send(self, data: bytes) -> HelloReceived | CommandReceived | KeyAlive | None:
        return self.connection.receive(data, self.now, WALL)

    def open(self, admitted: Admission | None = None, **fields: Any) -> list[dict[str, Any]]:
        """Say hello and be admitted; what comes then."""
        event = self.send(hello(**fields))
        assert isinstance(event, HelloReceived)
        client, resumable = self.clients.admit(self.connection, event.hello, admitted or admission())
        self.connection.admit(client, event.hello, INFO, self.store, resumable=resumable)
        client.retell()
        return self.taken()

    def taken(self) -> list[dict[str, Any]]:
        messages = []
        while (data := self.connection.take(self.store)) is not None:
            messages.append(json.loads(data))
        return messages

    @property
    def client(self) -> Client:
        assert self.connection.client is not None
        return self.connection.client


def rename(command: str, name: str = "x") -> bytes:
    return text({"type": "unit.rename", "id": command, "unit": "u1", "name": name})


def goodbye(peer: Peer) -> tuple[str, int]:
    """The reason and the close code; nothing else was to be sent."""
    assert peer.connection.phase is Phase.CLOSED
    messages = peer.taken()
    assert [message["type"] for message in messages] == ["goodbye"]
    return messages[0]["reason"], peer.connection.close_code


def reply(peer: Peer, command: str, result: bytes = b"null") -> None:
    peer.client.finish(Reply(id=command, ok=True, result=msgspec.Raw(result)))
