"""The messages of the WebSocket protocol; `PROTOCOL.md` beside this file is their description.

TypeScript types for the console are generated from here (`python -m server.signalling.schema`), so a field that is
added here without a word in PROTOCOL.md fails `tests/test_docs.py`. JSON on the wire, UTF-8, one object per text frame.
Times are wallclock seconds since 1970 UTC unless a name says otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

SCHEMA = 1
MAX_FRAME = 256 * 1024


class Message(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False, tag_field="type", rename="camel"
):
    """Base: the `type` field tells which."""


class Value(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what messages carry."""


# --------------------------------------------------------------------------- entities of the snapshot


class Unit(Value):
    """A person, vehicle, drone or post on the map."""

    id: str
    name: str
    kind: str  # rescuer | vehicle | drone | camera | post
    number: int  # short number for keyboards, unique
    position: Position | None = None


class Position(Value):
    """WGS 84 degrees; accuracy m; heading degrees clockwise from north; speed m/s. None = not known."""

    lat: float
    lon: float
    accuracy: float | None
    time: float
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None


class Device(Value):
    """A credential of a unit: one phone, agent, body cam or camera."""

    id: str
    unit: str
    name: str
    kind: str  # agent | phone | rtsp
    online: bool
    last_seen: float | None = None
    battery: int | None = None  # percent
    network: str = ""  # as the phone says: wifi, 4g, ...
    revoked: bool = False


class StreamLayer(Value):
    rid: str
    codec: str
    width: int
    height: int
    live: bool
    bitrate: int
    frames_per_second: float
    loss: float  # 0..1


class Step(Value):
    """One step of the onboarding ladder."""

    name: str  # registered | signalled | ice | dtls | packets | key_frame | shown
    at: float | None = None  # reached when; None = not yet


class Stream(Value):
    """A channel of a device; its id survives re-publishing."""

    id: str
    device: str
    unit: str
    channel: str
    name: str
    state: str  # offline | connecting | live | stalled | retrying
    since: float
    via: str = ""  # whip | phone | rtsp
    layers: tuple[StreamLayer, ...] = ()
    audio: str = ""  # codec, "" = none
    audio_live: bool = False
    viewers: int = 0
    steps: tuple[Step, ...] = ()
    cause: str = ""  # code of a cause: see PROTOCOL.md "Causes"
    detail: str = ""
    remote: str = ""
    tcp: bool = False


class JoinLink(Value):
    """A link that lets one phone join without an account. The address with its secret is told once, on creation."""

    id: str
    unit: str
    name: str
    created: float
    expires: float
    created_by: str
    used: float | None = None
    revoked: bool = False


class HealthRow(Value):
    """One line of /health: a part of the server, how it is, and the plain remedy."""

    id: str
    name: str
    state: str  # ok | warning | error
    detail: str = ""
    remedy: str = ""
    value: float | None = None
    unit: str = ""
    at: float = 0.0


ENTITY_KINDS = {"unit": Unit, "device": Device, "stream": Stream, "link": JoinLink, "health": HealthRow}


class Change(Value):
    """`value` None = gone."""

    kind: Literal["unit", "device", "stream", "link", "health"]
    id: str
    value: Unit | Device | Stream | JoinLink | HealthRow | None = None  # decoded by kind


# --------------------------------------------------------------------------- server -> client


class User(Value):
    id: str
    name: str
    role: str
    permissions: tuple[str, ...]


class ServerInfo(Value):
    name: str
    level: str
    version: str
    time: float
    media: bool  # the media process is up
    drill: bool = False


class HelloServer(Message, tag="hello"):
    """Answer to the client's hello. `resumed`: the deltas since the client's rev follow, else a snapshot does."""

    schema: int
    rev: int
    resumed: bool
    client: str
    user: User
    server: ServerInfo
    stream: str = ""  # a phone's own stream


class Snapshot(Message, tag="snapshot"):
    rev: int
    units: tuple[Unit, ...] = ()
    devices: tuple[Device, ...] = ()
    streams: tuple[Stream, ...] = ()
    links: tuple[JoinLink, ...] = ()
    health: tuple[HealthRow, ...] = ()


class Delta(Message, tag="delta"):
    rev: int
    changes: tuple[Change, ...]


