"""What clients see of the world, kind by kind: the entities of snapshots and deltas; those of voice are in `talk`.

A new kind is a row of ENTITY_KINDS, a word of `Kind` and of `Entity`, a field of `messages.Snapshot`, and whose it is
in `server.state.OF`.
"""

from __future__ import annotations

from typing import Final, Literal

from server.signalling.talk import Alarm, CallBack, Floor, Group, Hold, Patch, PrivateCall
from server.signalling.wire import Value


class Unit(Value, frozen=True, kw_only=True):
    """A person, vehicle, drone or post on the map."""

    id: str
    name: str
    kind: str  # rescuer | vehicle | drone | camera | post
    number: int  # short number for keyboards, unique
    position: Position | None = None


class Position(Value, frozen=True, kw_only=True):
    """WGS 84 degrees; accuracy m; heading degrees clockwise from north; speed m/s. None = not known."""

    lat: float
    lon: float
    accuracy: float | None
    time: float
    altitude: float | None = None
    heading: float | None = None
    speed: float | None = None


class Device(Value, frozen=True, kw_only=True):
    """A credential of a unit: one phone, agent, body cam or camera.

    `online`: it has a connection or a stream now. `lastSeen`: when it was last online, to the minute while it is; None
    = not since the server started. `battery` in percent; `network` as the phone says: wifi, 4g, ...
    """

    id: str
    unit: str
    name: str
    kind: str  # agent | phone | rtsp
    online: bool
    last_seen: float | None = None
    battery: int | None = None
    charging: bool | None = None
    network: str = ""
    revoked: bool = False


class StreamLayer(Value, frozen=True, kw_only=True):
    """One simulcast layer as it arrives: size in pixels, bitrate in bit/s."""

    rid: str
    codec: str
    width: int
    height: int
    live: bool
    bitrate: int
    frames_per_second: float
    loss: float  # 0..1


class Step(Value, frozen=True, kw_only=True):
    """One step of the onboarding ladder."""

    name: str  # registered | signalled | ice | dtls | packets | key_frame | shown
    at: float | None = None  # reached when; None = not yet


class Stream(Value, frozen=True, kw_only=True):
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


class JoinLink(Value, frozen=True, kw_only=True):
    """A link that lets one phone join without an account. The address with its secret is told once, on creation."""

    id: str
    unit: str
    name: str
    created: float
    expires: float
    created_by: str
    used: float | None = None
    revoked: bool = False


class HealthRow(Value, frozen=True, kw_only=True):
    """One line of /health: a part of the server, how it is, and the plain remedy."""

    id: str
    name: str
    state: str  # ok | warning | error | off
    detail: str = ""
    remedy: str = ""
    value: float | None = None
    unit: str = ""
    at: float = 0.0


ENTITY_KINDS: Final[dict[str, type[Value]]] = {
    "unit": Unit,
    "device": Device,
    "stream": Stream,
    "link": JoinLink,
    "health": HealthRow,
    "group": Group,
    "floor": Floor,
    "patch": Patch,
    "call": PrivateCall,
    "callback": CallBack,
    "alarm": Alarm,
    "hold": Hold,
}


Kind = Literal[
    "unit",
    "device",
    "stream",
    "link",
    "health",
    "group",
    "floor",
    "patch",
    "call",
    "callback",
    "alarm",
    "hold",
]
Entity = (
    Unit
    | Device
    | Stream
    | JoinLink
    | HealthRow
    | Group
    | Floor
    | Patch
    | PrivateCall
    | CallBack
    | Alarm
    | Hold
)


class Change(Value, frozen=True, kw_only=True):
    """`value` None = gone."""

    kind: Kind
    id: str
    value: Entity | None = None  # decoded by kind
