"""The composition root: configuration -> services -> one TaskGroup -> stop in reverse order.

`serve` returns when it was asked to stop. What keeps it from starting is a StartError with its remedy.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web
from sqlalchemy import text

from server.addresses import host_names, interface_addresses
from server.api.health import HealthApi, ReadyCheck
from server.api.listener import Listener, bind
from server.api.middleware import Gate
from server.api.origins import LOOPBACK, Origins, host_of
from server.api.pages import page_rows
from server.api.session import SessionApi, SetupState
from server.api.table import Route, Table
from server.auth.sessions import Sessions
from server.auth.setup import SetupCode
from server.banner import Banner
from server.config import Config
from server.datafolder import (
    MEGABYTE,
    REFUSE_BELOW,
    WARN_BELOW,
    folder_lock,
    free_bytes,
    metrics_token,
    prepare_folder,
)
from server.metrics import Metrics, Statistics, process_statistics
from server.model.clock import JumpWatch
from server.people import People, open_people
from server.start_error import StartError
from server.storage.changes import ChangeWatch
from server.storage.engine import StorageAway
from server.supervision import Supervisor
from server.tls import Tls, TlsError
from server.version import VERSION
from server.watchdog import LoopWatchdog
from web_console.assets import FrontEnd, FrontEndMissing

DRAIN: Final = 4.0  # s for requests in flight and goodbyes when stopping
KEEP_ALIVE: Final = 75.0  # s that an idle connection is kept
MAX_BODY: Final = 256 * 1024  # the largest body any route takes
ADDRESS_CHECK: Final = 60.0  # s between looks at this machine's addresses and certificate
DISK_CHECK: Final = 30.0

log = structlog.get_logger("server.app")


async def serve(config: Config, *, log_statistics: Statistics, ready_fd: int | None = None) -> None:
    """Run a server until SIGTERM or SIGINT. Raises StartError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    prepare_folder(config.data)
    with folder_lock(config.data):
        try:
            front_end = FrontEnd.load()
        except FrontEndMissing as error:
            raise StartError(error.problem, error.remedy) from error
        sock = bind(config.http.host, config.http.port)
        with contextlib.closing(sock):
            async with open_people(config) as people:
                await _Server(config, people, front_end, log_statistics, ready_fd).run(sock, stop)