class Problem(Value):
    """Why a command failed: stable code, English sentence, the field it is about, seconds to wait."""

    code: str
    message: str
    field: str = ""
    retry_after: float = 0.0


class Reply(Message, tag="reply"):
    id: str
    ok: bool
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: Problem | None = None


class SlotChanged(Message, tag="slot"):
    """What the relay sends into one of this tab's slots."""

    slot: int
    state: str  # empty | waiting | live
    stream: str | None = None
    layer: str = ""
    height: int = 0
    reason: str = ""
    degraded: str = ""


class MediaStep(Message, tag="media"):
    """What becomes of this client's media session: signalled, ice, dtls, path, lost, closed."""

    session: str
    step: str
    detail: str = ""


class Pong(Message, tag="pong"):
    t: float
    time: float


class Goodbye(Message, tag="goodbye"):
    """Last message before the server closes: replaced, revoked, expired, logged_out, restarting, too_slow."""

    reason: str


# --------------------------------------------------------------------------- client -> server


class HelloClient(Message, tag="hello"):
    """First message. `token`: a join link's secret (phone); without it the cookie of the WebSocket request counts.

    `client`: chosen by the client, kept over reconnections; a second connection with the same one replaces the first.
    `rev`: the last revision seen, 0 = none. `want`: entity kinds to be told about.
    """

    schema: int
    client: str
    token: str = ""
    rev: int = 0
    want: tuple[str, ...] = ("unit", "device", "stream")


class Ping(Message, tag="ping"):
    t: float


class Command(Message):
    """Base of commands: each gets exactly one reply with its id; a repeated id gets the first reply again."""

    id: str


class MediaOffer(Command, tag="media.offer"):
    """Offer of a browser. kind "console": sections in (audio, video) pairs per slot, recvonly; "phone": publishes the
    client's own stream. `session`: an earlier answer's, for more slots or an ICE restart."""

    kind: Literal["console", "phone"]
    sdp: str
    session: str = ""


class SlotInfo(Value):
    slot: int
    audio_mid: str
    video_mid: str


class MediaAnswer(Value):
    session: str
    sdp: str
    slots: tuple[SlotInfo, ...] = ()


class MediaClose(Command, tag="media.close"):
    session: str


class Wish(Value):
    slot: int
    stream: str | None
    height: int = 0
    priority: int = 0
    audio: bool = False


class SlotSet(Command, tag="slot.set"):
    session: str
    wishes: tuple[Wish, ...]


class SlotShown(Command, tag="slot.shown"):
    """What the viewer's eyes get: first frame shown, frozen, or shown again. Feeds the ladder's last step."""

    session: str
    slot: int
    stream: str
    state: Literal["shown", "frozen"]


class LinkCreate(Command, tag="link.create"):
    """A join link for a new or known unit. Reply: LinkCreated."""

    name: str
    hours: float = 12.0
    unit: str = ""


class LinkCreated(Value):
    link: JoinLink
    url: str
    qr_svg: str


class LinkRevoke(Command, tag="link.revoke"):
    link: str


class StreamClose(Command, tag="stream.close"):
    """Ends a stream's publisher (it may come back); needs a reason, is audited."""

    stream: str
    reason: str


class UnitRename(Command, tag="unit.rename"):
    unit: str
    name: str


class PositionReport(Command, tag="position.report"):
    """A phone's positions, oldest first, <= 100; `key` of each is its client id: sent twice, stored once."""

    positions: tuple[ReportedPosition, ...]


class ReportedPosition(Value):
    key: str
    lat: float
    lon: float
    time: float
    accuracy: float | None = None
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None


class PhoneState(Command, tag="phone.state"):
    """A phone's own state for its unit's card."""

    battery: int | None = None
    charging: bool | None = None
    network: str = ""


class AuditRead(Command, tag="audit.read"):
    """The newest audit entries before a sequence number; admin only; itself audited."""

    before: int = 0
    limit: int = 100


class SessionList(Command, tag="session.list"):
    """The caller's own log-in sessions (an admin: everybody's)."""


class SessionEnd(Command, tag="session.end"):
    session: str


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
)
ClientMessage = HelloClient | Ping | ClientCommand
ServerMessage = HelloServer | Snapshot | Delta | Reply | SlotChanged | MediaStep | Pong | Goodbye
