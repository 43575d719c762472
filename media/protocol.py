"""The message protocol between the control process and one media process.

A Unix stream socket; each message is a 4-byte big-endian length (<= 4 MiB) and a msgpack object of one of the types
below. The media process speaks first (`Ready`). Requests are numbered and answered in order by `Done`; notices come
in between. A request that fails changes nothing. When either side sees a version it does not know it closes.

Most of what control asks is engine commands (`media.relay.messages`), passed through. What the node adds is what needs
sockets and timers but no person: ICE-lite and DTLS of each WebRTC transport, bandwidth estimation and the choice of
layers, ingest workers.
"""

from __future__ import annotations

import msgspec

from media.relay.messages import (
    Address,
    CloseReason,
    Codec,
    Command,
    EngineStatistics,
    SrtpProfile,
)

VERSION = 1
MAX_MESSAGE = 4 * 1024 * 1024
RECORDER_TAP = 1  # the tap that the node itself adds at its start; control's sinks on it feed the recorder

# --------------------------------------------------------------------------- requests (control -> media)


class Apply(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """An engine transaction. `Done.ports` has the bound ports of its AddListener commands."""

    number: int
    commands: tuple[Command, ...]


class OpenIce(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Start ICE-lite and DTLS for a WEBRTC transport that an `Apply` before this one added.

    `setup`: our DTLS role, "passive" (server) or "active" (client). `fingerprints`: (algorithm, upper-case hex with
    colons) of the peer's certificate, any of which may match. `connect_timeout`: s until ICE and DTLS must be done.
    `consent_timeout`: s without a verified check before the transport is lost.
    """

    number: int
    transport: int
    local_ufrag: str
    local_password: str
    remote_ufrag: str
    setup: str
    fingerprints: tuple[tuple[str, str], ...]
    connect_timeout: float = 15.0
    consent_timeout: float = 30.0


class RestartIce(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """New credentials for the same transport; the old path goes on until the new one is nominated."""

    number: int
    transport: int
    local_ufrag: str
    local_password: str
    remote_ufrag: str


class Demand(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a viewer wants of one video sink: the tallest useful height in pixels (0 = paused) and its priority."""

    sink: int
    height: int
    priority: int = 0


class SetDemands(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Replaces the demand of each listed sink. The node chooses layers from demands and the bandwidth estimate."""

    number: int
    demands: tuple[Demand, ...]


class StartPull(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Pull a camera in a worker process of its own and feed it to two sources (0 = not wanted).

    `url` has no credentials. `addresses`: the resolved and admitted addresses the worker may connect to.
    """

    number: int
    pull: int
    url: str
    username: str
    password: str
    addresses: tuple[str, ...]
    transport: str  # "tcp" | "udp"
    video_source: int
    audio_source: int


class StopPull(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    number: int
    pull: int


class StartRecording(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Write what a voice source sends from now on into a file, Opus in Ogg, until `StopRecording`.

    `path`: relative to `MediaSettings.recordings`, made by control of its own ids; a file that exists is not touched.
    The source's packets come over a sink on the tap `RECORDER_TAP`, which control adds and routes. Ask for this before
    the route that lists the sink: then no packet of it is missed. A source has one recording at a time; a new one ends
    the one before. `Done` says that it was taken, `RecordingState` what became of it.
    """

    number: int
    recording: str
    source: int
    path: str


class StopRecording(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """End a recording once the packets that are on their way are in it."""

    number: int
    recording: str


class GetStatistics(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Answered by a `Statistics` notice with the same number, before its `Done`."""

    number: int


Request = (
    Apply
    | OpenIce
    | RestartIce
    | SetDemands
    | StartPull
    | StopPull
    | StartRecording
    | StopRecording
    | GetStatistics
)

# --------------------------------------------------------------------------- answers and notices (media -> control)


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """First message. `fingerprint`: sha-256 of this process's DTLS certificate, upper-case hex with colons."""

    version: int
    fingerprint: str
    engine: str  # "python" | "native"
    pid: int


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """`error` "" = done. `ports`: see Apply."""

    number: int
    error: str = ""
    ports: tuple[int, ...] = ()


class TransportStep(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A transport reached a step: "ice" (a path validated), "dtls" (keys set), "path" (another path selected).

    `profile` is set on "dtls". `rejected` counts checks with a known ufrag and a wrong password so far.
    """

    transport: int
    step: str
    remote: Address
    tcp: bool = False
    profile: SrtpProfile | None = None


class TransportLost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The transport is gone; control removes it. `detail` is for the log."""

    transport: int
    reason: CloseReason
    detail: str = ""


class LayerState(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What is known of a source's layer changed: seen, its codec, its size, live or stalled."""

    source: int
    layer: int
    codec: Codec
    live: bool
    key_frame: bool  # at least one has been seen
    width: int = 0
    height: int = 0


class SinkState(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What a sink gets now: "started" with its layer, or "waiting" with a reason.

    reasons: WAIT_REASONS of `media.relay.messages`, and "bandwidth" (the estimate does not carry the lowest layer).
    `degraded`: a lower layer than demanded, because of "bandwidth" or "source" (not sent by the publisher), else "".
    """

    sink: int
    source: int
    state: str
    layer: int = -1
    height: int = 0
    reason: str = ""
    degraded: str = ""


class VoiceState(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Somebody began to speak into a source with `hold`, or ended; as `media.relay.messages.VoiceActivity`."""

    source: int
    active: bool
    clipped: float


class PullState(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A camera pull: "connecting", "live", "retrying". `error`: a code of PULL_ERRORS; `detail` a plain sentence.

    `retry_in`: seconds until the next try.
    """

    pull: int
    state: str
    error: str = ""
    detail: str = ""
    retry_in: float = 0.0
    video_codec: str = ""
    audio_codec: str = ""
    b_frames: bool = False


PULL_ERRORS = (
    "refused",  # connection refused
    "timeout",
    "unauthorized",  # wrong user or password
    "not_found",
    "not_admitted",  # the server sent us to an address that is not allowed
    "codec",  # nothing in it that can be shown
    "b_frames",  # H.264 with B-frames: shown jerkily by browsers
    "broken",  # bad data
    "ended",  # the camera closed
)


class RecordingState(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A recording: "started" (the file is there), "ended", or "failed" (why in `detail`); the last two come once.

    `began`: wallclock s of the first packet's arrival, which is the file's time 0; 0.0 = no packet came. `duration`: s
    that the file plays. `sha256`: of the whole file in hex. A "failed" recording is playable as far as it got; when
    `sha256` is "" (the recorder died) nothing is known of the file, which may be still growing for a moment.
    """

    recording: str
    state: str
    began: float = 0.0
    duration: float = 0.0
    bytes: int = 0
    sha256: str = ""
    detail: str = ""


class Estimate(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """The send-side estimate of one transport, bit/s, and what is being asked of it."""

    transport: int
    estimate: int
    demanded: int
    state: str  # "normal" | "overuse" | "underuse"


class Statistics(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A snapshot, every second by itself (number 0) or on request."""

    number: int
    time: float  # the media process's monotonic clock, s
    cpu_seconds: float
    busiest_seconds: float  # of these, the busiest thread's
    resident_bytes: int
    loop_lag_ms: float  # worst of any loop since the last one
    engine: EngineStatistics
    estimates: tuple[Estimate, ...] = ()
    counters: dict[str, int] = {}


Notice = (
    Ready
    | Done
    | TransportStep
    | TransportLost
    | LayerState
    | SinkState
    | VoiceState
    | PullState
    | RecordingState
    | Statistics
)
