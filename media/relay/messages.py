"""The relay engine's messages: plain data between whoever steers an engine and the engine itself.

An engine (see `media.relay.engine.RelayEngine`) is steered only by the commands below and speaks only by the
events below, so that a Python engine, a native one and one on another node pass the same conformance suite.
Every id and every outgoing SSRC is allotted by control; the engine invents none.

Nouns: Listener (a bound socket) · Transport (one peer: WebRTC, plain RTP or a node link) · Source (one incoming
track with its layers) · Sink (one outgoing track) · Route (a source's complete sink list, with a revision).

Units: times in seconds, rates in bit/s, sizes in bytes, RTP times in ticks of the track's clock.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

# --------------------------------------------------------------------------- nouns


class ListenerKind(IntEnum):
    """How a listener's bytes are framed and to whom they belong."""

    UDP_MUX = 1  # all WebRTC transports share it; told apart by ICE ufrag, then by path
    TCP_MUX = 2  # ICE-TCP passive, RFC 4571 framing
    UDP_PLAIN = 3  # one plain-RTP transport, locked to a remote address


class TransportKind(IntEnum):
    """What a transport's packets are protected with and how its remote address is learnt."""

    WEBRTC = 1  # path by ICE, keys by DTLS
    PLAIN = 2  # clear RTP, locked to the signalled remote
    NODE = 3  # SRTP, keys from the control link


class MediaKind(IntEnum):
    AUDIO = 1
    VIDEO = 2


class Codec(IntEnum):
    """Codecs the engine can forward; the number is used on the wire of these messages only."""

    VP8 = 1
    H264 = 2
    OPUS = 3
    RED = 4
    PCMU = 5
    PCMA = 6


class SrtpProfile(IntEnum):
    """SRTP protection profiles by their DTLS-SRTP number (RFC 5764, RFC 7714)."""

    AES128_CM_SHA1_80 = 0x0001
    AEAD_AES_128_GCM = 0x0007


class CloseReason(IntEnum):
    """Why the engine or the node gave up a transport."""

    REQUESTED = 1
    ICE_TIMEOUT = 2  # no verified check in time
    CONSENT_LOST = 3  # was connected; no verified check for the consent time
    DTLS_FAILED = 4
    DTLS_CLOSED = 5  # the peer said close_notify
    LISTENER_GONE = 6  # its TCP connection closed and no other path is valid


class Address(msgspec.Struct, frozen=True, array_like=True):
    """An IP address in text form (IPv4 never mapped into IPv6) and a port."""

    host: str
    port: int


class Path(msgspec.Struct, frozen=True, array_like=True):
    """(listener, local address, remote address): replies leave from the address that was asked.

    `connection` tells TCP connections of one listener apart; 0 for UDP.
    """

    listener: int
    local: Address
    remote: Address
    connection: int = 0


class ExtensionIds(msgspec.Struct, frozen=True, kw_only=True):
    """RTP header extension ids negotiated for one transport, 0 = not negotiated (RFC 8285)."""

    mid: int = 0
    rid: int = 0
    repaired_rid: int = 0
    transport_cc: int = 0
    abs_send_time: int = 0
    audio_level: int = 0
    orientation: int = 0


class SourceCodec(msgspec.Struct, frozen=True, kw_only=True):
    """One payload type a source may arrive with. `rtx_payload_type` 0 = the peer sends no RTX for it."""

    codec: Codec
    payload_type: int
    clock_rate: int
    rtx_payload_type: int = 0


class SinkCodec(msgspec.Struct, frozen=True, kw_only=True):
    """One payload type a sink may leave with. A sink's tuple is searched by codec: the first match is used."""

    codec: Codec
    payload_type: int
    clock_rate: int
    rtx_payload_type: int = 0


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of a source. `rid` is "" without simulcast; SSRCs are 0 until seen (or as signalled in SDP)."""

    rid: str = ""
    ssrc: int = 0
    rtx_ssrc: int = 0


# --------------------------------------------------------------------------- commands


class AddListener(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Bind a socket. host "" = every IPv4 and IPv6 address (dual-stack with packet info). port 0 = any."""

    listener: int
    kind: ListenerKind
    host: str = ""
    port: int = 0