class _Server:
    """One run of the server; made of services that live as long as `run`."""

    def __init__(
        self,
        config: Config,
        people: People,
        front_end: FrontEnd,
        log_statistics: Statistics,
        ready_fd: int | None,
    ) -> None:
        self._config = config
        self._people = people
        self._front_end = front_end
        self._ready_fd = ready_fd
        self._banner = Banner(config.server.name, VERSION)
        self._supervisor = Supervisor()
        self._metrics = Metrics()
        self._metrics.add("log", log_statistics)
        self._changes = ChangeWatch(people.database)
        self._origins = Origins(config.http.public_url)
        self._sessions = Sessions(
            people.database,
            people.clock,
            idle=config.auth.session_idle_hours * 3600,
            absolute=config.auth.session_absolute_hours * 3600,
        )
        self._setup = SetupState(
            people.users, SetupCode(config.auth.setup_code_minutes * 60), people.clock, self._show_setup_code
        )
        self._warnings: list[str] = []

    async def run(self, sock: socket.socket, stop: asyncio.Event) -> None:
        config, people = self._config, self._people
        port = int(sock.getsockname()[1])
        names = self._names()
        tls = Tls(
            folder=config.data / "tls", certificate=config.tls.certificate, key=config.tls.key, names=names
        )
        self._origins.update(names, port)
        await self._sessions.load()
        await self._setup.refresh()

        session_api = SessionApi(
            people.users,
            self._sessions,
            people.audit,
            self._setup,
            people.clock,
            logins_per_minute=config.limits.logins_per_minute,
        )
        health_api = HealthApi(self._metrics, self._ready_checks(), tls, metrics_token(config.data))
        app = web.Application(client_max_size=MAX_BODY)
        rows: list[Route] = [
            *session_api.routes(),
            *health_api.routes(),
            *page_rows(app, self._front_end, config, self._is_set_up),
        ]
        table = Table(rows)
        table.install(app)
        gate = Gate(
            table,
            self._sessions,
            self._origins,
            people.clock,
            set_up=self._is_set_up,
            bearer=people.devices.principal,
            requests_per_minute=config.limits.requests_per_minute,
            body_timeout=config.http.idle_timeout,
        )
        gate.install(app)
        runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE,
            max_line_size=8190,
            max_field_size=8190,
            max_headers=64,
            lingering_time=2.0,
        )
        await runner.setup()
        server = runner.server
        assert server is not None  # noqa: S101 - set up above
        listener = Listener(
            sock,
            server,
            tls.context,
            self._origins,
            idle_timeout=config.http.idle_timeout,
            max_connections=config.http.max_connections,
            max_per_address=config.http.max_connections_per_address,
        )
        gate.guard = listener
        watchdog = LoopWatchdog()
        self._export(
            {
                "process": process_statistics,
                "loop": watchdog.statistics,
                "services": self._supervisor.statistics,
                "http": listener.statistics,
                "requests": gate.statistics,
                "logins": session_api.statistics,
                "sessions": self._sessions.statistics,
                "storage": people.database.statistics,
                "changes": self._changes.statistics,
                "audit": people.audit.statistics,
            }
        )
        self._changes.subscribe(self._sessions.reload)
        self._changes.subscribe(self._setup.refresh)

        services: dict[str, Callable[[], Awaitable[None]]] = {
            "watchdog": watchdog.run,
            "changes": self._changes.run,
            "sessions": self._sessions.run,
            "seconds": self._every_second,
            "disk": self._watch_disk,
            "addresses": lambda: self._watch_addresses(tls, port),
        }
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._supervisor.keep(name, run), name=name)
                for name, run in services.items()
            ]
            running.append(tasks.create_task(listener.run(), name="http"))
            self._started(tls, port)
            await stop.wait()
            log.info("stopping")
            listener.stop_accepting()
            await self._drain(runner)
            for task in reversed(running):
                task.cancel()
        await self._sessions.write_seen()
        log.info("stopped")

    # ------------------------------------------------------------------ starting and stopping

    def _started(self, tls: Tls, port: int) -> None:
        data = self._config.data
        self._banner.started(
            urls=self._origins.urls,
            certificate=tls.info,
            media="none",
            data=f"{data} ({free_bytes(data) // MEGABYTE} MB free)",
            warnings=self._warnings,
        )
        self._setup.tick()
        if self._ready_fd is not None:
            ready = {
                "http_port": port,
                "setup_code": "" if self._setup.done else self._setup.code.shown,
                "spki": tls.info.spki,
                "urls": self._origins.urls,
                "pid": os.getpid(),
            }
            with os.fdopen(self._ready_fd, "w") as file:
                file.write(json.dumps(ready) + "\n")
        log.info("started", port=port, urls=self._origins.urls)

    async def _drain(self, runner: web.AppRunner) -> None:
        """Let requests in flight end; what has not within `DRAIN` is cut."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                await runner.cleanup()

    # ------------------------------------------------------------------ parts

    def _names(self) -> list[str]:
        """What this machine is called, best first: for the certificate, the origins and the banner."""
        config = self._config
        bound = [config.http.host] if config.http.host else interface_addresses()
        public = [host_of(config.http.public_url)] if config.http.public_url else []
        return list(dict.fromkeys([*public, *config.tls.names, *bound, *host_names(), *LOOPBACK]))

    def _is_set_up(self) -> bool:
        return self._setup.done

    def _show_setup_code(self, code: str) -> None:
        self._banner.setup_code(code, self._origins.best, self._config.auth.setup_code_minutes)

    def _ready_checks(self) -> dict[str, ReadyCheck]:
        async def set_up() -> str:
            return "" if self._setup.done else "needs-set-up"

        async def storage() -> str:
            try:
                async with self._people.database.read() as connection:
                    await connection.execute(text("SELECT 1"))
            except StorageAway:
                return "away"
            return ""

        async def disk() -> str:
            return "full" if free_bytes(self._config.data) < REFUSE_BELOW else ""

        return {"setup": set_up, "storage": storage, "disk": disk}

    def _export(self, sources: dict[str, Statistics]) -> None:
        for name, statistics in sources.items():
            self._metrics.add(name, statistics)

    async def _every_second(self) -> None:
        jumps = JumpWatch()
        clock = self._people.clock
        while True:
            self._setup.tick()
            if jump := jumps.observe(clock.now(), clock.wallclock()):
                log.warning("the wall clock jumped", seconds=round(jump, 3))
            await asyncio.sleep(1.0)

    async def _watch_disk(self) -> None:
        while True:
            free = free_bytes(self._config.data)
            if free < WARN_BELOW:
                log.warning("the data folder's disk is nearly full", free_megabytes=free // MEGABYTE)
            await asyncio.sleep(DISK_CHECK)

    async def _watch_addresses(self, tls: Tls, port: int) -> None:
        """New addresses become origins and go into the certificate; a renewed certificate file is taken."""
        while True:
            await asyncio.sleep(ADDRESS_CHECK)
            names = await asyncio.to_thread(self._names)
            self._origins.update(names, port)
            before = tls.info
            try:
                await asyncio.to_thread(tls.reload, names)
            except TlsError as error:
                log.error(
                    "the new certificate cannot be used; the old one stays",
                    error=str(error),
                    remedy=error.remedy,
                )
            if tls.info != before:
                log.info(
                    "a new certificate is in use", names=tls.info.names, fingerprint=tls.info.fingerprint
                )
