"""Clients of the WebSocket protocol beyond one connection: a tab or phone that comes back is the same client.

Sans-IO. A client belongs to who was admitted with it: the same client id of somebody else is another client. Its newest
connection replaces the one before (H38); its replies are kept so that a re-sent command is not done twice; its media
session waits MEDIA_GRACE seconds for it, but not for a page that was closed.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from server.auth.permissions import Principal
from server.model.errors import TooMany
from server.model.ids import ClientId, MediaSessionId
from server.signalling.messages import HelloClient, MediaStep, Reply, SlotChanged, User
from server.signalling.session import MAX_WAITING, Connection, encode
from server.signalling.talk import VoiceSlot
from server.signalling.wire import Command, Message
from server.state import View

MEDIA_GRACE: Final = 30.0  # s that a media session outlives its client's connection
KEEP: Final = 600.0  # s that a client without a connection is remembered
MAX_CLIENTS: Final = 5000  # the one that has been away for longest is forgotten
MAX_PER_OWNER: Final = 64  # clients of one account or link that are remembered
MAX_REPLIES: Final = 1024
MAX_REPLY_BYTES: Final = 2 * 1024 * 1024

Key = tuple[str, ClientId]  # owner, client id
ENDED: Final = ("lost", "closed")  # steps after which a media session is gone


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """Who a hello turned out to come from.

    `stream`: a phone's own. `secret`: of the log-in session, so that its use can be noted. `address`: the peer's;
    `base`: the origin under which the client knows this server.
    """

    principal: Principal
    user: User
    view: View
    stream: str = ""
    secret: str = ""
    address: str = ""
    base: str = ""

    @property
    def owner(self) -> str:
        return f"{self.principal.role}:{self.principal.id}"

    @property
    def credential(self) -> str:
        """What the connections that are counted together came with: one log-in session or one link."""
        return self.principal.session or self.owner


class Media(msgspec.Struct, kw_only=True):
    """One of a client's media sessions and what it was last told of it."""

    session: MediaSessionId
    kind: str  # "console" | "phone" | "voice"
    step: MediaStep
    slots: dict[int, SlotChanged | VoiceSlot] = {}

    @property
    def alive(self) -> bool:
        return self.step.step not in ENDED


class Client:
    """Made by `Clients.admit`. `left`: since when it has no connection, monotonic s; `page_gone`: it was closed."""

    def __init__(self, key: Key, admission: Admission) -> None:
        self.key = key
        self.public = secrets.token_urlsafe(9)  # names it to other clients
        self.admission = admission
        self.connection: Connection | None = None
        self.media: dict[str, Media] = {}  # by kind
        self.left: float | None = None
        self.page_gone = False
        self.away = False  # for so long that it takes part no more
        self.ended = ""  # the reason when its credential is no more; nothing new may begin
        self.backlog: deque[Command] = deque()  # commands that are done one after another
        self.busy = False  # somebody works on the backlog
        self._waiting: set[str] = set()
        self._replies: OrderedDict[str, bytes] = OrderedDict()
        self._reply_bytes = 0

    @property
    def principal(self) -> Principal:
        return self.admission.principal

    @property
    def user(self) -> User:
        return self.admission.user

    @property
    def view(self) -> View:
        return self.admission.view

    @property
    def has_media(self) -> bool:
        """Whether one of its media sessions is alive."""
        return any(media.alive for media in self.media.values())

    def see(self, groups: frozenset[str]) -> None:
        """Its groups are these now: a client that sees only its own gets a new snapshot."""
        view = msgspec.structs.replace(self.view, groups=groups)
        if view != self.view:
            self.admission = msgspec.structs.replace(self.admission, view=view)
            if self.connection is not None:
                self.connection.see_anew()

    def tell(self, message: Message) -> None:
        """Something that is not kept for a connection that comes later, but for voice slots."""
        if isinstance(message, VoiceSlot) and (media := self.media.get("voice")) is not None:
            media.slots[message.slot] = message
        self._send(encode(message))

    @property
    def stream(self) -> str:
        return self.admission.stream

    # ------------------------------------------------------------------ commands

    def begin(self, command: str) -> bool:
        """Note a new command; False = too many are waiting."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.add(command)
        return True

    def is_waiting(self, command: str) -> bool:
        return command in self._waiting

    def reply(self, command: str) -> bytes | None:
        """The reply that the command got."""
        return self._replies.get(command)

    def finish(self, reply: Reply) -> None:
        """A command is done: tell it, also to a connection that comes later and asks again."""
        data = encode(reply)
        self._waiting.discard(reply.id)
        self._replies[reply.id] = data
        self._reply_bytes += len(data)
        while len(self._replies) > MAX_REPLIES or self._reply_bytes > MAX_REPLY_BYTES:
            _, old = self._replies.popitem(last=False)
            self._reply_bytes -= len(old)
        self._send(data)

    def abandon(self) -> None:
        """Nobody works on what is waiting any more; sent again it is done anew."""
        self.backlog.clear()
        self._waiting.clear()

    @property
    def idle(self) -> bool:
        return not self._waiting

    # ------------------------------------------------------------------ media

    def opened(self, session: MediaSessionId, kind: str) -> None:
        """A media session was opened for this client; an earlier one of its kind is forgotten."""
        media = Media(session=session, kind=kind, step=MediaStep(session=session, step="signalled"))
        self.media[kind] = media
        self._send(encode(media.step))

    def media_of(self, session: str) -> Media | None:
        return next((media for media in self.media.values() if media.session == session), None)

    def media_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        media = self.media_of(session)
        message = MediaStep(session=session, step=step, detail=detail)
        if media is not None and message != media.step:
            media.step = message
            self._send(encode(message))

    def slot_changed(self, session: MediaSessionId, message: SlotChanged) -> None:
        media = self.media_of(session)
        if media is not None:
            media.slots[message.slot] = message
            self._send(encode(message))

    def retell(self) -> None:
        """After `Connection.admit`: what became of the media sessions while there was no connection."""
        for media in self.media.values():
            self._send(encode(media.step))
            for slot in sorted(media.slots):
                self._send(encode(media.slots[slot]))

    def _send(self, data: bytes) -> None:
        if self.connection is not None:
            self.connection.send(data)

    # ------------------------------------------------------------------ connections

    def attach(self, connection: Connection, admission: Admission) -> None:
        if self.connection is not None:
            self.connection.end("replaced")
        self.connection = connection
        self.admission = admission
        self.left = None
        self.away = False


class Clients:
    """All of them. `tick` about once a second."""

    def __init__(self, *, per_credential: int) -> None:
        self._clients: OrderedDict[Key, Client] = OrderedDict()  # those that were admitted last are last
        self._sessions: dict[MediaSessionId, Client] = {}
        self._per_credential = per_credential
        self._admitted = 0
        self._replaced = 0
        self._forgotten = 0
        self._on_gone: list[Callable[[Client], None]] = []

    def on_gone(self, listener: Callable[[Client], None]) -> None:
        """Told of each client that is ended, forgotten, closed, or away for MEDIA_GRACE; perhaps more than once."""
        self._on_gone.append(listener)

    def admit(self, connection: Connection, hello: HelloClient, admission: Admission) -> tuple[Client, bool]:
        """The hello's client, and whether its revision counts. Raises TooMany.

        Then call `Connection.admit` and `Client.retell`.
        """
        key = (admission.owner, ClientId(hello.client))
        client = self._clients.get(key)
        others = sum(
            1
            for other in self._clients.values()
            if other.connection and other.key != key and other.admission.credential == admission.credential
        )
        if others >= self._per_credential:
            raise TooMany(f"more than {self._per_credential} connections")
        self._admitted += 1
        resumable = client is not None and client.view == admission.view
        if client is None:
            self._make_room(admission.owner)
            client = self._clients[key] = Client(key, admission)
        elif client.connection is not None:
            self._replaced += 1
        self._clients.move_to_end(key)
        client.attach(connection, admission)
        return client, resumable

    def detach(self, connection: Connection, now: float) -> Client | None:
        """A connection is gone; its client if it was still its own."""
        client = connection.client
        if client is None or client.connection is not connection:
            return None
        client.connection = None
        client.left = now
        client.page_gone = connection.page_gone
        return client

    def opened(self, client: Client, session: MediaSessionId, kind: str) -> MediaSessionId | None:
        """A media session was opened; the client's earlier one of its kind, to be closed."""
        before = client.media.get(kind)
        if before is not None:
            self._sessions.pop(before.session, None)
        self._sessions[session] = client
        client.opened(session, kind)
        return before.session if before is not None and before.alive and before.session != session else None

    def of_media(self, session: MediaSessionId) -> Client | None:
        return self._sessions.get(session)

    def media_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        client = self._sessions.get(session)
        if client is None:
            return
        client.media_step(session, step, detail)
        if step in ENDED:
            del self._sessions[session]

    def media_gone(self, client: Client, kind: str = "") -> list[MediaSessionId]:
        """Take the client's live media sessions (of a kind) from it, to be closed."""
        gone = [media.session for media in client.media.values() if media.alive and kind in ("", media.kind)]
        for session in gone:
            self.media_step(session, "closed", "")
        return gone

    def tick(self, now: float) -> dict[MediaSessionId, str]:
        """Media sessions to close, and the cause: their clients did not come back, or will not."""
        closing: dict[MediaSessionId, str] = {}
        for client in list(self._clients.values()):
            if client.left is None:
                continue
            if not client.away and (client.page_gone or now - client.left >= MEDIA_GRACE):
                client.away = True
                cause = "closed" if client.page_gone else "consent_lost"
                closing |= dict.fromkeys(self.media_gone(client), cause)
                self._tell_gone(client)
            if now - client.left >= KEEP and client.idle:
                self._forget(client)
        return closing

    def end(self, match: Callable[[Client], bool], reason: str) -> list[MediaSessionId]:
        """Fence the clients that match: goodbye, forgotten; the media sessions to close at once."""
        closing: list[MediaSessionId] = []
        for client in [client for client in self._clients.values() if match(client)]:
            client.ended = reason
            client.backlog.clear()
            closing += self.media_gone(client)
            if client.connection is not None:
                client.connection.end(reason)
            self._forget(client)
        return closing

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def _make_room(self, owner: str) -> None:
        """Forget those that have been away for longest; a client with a connection or a media session stays."""
        for limit, one_owner in ((MAX_PER_OWNER, True), (MAX_CLIENTS, False)):
            counted = [one for one in self._clients.values() if not one_owner or one.key[0] == owner]
            away = [one for one in counted if one.connection is None and one.idle and not one.has_media]
            away.sort(key=lambda one: one.left or 0.0)
            for client in away[: max(0, len(counted) + 1 - limit)]:
                self._forget(client)

    def _forget(self, client: Client) -> None:
        if self._clients.pop(client.key, None) is not None:
            self._forgotten += 1
            self._tell_gone(client)
        for media in client.media.values():
            self._sessions.pop(media.session, None)

    def _tell_gone(self, client: Client) -> None:
        for listener in self._on_gone:
            listener(client)

    def statistics(self) -> dict[str, object]:
        connected = sum(1 for client in self._clients.values() if client.connection is not None)
        return {
            "clients": len(self._clients),
            "connections": connected,
            "media_sessions": len(self._sessions),
            "admitted_total": self._admitted,
            "replaced_total": self._replaced,
            "forgotten_total": self._forgotten,
        }
