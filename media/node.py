"""The media process's one decision maker: requests of control and events of the engine in, both ways out.

It does no IO of its own: the engine is called, time is an argument, and what control shall hear waits in `outbox`.
The shell (`media.serving`) moves bytes and calls `tick`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from media.egress.seam import Recordings
from media.ingest.pulls import Pulls
from media.log import FaultLog
from media.outbox import Outbox
from media.protocol import (
    Apply,
    Done,
    GetStatistics,
    OpenIce,
    PullState,
    RecordingState,
    Request,
    RestartIce,
    SetDemands,
    StartPull,
    StartRecording,
    Statistics,
    StopPull,
    StopRecording,
    TransportLost,
    VoiceState,
)
from media.relay.bandwidth import BandwidthEstimator
from media.relay.engine import RelayEngine
from media.relay.folding import fold
from media.relay.messages import (
    Ack,
    AddTransport,
    CloseReason,
    Command,
    ConnectionClosed,
    DtlsReceived,
    Event,
    EventsDropped,
    FeedbackReceived,
    RemoveTransport,
    StunReceived,
    Transaction,
    TransportKind,
    VoiceActivity,
)
from media.relay.selection import LayerSelection
from media.settings import MediaSettings
from media.transport.dtls import DtlsFactory
from media.transport.token_bucket import TokenBucket
from media.transport.webrtc import ROLES, Steps, WebRtcTransport

ApplyCommands = Callable[[Sequence[Command]], str]
MakePulls = Callable[[ApplyCommands, Callable[[PullState], None]], Pulls]
MakeRecordings = Callable[[ApplyCommands, Callable[[RecordingState], None]], Recordings]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """What the shell measured of the process: CPU seconds so far, memory, worst lag since the last time."""

    cpu_seconds: float
    resident_bytes: int
    loop_lag_ms: float


class Node:
    """Everything this process knows. Call `tick` ten times a second, and every 20 ms while something is due
    (`due_until`); send what is in `outbox` after every call.

    Who closes what: control removes transports; the node says goodbye to the peer of each transport that control
    removes, and to all of them in `close`, which also closes the engine.
    """

    def __init__(
        self,
        *,
        engine: RelayEngine,
        dtls: DtlsFactory,
        settings: MediaSettings,
        faults: FaultLog,
        pulls: MakePulls | None = None,
        recordings: MakeRecordings | None = None,
    ) -> None:
        self.outbox = Outbox()
        self._engine = engine
        self._dtls = dtls
        self._settings = settings
        self._faults = faults
        self._numbers = 0
        self._transports: dict[int, TransportKind] = {}
        self._peers: dict[int, WebRtcTransport] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._armed: dict[int, float] = {}  # transport -> its earliest entry in _deadlines
        self._estimators: dict[int, BandwidthEstimator] = {}
        self._selection = LayerSelection()
        rate = float(settings.handshakes_per_second)
        self._handshakes = TokenBucket(rate=rate, burst=rate)
        self._counters = Counter[str]()
        self._requests: dict[type[Request], Callable[[Any, float], Done]] = {
            Apply: self._apply,
            OpenIce: self._open_ice,
            RestartIce: self._restart_ice,
            SetDemands: self._set_demands,
            StartPull: self._start_pull,
            StopPull: self._stop_pull,
            StartRecording: self._start_recording,
            StopRecording: self._stop_recording,
        }
        self.pulls = pulls(self.command, self.outbox.put) if pulls else None
        self.recordings = recordings(self.command, self.outbox.put) if recordings else None

    # ------------------------------------------------------------------ requests

    def handle(self, request: Request, now: float, figures: Callable[[], ProcessFigures]) -> None:
        """Do what control asks; its `Done` is in the outbox afterwards, behind all that it caused."""
        if isinstance(request, GetStatistics):
            self.measure(request.number, now, figures())
            self.outbox.put(Done(number=request.number))
        else:
            try:
                done = self._requests[type(request)](request, now)
            except Exception as error:  # a bug, but not one that all peers should end for
                self._faults.report("request_failed", request=type(request).__name__, error=repr(error))
                done = Done(number=request.number, error=f"internal: {error!r}")
            self._decide(now)
            self.outbox.put(done)

    def _apply(self, request: Apply, now: float) -> Done:
        added = [command for command in request.commands if isinstance(command, AddTransport)]
        removed = [command for command in request.commands if isinstance(command, RemoveTransport)]
        if len(self._transports) + len(added) - len(removed) > self._settings.max_transports:
            return Done(number=request.number, error="too_many_transports")
        commands = (*request.commands, *self._selection.first_layers(request.commands, now))
        ack = self._transact(commands)
        if ack.error:
            where = type(commands[ack.command]).__name__ if 0 <= ack.command < len(commands) else "commands"
            return Done(number=request.number, error=f"{where}: {ack.error}")
        self._selection.applied(commands)
        self._transports.update({command.transport: command.kind for command in added})
        for command in removed:
            self._transports.pop(command.transport, None)
            self._estimators.pop(command.transport, None)
            self._dismiss(command.transport)
        return Done(number=request.number, ports=ack.ports)

    def _open_ice(self, request: OpenIce, now: float) -> Done:
        if self._transports.get(request.transport) is not TransportKind.WEBRTC:
            return Done(number=request.number, error="unknown_transport")
        if request.transport in self._peers:
            return Done(number=request.number, error="already_open")
        if request.setup not in ROLES or not request.local_ufrag or not request.local_password:
            return Done(number=request.number, error="bad_request")
        peer = WebRtcTransport(request, self._dtls, self._handshakes.take, self._counters, now)
        self._peers[request.transport] = peer
        self._arm(peer)
        return Done(number=request.number)

    def _restart_ice(self, request: RestartIce, now: float) -> Done:
        peer = self._peers.get(request.transport)
        if peer is None or peer.lost:
            return Done(number=request.number, error="unknown_transport")
        ack = self._transact(peer.restart_commands(request))
        if ack.error:
            return Done(number=request.number, error=ack.error)
        peer.restart(request)
        return Done(number=request.number)

    def _set_demands(self, request: SetDemands, now: float) -> Done:
        unknown = self._selection.demanded(request.demands)
        return Done(number=request.number, error=f"unknown_sink: {unknown[0]}" if unknown else "")

    def _start_pull(self, request: StartPull, now: float) -> Done:
        return Done(number=request.number, error=self.pulls.start(request) if self.pulls else "unavailable")

    def _stop_pull(self, request: StopPull, now: float) -> Done:
        return Done(
            number=request.number, error=self.pulls.stop(request.pull) if self.pulls else "unavailable"
        )

    def _start_recording(self, request: StartRecording, now: float) -> Done:
        """The recorder has it before any later command can make a packet of it."""
        error = self.recordings.start(request) if self.recordings else "unavailable"
        return Done(number=request.number, error=error)

    def _stop_recording(self, request: StopRecording, now: float) -> Done:
        error = self.recordings.stop(request.recording) if self.recordings else "unavailable"
        return Done(number=request.number, error=error)

    # ------------------------------------------------------------------ the engine

    def take(self, events: Sequence[Event], now: float) -> None:
        """React to what the engine says."""
        for event in events:
            match event:
                case FeedbackReceived():  # by far the most frequent
                    self._feedback(event, now)
                case StunReceived() | DtlsReceived() | ConnectionClosed():
                    if peer := self._peers.get(event.transport):
                        self._peer_event(peer, event, now)
                case VoiceActivity():
                    self.outbox.put(
                        VoiceState(source=event.source, active=event.active, clipped=event.clipped)
                    )
                case EventsDropped():
                    self._faults.report("engine_events_dropped", count=event.count)
                case _:
                    for notice in self._selection.happened(event):
                        self.outbox.put(notice)
        self._decide(now)

    def command(self, commands: Sequence[Command]) -> str:
        """Apply commands of the node itself; returns what is wrong, "" = applied."""
        error = self._transact(tuple(commands)).error
        if not error:
            self._selection.applied(commands)
        return error

    def _transact(self, commands: tuple[Command, ...]) -> Ack:
        self._numbers += 1
        return self._engine.apply(Transaction(number=self._numbers, commands=commands))

    def _feedback(self, event: FeedbackReceived, now: float) -> None:
        estimator = self._estimators.get(event.transport)
        if estimator is None:
            if event.transport not in self._transports:
                return
            estimator = BandwidthEstimator(
                start=self._settings.start_bitrate, maximum=self._settings.max_bitrate
            )
            self._estimators[event.transport] = estimator
        if event.samples:
            room = self._selection.has_room(event.transport)
            estimator.on_feedback(fold(event.samples) if room else event.samples, now)
        if event.fraction_lost >= 0.0:
            estimator.on_receiver_report(event.fraction_lost, event.rtt, now)
        if event.remb:
            estimator.on_remb(event.remb, now)
        self._selection.estimated(event.transport, estimator.target_bps, estimator.state.name.lower(), now)

    def _decide(self, now: float) -> None:
        commands, notices = self._selection.decide(now)
        if commands:
            error = self._transact(tuple(commands)).error
            if error:
                self._faults.report("decision_refused", error=error)
        for notice in notices:
            self.outbox.put(notice)

    # ------------------------------------------------------------------ peers

    def _peer_event(
        self, peer: WebRtcTransport, event: StunReceived | DtlsReceived | ConnectionClosed, now: float
    ) -> None:
        match event:
            case StunReceived():
                self._guarded(peer, lambda: peer.stun_received(event.path, event.data, now))
            case DtlsReceived():
                self._guarded(peer, lambda: peer.dtls_received(event.path, event.data, now))
            case ConnectionClosed():
                self._guarded(peer, lambda: peer.connection_closed(event.path, now))

    def _guarded(self, peer: WebRtcTransport, react: Callable[[], Steps]) -> None:
        """Let a peer react; a bug that it runs into ends that peer and no other."""
        try:
            steps = react()
        except Exception as error:
            self._faults.report("peer_failed", transport=peer.number, error=repr(error))
            peer.lost = True
            lost = TransportLost(
                transport=peer.number, reason=CloseReason.DTLS_FAILED, detail=f"internal: {error!r}"
            )
            steps = Steps(notices=[lost])
        self._follow(peer, steps)

    def _follow(self, peer: WebRtcTransport, steps: Steps) -> None:
        if steps.commands:
            error = self._transact(tuple(steps.commands)).error
            if error:
                self._faults.report("peer_command_refused", transport=peer.number, error=error)
        for notice in steps.notices:
            self.outbox.put(notice)
        if peer.lost:
            self._dismiss(peer.number)
        else:
            self._arm(peer)

    def _dismiss(self, transport: int) -> None:
        """Forget a peer; one that is still there is told."""
        peer = self._peers.pop(transport, None)
        if peer is None:
            return
        self._armed.pop(transport, None)
        farewell = () if peer.lost else tuple(peer.close())
        if farewell:
            self._transact(farewell)  # refused only when its TCP connection is closed by now

    def _arm(self, peer: WebRtcTransport) -> None:
        at = peer.next_deadline
        if at is not None and at < self._armed.get(peer.number, float("inf")):
            self._armed[peer.number] = at
            heapq.heappush(self._deadlines, (at, peer.number))

    def due_until(self, time: float) -> bool:
        """Whether `tick` has something to do by then that should not come late."""
        return self._selection.pending or bool(self._deadlines and self._deadlines[0][0] <= time)

    def tick(self, now: float) -> None:
        """Run out what is due."""
        while self._deadlines and self._deadlines[0][0] <= now:
            at, transport = heapq.heappop(self._deadlines)
            if self._armed.get(transport) != at:
                continue  # an earlier entry took its place, or the peer is gone
            del self._armed[transport]
            peer = self._peers[transport]
            deadline = peer.next_deadline
            self._follow(
                peer, peer.handle_timeout(now) if deadline is not None and deadline <= now else Steps()
            )
        self._decide(now)

    # ------------------------------------------------------------------ the rest

    def measure(self, number: int, now: float, figures: ProcessFigures) -> None:
        """Take stock, and tell control. Called once a second (number 0) and on request."""
        engine = self._engine.statistics()
        if not number:
            self._selection.measured(engine)
        self.outbox.put(
            Statistics(
                number=number,
                time=now,
                cpu_seconds=figures.cpu_seconds,
                busiest_seconds=max(engine.cpu_seconds, figures.cpu_seconds - engine.cpu_seconds),
                resident_bytes=figures.resident_bytes,
                loop_lag_ms=max(figures.loop_lag_ms, 1000 * engine.lag),
                engine=engine,
                estimates=self._selection.estimates(),
                counters=self.counters(),
            )
        )

    def counters(self) -> dict[str, int]:
        """Everything that was dropped, refused or went wrong, by name, since the start."""
        total = self._counters + self._faults.counters
        total["outbox_dropped"] += self.outbox.dropped
        total["outbox_replaced"] += self.outbox.replaced
        total["peers"] = len(self._peers)
        if self.recordings is not None:
            total.update(self.recordings.counters())
        return dict(total)

    def close(self) -> None:
        """Say goodbye to every peer and release the sockets."""
        for transport in tuple(self._peers):
            self._dismiss(transport)
        self._engine.close()
