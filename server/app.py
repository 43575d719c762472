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

from media.client import MediaProcess
from media.settings import MediaSettings
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
from server.dispatch import make_dispatch
from server.media_events import MediaEvents
from server.metrics import Metrics, Statistics, process_statistics
from server.model.clock import JumpWatch
from server.people import People, open_people
from server.routing.link import PortUnavailable
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from server.start_error import StartError
from server.storage.changes import ChangeWatch
from server.storage.engine import StorageAway
from server.supervision import Supervisor
from server.tls import Tls, TlsError
from server.version import VERSION
from server.video.admission import CameraPolicy
from server.watchdog import LoopWatchdog
from web_console.assets import FrontEnd, FrontEndMissing

DRAIN: Final = 4.0  # s for requests in flight and goodbyes when stopping
KEEP_ALIVE: Final = 75.0  # s that an idle connection is kept
MAX_BODY: Final = 256 * 1024  # the largest body any route takes
ADDRESS_CHECK: Final = 60.0  # s between looks at this machine's addresses and certificate
DISK_CHECK: Final = 30.0
MEDIA_START: Final = 20.0  # s for the media process to be ready

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
        self._media_problem: PortUnavailable | None = None
        self._media_addresses = list(config.media.addresses) or interface_addresses()
        self._events = MediaEvents()
        self._media = Routing(
            _routing_settings(config), self._events, people.clock, lambda: self._media_addresses
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
        dispatch = await make_dispatch(
            config,
            people,
            self._media,
            self._events,
            media_up=self._media.up.is_set,
            sessions=self._sessions,
            changes=self._changes,
            origins=self._origins,
        )
        health_api = HealthApi(self._metrics, self._ready_checks(), tls, metrics_token(config.data))
        app = web.Application(client_max_size=MAX_BODY)
        rows: list[Route] = [
            *session_api.routes(),
            *health_api.routes(),
            *page_rows(app, self._front_end, config, self._is_set_up),
            *dispatch.routes,
        ]
        table = Table(rows)
        table.install(app)
        gate = Gate(
            table,
            self._sessions,
            self._origins,
            people.clock,
            set_up=self._is_set_up,
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
                **dispatch.statistics,
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
            "media": self._run_media,
            **dispatch.services,
        }
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._supervisor.keep(name, run), name=name)
                for name, run in services.items()
            ]
            await self._media_ready()
            running.append(tasks.create_task(listener.run(), name="http"))
            self._started(tls, port)
            await stop.wait()
            log.info("stopping")
            listener.stop_accepting()
            await dispatch.goodbye()
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
            media="UDP {}, TCP {}; offered: {}".format(
                *self._media.ports, ", ".join(self._offered()) or "no address"
            ),
            data=f"{data} ({free_bytes(data) // MEGABYTE} MB free)",
            warnings=self._warnings,
        )
        self._setup.tick()
        if self._ready_fd is not None:
            ready = {
                "http_port": port,
                "udp_port": self._media.ports[0],
                "tcp_port": self._media.ports[1],
                "setup_code": "" if self._setup.done else self._setup.code.shown,
                "spki": tls.info.spki,
                "urls": self._origins.urls,
                "pid": os.getpid(),
            }
            with os.fdopen(self._ready_fd, "w") as file:
                file.write(json.dumps(ready) + "\n")
        log.info("started", port=port, urls=self._origins.urls)

    async def _run_media(self) -> None:
        """One life of the media process; the supervisor starts the next."""
        config = self._config
        settings = MediaSettings(
            log_level=config.server.log_level,
            engine=config.media.engine,
            start_bitrate=config.media.start_bitrate,
            max_bitrate=config.media.max_bitrate,
        )
        try:
            code = await self._media.run(MediaProcess(settings))
        except PortUnavailable as error:
            self._media_problem = error
            raise
        log.error("the media process ended", exit_code=code)

    async def _media_ready(self) -> None:
        """Raises StartError when the media process cannot be started at all."""
        deadline = self._people.clock.now() + MEDIA_START
        while not self._media.up.is_set():
            if self._media_problem is not None:
                raise StartError(
                    str(self._media_problem),
                    "give media other ports: [media] udp_port and tcp_port, or end the program that has these",
                )
            if self._people.clock.now() > deadline:
                raise StartError(
                    f"the media process was not ready after {MEDIA_START:g} s",
                    "look at the log above for what it said",
                )
            await asyncio.sleep(0.02)

    def _offered(self) -> list[str]:
        """The addresses that media is offered at."""
        public = self._config.media.public_address
        return list(dict.fromkeys([*([public] if public else []), *self._media_addresses]))

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
            self._media_addresses = list(self._config.media.addresses) or interface_addresses()
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


def _routing_settings(config: Config) -> RoutingSettings:
    media, rtsp = config.media, config.ingest.rtsp
    return RoutingSettings(
        host=media.host,
        udp_port=media.udp_port,
        tcp_port=media.tcp_port,
        public_address=media.public_address,
        connect_timeout=media.connect_timeout,
        consent_timeout=media.consent_timeout,
        publishers=config.limits.publishers,
        viewers=config.limits.viewers,
        cameras=CameraPolicy(
            networks=rtsp.networks,
            ports=rtsp.ports,
            own=frozenset(interface_addresses()),
            own_ports=frozenset({config.http.port, media.udp_port, media.tcp_port} - {0}),
        ),
    )
