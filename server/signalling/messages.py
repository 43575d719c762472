"""The messages of the WebSocket protocol; `PROTOCOL.md` beside this file is their description.

TypeScript types for the console are generated from here (`python -m server.signalling.schema`); a message that is
added here without a word in PROTOCOL.md fails `tests/test_docs.py`. JSON on the wire, UTF-8, one object per text frame.
Times are wallclock seconds since 1970 UTC unless a name says otherwise. What a client sends is bounded by its type.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from server.signalling.entities import Change, Device, HealthRow, JoinLink, Stream, Unit
from server.signalling.talk import (
    Alarm,
    AlarmMove,
    AllCall,
    CallAnswer,
    CallBack,
    CallBackRequest,
    CallBackTake,
    CallEnd,
    CallStart,
    CallStarted,
    EmergencyStart,
    EmergencyStarted,
    Floor,
    FloorAlive,
    FloorAnswers,
    FloorRelease,
    FloorRequest,
    FloorRevoke,
    FloorTold,
    Group,
    GroupChange,
    GroupCreate,
    GroupCreated,
    GroupDelete,
    GroupTune,
    Hold,
    Patch,
    PatchChange,
    PatchCreate,
    PatchCreated,
    PatchMute,
    PrivateCall,
    SpurtHeld,
    SpurtHold,
    SpurtPage,
    SpurtSearch,
    VoiceSlot,
)
from server.signalling.wire import Command, Id, MaybeId, Message, Text, Value

SCHEMA: Final = 1
MAX_FRAME: Final = 256 * 1024  # bytes
MAX_SLOTS: Final = 25

SlotNumber = Annotated[int, Meta(ge=0, lt=25)]


# --------------------------------------------------------------------------- server -> client


class User(Value, frozen=True, kw_only=True):
    """`name` as people gave it; `permissions`: actions of `server.auth.permissions`."""

    id: str
    name: str
    role: str
    permissions: tuple[str, ...]


class ServerInfo(Value, frozen=True, kw_only=True):
    """`time`: the server's clock; `media`: the media process is up."""

    name: str
    level: str
    version: str
    time: float
    media: bool
    drill: bool = False


class HelloServer(Message, frozen=True, kw_only=True, tag="hello"):
    """Answer to the client's hello. `resumed`: the deltas since the client's rev follow, else a snapshot does."""

    schema: int
    rev: int
    resumed: bool
    client: str
    user: User
    server: ServerInfo
    stream: str = ""  # a phone's own stream
    leg: str = ""  # of this client in groups: what listeners and talkers are called by


