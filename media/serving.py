"""The shell of the media process: one control connection, the engine's events, one timer, the node between them."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import structlog

from media.framing import BrokenStreamError, MessageStream, encode
from media.log import FaultLog
from media.node import MakePulls, MakeRecordings, Node, ProcessFigures
from media.protocol import MAX_MESSAGE, VERSION, Ready, Request
from media.relay.engine import RelayEngine
from media.relay.engine_python import PythonEngine
from media.settings import MediaSettings
from media.transport.certificate import make_identity
from media.transport.dtls import DtlsFactory

# s between two looks at what is due: each wakes the process. How late they come is also how lag is measured.
TICK_DUE, TICK_IDLE = 0.02, 0.1
LAG = 0.005  # s late that count as lag
SEND_AHEAD = 512 * 1024  # bytes given to the socket before notices wait in the outbox, where they are merged
PAGE = resource.getpagesize()

MakeEngine = Callable[[asyncio.AbstractEventLoop], RelayEngine]


def engines_here() -> dict[str, tuple[str, MakeEngine]]:
    """What `MediaSettings.engine` may name here -> (what `Ready` calls it, how it is made)."""
    found: dict[str, tuple[str, MakeEngine]] = {"python": ("python", PythonEngine)}
    try:
        from media.relay.engine_native import NativeEngine
    except ImportError:  # it was not built, or for another contract
        found["auto"] = found["python"]
    else:
        found["native"] = found["auto"] = ("native", lambda loop: NativeEngine())
    return found


ENGINES = engines_here()


class MediaService:
    """The media process's work, from the first word to control until control is gone."""

    def __init__(
        self,
        settings: MediaSettings,
        *,
        pulls: MakePulls | None = None,
        recordings: MakeRecordings | None = None,
    ) -> None:
        """Raises KeyError for an engine that does not exist here."""
        self._settings = settings
        self._make_pulls = pulls
        self._make_recordings = recordings
        self._engine_name, self._make_engine = ENGINES[settings.engine]
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger()
        self._stopping = asyncio.Event()
        self._control: _Control | None = None
        self._worst_lag = 0.0

    async def run(self, listening: socket.socket | None, connected: socket.socket | None) -> None:
        """Serve the control process on a connected socket, or the first that connects to a listening one.

        Returns when control is gone, breaks the protocol, or on SIGTERM or SIGINT.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        identity = make_identity(datetime.now(UTC))
        engine = self._make_engine(loop)
        self._faults = FaultLog(self._log, loop.time)
        loop.set_exception_handler(self._unhandled)
        self._node = Node(
            engine=engine,
            dtls=DtlsFactory(identity),
            settings=self._settings,
            faults=self._faults,
            pulls=self._make_pulls,
            recordings=self._make_recordings,
        )
        self._engine = engine
        self._ready = Ready(
            version=VERSION, fingerprint=identity.fingerprint, engine=self._engine_name, pid=os.getpid()
        )
        engine.start()
        loop.add_reader(engine.event_fd(), self._engine_spoke)
        timers = [asyncio.create_task(self._tick()), asyncio.create_task(self._measure())]
        if self._node.pulls is not None:
            timers.append(asyncio.create_task(self._node.pulls.run()))
        if self._node.recordings is not None:
            timers.append(asyncio.create_task(self._node.recordings.run()))
        stopping = asyncio.create_task(self._stopping.wait())
        server = None
        try:
            if connected is not None:
                await loop.create_unix_connection(lambda: _Control(self), sock=connected)
            else:
                server = await loop.create_unix_server(lambda: _Control(self), sock=listening)
            done, _ = await asyncio.wait((stopping, *timers), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 1.0)  # whatever hangs now ends with the process
            for task in (stopping, *timers):
                task.cancel()
            await asyncio.gather(stopping, *timers, return_exceptions=True)
            if server is not None:
                server.close()
            if self._control is not None:
                self._control.transport.close()
            loop.remove_reader(engine.event_fd())
            self._node.close()

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """A callback raised: a bug. The others go on."""
        error = context.get("exception")
        trace = "".join(traceback.format_exception(error)) if isinstance(error, BaseException) else ""
        self._faults.report("unhandled", message=str(context.get("message")), error=trace)

    # ------------------------------------------------------------------ control

    def control_came(self, control: _Control) -> bool:
        """Whether this is the one control connection there may be."""
        if self._control is not None:
            self._faults.report("second_control_connection")
            return False
        self._control = control
        control.transport.write(encode(self._ready))
        return True

    def control_went(self, control: _Control, reason: str) -> None:
        if control is self._control:
            self._log.info("control_gone", reason=reason)
            self._stopping.set()

    def control_asked(self, requests: list[Request]) -> None:
        now = asyncio.get_running_loop().time()
        for request in requests:
            self._node.handle(request, now, self._figures)
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as control reads."""
        if self._control is None:
            return
        transport = self._control.transport
        while not transport.is_closing() and transport.get_write_buffer_size() < SEND_AHEAD:
            notice = self._node.outbox.pop()
            if notice is None:
                return
            try:
                transport.write(encode(notice))
            except ValueError as error:
                self._faults.report("notice_too_large", error=str(error))

    # ------------------------------------------------------------------ engine and time

    def _engine_spoke(self) -> None:
        self._node.take(self._engine.events(), asyncio.get_running_loop().time())
        self.flush()

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            begun = loop.time()
            due = begun + (TICK_DUE if self._node.due_until(begun + TICK_IDLE) else TICK_IDLE)
            await asyncio.sleep(due - begun)
            now = loop.time()
            lag = now - due
            self._worst_lag = max(self._worst_lag, lag)
            if lag > LAG:
                self._faults.report("loop_lag", ms=round(1000 * lag, 1))
            self._node.tick(now)
            self.flush()

    async def _measure(self) -> None:
        while True:
            await asyncio.sleep(self._settings.statistics_interval)
            self._node.measure(0, asyncio.get_running_loop().time(), self._figures())
            self.flush()

    def _figures(self) -> ProcessFigures:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        lag, self._worst_lag = self._worst_lag, 0.0
        return ProcessFigures(
            cpu_seconds=usage.ru_utime + usage.ru_stime, resident_bytes=_resident(), loop_lag_ms=1000 * lag
        )


class _Control(asyncio.Protocol):
    """The control connection: bytes to requests."""

    transport: asyncio.Transport

    def __init__(self, service: MediaService) -> None:
        self._service = service
        self._stream: MessageStream[Request] = MessageStream(cast(type[Request], Request))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=2 * MAX_MESSAGE, low=SEND_AHEAD)
        if not self._service.control_came(self):
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            requests = self._stream.feed(data)
        except BrokenStreamError as error:
            self._service.control_went(self, f"broken stream: {error}")
            self.transport.abort()
            return
        self._service.control_asked(requests)

    def pause_writing(self) -> None:
        self.transport.pause_reading()  # who does not read the answers may not ask

    def resume_writing(self) -> None:
        self.transport.resume_reading()
        self._service.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._service.control_went(self, str(error) if error else "closed")


def _resident() -> int:
    """Bytes of memory this process holds (proc(5): statm counts pages)."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE
