"""The HTTPS port: counts connections before they cost anything, and closes those that dawdle.

aiohttp itself has no time limit for a request's head and none for a peer that does not read. So every accepted socket
passes through here: caps for all and per address, TLS handshake and first head within `idle_timeout` together, 16 KiB
of head, each later head within `idle_timeout` of its first byte, progress in sending within `STALL`. Bodies are timed
where they are read (`server.api.middleware`). Plain HTTP on this port gets a redirect.
"""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from server.api.origins import Origins
from server.start_error import StartError

MAX_HEAD: Final = 16 * 1024
STALL: Final = 20.0  # s until the kernel cuts a peer that takes nothing of what is sent (TCP_USER_TIMEOUT)
SHUTDOWN: Final = 2.0  # s for the peer's part of a TLS goodbye
BACKLOG: Final = 1024
EVICTABLE_AFTER: Final = (
    1.0  # s that a connection without a request may be there before another may take its place
)
TLS_HANDSHAKE: Final = 0x16  # first byte of a TLS connection

log = structlog.get_logger("server.api.listener")


class PortTaken(StartError):
    """The address cannot be listened on."""


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket; "" = every address, IPv6 and IPv4. Raises PortTaken."""
    family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError:  # a machine without IPv6
        family, sock = socket.AF_INET, socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host or ("::" if family == socket.AF_INET6 else "0.0.0.0"), port))  # noqa: S104 - asked for
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise PortTaken(_why(error, host, port), _remedy(error)) from error
    return sock


def _why(error: OSError, host: str, port: int) -> str:
    where = f"TCP port {port}" + (f" of {host}" if host else "")
    match error.errno:
        case errno.EADDRINUSE:
            return f"{where} is in use by another program"
        case errno.EACCES:
            return f"{where} may only be opened by root"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine"
    return f"{where} cannot be opened: {error.strerror}"


def _remedy(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "stop the other program (is Fengsui running already?) or set another http.port"
        case errno.EACCES:
            return "set http.port to 1024 or above, or grant CAP_NET_BIND_SERVICE"
    return "set http.host to an address of this machine, or leave it empty"


class Listener:
    """`run` accepts until cancelled, for a `runner` that is set up. The gate says `begin` and `end` around each
    request."""

    def __init__(
        self,
        sock: socket.socket,
        runner: web.AppRunner,
        tls: ssl.SSLContext,
        origins: Origins,
        *,
        idle_timeout: float,
        max_connections: int,
        max_per_address: int,
    ) -> None:
        self._sock = sock
        self._runner = runner
        self._tls = tls
        self._origins = origins
        self._idle_timeout = idle_timeout
        self._max = max_connections
        self._max_per_address = max_per_address
        self._entries: dict[str, dict[int, _Connection]] = {}  # address -> connections, oldest first
        self._by_handler: dict[object, _Guarded] = {}
        self._accepting: asyncio.Task[None] | None = None
        self._count = 0
        self._number = 0
        self._counters = dict.fromkeys(
            (
                "accepted_total",
                "refused_total",
                "evicted_total",
                "handshakes_failed_total",
                "plain_http_total",
                "heads_too_slow_total",
                "heads_too_large_total",
                "stalled_total",
                "accept_errors_total",
            ),
            0,
        )

    @property
    def port(self) -> int:
        return int(self._sock.getsockname()[1])

    async def run(self) -> None:
        """Accept until cancelled, then cut what is open. Returns after `stop_accepting` with the last connection."""
        try:
            async with asyncio.TaskGroup() as connections:
                self._accepting = connections.create_task(self._accept(connections))
        finally:
            self._sock.close()

    def stop_accepting(self) -> None:
        """Nothing new from now on; what is open goes on."""
        if self._accepting:
            self._accepting.cancel()

    async def _accept(self, connections: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                conn, peer = await loop.sock_accept(self._sock)
            except OSError as error:  # out of files or memory: others must close first
                self._counters["accept_errors_total"] += 1
                log.warning("cannot accept connections", error=str(error))
                await asyncio.sleep(0.1)
                continue
            self._take(connections, conn, plain_address(peer[0]))

    def begin(self, handler: object) -> None:
        """A request's head is complete and its handler starts."""
        if guarded := self._by_handler.get(handler):
            guarded.begin()

    def end(self, handler: object, *, whole: bool) -> None:
        """Its response is made; not `whole`: its body was not read to the end, so the connection will be closed."""
        if guarded := self._by_handler.get(handler):
            guarded.end(whole)

    def statistics(self) -> dict[str, object]:
        return {"open": self._count, "addresses": len(self._entries), **self._counters}

    # ------------------------------------------------------------------ one connection

    def _take(self, connections: asyncio.TaskGroup, conn: socket.socket, address: str) -> None:
        there = self._entries.get(address, {})
        full = self._count >= self._max
        if (full or len(there) >= self._max_per_address) and not self._evict(None if full else address):
            self._counters["refused_total"] += 1
            conn.close()
            return
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALL * 1000))
        self._counters["accepted_total"] += 1
        self._number += 1
        self._count += 1
        connection = _Connection(conn, address, self._number, asyncio.get_running_loop().time())
        self._entries.setdefault(address, {})[connection.number] = connection
        connection.task = connections.create_task(self._serve(connection))

    def _evict(self, address: str | None) -> bool:
        """Make room: the oldest connection (of `address`) that has not made a request gives its place."""
        young = asyncio.get_running_loop().time() - EVICTABLE_AFTER
        candidates = (
            self._entries.get(address, {}).values()
            if address is not None
            else (one for group in self._entries.values() for one in group.values())
        )
        idle = [one for one in candidates if not one.used and one.since < young]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one.number)
        self._counters["evicted_total"] += 1
        self._forget(oldest)
        if oldest.task:
            oldest.task.cancel()
        return True

    def _forget(self, connection: _Connection) -> None:
        group = self._entries.get(connection.address, {})
        if group.pop(connection.number, None) is None:
            return
        self._count -= 1
        if not group:
            self._entries.pop(connection.address, None)

    async def _serve(self, connection: _Connection) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._idle_timeout
        guarded: _Guarded | None = None
        try:
            try:
                async with asyncio.timeout_at(deadline):
                    first = await _peek(connection.sock)
                    if first != TLS_HANDSHAKE:
                        if first is not None:
                            self._counters["plain_http_total"] += 1
                            await self._redirect(connection.sock)
                        return
                    server = self._runner.server
                    if server is None:
                        return  # stopping
                    handler: RequestHandler = server()
                    guarded = _Guarded(handler, connection, deadline, self._idle_timeout, self._count_event)
                    self._by_handler[handler] = guarded
                    await loop.connect_accepted_socket(
                        lambda: guarded,
                        connection.sock,
                        ssl=self._tls,
                        ssl_handshake_timeout=max(0.1, deadline - loop.time()),
                        ssl_shutdown_timeout=SHUTDOWN,
                    )
            except (OSError, TimeoutError):  # ssl.SSLError is an OSError
                self._counters["handshakes_failed_total"] += 1
                return
            await guarded.closed
        finally:
            if guarded is not None:
                guarded.abort()
                self._by_handler.pop(guarded.inner, None)
            else:
                connection.sock.close()
            self._forget(connection)

    def _count_event(self, name: str) -> None:
        self._counters[name] += 1

    async def _redirect(self, conn: socket.socket) -> None:
        """Answer plain HTTP: where a GET should have gone, else in words."""
        loop = asyncio.get_running_loop()
        head = await loop.sock_recv(conn, 4096)
        await loop.sock_sendall(conn, plain_answer(head, self._origins))
        conn.shutdown(socket.SHUT_WR)