class RemoveListener(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    listener: int


class AddBudget(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A rate shared by every transport behind one link; `rate` 0 = unlimited. Sent again to change the rate."""

    budget: int
    rate: int


class AddTransport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Make a transport.

    `ufrags`: our ICE user fragments that belong to it (UDP/TCP mux); an ICE restart sends `SetUfrags`.
    `remote`: the signalled remote address of a PLAIN transport. `cname`: of every sink on it.
    `feedback_ssrc`: the sender SSRC of our RTCP.
    """

    transport: int
    kind: TransportKind
    ufrags: tuple[str, ...] = ()
    extensions: ExtensionIds = ExtensionIds()
    cname: str = ""
    feedback_ssrc: int = 1
    budget: int = 0
    listener: int = 0
    remote: Address | None = None
    reduced_size_rtcp: bool = True
    transport_cc: bool = False  # the peer wants/sends transport-wide feedback
    remb: bool = False  # the peer adapts to REMB (used when transport_cc is False)
    max_receive_rate: int = 4_000_000  # REMB ceiling


class SetUfrags(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """After an ICE restart: both the old and the new ufrag are known until the new path is nominated."""

    transport: int
    ufrags: tuple[str, ...]


class ValidatePath(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A verified STUN check came over `path`: its DTLS and SRTP are now this transport's.

    `selected`: we send here from now on (nominated). At most 8 paths are kept per transport, the oldest goes.
    """

    transport: int
    path: Path
    selected: bool


class SetKeys(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """SRTP keys of a transport: master key followed by salt, one per direction. Set once per transport."""

    transport: int
    profile: SrtpProfile
    send_key: bytes
    receive_key: bytes


class SendDatagram(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Send bytes that are not RTP (a STUN answer, a DTLS record) over a path."""

    path: Path
    data: bytes


class RemoveTransport(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Remove a transport with its sources and sinks; BYE is sent for its sinks when it is connected."""

    transport: int


class AddSource(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One incoming track. `transport` 0: it is fed by an injection. Layers in rising quality.

    `hold`: a voice source, whose packets are kept for so many seconds (at most 1.5) while it has no route, leave first
    when it gets one, and are thrown away by an empty route; its spurts are told by `VoiceActivity`.
    Repeated for a known source it replaces codecs and layers (a re-offer that changed them).
    """

    source: int
    transport: int
    kind: MediaKind
    mid: str
    codecs: tuple[SourceCodec, ...]
    layers: tuple[Layer, ...] = (Layer(),)
    hold: float = 0.0


class RemoveSource(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    source: int


class AddSink(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One outgoing track. Exactly one of `transport` and `tap` is non-zero.

    `first_sequence` < 2^15 (SRTP rollover). `rtx_ssrc` 0: losses are answered with a key frame, not RTX.
    What matters most when the transport's rate is short is said by `media.protocol.SetDemands`.
    """

    sink: int
    kind: MediaKind
    codecs: tuple[SinkCodec, ...] = ()
    transport: int = 0
    tap: int = 0
    mid: str = ""
    ssrc: int = 0
    rtx_ssrc: int = 0
    first_sequence: int = 0
    first_timestamp: int = 0


class RemoveSink(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    sink: int


class SetRoutes(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The complete sink list of one source. A revision lower than the last applied one is refused.

    A sink listed here leaves whichever other source fed it. A sink that is new to the source starts from the kept
    packets since the last key frame, or else the engine asks for a key frame; audio starts live (or from `hold`).
    """

    source: int
    revision: int
    sinks: tuple[int, ...]


class SelectLayer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The layer a sink should get: an index into the source's layers, taken at that layer's next key frame.

    -1 pauses the sink. `now`: drop the current layer at once instead of keeping it until the key frame.
    """

    sink: int
    layer: int
    now: bool = False


class SetRate(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The pacing rate of a transport in bit/s, 0 = unpaced."""

    transport: int
    rate: int


class RequestKeyFrame(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Ask a source's layer for a key frame (PLI, and FIR where negotiated); merged, at most one a second."""

    source: int
    layer: int = 0


class AddTap(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A reader on a Unix socket (SOCK_SEQPACKET, path given) that gets records; see `media.relay.taps`."""

    tap: int
    path: str


class RemoveTap(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    tap: int


class AddInjection(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A writer on a Unix socket that feeds sources with `transport` 0; see `media.relay.taps`."""

    injection: int
    path: str
    sources: tuple[int, ...]


class RemoveInjection(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    injection: int


Command = (
    AddListener
    | RemoveListener
    | AddBudget
    | AddTransport
    | SetUfrags
    | ValidatePath
    | SetKeys
    | SendDatagram
    | RemoveTransport
    | AddSource
    | RemoveSource
    | AddSink
    | RemoveSink
    | SetRoutes
    | SelectLayer
    | SetRate
    | RequestKeyFrame
    | AddTap
    | RemoveTap
    | AddInjection
    | RemoveInjection
)


class Transaction(msgspec.Struct, frozen=True, kw_only=True):
    """Commands applied together between two packets: all of them, or none with an error."""

    number: int
    commands: tuple[Command, ...]


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to a transaction, in order. `error` "" = applied; else the reason, and `command` its index.

    `ports`: the bound port of each AddListener in the transaction, in order.
    """

    number: int
    error: str = ""
    command: int = -1
    ports: tuple[int, ...] = ()


# --------------------------------------------------------------------------- events


class StunReceived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A STUN message whose ufrag is known (<= 50/s per address), for the ICE-lite agent."""

    transport: int
    path: Path
    data: bytes


class DtlsReceived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A DTLS datagram from a validated path."""

    transport: int
    path: Path
    data: bytes


class ConnectionClosed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A TCP connection of a mux listener that carried this transport's path closed."""

    transport: int
    path: Path


class LayerSeen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first authenticated packet of a layer arrived."""

    source: int
    layer: int
    ssrc: int
    codec: Codec


class KeyFrameSeen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A key frame of a layer arrived; sent for the first one, on a change of size, and at most once a second.

    width/height 0 when the codec's start does not tell them.
    """

    source: int
    layer: int
    width: int
    height: int


class LayerStalled(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """No packet of a layer that was live for one second (`stalled`), or it is back."""

    source: int
    layer: int
    stalled: bool


class SinkStarted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A sink now forwards this layer of this source (the key frame left, or the first audio packet)."""

    sink: int
    source: int
    layer: int


class SinkWaiting(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A sink is routed but nothing can leave: why in one word of WAIT_REASONS."""

    sink: int
    source: int
    reason: str


WAIT_REASONS = ("no_packets", "no_key_frame", "codec", "not_connected", "paused")


class FeedbackReceived(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a peer reported of what we sent, at most 20 times a second per transport.

    `samples`: (send time s, arrival time s on the peer's clock or -1.0 = lost, size bytes), in send order, folded
    per train, or further while everything arrives and meets no queue; then they may also come less often.
    `fraction_lost` 0..1 and `rtt` s from receiver reports, -1.0 when this event has none. `remb` bit/s or 0.
    """

    transport: int
    samples: tuple[tuple[float, float, int], ...] = ()
    fraction_lost: float = -1.0
    rtt: float = -1.0
    remb: int = 0


class VoiceActivity(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A source with `hold` began to speak, or has been quiet for 0.15 s and nothing of it waits to leave.

    `clipped`: s at the beginning of the spurt that its route did not get because they were held for too long; -1.0 = it
    has had no route yet.
    """

    source: int
    active: bool
    clipped: float = -1.0


class EventsDropped(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The event queue was full; this many events were lost since the last one delivered."""

    count: int


Event = (
    StunReceived
    | DtlsReceived
    | ConnectionClosed
    | LayerSeen
    | KeyFrameSeen
    | LayerStalled
    | SinkStarted
    | SinkWaiting
    | FeedbackReceived
    | VoiceActivity
    | EventsDropped
)


# --------------------------------------------------------------------------- statistics


class LayerStatistics(msgspec.Struct, frozen=True, kw_only=True):
    rid: str
    ssrc: int
    codec: int
    packets: int
    bytes: int
    bitrate: int  # bit/s over the last second
    frames_per_second: float
    lost: int
    jitter: float  # s
    key_frames: int
    width: int
    height: int
    last_packet_age: float  # s, -1 = never


class SourceStatistics(msgspec.Struct, frozen=True, kw_only=True):
    source: int
    layers: tuple[LayerStatistics, ...]
    key_frame_requests: int


class SinkStatistics(msgspec.Struct, frozen=True, kw_only=True):
    sink: int
    source: int
    layer: int
    packets: int
    bytes: int
    bitrate: int
    retransmitted: int
    dropped: int
    fraction_lost: float
    nacks: int
    key_frame_requests: int


class TransportStatistics(msgspec.Struct, frozen=True, kw_only=True):
    transport: int
    packets_received: int
    bytes_received: int
    packets_sent: int
    bytes_sent: int
    receive_rate: int
    send_rate: int
    rtt: float
    queue: int  # bytes waiting in the pacer
    dropped: int
    unauthenticated: int
    replayed: int


class EngineStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot. `counters`: every drop and error by name, for the whole engine.

    Of an engine with a thread of its own: `cpu_seconds` it used so far, `lag` the worst s that its loop was late since
    the last snapshot. Both are 0 for one that runs on its caller's loop.
    """

    transports: tuple[TransportStatistics, ...]
    sources: tuple[SourceStatistics, ...]
    sinks: tuple[SinkStatistics, ...]
    counters: dict[str, int]
    cpu_seconds: float = 0.0
    lag: float = 0.0
