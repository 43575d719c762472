"""Protocols that other packages fulfil: what `server` needs from outside, in its own words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from server.model.ids import MediaSessionId, StreamId


class SectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One tile slot of a console session: the two m-sections that carry it."""

    slot: int
    audio_mid: str
    video_mid: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a browser's offer. `etag` changes with each ICE restart."""

    session: MediaSessionId
    sdp: str
    etag: str
    slots: tuple[SectionInfo, ...] = ()


class RestartAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """New credentials as an SDP fragment (RFC 8840) and the new ETag."""

    fragment: str
    etag: str


class SlotWish(msgspec.Struct, frozen=True, kw_only=True):
    """What one slot should show. `stream` None empties it; `height` in pixels of the tile (0 = keep but pause)."""

    slot: int
    stream: StreamId | None
    height: int = 0
    priority: int = 0
    audio: bool = True


class RecordingReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a recording: "started", "ended" or "failed" (why in `detail`); the last two come once.

    `began`: wallclock s of its first packet, 0.0 = none came. `duration` s, `bytes` and `sha256` (hex) of the file; of
    a failed one with `sha256` "" nothing is known.
    """

    recording: str
    state: str
    began: float = 0.0
    duration: float = 0.0
    bytes: int = 0
    sha256: str = ""
    detail: str = ""


class VoiceListener(msgspec.Struct, frozen=True, kw_only=True):
    """A voice slot of a sound path."""

    session: MediaSessionId
    slot: int


class VoiceRoute(msgspec.Struct, frozen=True, kw_only=True):
    """Where a microphone goes: the complete list. None at all = what was held of it is thrown away.

    `recording`: the id under which it is recorded into `path` ("" = not at all).
    """

    talker: MediaSessionId
    listeners: tuple[VoiceListener, ...] = ()
    recording: str = ""
    path: str = ""


class MediaListener(Protocol):
    """Told what becomes of sessions and streams. Called on the event loop; must not block."""

    def session_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        """step: "signalled", "ice", "dtls", "path", "lost" (detail says why), "closed"."""

    def stream_changed(self, stream: StreamId) -> None:
        """Its `StreamView` (see `MediaNode.stream`) is different now."""

    def slot_changed(self, session: MediaSessionId, slot: int, state: SlotState) -> None: ...

    def voice_activity(self, session: MediaSessionId, active: bool, clipped: float) -> None:
        """A microphone began to send, or has been quiet for 0.15 s and nothing of it waits to leave.

        `clipped`: s at the beginning of the spurt that were held for too long to leave; -1.0 = it went nowhere.
        """

    def recording_state(self, report: RecordingReport) -> None:
        """When media dies every recording that was not over is told "failed"."""


class SlotState(msgspec.Struct, frozen=True, kw_only=True):
    """What the relay sends into a slot: "empty", "waiting" (reason), "live" (layer, height, degraded)."""

    state: str
    stream: StreamId | None = None
    layer: str = ""
    height: int = 0
    reason: str = ""
    degraded: str = ""


class LayerView(msgspec.Struct, frozen=True, kw_only=True):
    rid: str
    codec: str
    width: int
    height: int
    live: bool
    bitrate: int
    frames_per_second: float
    fraction_lost: float


class StreamView(msgspec.Struct, frozen=True, kw_only=True):
    """What media knows of a stream that is being published. Times are wallclock, s since 1970 UTC."""

    stream: StreamId
    session: MediaSessionId | None
    via: str  # "whip" | "phone" | "rtsp"
    step: str  # signalled, ice, dtls, packets, key_frame; of a pull: connecting, packets, key_frame, retrying
    since: float
    live: bool
    layers: tuple[LayerView, ...] = ()
    audio: str = ""
    audio_live: bool = False
    viewers: int = 0
    remote: str = ""
    tcp: bool = False
    error: str = ""  # a code of PULL_ERRORS or CLOSE reasons, with `detail` in plain words
    detail: str = ""


class MediaNode(Protocol):
    """Everything control asks of media. Errors are `server.model.errors.FengsuiError` subclasses.

    The offer's author is always the peer. A session ends by `close`, by `session_step(..., "lost")`, or when the media
    process dies (every session then gets "lost" with detail "media_restarted").
    """

    async def publish(self, stream: StreamId, offer: str, via: str) -> Answer:
        """A publisher's offer (at most one audio and one video). A live publisher of the stream is replaced."""

    async def play(self, stream: StreamId, offer: str) -> Answer:
        """A WHEP viewer's offer. Raises StreamNotLive."""

    async def open_console(self, offer: str, session: MediaSessionId | None) -> Answer:
        """A console tab's offer: sections in pairs (audio, video) per slot. With `session`: its re-offer (more slots or
        an ICE restart)."""

    async def offer_again(self, session: MediaSessionId, offer: str) -> Answer:
        """A publisher's re-offer over the WebSocket session (ICE restart after a network change)."""

    async def set_slots(self, session: MediaSessionId, wishes: Sequence[SlotWish]) -> None: ...

    async def restart_ice(self, session: MediaSessionId, ufrag: str, password: str) -> RestartAnswer: ...

    async def close(self, session: MediaSessionId, reason: str) -> None: ...

    async def close_stream(self, stream: StreamId, reason: str) -> None:
        """Ends its publisher and every WHEP viewer of it."""

    async def pull(self, stream: StreamId, url: str, username: str, password: str, transport: str) -> None:
        """Starts pulling a camera for ever (until `close_stream`). Raises AddressNotAdmitted.

        While the server is too busy it waits at step "retrying" with the error "overloaded".
        """

    async def set_urgent(self, streams: Collection[StreamId]) -> None:
        """The cameras of units in distress, all of them: never refused for lack of room, and the last to go."""

    def stream(self, stream: StreamId) -> StreamView | None: ...

    def streams(self) -> Sequence[StreamView]: ...

    def session_stream(self, session: MediaSessionId) -> StreamId | None: ...

    def statistics(self) -> dict[str, object]:
        """Numbers for /metrics and /health."""


class RecordingNode(Protocol):
    """Writes voices into files. Neither method raises."""

    async def start_recording(self, recording: str, source: int, path: str) -> str:
        """What is wrong, "" = media took it; `MediaListener.recording_state` says the rest."""

    async def stop_recording(self, recording: str) -> None: ...


class VoiceNode(Protocol):
    """`MediaNode` for talk groups: sound paths and where their microphones go."""

    async def open_voice(self, offer: str, session: MediaSessionId | None) -> Answer:
        """A sound path's offer: the microphone, then voice slots. With `session`: an ICE restart."""

    async def route_voice(self, routes: Sequence[VoiceRoute]) -> None:
        """Applied together. Sessions that are gone are left out. Raises Unavailable."""


class TrickleNode(MediaNode, Protocol):
    """`MediaNode` for WHIP and WHEP, whose clients speak in SDP fragments (RFC 8840)."""

    async def trickle(self, session: MediaSessionId, fragment: str) -> RestartAnswer | None:
        """Candidates, of which an ICE-lite end needs none (None), or new credentials: an ICE restart.

        Raises NotFound, BadSdp.
        """


class DispatchNode(TrickleNode, VoiceNode, Protocol):
    """All that a server asks of media."""
