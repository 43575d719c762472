"""The composition root: configuration -> services -> one TaskGroup -> stop in reverse order.

`serve` returns when it was asked to stop. What keeps it from starting is a StartError with its remedy. This process
supervises the media process: when that dies it is started again, and every client joins again.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from aiohttp import web

from media.client import MediaAway, MediaProcess
from media.memory import calm_collector, give_back
from media.settings import MediaSettings
from server.addresses import host_names, interface_addresses
from server.api.health import HealthApi
from server.api.http import HttpServer
from server.api.listener import bind
from server.api.origins import LOOPBACK, Origins, host_of
from server.api.pages import page_rows
from server.api.session import SessionApi, SetupState
from server.auth.sessions import Sessions
from server.auth.setup import SetupCode
from server.banner import Banner
from server.bus.base import Bus
from server.bus.choose import open_bus
from server.config import Config
from server.datafolder import MEGABYTE, REFUSE_BELOW, folder_lock, free_bytes, metrics_token, prepare_folder
from server.dispatch import Dispatch, make_dispatch
from server.health import Health
from server.media_events import MediaEvents
from server.metrics import Metrics, Statistics, process_statistics
from server.model.clock import JumpWatch
from server.model.uuid7 import new_id
from server.people import People, open_people
from server.routing.link import PortUnavailable
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from server.start_error import StartError
from server.storage.changes import ChangeWatch
from server.storage.identity import system_id
from server.supervision import FIRST_WAIT, LONGEST_WAIT, STEADY_AFTER, Supervisor
from server.tls import Tls, TlsError
from server.version import VERSION
from server.video.admission import CameraPolicy
from server.watchdog import LoopWatchdog
from web_console.assets import FrontEnd, FrontEndMissing

MEDIA_READY: Final = 20.0  # s until the first media process must be up
MEDIA_FIRST_WAIT: Final = 0.2  # s until a media process that died is started again
STOPPING: Final = 2.0  # s for each service to clean up
ADDRESS_CHECK: Final = 10.0  # s between looks at this machine's addresses and certificate files

log = structlog.get_logger("server.app")


class MediaUnusable(StartError):
    """The media process does not start or cannot have its ports."""


async def serve(config: Config, *, log_statistics: Statistics, ready_fd: int | None = None) -> None:
    """Run a server until SIGTERM or SIGINT. Raises StartError."""
    give_back()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    prepare_folder(config.data)
    with folder_lock(config.data):
        try:
            front_end = FrontEnd.load()
        except FrontEndMissing as error:
            raise StartError(error.problem, error.remedy) from error
        with contextlib.closing(bind(config.http.host, config.http.port)) as sock:
            async with open_people(config) as people:
                wallclock = people.clock.wallclock()
                system = await system_id(people.database, wallclock)
                async with open_bus(config.bus.url, system, new_id(wallclock)) as bus:
                    server = _Server(config, people, bus, sock)
                    server.metrics.add("log", log_statistics)
                    await server.run(front_end, stop, ready_fd)


class _Server:
    """One run of the server: what is made here lives until `run` returns."""

    def __init__(self, config: Config, people: People, bus: Bus, sock: socket.socket) -> None:
        clock, database = people.clock, people.database
        self._config = config
        self._people = people
        self._bus = bus
        self._sock = sock
        self._port = int(sock.getsockname()[1])
        self._addresses = self._own_addresses()
        self._banner = Banner(config.server.name, VERSION)
        self.metrics = Metrics()
        self._supervisor = Supervisor()
        self._media_restarts = 0
        self._first_media: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        names = self._names()
        self._tls = Tls(
            folder=config.data / "tls", certificate=config.tls.certificate, key=config.tls.key, names=names
        )
        self._origins = Origins(config.http.public_url)
        self._origins.update(names, self._port)

        # people
        self._changes = ChangeWatch(database)
        self._sessions = Sessions(
            database,
            clock,
            idle=config.auth.session_idle_hours * 3600,
            absolute=config.auth.session_absolute_hours * 3600,
        )
        self._setup = SetupState(
            people.users, SetupCode(config.auth.setup_code_minutes * 60), clock, self._show_setup_code
        )
        self._events = MediaEvents()
        self._routing = Routing(self._routing_settings(), self._events, clock, self._media_addresses)
        self._watchdog = LoopWatchdog()
        self._changes.subscribe(self._sessions.reload)
        self._changes.subscribe(self._setup.refresh)

    async def run(self, front_end: FrontEnd, stop: asyncio.Event, ready_fd: int | None) -> None:
        """Until `stop` is set. Raises StartError."""
        await self._sessions.load()
        await self._setup.refresh()
        people = self._people
        dispatch = await make_dispatch(
            self._config,
            people,
            self._routing,
            self._events,
            media_up=self._routing.up.is_set,
            sessions=self._sessions,
            changes=self._changes,
            origins=self._origins,
        )
        health = Health(
            dispatch.store,
            people.clock,
            data=self._config.data,
            database=people.database,
            media_up=self._routing.up.is_set,
            media_restarts=lambda: self._media_restarts,
            set_up=lambda: self._setup.done,
            certificate=lambda: self._tls.info,
            loop=self._watchdog.statistics,
            bus=self._bus.statistics if self._config.bus.url else None,
            clients=dispatch.statistics["websockets"],
            recorder=dispatch.recorder,
        )
        http = self._http(front_end, dispatch, health)
        await http.prepare()
        # In the order in which they start; they stop the other way round.
        services: dict[str, Callable[[], Awaitable[None]]] = {
            "watchdog": self._watchdog.run,
            "seconds": self._every_second,
            "addresses": self._watch_addresses,
            "changes": self._changes.run,
            "sessions": self._sessions.run,
            "media": self._keep_media,
            **dispatch.services,
        }
        calm_collector()  # before anything is watched: it takes a quarter of a second
        refused: list[StartError] = []
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._supervisor.keep(name, run), name=name)
                    for name, run in services.items()
                ]
                try:
                    await self._until_media()
                    running.append(tasks.create_task(self._supervisor.keep("health", health.run)))
                    running.append(tasks.create_task(http.run(), name="http"))
                    self._started(ready_fd, health.warnings())
                    gc.freeze()  # what lives from here on stays
                    await stop.wait()
                    log.info("stopping")
                    await http.drain()
                finally:
                    await _stop(running)
        except* StartError as group:
            refused = [error for error in group.exceptions if isinstance(error, StartError)]
        if refused:
            raise refused[0]
        with contextlib.suppress(Exception):
            await self._sessions.write_seen()
            await dispatch.finish()
        log.info("stopped")

    # ------------------------------------------------------------------ parts

    def _http(self, front_end: FrontEnd, dispatch: Dispatch, health: Health) -> HttpServer:
        config, people = self._config, self._people
        app = web.Application()
        session_api = SessionApi(
            people.users,
            self._sessions,
            people.audit,
            self._setup,
            people.clock,
            logins_per_minute=config.limits.logins_per_minute,
        )
        rows = (
            *session_api.routes(),
            *HealthApi(self.metrics, health.checks, self._tls, metrics_token(config.data)).routes(),
            *dispatch.routes,
            *page_rows(app, front_end, config, lambda: self._setup.done),
        )
        app.on_shutdown.append(dispatch.goodbye)
        http = HttpServer(
            app,
            rows,
            self._sock,
            self._tls.context,
            self._origins,
            self._sessions,
            people.clock,
            set_up=lambda: self._setup.done,
            http=config.http,
            limits=config.limits,
        )
        exported: dict[str, Statistics] = {
            "process": process_statistics,
            "loop": self._watchdog.statistics,
            "services": self._supervisor.statistics,
            "media_process": lambda: {"restarts_total": self._media_restarts},
            "http": http.listener.statistics,
            "requests": http.gate.statistics,
            "logins": session_api.statistics,
            "sessions": self._sessions.statistics,
            "storage": people.database.statistics,
            "bus": self._bus.statistics,
            "changes": self._changes.statistics,
            "audit": people.audit.statistics,
            "passwords": people.passwords.statistics,
            "health": health.statistics,
            **dispatch.statistics,
        }
        for name, statistics in exported.items():
            self.metrics.add(name, statistics)
        return http

    def _routing_settings(self) -> RoutingSettings:
        media, limits, rtsp = self._config.media, self._config.limits, self._config.ingest.rtsp
        return RoutingSettings(
            host=media.host,
            udp_port=media.udp_port,
            tcp_port=media.tcp_port,
            public_address=media.public_address,
            connect_timeout=media.connect_timeout,
            consent_timeout=media.consent_timeout,
            publishers=limits.publishers,
            viewers=limits.viewers,
            sound_paths=limits.sound_paths,
            full_load=media.full_load,
            recorded=self._config.recordings_folder is not None,
            cameras=CameraPolicy(
                networks=rtsp.networks,
                ports=rtsp.ports,
                own=frozenset([*self._addresses, *LOOPBACK]),
                own_ports=frozenset([self._port, media.udp_port, media.tcp_port]),
            ),
        )

    # ------------------------------------------------------------------ media

    async def _keep_media(self) -> None:
        """Keep a media process running until cancelled. What keeps the first one from its ports ends the start."""
        media = self._config.media
        process = MediaProcess(
            MediaSettings(
                log_level=self._config.server.log_level,
                engine=media.engine,
                start_bitrate=media.start_bitrate,
                max_bitrate=media.max_bitrate,
                pull_retry_min=self._config.ingest.rtsp.retry_min,
                pull_retry_max=self._config.ingest.rtsp.retry_max,
                recordings=str(self._config.recordings_folder or ""),
                recordings_reserve=REFUSE_BELOW,
            )
        )
        wait, loop = MEDIA_FIRST_WAIT, asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                code = await self._routing.run(process)
                log.error("the media process died; it is started again", code=code)
            except (MediaAway, PortUnavailable) as error:
                log.error("the media process cannot be used", error=str(error))
                if not self._first_media.done():
                    self._first_media.set_exception(_media_problem(error))
            self._media_restarts += 1
            if loop.time() - began >= STEADY_AFTER:
                wait = MEDIA_FIRST_WAIT
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, max(FIRST_WAIT, wait * 2))

    async def _until_media(self) -> None:
        """Raises MediaUnusable."""
        up = asyncio.create_task(self._routing.up.wait())
        try:
            await asyncio.wait(
                (up, self._first_media), timeout=MEDIA_READY, return_when=asyncio.FIRST_COMPLETED
            )
            if self._first_media.done():
                self._first_media.result()
            elif not up.done():
                raise MediaUnusable(
                    "the media process does not answer", "look at the log above for its reason"
                )
        finally:
            up.cancel()
            self._first_media.cancel()

    def _media_addresses(self) -> list[str]:
        media = self._config.media
        if media.addresses:
            return list(media.addresses)
        return [media.host] if media.host else self._addresses

    # ------------------------------------------------------------------ starting

    def _started(self, ready_fd: int | None, warnings: list[str]) -> None:
        data = self._config.data
        udp, tcp = self._routing.ports
        self._banner.started(
            urls=self._origins.urls,
            certificate=self._tls.info,
            media=f"{udp}/udp and {tcp}/tcp at {', '.join(self._media_addresses())}",
            data=f"{data} ({free_bytes(data) // MEGABYTE} MB free)",
            warnings=warnings,
        )
        self._setup.tick()
        if ready_fd is not None:
            ready = {
                "http_port": self._port,
                "udp_port": udp,
                "tcp_port": tcp,
                "setup_code": "" if self._setup.done else self._setup.code.shown,
                "spki": self._tls.info.spki,
                "urls": self._origins.urls,
                "pid": os.getpid(),
            }
            with os.fdopen(ready_fd, "w") as file:
                file.write(json.dumps(ready) + "\n")
        log.info("started", version=VERSION, http=self._port, udp=udp, tcp=tcp)

    def _show_setup_code(self, code: str) -> None:
        self._banner.setup_code(code, self._origins.best, self._config.auth.setup_code_minutes)

    # ------------------------------------------------------------------ names and time

    def _own_addresses(self) -> list[str]:
        return [self._config.http.host] if self._config.http.host else interface_addresses()

    def _names(self) -> list[str]:
        """What this machine is called, best first: for the certificate, the origins and the banner."""
        config = self._config
        public = [host_of(config.http.public_url)] if config.http.public_url else []
        return list(dict.fromkeys([*public, *config.tls.names, *self._addresses, *host_names(), *LOOPBACK]))

    async def _watch_addresses(self) -> None:
        """New addresses become origins and go into the certificate; a renewed certificate file is taken."""
        while True:
            await asyncio.sleep(ADDRESS_CHECK)
            self._addresses = await asyncio.to_thread(self._own_addresses)
            names = self._names()
            self._origins.update(names, self._port)
            before = self._tls.info
            try:
                after = await asyncio.to_thread(self._tls.reload, names)
            except TlsError as error:
                log.error("the certificate in use stays", error=str(error), remedy=error.remedy)
                continue
            if after != before:
                log.info("a new certificate is in use", names=after.names, fingerprint=after.fingerprint)

    async def _every_second(self) -> None:
        jumps, clock = JumpWatch(), self._people.clock
        while True:
            if self._routing.up.is_set():  # before, nobody could use it
                self._setup.tick()
            if jump := jumps.observe(clock.now(), clock.wallclock()):
                log.warning("the wall clock jumped", seconds=round(jump, 3))
            await asyncio.sleep(1.0)


async def _stop(running: list[asyncio.Task[None]]) -> None:
    """Cancel each, the last one first, and give it `STOPPING` to clean up."""
    for task in reversed(running):
        task.cancel()
        await asyncio.wait([task], timeout=STOPPING)


def _media_problem(error: MediaAway | PortUnavailable) -> MediaUnusable:
    if isinstance(error, PortUnavailable):
        return MediaUnusable(
            str(error),
            "stop the other program, or set other media.udp_port and media.tcp_port, or media.host",
        )
    return MediaUnusable(f"the media process does not start: {error}", "look at the log above for its reason")
