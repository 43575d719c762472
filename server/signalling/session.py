"""One WebSocket connection: first a hello that must be admitted, then commands, and what is to be sent in which order.

Sans-IO. The shell gives every text frame to `receive` and does what the returned event says; it sends what `take`
returns until that is None, closes with `close_code` once `phase` is CLOSED, and calls `tick` at `deadline`. Nothing
that a client sends makes a method raise. What a client may do lives longer than a connection: see `clients.py`.

Snapshots and deltas are never queued: they are made when the socket can take them, so a slow client costs no memory and
gets one merged delta. Replies and notices are queued, up to MAX_QUEUED and MAX_QUEUED_BYTES.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

import msgspec

from server.signalling.messages import (
    SCHEMA,
    ClientCommand,
    ClientMessage,
    Goodbye,
    HelloClient,
    HelloServer,
    Ping,
    Pong,
    Problem,
    Reply,
    ServerInfo,
)
from server.signalling.talk import FloorAlive
from server.signalling.wire import Command, Message

if TYPE_CHECKING:
    from server.signalling.clients import Client
    from server.state import EntityStore

HELLO_TIMEOUT: Final = 5.0  # s
SILENCE: Final = 15.0  # s without a message until the connection is given up
MAX_QUEUED: Final = 512
MAX_QUEUED_BYTES: Final = 1024 * 1024
MAX_WAITING: Final = 64  # commands of one client without a reply
MESSAGES_PER_SECOND: Final = 100.0  # over a longer time; BURST at once
BURST: Final = 400.0

# Goodbye reason -> WebSocket close code (RFC 6455 7.4.1).
CLOSE_CODES: Final = {"bad_message": 1008, "restarting": 1012, "too_slow": 1013, "too_many": 1013}
CLOSE_CODE: Final = 1000
CLOSE_BINARY: Final = 1003
GOING_AWAY: Final = 1001  # RFC 6455 7.4.1


class Phase(Enum):
    HELLO = auto()  # waiting for the first message
    ADMITTING = auto()  # the shell finds out who it is
    OPEN = auto()
    CLOSED = auto()  # only a goodbye may still leave


class HelloReceived(msgspec.Struct, frozen=True, kw_only=True):
    """Answer with `admit` or `end`."""

    hello: HelloClient


class CommandReceived(msgspec.Struct, frozen=True, kw_only=True):
    """A new command of the connection's client; finish it with `Client.finish`."""

    command: Command


class KeyAlive(msgspec.Struct, frozen=True, kw_only=True):
    """The client's key is still held."""


_MESSAGES: Final = msgspec.json.Decoder(ClientMessage)
_ENCODER: Final = msgspec.json.Encoder()
_TAGS: Final = frozenset(kind.__struct_config__.tag for kind in ClientCommand.__args__)
_ID: Final = re.compile(r"[!-~]{1,64}")
_PATH: Final = re.compile(r" - at `\$\.?(.*)`$")

# UnicodeDecodeError (a ValueError) and RecursionError leave msgspec as they are.
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError, RecursionError)


def encode(message: Message) -> bytes:
    return _ENCODER.encode(message)


def failure(command: str, problem: Problem) -> bytes:
    return encode(Reply(id=command, ok=False, error=problem))


