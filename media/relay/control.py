"""What each command does once it has been checked: objects made, linked and taken apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from media.relay.addresses import to_message, to_socket
from media.relay.commands import Draft, Listening, Refused
from media.relay.feed import Feed
from media.relay.messages import (
    Ack,
    AddBudget,
    AddInjection,
    AddListener,
    Address,
    AddSink,
    AddSource,
    AddTap,
    AddTransport,
    Path,
    RemoveInjection,
    RemoveListener,
    RemoveSink,
    RemoveSource,
    RemoveTap,
    RemoveTransport,
    RequestKeyFrame,
    SelectLayer,
    SendDatagram,
    SetKeys,
    SetRate,
    SetRoutes,
    SetUfrags,
    Transaction,
    TransportKind,
    ValidatePath,
)
from media.relay.pacing import LinkBudget
from media.relay.sink import Sink
from media.relay.source import Source
from media.relay.srtp import SrtpContext
from media.relay.state import RelayState
from media.relay.taps import Injection, Tap, TapSink
from media.relay.tcp import TcpListener
from media.relay.transport import MAX_PATHS, Transport, Way
from media.relay.udp import NOWHERE, UdpSocket


class Control:
    """Applies transactions to the state.

    `opened` is told of each new socket, `closing` of each that goes, `goodbye` of transports and sinks that go while
    their peer can still be told.
    """

    def __init__(
        self,
        state: RelayState,
        opened: Callable[[Listening | Tap | Injection], None],
        closing: Callable[[Listening | Tap | Injection], None],
        goodbye: Callable[[Transport, list[int]], None],
    ) -> None:
        self._state = state
        self._opened = opened
        self._closing = closing
        self._goodbye = goodbye
        self._appliers: dict[type, Callable[[Any, Any], None]] = {
            AddListener: self._add_listener,
            RemoveListener: self._remove_listener,
            AddBudget: self._add_budget,
            AddTransport: self._add_transport,
            SetUfrags: self._set_ufrags,
            ValidatePath: self._validate_path,
            SetKeys: self._set_keys,
            SendDatagram: self._send_datagram,
            RemoveTransport: self._remove_transport,
            AddSource: self._add_source,
            RemoveSource: self._remove_source,
            AddSink: self._add_sink,
            RemoveSink: self._remove_sink,
            SetRoutes: self._set_routes,
            SelectLayer: self._select_layer,
            SetRate: self._set_rate,
            RequestKeyFrame: self._request_key_frame,
            AddTap: self._add_tap,
            RemoveTap: self._remove_tap,
            AddInjection: self._add_injection,
            RemoveInjection: self._remove_injection,
        }

    def apply(self, transaction: Transaction) -> Ack:
        """All commands or none."""
        draft = Draft(self._state)
        made = []
        for index, command in enumerate(transaction.commands):
            try:
                made.append(draft.check(command))
            except Refused as refusal:
                draft.abandon()
                return Ack(number=transaction.number, error=str(refusal), command=index)
        ports = []
        for command, thing in zip(transaction.commands, made, strict=True):
            self._appliers[type(command)](command, thing)
            if isinstance(command, AddListener):
                ports.append(thing.port)
        return Ack(number=transaction.number, ports=tuple(ports))

    # ------------------------------------------------------------------ listeners and paths

    def _add_listener(self, command: AddListener, made: Listening) -> None:
        self._state.listeners[command.listener] = made
        self._opened(made)

    def _remove_listener(self, command: RemoveListener, _: None) -> None:
        listener = self._state.listeners.pop(command.listener)
        for way in [way for way in self._state.ways.values() if way.path.listener == command.listener]:
            self.forget_way(way)
        self._closing(listener)

    def forget_way(self, way: Way) -> None:
        """A path is no longer its transport's."""
        self._state.ways.pop(way.key, None)
        transport = way.transport
        transport.ways.pop(way.path, None)
        if transport.selected is way:
            transport.selected = None
            for sink in transport.sinks.values():
                sink.reconsider()

    def _way(self, path: Path) -> Way | None:
        """A way of nobody over a path; None when its listener or connection is gone."""
        listener = self._state.listeners.get(path.listener)
        if isinstance(listener, TcpListener):
            connection = listener.connections.get(path.connection)
            if connection is None:
                return None
            connection.proven = True
            return Way(path, connection, NOWHERE, connection.key)
        if listener is None:
            return None
        local, to = listener.destination(to_socket(path.remote, listener.family), path.local.host)
        return Way(path, listener, to, (path.listener, to.raw, local))

    def _validate_path(self, command: ValidatePath, _: None) -> None:
        self.use_path(self._state.transports[command.transport], command.path, command.selected)

    def use_path(self, transport: Transport, path: Path, selected: bool) -> None:
        """Datagrams over `path` are this transport's; `selected`: and ours to it leave there."""
        way = transport.ways.get(path)
        if way is None:
            made = self._way(path)
            if made is None:
                return
            way = made
            before = self._state.ways.get(way.key)
            if before is not None:
                self.forget_way(before)
            way.transport = transport
            transport.ways[path] = way
            self._state.ways[way.key] = way
            if len(transport.ways) > MAX_PATHS:
                self.forget_way(next(old for old in transport.ways.values() if old is not transport.selected))
        if selected and transport.selected is not way:
            connected = transport.connected
            transport.selected = way
            if not connected and transport.connected:
                self._connected(transport)

    def _connected(self, transport: Transport) -> None:
        for sink in transport.sinks.values():
            sink.reconsider()

    def _send_datagram(self, command: SendDatagram, _: None) -> None:
        way = self._way(command.path)
        if way is None:
            self._state.counters["send_no_path"] += 1
        else:
            way.port.send(command.data, way.to)

    # ------------------------------------------------------------------ transports

    def _add_budget(self, command: AddBudget, _: None) -> None:
        now = self._state.now()
        budget = self._state.budgets.get(command.budget)
        if budget is None:
            self._state.budgets[command.budget] = LinkBudget(command.rate, now)
        else:
            budget.set_rate(command.rate, now)
        self._state.budget_rates[command.budget] = command.rate
        for transport in self._state.transports.values():
            if transport.budget == command.budget:
                transport.set_rate(self._state, transport.rate)

    def _add_transport(self, command: AddTransport, _: None) -> None:
        transport = Transport(command)
        self._state.transports[transport.number] = transport
        self._claim(transport, command.ufrags)
        transport.set_rate(self._state, 0)
        listener = self._state.listeners.get(command.listener)
        if (
            command.kind is not TransportKind.WEBRTC
            and command.remote is not None
            and isinstance(listener, UdpSocket)
        ):
            # The kernel chooses the local address of a peer that was signalled, not validated.
            remote = to_socket(command.remote, listener.family)
            host = listener.local_towards(remote)
            path = Path(command.listener, Address(host, listener.port), to_message(remote))
            self.use_path(transport, path, True)

    def _claim(self, transport: Transport, ufrags: tuple[str, ...]) -> None:
        for ufrag in transport.ufrags:
            if self._state.ufrags.get(ufrag) is transport:
                del self._state.ufrags[ufrag]
        transport.ufrags = ufrags
        for ufrag in ufrags:
            self._state.ufrags[ufrag] = transport

    def _set_ufrags(self, command: SetUfrags, _: None) -> None:
        self._claim(self._state.transports[command.transport], command.ufrags)

    def _set_keys(self, command: SetKeys, contexts: tuple[SrtpContext, SrtpContext]) -> None:
        transport = self._state.transports[command.transport]
        transport.sender, transport.receiver = contexts
        if transport.connected:
            self._connected(transport)

    def _remove_transport(self, command: RemoveTransport, _: None) -> None:
        state = self._state
        transport = state.transports[command.transport]
        self._goodbye(transport, [sink.ssrc for sink in transport.sinks.values()])
        for sink in list(transport.sinks.values()):
            self._drop_sink(sink)
        for source in list(transport.sources.values()):
            self._drop_source(source)
        for way in list(transport.ways.values()):
            state.ways.pop(way.key, None)
        transport.ways.clear()
        transport.selected = None
        self._claim(transport, ())
        for ssrc in transport.streams.streams:
            if state.owners.get(ssrc) is transport:
                del state.owners[ssrc]
        for working in (state.reporting, state.due, state.telling, state.pacing):
            working.discard(transport)
        del state.transports[transport.number]

    def _set_rate(self, command: SetRate, _: None) -> None:
        self._state.transports[command.transport].set_rate(self._state, command.rate)

    # ------------------------------------------------------------------ sources

    def _add_source(self, command: AddSource, _: None) -> None:
        known = self._state.sources.get(command.source)
        if known is not None:
            known.update(command)
            for sink in known.route:
                sink.reconsider()
            return
        source = Source(self._state, command)
        self._state.sources[source.number] = source
        if command.transport:
            self._state.transports[command.transport].sources[source.number] = source

    def _remove_source(self, command: RemoveSource, _: None) -> None:
        self._drop_source(self._state.sources[command.source])

    def _drop_source(self, source: Source) -> None:
        for sink in source.route:
            sink.detach()
        source.route = []
        self._state.speaking.discard(source)
        for layer in source.layers:
            layer.close()
        transport = self._state.transports.get(source.transport)
        if transport is not None:
            transport.streams.forget(source)
            transport.sources.pop(source.number, None)
        del self._state.sources[source.number]
        source.layers = []  # a layer knows its source: what both keep must not wait for the collector

    def _set_routes(self, command: SetRoutes, _: None) -> None:
        source = self._state.sources[command.source]
        source.revision = command.revision
        before = source.route
        listed: list[Feed] = [self._state.sinks[number] for number in command.sinks]
        staying = set(command.sinks)
        for sink in before:
            if sink.number not in staying:
                sink.detach()
        source.route = listed
        for sink in listed:
            if sink.source is source:
                continue
            if sink.source is not None:
                sink.source.route = [other for other in sink.source.route if other is not sink]
                sink.detach()
            sink.attach(source)
        source.routed(self._state.now())

    def _request_key_frame(self, command: RequestKeyFrame, _: None) -> None:
        self._state.sources[command.source].layers[command.layer].ask_key_frame()

    # ------------------------------------------------------------------ sinks

    def _add_sink(self, command: AddSink, _: None) -> None:
        state = self._state
        if command.tap:
            state.sinks[command.sink] = TapSink(state, command, state.taps[command.tap])
            return
        transport = state.transports[command.transport]
        sink = Sink(state, command, transport)
        state.sinks[sink.number] = sink
        transport.sinks[sink.number] = sink
        transport.outgoing[sink.ssrc] = (sink, False)
        if sink.rtx_ssrc:
            transport.outgoing[sink.rtx_ssrc] = (sink, True)

    def _remove_sink(self, command: RemoveSink, _: None) -> None:
        sink = self._state.sinks[command.sink]
        if isinstance(sink, Sink):
            self._goodbye(sink.transport, [sink.ssrc])
        self._drop_sink(sink)

    def _drop_sink(self, sink: Sink | TapSink) -> None:
        source = sink.source
        if source is not None:
            source.route = [other for other in source.route if other is not sink]
            sink.detach()
        del self._state.sinks[sink.number]
        if isinstance(sink, TapSink):
            return
        transport = sink.transport
        for ssrc in (sink.ssrc, sink.rtx_ssrc):
            if transport.outgoing.pop(ssrc, None) is not None:
                transport.used_ssrcs.add(ssrc)
        transport.sinks.pop(sink.number, None)
        if transport.pacer is not None:
            transport.pacer.drop_flow_state(sink.number)

    def _select_layer(self, command: SelectLayer, _: None) -> None:
        self._state.sinks[command.sink].select(command.layer, command.now)

    # ------------------------------------------------------------------ taps

    def _add_tap(self, command: AddTap, made: Tap) -> None:
        self._state.taps[command.tap] = made
        self._opened(made)

    def _remove_tap(self, command: RemoveTap, _: None) -> None:
        tap = self._state.taps.pop(command.tap)
        for sink in list(self._state.sinks.values()):
            if isinstance(sink, TapSink) and sink.tap is tap:
                self._drop_sink(sink)
        self._closing(tap)

    def _add_injection(self, command: AddInjection, made: Injection) -> None:
        self._state.injections[command.injection] = made
        for ident in command.sources:  # a new writer: what an earlier one left is not continued
            for layer in self._state.sources[ident].layers:
                if layer.ssrc:
                    layer.restart()
        self._opened(made)

    def _remove_injection(self, command: RemoveInjection, _: None) -> None:
        self._closing(self._state.injections.pop(command.injection))
