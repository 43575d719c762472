"""Transactions: every command is checked against the state that the ones before it would leave, then all are applied.

What can fail only by trying (binding a socket, making SRTP contexts) is tried while checking and given back when a
later command is refused. Applying cannot fail.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from typing import Any, Final

from media.relay.addresses import packed, to_socket
from media.relay.extensions import EXTENSION_ROLES
from media.relay.messages import (
    AddBudget,
    AddInjection,
    AddListener,
    AddSink,
    AddSource,
    AddTap,
    AddTransport,
    Command,
    ListenerKind,
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
    TransportKind,
    ValidatePath,
)
from media.relay.source import Source
from media.relay.srtp import KEY_LENGTHS, SrtpContext, SrtpError
from media.relay.state import RelayState
from media.relay.taps import Injection, Tap, TapSink
from media.relay.tcp import TcpListener
from media.relay.transport import Transport
from media.relay.udp import UdpSocket

Listening = UdpSocket | TcpListener
MAX_LAYERS: Final = 8
MAX_PAYLOAD: Final = 65_507  # bytes of a UDP datagram
MAX_SEQUENCE_START: Final = 1 << 15


class Refused(Exception):
    """A command cannot be applied; the text says why."""


class Draft:
    """What would exist after the commands checked so far, without touching what does."""

    def __init__(self, state: RelayState) -> None:
        self.state = state
        self._tables: dict[str, Any] = {
            "listener": state.listeners,
            "transport": state.transports,
            "source": state.sources,
            "sink": state.sinks,
            "budget": state.budgets,
            "tap": state.taps,
            "injection": state.injections,
        }
        self._added: dict[tuple[str, int], Any] = {}
        self._removed: set[tuple[str, int]] = set()
        self.ssrcs: set[tuple[int, int]] = set()  # (transport, SSRC) of new sinks
        self.ufrags: dict[str, int] = {}
        self.revisions: dict[int, int] = {}
        self.keyed: set[int] = set()
        self.undo: list[Callable[[], None]] = []

    def get(self, noun: str, ident: int) -> Any:
        """The object, or the command that will make it. Raises Refused when there is none."""
        key = (noun, ident)
        if key in self._added:
            return self._added[key]
        if key not in self._removed and ident in self._tables[noun]:
            return self._tables[noun][ident]
        raise Refused(f"{noun} {ident} is not known")

    def has(self, noun: str, ident: int) -> bool:
        key = (noun, ident)
        return key in self._added or (key not in self._removed and ident in self._tables[noun])

    def add(self, noun: str, ident: int, command: Any) -> None:
        if ident <= 0:
            raise Refused(f"{noun} {ident} is no id")
        if self.has(noun, ident):
            raise Refused(f"{noun} {ident} exists")
        self._added[noun, ident] = command

    def replace(self, noun: str, ident: int, command: Any) -> None:
        if ident <= 0:
            raise Refused(f"{noun} {ident} is no id")
        self._added[noun, ident] = command

    def remove(self, noun: str, ident: int) -> None:
        self.get(noun, ident)
        self._added.pop((noun, ident), None)
        self._removed.add((noun, ident))

    def of_transport(self, noun: str, transport: int) -> list[int]:
        """Ids of the sources or sinks that would be on a transport."""
        table = self._tables[noun]
        idents = [
            key[1] for key, made in self._added.items() if key[0] == noun and made.transport == transport
        ]
        owner = self.state.transports.get(transport)
        if owner is not None and ("transport", transport) not in self._added:
            mine: Iterable[int] = owner.sources if noun == "source" else owner.sinks
            idents += [ident for ident in mine if (noun, ident) not in self._removed and ident in table]
        return idents

    def on_tap(self, tap: int) -> list[int]:
        """Ids of the sinks that would be on a tap."""
        idents = [key[1] for key, made in self._added.items() if key[0] == "sink" and made.tap == tap]
        for ident, sink in self.state.sinks.items():
            if isinstance(sink, TapSink) and sink.tap_number == tap and ("sink", ident) not in self._removed:
                idents.append(ident)
        return idents

    def check(self, command: Command) -> Any:
        """What applying the command needs beside it (a socket, SRTP contexts, a path), or None.

        Raises Refused. What was made before a refusal is given back by `abandon`.
        """
        return _CHECKS[type(command)](self, command)

    def abandon(self) -> None:
        """Give back what checking made."""
        for undo in reversed(self.undo):
            undo()


# --------------------------------------------------------------------------- checks


def _add_listener(draft: Draft, command: AddListener) -> Listening:
    draft.add("listener", command.listener, command)
    if not 0 <= command.port < 65536:
        raise Refused(f"port {command.port}")
    try:
        made: Listening
        if command.kind is ListenerKind.TCP_MUX:
            made = TcpListener(command.listener, command.host, command.port, draft.state.counters)
        else:
            state = draft.state
            made = UdpSocket(
                command.listener,
                command.kind,
                command.host,
                command.port,
                state.counters,
                state.out,
                state.inbox,
            )
    except (OSError, OverflowError) as error:
        raise Refused(f"cannot bind {command.host or '*'} port {command.port}: {error}") from error
    draft.undo.append(made.close)
    return made


def _remove_listener(draft: Draft, command: RemoveListener) -> None:
    draft.remove("listener", command.listener)


def _add_budget(draft: Draft, command: AddBudget) -> None:
    if command.rate < 0:
        raise Refused(f"rate {command.rate}")
    draft.replace("budget", command.budget, command)


def _add_transport(draft: Draft, command: AddTransport) -> None:
    draft.add("transport", command.transport, command)
    if command.budget:
        draft.get("budget", command.budget)
    _claim(draft, command.transport, command.ufrags)
    ids = [getattr(command.extensions, role) for role in EXTENSION_ROLES]
    used = [ident for ident in ids if ident]
    if any(not 0 < ident < 256 for ident in used) or len(used) != len(set(used)):
        raise Refused("extension ids")
    if len(command.cname.encode()) > 255:
        raise Refused("cname is longer than 255 bytes")
    _ssrc(command.feedback_ssrc, "feedback_ssrc")
    if command.kind is TransportKind.WEBRTC:
        return
    if command.remote is None:
        raise Refused("this kind of transport needs a remote address")
    listener = draft.get("listener", command.listener)
    if listener.kind is ListenerKind.TCP_MUX:
        raise Refused("this kind of transport needs a UDP listener")
    try:
        to_socket(command.remote, socket.AF_INET6)
    except (ValueError, OSError) as error:
        raise Refused(f"remote address: {error}") from error


def _claim(draft: Draft, transport: int, ufrags: tuple[str, ...]) -> None:
    for ufrag in ufrags:
        owner = draft.state.ufrags.get(ufrag)
        taken = draft.ufrags.get(ufrag, transport if owner is None else owner.number)
        if taken != transport and draft.has("transport", taken):
            raise Refused(f"ufrag belongs to transport {taken}")
        draft.ufrags[ufrag] = transport


def _set_ufrags(draft: Draft, command: SetUfrags) -> None:
    draft.get("transport", command.transport)
    _claim(draft, command.transport, command.ufrags)


def _validate_path(draft: Draft, command: ValidatePath) -> None:
    draft.get("transport", command.transport)
    _path(draft, command.path)


def _path(draft: Draft, path: Path) -> None:
    listener = draft.get("listener", path.listener)
    if isinstance(listener, TcpListener):
        if path.connection not in listener.connections:
            raise Refused(f"connection {path.connection} is closed")
        return
    family = listener.family if isinstance(listener, UdpSocket) else socket.AF_INET6
    try:
        to_socket(path.remote, family)
        packed(path.local.host, family)
    except (ValueError, OSError) as error:
        raise Refused(f"path: {error}") from error


def _set_keys(draft: Draft, command: SetKeys) -> tuple[SrtpContext, SrtpContext]:
    transport = draft.get("transport", command.transport)
    set_before = isinstance(transport, Transport) and transport.sender is not None
    if set_before or command.transport in draft.keyed:
        raise Refused("keys are set once per transport")
    if transport.kind is TransportKind.PLAIN:
        raise Refused("a plain transport has no keys")
    needed = KEY_LENGTHS[command.profile]
    if len(command.send_key) != needed or len(command.receive_key) != needed:
        raise Refused(f"keys of this profile have {needed} bytes")
    try:
        sender = SrtpContext(command.profile, command.send_key, inbound=False)
        receiver = SrtpContext(command.profile, command.receive_key, inbound=True)
    except SrtpError as error:
        raise Refused(str(error)) from error
    draft.keyed.add(command.transport)
    return sender, receiver


def _send_datagram(draft: Draft, command: SendDatagram) -> None:
    _path(draft, command.path)
    if len(command.data) > MAX_PAYLOAD:
        raise Refused(f"{len(command.data)} bytes do not fit a datagram")


def _remove_transport(draft: Draft, command: RemoveTransport) -> None:
    for noun in ("source", "sink"):
        for ident in draft.of_transport(noun, command.transport):
            draft.remove(noun, ident)
    draft.remove("transport", command.transport)


def _add_source(draft: Draft, command: AddSource) -> None:
    if command.transport:
        draft.get("transport", command.transport)
    if not command.codecs:
        raise Refused("a source needs a codec")
    types = [codec.payload_type for codec in command.codecs]
    types += [codec.rtx_payload_type for codec in command.codecs if codec.rtx_payload_type]
    if len(types) != len(set(types)) or any(not 0 <= kind < 128 or 64 <= kind < 96 for kind in types):
        raise Refused("payload types")
    if any(codec.clock_rate <= 0 for codec in command.codecs):
        raise Refused("clock rate")
    rids = [layer.rid for layer in command.layers]
    if not 0 < len(rids) <= MAX_LAYERS or len(rids) != len(set(rids)):
        raise Refused("layers")
    if draft.has("source", command.source):
        known = draft.get("source", command.source)
        if known.transport != command.transport or known.kind is not command.kind:
            raise Refused(f"source {command.source} is another transport's or kind's")
    draft.replace("source", command.source, command)


def _remove_source(draft: Draft, command: RemoveSource) -> None:
    draft.remove("source", command.source)


def _add_sink(draft: Draft, command: AddSink) -> None:
    draft.add("sink", command.sink, command)
    if bool(command.transport) == bool(command.tap):
        raise Refused("a sink has a transport or a tap")
    if command.tap:
        draft.get("tap", command.tap)
        return
    transport = draft.get("transport", command.transport)
    if not command.codecs:
        raise Refused("a sink needs a codec")
    if any(not 0 <= codec.payload_type < 128 or codec.clock_rate <= 0 for codec in command.codecs):
        raise Refused("payload types or clock rates")
    if not 0 <= command.first_sequence < MAX_SEQUENCE_START:
        raise Refused("first_sequence is below 2^15 so that no receiver mistakes the rollover")
    if not 0 <= command.first_timestamp < 1 << 32:
        raise Refused("first_timestamp")
    _ssrc(command.ssrc, "ssrc")
    mine = [command.ssrc]
    if command.rtx_ssrc:
        _ssrc(command.rtx_ssrc, "rtx_ssrc")
        mine.append(command.rtx_ssrc)
    for ssrc in mine:
        known = isinstance(transport, Transport) and transport.outgoing.get(ssrc)
        if (known and draft.has("sink", known[0].number)) or (command.transport, ssrc) in draft.ssrcs:
            raise Refused(f"ssrc {ssrc} is another sink's")
        if isinstance(transport, Transport) and ssrc in transport.used_ssrcs:
            raise Refused(f"ssrc {ssrc} was used before under the same keys")
        draft.ssrcs.add((command.transport, ssrc))


def _ssrc(ssrc: int, what: str) -> None:
    if not 0 < ssrc < 1 << 32:
        raise Refused(f"{what} {ssrc}")


def _remove_sink(draft: Draft, command: RemoveSink) -> None:
    draft.remove("sink", command.sink)


def _set_routes(draft: Draft, command: SetRoutes) -> None:
    source = draft.get("source", command.source)
    applied = source.revision if isinstance(source, Source) else -1
    last = draft.revisions.get(command.source, applied)
    if command.revision < last:
        raise Refused(f"revision {command.revision} is older than {last}")
    draft.revisions[command.source] = command.revision
    if len(command.sinks) != len(set(command.sinks)):
        raise Refused("a sink is listed twice")
    for ident in command.sinks:
        if draft.get("sink", ident).kind is not source.kind:
            raise Refused(f"sink {ident} is of the other media kind")


def _add_tap(draft: Draft, command: AddTap) -> Tap:
    draft.add("tap", command.tap, command)
    made: Tap = _record_socket(draft, Tap, command.path)
    return made


def _record_socket(draft: Draft, kind: Callable[..., Any], path: str, *rest: object) -> Any:
    try:
        made = kind(path, draft.state.counters, *rest)
    except (OSError, ValueError) as error:
        raise Refused(f"cannot listen on {path}: {error}") from error
    draft.undo.append(made.close)
    return made


def _remove_tap(draft: Draft, command: RemoveTap) -> None:
    draft.remove("tap", command.tap)
    for ident in draft.on_tap(command.tap):
        draft.remove("sink", ident)


def _add_injection(draft: Draft, command: AddInjection) -> Injection:
    draft.add("injection", command.injection, command)
    for ident in command.sources:
        if draft.get("source", ident).transport:
            raise Refused(f"source {ident} is fed by a transport")
    made: Injection = _record_socket(draft, Injection, command.path, command.sources)
    return made


def _remove_injection(draft: Draft, command: RemoveInjection) -> None:
    draft.remove("injection", command.injection)


def _select_layer(draft: Draft, command: SelectLayer) -> None:
    draft.get("sink", command.sink)
    if not -1 <= command.layer < MAX_LAYERS:
        raise Refused(f"layer {command.layer}")


def _set_rate(draft: Draft, command: SetRate) -> None:
    draft.get("transport", command.transport)
    if command.rate < 0:
        raise Refused(f"rate {command.rate}")


def _request_key_frame(draft: Draft, command: RequestKeyFrame) -> None:
    source = draft.get("source", command.source)
    if not 0 <= command.layer < len(source.layers):
        raise Refused(f"layer {command.layer}")


_CHECKS: Final[dict[type, Callable[[Draft, Any], Any]]] = {
    AddListener: _add_listener,
    RemoveListener: _remove_listener,
    AddBudget: _add_budget,
    AddTransport: _add_transport,
    SetUfrags: _set_ufrags,
    ValidatePath: _validate_path,
    SetKeys: _set_keys,
    SendDatagram: _send_datagram,
    RemoveTransport: _remove_transport,
    AddSource: _add_source,
    RemoveSource: _remove_source,
    AddSink: _add_sink,
    RemoveSink: _remove_sink,
    SetRoutes: _set_routes,
    SelectLayer: _select_layer,
    SetRate: _set_rate,
    RequestKeyFrame: _request_key_frame,
    AddTap: _add_tap,
    RemoveTap: _remove_tap,
    AddInjection: _add_injection,
    RemoveInjection: _remove_injection,
}