class Connection:
    """`wake` is called when there is something to `take`, also when that is only the close."""

    def __init__(self, now: float, wake: Callable[[], None]) -> None:
        self.phase = Phase.HELLO
        self.client: Client | None = None
        self.reason = ""  # of the goodbye
        self.close_code = CLOSE_CODE
        self.page_gone = False  # nobody will come back for it
        self._wake = wake
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._known: int | None = None  # the revision the client has; None = it needs a snapshot
        self._opened = now
        self._heard = now
        self._left = BURST  # messages it may send at once
        self._refilled = now

    # ------------------------------------------------------------------ from the client

    def receive(
        self, data: bytes, now: float, wallclock: float
    ) -> HelloReceived | CommandReceived | KeyAlive | None:
        """Take one text frame; None = nothing to do for the shell."""
        if self.phase is Phase.CLOSED:
            return None
        self._heard = now
        self._count(now)
        try:
            message = _MESSAGES.decode(data)
        except _UNREADABLE as error:
            self._unreadable(data, error)
            return None
        match message:
            case HelloClient() if self.phase is Phase.HELLO:
                if message.schema != SCHEMA:
                    self.end("schema")
                    return None
                self.phase = Phase.ADMITTING
                return HelloReceived(hello=message)
            case Ping() if self.phase is Phase.OPEN:
                self.send(encode(Pong(t=message.t, time=wallclock)))
                return None
            case FloorAlive() if self.phase is Phase.OPEN:
                return KeyAlive()
            case Command() if self.phase is Phase.OPEN and self.client is not None:
                return self._command(self.client, message)
            case _:
                self.end("bad_message")
                return None

    def receive_binary(self) -> None:
        """A binary frame: nobody sends those."""
        self.end("bad_message", CLOSE_BINARY)

    def receive_close(self, code: int) -> None:
        """The client closed; a browser says with GOING_AWAY that the page is closed, or another one in its place."""
        self.page_gone = code == GOING_AWAY

    def pause(self, now: float) -> float:
        """Seconds that the shell must not read, because the client sends more than a person and a page can mean."""
        self._refill(now)
        return max(0.0, -self._left / MESSAGES_PER_SECOND)

    def _command(self, client: Client, command: Command) -> CommandReceived | None:
        known = client.reply(command.id)
        if known is not None:
            self.send(known)
            return None
        if client.is_waiting(command.id):
            return None  # its reply will come once
        if not client.begin(command.id):
            problem = Problem(code="too_many", message=f"{MAX_WAITING} commands are waiting", retry_after=1.0)
            self.send(failure(command.id, problem))
            return None
        return CommandReceived(command=command)

    def _unreadable(self, data: bytes, error: Exception) -> None:
        """A command of which at least the id can be read is refused; anything else ends the connection."""
        try:
            found = json.loads(
                data.decode("utf-8", "replace")
            )  # takes broken characters, which msgspec does not
        except (ValueError, RecursionError):
            found = None
        message = found if isinstance(found, dict) else {}
        kind, command = message.get("type"), message.get("id")
        if self.phase is Phase.HELLO and kind == "hello" and message.get("schema", SCHEMA) != SCHEMA:
            self.end("schema")
        elif self.phase is not Phase.OPEN or not isinstance(command, str) or not _ID.fullmatch(command):
            self.end("bad_message")
        elif kind not in _TAGS:
            problem = Problem(code="unknown_command", message="there is no such command")
            self.send(failure(command, problem))
        else:
            self.send(failure(command, _problem(error)))

    def _count(self, now: float) -> None:
        self._refill(now)
        self._left -= 1.0

    def _refill(self, now: float) -> None:
        self._left = min(BURST, self._left + max(0.0, now - self._refilled) * MESSAGES_PER_SECOND)
        self._refilled = now

    # ------------------------------------------------------------------ from the server

    def admit(
        self, client: Client, hello: HelloClient, server: ServerInfo, store: EntityStore, *, resumable: bool
    ) -> None:
        """The client is who it says; `resumable`: its `rev` counts with the view it has now."""
        if self.phase is not Phase.ADMITTING:
            return
        self.phase = Phase.OPEN
        self.client = client
        resumed = resumable and hello.rev > 0 and store.covers(hello.rev)
        self._known = hello.rev if resumed else None
        self.send(
            encode(
                HelloServer(
                    schema=SCHEMA,
                    rev=store.rev,
                    resumed=resumed,
                    client=hello.client,
                    user=client.user,
                    server=server,
                    stream=client.stream,
                    leg=client.public,
                )
            )
        )

    def send(self, data: bytes) -> None:
        """Queue an encoded message; a client that lets too much wait is ended."""
        if self.phase is Phase.CLOSED:
            return
        self._queue.append(data)
        self._queued += len(data)
        if len(self._queue) > MAX_QUEUED or self._queued > MAX_QUEUED_BYTES:
            self.end("too_slow")
            return
        self._wake()

    def see_anew(self) -> None:
        """What the client may see is different: it gets a snapshot."""
        self._known = None
        self._wake()

    def end(self, reason: str, close_code: int | None = None) -> None:
        """Say goodbye and close. The first reason counts."""
        if self.phase is Phase.CLOSED:
            return
        self.phase = Phase.CLOSED
        self.reason = reason
        self.close_code = CLOSE_CODES.get(reason, CLOSE_CODE) if close_code is None else close_code
        self._queue.clear()
        self._queue.append(encode(Goodbye(reason=reason)))
        self._queued = 0
        self._wake()

    def take(self, store: EntityStore) -> bytes | None:
        """The next message to send; call again when it has left. None = nothing now."""
        if self._queue:
            data = self._queue.popleft()
            self._queued -= len(data) if self.phase is not Phase.CLOSED else 0
            return data
        if self.phase is not Phase.OPEN or self.client is None or self._known == store.rev:
            return None
        known, self._known = self._known, store.rev
        if known is None or not store.covers(known):
            return store.snapshot(self.client.view)
        return store.delta(self.client.view, known)

    def published(self, store: EntityStore) -> None:
        """There is a new revision: wakes the shell when something in it is for this client."""
        known, client = self._known, self.client
        if client is None or known is None or store.concerns(client.view, known):
            self._wake()
        else:
            self._known = store.rev

    # ------------------------------------------------------------------ time

    def tick(self, now: float) -> None:
        """Give up a client that does not say who it is, or says nothing any more."""
        if now >= self.deadline():
            self.end("timeout")

    def deadline(self) -> float:
        """When to call `tick`."""
        if self.phase is Phase.HELLO:
            return self._opened + HELLO_TIMEOUT
        return self._heard + SILENCE

    @property
    def queued(self) -> int:
        """Messages waiting."""
        return len(self._queue)


def _problem(error: Exception) -> Problem:
    """What is wrong with a command, and where."""
    if not isinstance(error, msgspec.ValidationError):
        return Problem(code="bad_request", message="the message has broken characters or numbers")
    said = str(error)
    path = _PATH.search(said)
    field = re.sub(r"\[[^\]]*\]", "", path.group(1)) if path else ""
    return Problem(code="bad_request", message=said[:300], field=field)