class Snapshot(Message, frozen=True, kw_only=True, tag="snapshot"):
    """Everything the client may see of the kinds it wants, as of `rev`."""

    rev: int
    units: tuple[Unit, ...] = ()
    devices: tuple[Device, ...] = ()
    streams: tuple[Stream, ...] = ()
    links: tuple[JoinLink, ...] = ()
    health: tuple[HealthRow, ...] = ()
    groups: tuple[Group, ...] = ()
    floors: tuple[Floor, ...] = ()
    patches: tuple[Patch, ...] = ()
    calls: tuple[PrivateCall, ...] = ()
    callbacks: tuple[CallBack, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    holds: tuple[Hold, ...] = ()


class Delta(Message, frozen=True, kw_only=True, tag="delta"):
    """What became different up to `rev`."""

    rev: int
    changes: tuple[Change, ...]


class Problem(Value, frozen=True, kw_only=True):
    """Why a command failed: stable code, English sentence, the field it is about, seconds to wait."""

    code: str
    message: str
    field: str = ""
    retry_after: float = 0.0


class Reply(Message, frozen=True, kw_only=True, tag="reply"):
    """The one answer to a command; `result` is as RESULTS says, null when it failed."""

    id: str
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Problem | None = None


class SlotChanged(Message, frozen=True, kw_only=True, tag="slot"):
    """What the relay sends into one of this tab's slots."""

    slot: int
    state: str  # empty | waiting | live
    stream: str | None = None
    layer: str = ""
    height: int = 0
    reason: str = ""
    degraded: str = ""


class MediaStep(Message, frozen=True, kw_only=True, tag="media"):
    """What becomes of this client's media session: signalled, ice, dtls, path, lost, closed."""

    session: str
    step: str
    detail: str = ""


class Pong(Message, frozen=True, kw_only=True, tag="pong"):
    """Answer to a ping: its `t`, and the server's clock."""

    t: float
    time: float


class Goodbye(Message, frozen=True, kw_only=True, tag="goodbye"):
    """Last message before the server closes; `reason`: see PROTOCOL.md "Goodbye reasons"."""

    reason: str


# --------------------------------------------------------------------------- client -> server


class HelloClient(Message, frozen=True, kw_only=True, tag="hello"):
    """First message. `token`: a join link's secret (phone); without it the cookie of the WebSocket request counts.

    `client`: chosen by the client, kept over reconnections; a second connection with the same one replaces the first.
    `rev`: the last revision seen, 0 = none. `want`: entity kinds to be told about.
    """

    schema: int
    client: Annotated[str, Meta(pattern=r"^[!-~]{16,64}\Z")]
    token: Text = ""
    rev: Annotated[int, Meta(ge=0, le=2**53)] = 0
    want: Annotated[tuple[str, ...], Meta(max_length=16)] = ("unit", "device", "stream", "group", "floor")


class Ping(Message, frozen=True, kw_only=True, tag="ping"):
    """Sent every 2 s; `t` comes back in the pong."""

    t: float


class MediaOffer(Command, frozen=True, kw_only=True, tag="media.offer"):
    """Offer of a browser. kind "console": sections in (audio, video) pairs per slot, recvonly; "phone": publishes the
    client's own stream; "voice": the microphone (sendonly), then up to 8 recvonly audio sections, its voice slots.
    `session`: an earlier answer's, for more slots or an ICE restart."""

    kind: Literal["console", "phone", "voice"]
    sdp: str
    session: MaybeId = ""


class SlotInfo(Value, frozen=True, kw_only=True):
    """Which m-sections of the answer carry a slot; a voice slot has no picture."""

    slot: int
    audio_mid: str
    video_mid: str = ""


class MediaAnswer(Value, frozen=True, kw_only=True):
    """Result of media.offer. `session` is secret: it names the media connection in later commands."""

    session: str
    sdp: str
    slots: tuple[SlotInfo, ...] = ()


class MediaClose(Command, frozen=True, kw_only=True, tag="media.close"):
    """Close the client's media connection."""

    session: Id


class Wish(Value, frozen=True, kw_only=True):
    """What one slot should show. `stream` None empties it; `height` of the tile in pixels, 0 = keep but pause."""

    slot: SlotNumber
    stream: Id | None
    height: Annotated[int, Meta(ge=0, le=8640)] = 0
    priority: Annotated[int, Meta(ge=0, le=9)] = 0
    audio: bool = False


class SlotSet(Command, frozen=True, kw_only=True, tag="slot.set"):
    """Change what the named slots show; the others stay as they are."""

    session: Id
    wishes: Annotated[tuple[Wish, ...], Meta(max_length=25)]


class SlotShown(Command, frozen=True, kw_only=True, tag="slot.shown"):
    """What the viewer's eyes get: first frame shown, frozen, or shown again. Feeds the ladder's last step."""

    session: Id
    slot: SlotNumber
    stream: Id
    state: Literal["shown", "frozen"]


class LinkCreate(Command, frozen=True, kw_only=True, tag="link.create"):
    """A join link that makes a phone of a unit: of `unit`, or of the unit called `name`, new if there is none.

    `hours` None = the server's default.
    """

    name: Text
    hours: float | None = None
    unit: MaybeId = ""


class LinkCreated(Value, frozen=True, kw_only=True):
    """Result of link.create; `url` and `qrSvg` (of the url) hold the secret and are told this once."""

    link: JoinLink
    url: str
    qr_svg: str


class LinkRevoke(Command, frozen=True, kw_only=True, tag="link.revoke"):
    """Ends a join link, its phone's media and connection."""

    link: Id


class StreamClose(Command, frozen=True, kw_only=True, tag="stream.close"):
    """Ends a stream's publisher (it may come back); needs a reason, is audited."""

    stream: Id
    reason: Text


class UnitRename(Command, frozen=True, kw_only=True, tag="unit.rename"):
    """Gives a unit another name."""

    unit: Id
    name: Text


class PositionReport(Command, frozen=True, kw_only=True, tag="position.report"):
    """A phone's positions, oldest first, <= 100; `key` of each is its client id: sent twice, stored once."""

    positions: Annotated[tuple[ReportedPosition, ...], Meta(max_length=100)]


class ReportedPosition(Value, frozen=True, kw_only=True):
    """As `Position`, with the client's own id of the report."""

    key: Id
    lat: float
    lon: float
    time: float
    accuracy: float | None = None
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None


class PositionsStored(Value, frozen=True, kw_only=True):
    """Result of position.report. `stored`: how many are on disk now, those that already were included; `refused`:
    impossible ones, which need not be sent again."""

    stored: int
    refused: tuple[RefusedPosition, ...] = ()


class RefusedPosition(Value, frozen=True, kw_only=True):
    """`field` of the report and what is wrong with it."""

    key: str
    field: str
    message: str


class PhoneState(Command, frozen=True, kw_only=True, tag="phone.state"):
    """A phone's own state for its unit's card. `battery` in percent."""

    battery: Annotated[int, Meta(ge=0, le=100)] | None = None
    charging: bool | None = None
    network: Annotated[str, Meta(max_length=16)] = ""


class AuditRead(Command, frozen=True, kw_only=True, tag="audit.read"):
    """The newest audit entries before a sequence number (0 = from the end); admin only; itself audited."""

    before: Annotated[int, Meta(ge=0, le=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class AuditEntry(Value, frozen=True, kw_only=True):
    """One act: who did what to what, with what result ("ok" or an error code), from where."""

    seq: int
    time: float
    actor: str
    action: str
    object: str
    result: str
    address: str
    detail: str
    hash: str


class AuditPage(Value, frozen=True, kw_only=True):
    """Result of audit.read, newest first. `verified`: the whole chain of hashes holds; else `firstBad` is the first
    entry that does not and `problem` says why."""

    entries: tuple[AuditEntry, ...]
    verified: bool
    first_bad: int = 0
    problem: str = ""


class SessionList(Command, frozen=True, kw_only=True, tag="session.list"):
    """The caller's own log-in sessions (an admin: everybody's)."""


class LogIn(Value, frozen=True, kw_only=True):
    """A log-in session. `id` grants nothing; `current`: the caller's own."""

    id: str
    user: str
    name: str
    role: str
    created: float
    last_seen: float
    address: str
    agent: str
    current: bool


class LogIns(Value, frozen=True, kw_only=True):
    """Result of session.list, newest first."""

    sessions: tuple[LogIn, ...]


class SessionEnd(Command, frozen=True, kw_only=True, tag="session.end"):
    """Ends a log-in session; its consoles are closed."""

    session: Id


# What a successful command's `result` is; the others have null.
RESULTS: Final[dict[type[Command], type[Value]]] = {
    MediaOffer: MediaAnswer,
    LinkCreate: LinkCreated,
    PositionReport: PositionsStored,
    AuditRead: AuditPage,
    SessionList: LogIns,
    FloorRequest: FloorAnswers,
    AllCall: FloorAnswers,
    GroupCreate: GroupCreated,
    PatchCreate: PatchCreated,
    CallStart: CallStarted,
    EmergencyStart: EmergencyStarted,
    SpurtSearch: SpurtPage,
    SpurtHold: SpurtHeld,
}

ClientCommand = (
    MediaOffer
    | MediaClose
    | SlotSet
    | SlotShown
    | LinkCreate
    | LinkRevoke
    | StreamClose
    | UnitRename
    | PositionReport
    | PhoneState
    | AuditRead
    | SessionList
    | SessionEnd
    | GroupTune
    | FloorRequest
    | FloorRelease
    | FloorRevoke
    | AllCall
    | GroupCreate
    | GroupChange
    | GroupDelete
    | PatchCreate
    | PatchChange
    | PatchMute
    | CallStart
    | CallAnswer
    | CallEnd
    | CallBackRequest
    | CallBackTake
    | EmergencyStart
    | AlarmMove
    | SpurtSearch
    | SpurtHold
)
ClientMessage = HelloClient | Ping | FloorAlive | ClientCommand
ServerMessage = (
    HelloServer | Snapshot | Delta | Reply | SlotChanged | VoiceSlot | FloorTold | MediaStep | Pong | Goodbye
)
