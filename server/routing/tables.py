"""What control knows of the relay: sessions, published streams, and which outgoing track wants which stream.

Pure. Routes follow from it: the sinks of a source are the outlets of its kind that want its stream, so nothing has to
be kept in step by hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from media.protocol import SinkState
from media.relay.messages import Codec, MediaKind, SetRoutes
from media.sdp.plan import Plan
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import SlotState, SlotWish, StreamView
from server.routing.allotment import IceCredentials

NEVER: Final = "never_connected"


class Role(StrEnum):
    PUBLISHER = "publisher"
    VIEWER = "viewer"  # WHEP
    CONSOLE = "console"
    VOICE = "voice"  # a sound path


@dataclass(slots=True)
class TrackLayer:
    """One layer of a source as it arrives: size in pixels, bitrate in bit/s."""

    rid: str
    codec: Codec | None = None
    live: bool = False
    key_frame: bool = False
    width: int = 0
    height: int = 0
    bitrate: int = 0
    frames_per_second: float = 0.0
    fraction_lost: float = 0.0
    lost: int = 0
    packets: int = 0


@dataclass(slots=True, kw_only=True)
class Track:
    """One source. `codecs`: what it may send."""

    source: int
    kind: MediaKind
    mid: str
    codecs: frozenset[Codec]
    layers: list[TrackLayer]
    revision: int = 0

    @property
    def live(self) -> bool:
        return any(layer.live for layer in self.layers)

    @property
    def seen(self) -> bool:
        return any(layer.codec is not None for layer in self.layers)


@dataclass(slots=True, kw_only=True)
class Publication:
    """Somebody sends a stream: a session, or (`pull` not 0) a camera we pull. `since` wallclock of `step`."""

    stream: StreamId
    via: str
    since: float
    session: Session | None = None
    pull: int = 0
    step: str = "signalled"
    tracks: dict[MediaKind, Track] = field(default_factory=dict)
    error: str = ""
    detail: str = ""

    @property
    def connected(self) -> bool:
        return self.session.connected if self.session else self.step not in ("connecting", "retrying")

    @property
    def paused(self) -> bool:
        """A camera that is not pulled for now: the server is too busy."""
        return bool(self.pull) and not self.tracks

    @property
    def main(self) -> Track | None:
        """What a viewer looks at: the picture, or the sound when there is none."""
        return self.tracks.get(MediaKind.VIDEO) or self.tracks.get(MediaKind.AUDIO)

    @property
    def live(self) -> bool:
        return self.connected and self.main is not None and self.main.live

    @property
    def seen(self) -> bool:
        """Whether packets have arrived; from then on it can be watched."""
        return any(track.seen for track in self.tracks.values())


@dataclass(slots=True, kw_only=True, eq=False)
class Outlet:
    """One outgoing track of a session. `slot` -1: of a WHEP viewer."""

    sink: int
    kind: MediaKind
    mid: str
    ssrc: int
    rtx_ssrc: int
    session: Session
    slot: int = -1
    wanted: StreamId | None = None
    state: SinkState | None = None


@dataclass(slots=True, kw_only=True, eq=False)
class Slot:
    number: int
    audio: Outlet
    video: Outlet
    wish: SlotWish | None = None
    shed: bool = False  # no picture is sent, the server is too busy
    told: SlotState = field(default_factory=lambda: SlotState(state="empty"))


@dataclass(slots=True, kw_only=True, eq=False)
class Microphone:
    """The source of a sound path. `tap`: the sink that feeds the recorder, 0 = there is none."""

    source: int
    tap: int
    revision: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One WebRTC connection. `version`: of our o= line, grows with every answer; `generation`: ICE restarts."""

    id: MediaSessionId
    role: Role
    stream: StreamId | None
    transport: int
    ice: IceCredentials
    remote_ufrag: str
    plan: Plan
    cname: str
    number: int
    feedback_ssrc: int
    version: int = 1
    generation: int = 1
    connected: bool = False
    remote: str = ""
    tcp: bool = False
    publication: Publication | None = None
    outlets: list[Outlet] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    microphone: Microphone | None = None

    @property
    def etag(self) -> str:
        return f"ice-{self.generation}"

    @property
    def mids(self) -> tuple[str, ...]:
        return tuple(section.mid for section in self.plan.offer.sections)


@dataclass(slots=True, kw_only=True)
class Stream:
    """One stream somebody sends or wants. `next`: a publisher that takes over once it is connected.

    `ended`: the cause with which the last publication ended; `departures` counts how often it was left without one.
    """

    id: StreamId
    publication: Publication | None = None
    next: Publication | None = None
    outlets: dict[int, Outlet] = field(default_factory=dict)
    ended: str = NEVER
    departures: int = 0
    told: StreamView | None = None