def plain_address(host: str) -> str:
    """A peer's address; IPv4 as IPv4 also on a dual-stack socket."""
    return host.removeprefix("::ffff:") if "." in host else host.partition("%")[0]


REQUEST: Final = re.compile(rb"(GET|HEAD) (/[!-~]{0,2000}) HTTP/1\.[01]\r\n", re.ASCII)
HOST: Final = re.compile(rb"\r\nHost:[ \t]*([A-Za-z0-9.:\[\]-]{1,255})[ \t]*\r\n", re.IGNORECASE)


def plain_answer(head: bytes, origins: Origins) -> bytes:
    """The bytes that answer a plain HTTP request, or anything else, on the TLS port."""
    request, host = REQUEST.match(head), HOST.search(head)
    if request is None:
        text = b"This port speaks HTTPS only.\n"
        return (
            b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(text), text)
        )
    named = host.group(1).decode() if host else ""
    start = f"https://{named}" if origins.allows_host(named) else origins.best
    return (
        b"HTTP/1.1 308 Permanent Redirect\r\nLocation: %b%b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        % (start.encode(), request.group(2))
    )


async def _peek(conn: socket.socket) -> int | None:
    """The first byte, left where it is; None = the peer closed."""
    loop = asyncio.get_running_loop()
    conn.setblocking(False)
    while True:
        try:
            data = conn.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            readable = loop.create_future()
            loop.add_reader(conn, _set, readable)
            try:
                await readable
            finally:
                loop.remove_reader(conn)
        else:
            return data[0] if data else None


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class _Connection:
    """What the listener knows of one accepted socket."""

    __slots__ = ("address", "number", "since", "sock", "task", "used")

    def __init__(self, sock: socket.socket, address: str, number: int, since: float) -> None:
        self.sock = sock
        self.address = address
        self.number = number
        self.since = since
        self.used = False  # has made a request
        self.task: asyncio.Task[None] | None = None


