"""A media process for tests of routing: it checks transactions as the engine would, and reports what a test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from media.client import MediaAway
from media.protocol import (
    RECORDER_TAP,
    Apply,
    Done,
    Notice,
    OpenIce,
    Ready,
    Request,
    RestartIce,
    SetDemands,
    StartPull,
    StartRecording,
    StopPull,
    StopRecording,
)
from media.relay.messages import (
    AddListener,
    AddSink,
    AddSource,
    AddTransport,
    Command,
    RemoveSink,
    RemoveSource,
    RemoveTransport,
    SetRoutes,
)

FINGERPRINT = (
    "9B:3C:5A:11:72:E4:0D:C8:66:2F:A1:57:90:BE:43:18:C0:7D:29:F5:84:6A:1E:D3:B7:08:5C:EF:31:94:A2:60"
)


class FakeMedia:
    """Fulfils `server.routing.link.MediaLink`. Looks like a strict engine: what it does not know it refuses.

    `transactions` are the applied ones; `refuse` makes the next request of a type fail; `routes` is what the engine
    would forward: source -> sinks.
    """

    def __init__(self) -> None:
        self.ready = Ready(version=1, fingerprint=FINGERPRINT, engine="fake", pid=1)
        self.gone = asyncio.Event()
        self.answers = asyncio.Event()  # cleared: requests wait
        self.answers.set()
        self.requests: list[Request] = []
        self.transactions: list[tuple[Command, ...]] = []
        self.transports: dict[int, AddTransport] = {}
        self.ice: dict[int, OpenIce | RestartIce] = {}
        self.sources: dict[int, AddSource] = {}
        self.sinks: dict[int, AddSink] = {}
        self.routes: dict[int, tuple[int, ...]] = {}
        self.revisions: dict[int, int] = {}
        self.demands: dict[int, tuple[int, int]] = {}
        self.pulls: dict[int, StartPull] = {}
        self.recordings: dict[str, StartRecording] = {}
        self.refuse: dict[type[Request], str] = {}
        self._notices: asyncio.Queue[Notice | None] = asyncio.Queue()

    # ------------------------------------------------------------------ as routing sees it

    async def request(self, request: Request) -> Done:
        if self.gone.is_set():
            raise MediaAway("gone")
        self.requests.append(request)
        await self.answers.wait()
        error = self.refuse.pop(type(request), "") or self._handle(request)
        ports: tuple[int, ...] = ()
        if isinstance(request, Apply) and not error:
            ports = tuple(
                command.port or 40_000 + command.listener
                for command in request.commands
                if isinstance(command, AddListener)
            )
        return Done(number=1, error=error, ports=ports)

    async def notices(self) -> AsyncIterator[Notice]:
        while (notice := await self._notices.get()) is not None:
            yield notice

    # ------------------------------------------------------------------ as a test sees it

    def say(self, *notices: Notice) -> None:
        for notice in notices:
            self._notices.put_nowait(notice)

    def die(self) -> None:
        self.gone.set()
        self._notices.put_nowait(None)

    @property
    def last(self) -> tuple[Command, ...]:
        return self.transactions[-1]

    def sinks_of(self, transport: int) -> list[AddSink]:
        return [sink for sink in self.sinks.values() if sink.transport == transport]

    def sources_of(self, transport: int) -> list[AddSource]:
        return [source for source in self.sources.values() if source.transport == transport]

    def feeds(self, sink: int) -> int:
        """The source that is routed to a sink, 0 = none."""
        return next((source for source, sinks in self.routes.items() if sink in sinks), 0)

    # ------------------------------------------------------------------ what an engine would do

    def _handle(self, request: Request) -> str:
        match request:
            case Apply():
                return self._apply(request.commands)
            case OpenIce() if request.transport in self.ice or request.transport not in self.transports:
                return "unknown_transport"
            case OpenIce():
                self.ice[request.transport] = request
            case RestartIce() if request.transport not in self.ice:
                return "unknown_transport"
            case RestartIce():
                self.ice[request.transport] = request
            case SetDemands():
                for demand in request.demands:
                    if demand.sink not in self.sinks:
                        return f"unknown_sink: {demand.sink}"
                    self.demands[demand.sink] = (demand.height, demand.priority)
            case StartPull():
                if not {request.video_source, request.audio_source} <= set(self.sources):
                    return "unknown source"
                self.pulls[request.pull] = request
            case StopPull():
                return "" if self.pulls.pop(request.pull, None) else "not running"
            case StartRecording():
                self.recordings[request.recording] = request
            case StopRecording():
                return "" if self.recordings.pop(request.recording, None) else "not running"
            case _:
                pass
        return ""

    def _apply(self, commands: tuple[Command, ...]) -> str:
        """All or nothing, as the contract says."""
        before = (
            dict(self.transports),
            dict(self.sources),
            dict(self.sinks),
            dict(self.routes),
            dict(self.revisions),
        )
        for command in commands:
            if error := self._one(command):
                self.transports, self.sources, self.sinks, self.routes, self.revisions = before
                return f"{type(command).__name__}: {error}"
        self.transactions.append(commands)
        return ""

    def _one(self, command: Command) -> str:
        match command:
            case AddTransport():
                if command.transport in self.transports:
                    return "exists"
                self.transports[command.transport] = command
            case RemoveTransport():
                if self.transports.pop(command.transport, None) is None:
                    return "unknown"
                self.ice.pop(command.transport, None)
                for its in self.sources_of(command.transport):
                    self._drop_source(its.source)
                for sink in self.sinks_of(command.transport):
                    self._drop_sink(sink.sink)
            case AddSource():
                if command.transport and command.transport not in self.transports:
                    return "unknown transport"
                self.sources[command.source] = command
            case RemoveSource():
                if command.source not in self.sources:
                    return "unknown"
                self._drop_source(command.source)
            case AddSink():
                used = {sink.ssrc for sink in self.sinks.values()}
                there = command.tap == RECORDER_TAP or command.transport in self.transports
                if not there or command.sink in self.sinks:
                    return "bad sink"
                numbered = command.ssrc not in used and command.ssrc and command.first_sequence < 1 << 15
                if not command.tap and not numbered:
                    return "bad numbers"
                self.sinks[command.sink] = command
            case RemoveSink():
                self._drop_sink(command.sink)
            case SetRoutes():
                if command.source not in self.sources or not set(command.sinks) <= set(self.sinks):
                    return "unknown"
                if command.revision <= self.revisions.get(command.source, 0):
                    return "old revision"
                for source, sinks in self.routes.items():
                    self.routes[source] = tuple(sink for sink in sinks if sink not in command.sinks)
                self.revisions[command.source] = command.revision
                self.routes[command.source] = command.sinks
            case _:
                pass
        return ""

    def _drop_source(self, source: int) -> None:
        del self.sources[source]
        self.routes.pop(source, None)

    def _drop_sink(self, sink: int) -> None:
        self.sinks.pop(sink, None)
        for source, sinks in self.routes.items():
            self.routes[source] = tuple(each for each in sinks if each != sink)