class Tables:
    """Everything, by id. The methods keep the indexes true; whoever calls them tells the engine."""

    def __init__(self) -> None:
        self.sessions: dict[MediaSessionId, Session] = {}
        self.consoles: dict[MediaSessionId, Session] = {}
        self.transports: dict[int, Session] = {}
        self.streams: dict[StreamId, Stream] = {}
        self.tracks: dict[int, tuple[Publication, Track]] = {}
        self.outlets: dict[int, Outlet] = {}
        self.pulls: dict[int, Publication] = {}
        self.microphones: dict[int, Session] = {}

    def clear(self) -> None:
        """The relay is gone; of streams only what was last told, and why they ended, is kept."""
        rows = [Stream(id=row.id, ended="media_restarted", told=row.told) for row in self.streams.values()]
        indexes: tuple[dict[Any, Any], ...] = (
            self.sessions,
            self.consoles,
            self.transports,
            self.streams,
            self.tracks,
            self.outlets,
            self.pulls,
            self.microphones,
        )
        for index in indexes:
            index.clear()
        self.streams.update((row.id, row) for row in rows)

    def stream(self, stream: StreamId) -> Stream:
        """The row of a stream, made when there is none."""
        return self.streams.setdefault(stream, Stream(id=stream))

    def audience(self, stream: StreamId) -> list[Session]:
        """Who sees it or waits for it: viewers, and consoles even where its picture was taken away."""
        row = self.streams.get(stream)
        viewers = [outlet.session for outlet in row.outlets.values()] if row else []
        walls = [
            session
            for session in self.consoles.values()
            if any(slot.wish is not None and slot.wish.stream == stream for slot in session.slots)
        ]
        return list(dict.fromkeys([*viewers, *walls]))

    def count(self, *roles: Role) -> int:
        return sum(session.role in roles for session in self.sessions.values())

    # ------------------------------------------------------------------ sessions

    def add_session(self, session: Session) -> None:
        self.sessions[session.id] = session
        if session.role is Role.CONSOLE:
            self.consoles[session.id] = session
        self.transports[session.transport] = session
        self.add_outlets(session.outlets)
        if session.microphone is not None:
            self.microphones[session.microphone.source] = session

    def add_outlets(self, outlets: Iterable[Outlet]) -> None:
        for outlet in outlets:
            self.outlets[outlet.sink] = outlet

    def remove_outlets(self, outlets: Iterable[Outlet]) -> None:
        for outlet in outlets:
            self.want(outlet, None)
            self.outlets.pop(outlet.sink, None)

    def remove_session(self, session: Session) -> None:
        """With its outlets; its publication is removed by `remove_publication`."""
        self.sessions.pop(session.id, None)
        self.consoles.pop(session.id, None)
        self.transports.pop(session.transport, None)
        self.remove_outlets(session.outlets)
        if session.microphone is not None:
            self.microphones.pop(session.microphone.source, None)

    # ------------------------------------------------------------------ publications

    def add_publication(self, publication: Publication) -> None:
        """Make its tracks known; where it belongs in its stream's row is the caller's business."""
        for track in publication.tracks.values():
            self.tracks[track.source] = (publication, track)
        if publication.pull:
            self.pulls[publication.pull] = publication

    def remove_publication(self, publication: Publication) -> None:
        for track in publication.tracks.values():
            self.tracks.pop(track.source, None)
        self.pulls.pop(publication.pull, None)
        row = self.streams[publication.stream]
        if row.publication is publication:
            row.publication = None
        if row.next is publication:
            row.next = None

    # ------------------------------------------------------------------ routes

    def want(self, outlet: Outlet, stream: StreamId | None) -> set[tuple[StreamId, MediaKind]]:
        """Let an outlet want a stream, or nothing. Returns the streams and kinds whose routes changed."""
        if outlet.wanted == stream:
            return set()
        changed = set()
        if outlet.wanted is not None:
            row = self.streams[outlet.wanted]
            row.outlets.pop(outlet.sink, None)
            changed.add((row.id, outlet.kind))
            if not row.outlets and row.publication is None and row.ended == NEVER:
                del self.streams[row.id]  # a name that only somebody wished for
        outlet.wanted = stream
        outlet.state = None
        if stream is not None:
            self.stream(stream).outlets[outlet.sink] = outlet
            changed.add((stream, outlet.kind))
        return changed

    def routes(self, changed: Iterable[tuple[StreamId, MediaKind]]) -> list[SetRoutes]:
        """The complete sink lists of the sources concerned, each with the next revision."""
        return [
            self._route(row, track)
            for stream, kind in sorted(changed)
            if (row := self.streams.get(stream)) is not None
            and row.publication is not None
            and (track := row.publication.tracks.get(kind)) is not None
        ]

    def all_routes(self, stream: StreamId) -> list[SetRoutes]:
        """Sink lists for a publication that was just put in place; none when nobody waits."""
        row = self.streams[stream]
        kinds = {outlet.kind for outlet in row.outlets.values()}
        return self.routes((stream, kind) for kind in kinds)

    def _route(self, row: Stream, track: Track) -> SetRoutes:
        track.revision += 1
        return SetRoutes(
            source=track.source,
            revision=track.revision,
            sinks=tuple(outlet.sink for outlet in row.outlets.values() if outlet.kind is track.kind),
        )
