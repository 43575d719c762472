"""The shell of the WebSocket protocol: sockets, tasks and timers around `Connection`, `Clients` and `COMMANDS`.

Each socket has a reader (its request handler) and a writer; commands run in tasks of the service, so that what a client
asked is done and remembered even when its socket breaks. Changes of the entities leave at most ten times a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog
from aiohttp import WSMsgType, hdrs, web

from server.api.middleware import SECRET, client_address
from server.api.origins import Origins
from server.api.table import Route
from server.auth.permissions import Action, Principal, Role, actions_of, allowed, require
from server.auth.throttle import BackOff
from server.media_events import MediaEvents
from server.model.errors import FengsuiError, NotLoggedIn, Refused, TooMany
from server.model.ids import DeviceId, LinkId, MediaSessionId, UnitId
from server.model.ports import SlotState
from server.signalling.clients import Admission, Client
from server.signalling.commands import COMMANDS, perform
from server.signalling.messages import MAX_FRAME, HelloClient, ServerInfo, SlotChanged, User
from server.signalling.session import CommandReceived, Connection, HelloReceived, KeyAlive, Phase
from server.signalling.table import Services
from server.signalling.talk_commands import leg_id, leg_of, subject, subject_of
from server.signalling.wire import Command
from server.state import View
from server.units.directory import DeviceRecord

PUBLISH: Final = 0.1  # s between revisions
TICK: Final = 0.5
SEND_TIMEOUT: Final = 10.0  # s without progress of a client that does not read
CLOSE_TIMEOUT: Final = 2.0  # s for the peer's part of the close
OWN_KINDS: Final = frozenset({"unit", "device", "stream", "group", "floor", "call", "callback", "alarm"})

# Entity kinds that need more than a socket.
KIND_ACTIONS: Final = {
    "link": Action.LINK_CREATE,
    "health": Action.HEALTH_READ,
    "patch": Action.GROUP_MANAGE,
    "hold": Action.RECORDING_SEARCH,
}
# Error codes that are goodbye reasons, too; any other is "unavailable".
REFUSALS: Final = frozenset({"not_logged_in", "forbidden", "expired", "revoked", "too_many"})
# Why a log-in session ended -> what its consoles are told.
SESSION_ENDS: Final = {"logged_out": "logged_out", "expired": "expired"}

log = structlog.get_logger("server.signalling")


@dataclass(slots=True, kw_only=True, eq=False)
class _Socket:
    """A connection with what the shell needs of its request."""

    connection: Connection
    wake: asyncio.Event
    request: web.Request
    address: str
    base: str
    secret: str  # of the log-in session, "" = none
    sending: float = math.inf  # since when a frame waits for the client to read

    def abort(self) -> None:
        """Cut it off."""
        if self.request.transport is not None:
            self.request.transport.abort()


class WebSockets:
    """`routes` for the table, `run` as a service, `shutdown` before the HTTP server stops."""

    def __init__(
        self,
        services: Services,
        origins: Origins,
        events: MediaEvents,
        *,
        public_url: str,
        name: str,
        level: str,
        version: str,
    ) -> None:
        self._services = services
        self._clients = services.clients
        self._origins = origins
        self._public_url = public_url
        self._info = ServerInfo(name=name, level=level, version=version, time=0.0, media=False)
        self._sockets: set[_Socket] = set()
        self._socket_gone = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._dirty = asyncio.Event()
        self._closing: dict[MediaSessionId, str] = {}
        self._close_now = asyncio.Event()
        self._guesses = BackOff(free=10, longest=60.0)
        self._counters: Counter[str] = Counter()
        services.store.on_dirty(self._dirty.set)
        services.sessions.on_end(self._session_ended)
        services.roster.on_link_end(self._link_ended)
        services.roster.on_device_gone(self._device_gone)
        services.groups.on_changed(self._groups_changed)
        self._clients.on_gone(lambda client: services.exchange.detach(leg_id(client)))
        events.on_session_step(self._clients.media_step)
        events.on_slot_changed(self._slot_changed)

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="GET",
                path="/ws",
                handler=self.handle,
                action=None,
                csrf=False,
                why="the first message says who comes; a cookie counts only from one of our own pages, see `handle`",
            ),
        )

    # ------------------------------------------------------------------ one socket

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """GET /ws. Raises Refused for a foreign, null or missing Origin (H22)."""
        origin = request.headers.get(hdrs.ORIGIN)
        if not self._origins.allows(origin) or origin is None:
            self._counters["foreign_origins_total"] += 1
            raise Refused("a WebSocket is opened by a page of this server only")
        response: web.WebSocketResponse[bool] = web.WebSocketResponse(
            timeout=CLOSE_TIMEOUT, compress=False, max_msg_size=MAX_FRAME, decode_text=False
        )
        await response.prepare(request)
        wake = asyncio.Event()
        socket = _Socket(
            connection=Connection(self._services.clock.now(), wake.set),
            wake=wake,
            request=request,
            address=client_address(request),
            base=self._public_url or origin,
            secret=request.get(SECRET, ""),
        )
        self._sockets.add(socket)
        self._counters["opened_total"] += 1
        if self._tasks is None:
            socket.connection.end("restarting")
        writer = asyncio.create_task(self._write(response, socket), name="websocket-writer")
        try:
            await self._read(response, socket)
            if socket.connection.phase is Phase.CLOSED:
                await writer  # the goodbye
        finally:
            writer.cancel()
            self._sockets.discard(socket)
            self._socket_gone.set()
            self._detach(socket)
            await asyncio.gather(writer, return_exceptions=True)
            _forget_frames(response.exception())
        return response

    async def _read(self, response: web.WebSocketResponse[bool], socket: _Socket) -> None:
        """Until the socket or the connection is closed."""
        connection, clock = socket.connection, self._services.clock
        while connection.phase is not Phase.CLOSED:
            if pause := connection.pause(clock.now()):
                self._counters["paused_total"] += 1
                await asyncio.sleep(pause)
            message = await response.receive()
            if message.type is WSMsgType.BINARY:
                connection.receive_binary()
                return
            if message.type is WSMsgType.CLOSE:
                connection.receive_close(message.data or 0)
                return
            if message.type is not WSMsgType.TEXT:
                if message.type is WSMsgType.ERROR:
                    self._counters["protocol_errors_total"] += 1
                return
            match connection.receive(message.data, clock.now(), clock.wallclock()):
                case HelloReceived(hello=hello):
                    await self._hello(socket, hello)
                case CommandReceived(command=command) if connection.client is not None:
                    self._accept(connection.client, command)
                case KeyAlive() if connection.client is not None:
                    self._services.exchange.alive(leg_id(connection.client))

    async def _write(self, response: web.WebSocketResponse[bool], socket: _Socket) -> None:
        """Send what there is until the connection is closed; a client that does not read is cut off."""
        connection = socket.connection
        try:
            while True:
                data = connection.take(self._services.store)
                if data is not None:
                    socket.sending = self._services.clock.now()
                    await response.send_frame(data, WSMsgType.TEXT)
                    socket.sending = math.inf
                    self._counters["sent_total"] += 1
                    self._counters["sent_bytes_total"] += len(data)
                    continue
                if connection.phase is Phase.CLOSED:
                    self._counters[f"goodbye_{connection.reason}_total"] += 1
                    async with asyncio.timeout(2 * CLOSE_TIMEOUT):
                        await response.close(code=connection.close_code, message=connection.reason.encode())
                    return
                socket.wake.clear()
                await socket.wake.wait()
        except (ConnectionError, TimeoutError):
            socket.abort()  # the reader notices, too
        except Exception:
            log.exception("a WebSocket's writer failed", address=socket.address)
            connection.end("unavailable")
            socket.abort()

    def _detach(self, socket: _Socket) -> None:
        client = socket.connection.client
        if client is not None:
            log.info(
                "a client went",
                client=client.key[0],
                address=socket.address,
                reason=socket.connection.reason or "closed",
            )
            self._note_presence(client, self._services.presence.disconnected)
        self._clients.detach(socket.connection, self._services.clock.now())

    def _note_presence(self, client: Client, note: Callable[[DeviceId, float], bool]) -> None:
        device = DeviceId(client.principal.device)
        if device and note(device, self._services.clock.wallclock()):
            self._services.roster.show_device(device)

    # ------------------------------------------------------------------ hello

    async def _hello(self, socket: _Socket, hello: HelloClient) -> None:
        services, connection = self._services, socket.connection
        try:
            admission = await self._admission(socket, hello)
            if connection.phase is not Phase.ADMITTING:
                return
            client, resumable = self._clients.admit(connection, hello, admission)
        except FengsuiError as error:
            self._counters["refused_total"] += 1
            log.info("a client was refused", address=socket.address, code=error.code)
            connection.end(error.code if error.code in REFUSALS else "unavailable")
            return
        info = msgspec.structs.replace(self._info, time=services.clock.wallclock(), media=services.media_up())
        connection.admit(client, hello, info, services.store, resumable=resumable)
        if leg_id(client) in services.exchange.legs:
            services.exchange.release(leg_id(client))  # the page closed its microphone with its socket
            leg_of(services, client)
        client.retell()
        log.info("a client came", client=client.key[0], address=socket.address, resumed=resumable)
        self._note_presence(client, services.presence.connected)

    async def _admission(self, socket: _Socket, hello: HelloClient) -> Admission:
        """Who comes. Raises NotLoggedIn, Refused, TooMany, Unavailable."""
        who, device = await self._who(socket, hello.token)
        require(who, Action.SOCKET_OPEN)
        kinds = OWN_KINDS | {kind for kind, action in KIND_ACTIONS.items() if allowed(who.role, action)}
        stream = self._services.roster.directory.channel(device.id, "main") if device else None
        everything = allowed(who.role, Action.STREAM_WATCH)
        unit = device.unit if device else UnitId("")
        groups = frozenset() if everything else self._services.groups.visible(subject(who, unit))
        return Admission(
            principal=who,
            user=User(id=who.id, name=who.name, role=who.role, permissions=actions_of(who.role)),
            view=View(
                kinds=kinds & frozenset(hello.want),
                everything=everything,
                unit=unit,
                device=device.id if device else "",
                groups=frozenset[str](groups),
            ),
            stream=stream.id if stream else "",
            secret="" if hello.token else socket.secret,
            address=socket.address,
            base=socket.base,
        )

    async def _who(self, socket: _Socket, token: str) -> tuple[Principal, DeviceRecord | None]:
        services = self._services
        if token:
            now = services.clock.now()
            if wait := self._guesses.wait(socket.address, now):
                raise TooMany("too many wrong join links from this address", retry_after=wait)
            try:
                return services.roster.guest(token, socket.address)
            except NotLoggedIn:
                self._guesses.failed(socket.address, now)
                raise
        session = services.sessions.find(socket.secret) if socket.secret else None
        if session is None:
            raise NotLoggedIn("log in first")
        who = session.principal
        if who.role is not Role.FIELD:
            return who, None
        device = await services.roster.phone_of(who, socket.address)
        if services.sessions.find(socket.secret) is None:  # ended meanwhile
            raise NotLoggedIn("log in again")
        return msgspec.structs.replace(who, device=device.id), device

    # ------------------------------------------------------------------ commands

    def _accept(self, client: Client, command: Command) -> None:
        """Start a command, or put it behind the client's others."""
        secret = client.admission.secret
        if secret:
            self._services.sessions.find(secret)  # somebody works with this log-in
        if self._tasks is None:
            return  # the connection is being closed: restarting
        if COMMANDS[type(command)].aside:
            self._tasks.create_task(self._perform(client, command), name="command")
            return
        client.backlog.append(command)
        if not client.busy:
            client.busy = True
            self._tasks.create_task(self._work(client), name="commands")

    async def _work(self, client: Client) -> None:
        """Do a client's commands in the order they came."""
        try:
            while client.backlog:
                await self._perform(client, client.backlog.popleft())
        finally:
            client.busy = False

    async def _perform(self, client: Client, command: Command) -> None:
        client.finish(await perform(self._services, client, command))
        self._counters["commands_total"] += 1

    # ------------------------------------------------------------------ told by others

    def _groups_changed(self) -> None:
        """Who may see which group follows from who is a member."""
        for client in self._clients:
            if not client.view.everything:
                client.see(frozenset(self._services.groups.visible(subject_of(client))))

    def _session_ended(self, session: str, reason: str) -> None:
        self._end(lambda client: client.principal.session == session, SESSION_ENDS.get(reason, "revoked"))

    def _link_ended(self, link: LinkId, reason: str) -> None:
        self._end(lambda client: client.principal.role is Role.GUEST and client.principal.id == link, reason)

    def _device_gone(self, device: DeviceId, reason: str) -> None:
        self._end(lambda client: client.principal.device == device, reason)

    def _end(self, match: Callable[[Client], bool], reason: str) -> None:
        for session in self._clients.end(match, reason):
            self._close_media(session, reason)

    def _slot_changed(self, session: MediaSessionId, slot: int, state: SlotState) -> None:
        client = self._clients.of_media(session)
        if client is not None:
            client.slot_changed(
                session,
                SlotChanged(
                    slot=slot,
                    state=state.state,
                    stream=state.stream,
                    layer=state.layer,
                    height=state.height,
                    reason=state.reason,
                    degraded=state.degraded,
                ),
            )

    def _close_media(self, session: MediaSessionId, reason: str) -> None:
        self._closing[session] = reason
        self._close_now.set()

    # ------------------------------------------------------------------ the service

    async def run(self) -> None:
        """Until cancelled; then every client is told that the server restarts."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._publish(), name="websocket-publish")
                tasks.create_task(self._tick(), name="websocket-tick")
                tasks.create_task(self._keep_closing(), name="websocket-close-media")
        finally:
            self._tasks = None
            self._restart()
            for client in self._clients:
                client.abandon()

    async def shutdown(self, app: web.Application | None = None) -> None:
        """Say goodbye to everybody and see that it leaves; for `web.Application.on_shutdown`."""
        self._restart()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._until_all_left(), CLOSE_TIMEOUT)

    async def _until_all_left(self) -> None:
        while self._sockets:
            self._socket_gone.clear()
            await self._socket_gone.wait()

    def _restart(self) -> None:
        for socket in self._sockets:
            socket.connection.end("restarting")

    async def _publish(self) -> None:
        store = self._services.store
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if store.publish():
                for socket in self._sockets:
                    socket.connection.published(store)
            await asyncio.sleep(PUBLISH)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = self._services.clock.now()
            for socket in self._sockets:
                socket.connection.tick(now)
                if now - socket.sending >= SEND_TIMEOUT:
                    socket.sending = math.inf
                    socket.connection.end("too_slow")
                    self._counters["not_reading_total"] += 1
                    socket.abort()
            for session, cause in self._clients.tick(now).items():
                self._close_media(session, cause)

    async def _keep_closing(self) -> None:
        while True:
            await self._close_now.wait()
            self._close_now.clear()
            while self._closing:
                session, reason = self._closing.popitem()
                try:
                    await self._services.node.close(session, reason)
                except FengsuiError as error:
                    log.warning("a media session was not closed", reason=reason, error=str(error))

    def statistics(self) -> dict[str, object]:
        return {
            "sockets": len(self._sockets),
            "queued": sum(socket.connection.queued for socket in self._sockets),
            **self._clients.statistics(),
            **self._counters,
        }


def _forget_frames(failure: BaseException | None) -> None:
    """The response keeps what failed, whose frames keep the response: with 256 KiB of TLS they would wait for the
    garbage collector together."""
    while failure is not None:
        failure.__traceback__ = None
        failure = failure.__context__