class _Guarded(asyncio.Protocol):
    """aiohttp's protocol with time and size limits around it."""

    def __init__(
        self,
        inner: RequestHandler,
        connection: _Connection,
        deadline: float,
        idle_timeout: float,
        count: Callable[[str], None],
    ) -> None:
        self.inner = inner
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._deadline = deadline
        self._idle_timeout = idle_timeout
        self._count = count
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._head = b""  # of the request whose head is arriving
        self._busy = False
        self._more = False  # bytes came while busy: perhaps the next head

    # ------------------------------------------------------------------ told by the middleware

    def begin(self) -> None:
        self._busy = True
        self._more = False
        self._connection.used = True
        self._head = b""
        self._disarm()

    def end(self, whole: bool) -> None:
        self._busy = (
            not whole
        )  # what still comes is the rest of a body, which aiohttp throws away for a while
        if self._more or not whole:
            self._arm(self._idle_timeout)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._arm(max(0.0, self._deadline - asyncio.get_running_loop().time()))
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._busy:
            self._more = True
        else:
            if self._timer is None:
                self._arm(self._idle_timeout)
            if len(self._head) <= MAX_HEAD:
                self._head = (self._head + data).lstrip(b"\r\n")[: MAX_HEAD + 1]
                if len(self._head) > MAX_HEAD and b"\r\n\r\n" not in self._head:
                    self._count("heads_too_large_total")
                    self._refuse(b"431 Request Header Fields Too Large")
                    return
        self.inner.data_received(data)

    def eof_received(self) -> bool | None:
        self.inner.eof_received()
        return None

    def pause_writing(self) -> None:
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        if isinstance(exc, TimeoutError):
            self._count("stalled_total")
        self._transport = None
        self.inner.connection_lost(exc)
        if not self.closed.done():
            self.closed.set_result(None)

    # ------------------------------------------------------------------ limits

    def _arm(self, delay: float) -> None:
        self._disarm()
        self._timer = asyncio.get_running_loop().call_later(delay, self._too_slow)

    def _disarm(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._count("heads_too_slow_total")
        self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(b"HTTP/1.1 %b\r\nConnection: close\r\nContent-Length: 0\r\n\r\n" % status)
        self._transport.close()
        asyncio.get_running_loop().call_later(SHUTDOWN, self.abort)
