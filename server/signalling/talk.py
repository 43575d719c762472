"""The messages about voice: talk groups, floors, patches, private calls, call-backs, alarms and recorded spurts.

Part of `server.signalling.messages`; PROTOCOL.md "Talk groups" says what they mean. Floors follow 3GPP TS 24.380; its
cause numbers are in `server.groups.causes`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from server.signalling.wire import Command, Id, MaybeId, Message, Text, Value

MAX_PRESSED: Final = 16  # groups that one key press asks for
MAX_TUNED: Final = 64  # groups that one client listens to
MAX_MEMBERS: Final = 500
VOICE_SLOTS: Final = 8  # talkers that one client hears at once

Groups = Annotated[tuple[Id, ...], Meta(max_length=MAX_PRESSED)]
Priority = Annotated[int, Meta(ge=0, le=15)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]

# --------------------------------------------------------------------------- entities


class Member(Value, frozen=True, kw_only=True):
    """Who may be in a group: a unit, an account or everybody of a role. `talk` False = listens only."""

    kind: Literal["unit", "user", "role"]
    id: str
    name: str
    talk: bool = True
    priority: int = 4  # 0..15, larger wins


class Listener(Value, frozen=True, kw_only=True):
    """A client that listens to the group now. `selected`: its key talks here; `voice`: its sound path is up."""

    leg: str
    name: str
    kind: str  # browser | phone | radio | satellite | sip
    unit: str
    user: str
    selected: bool
    talk: bool
    voice: bool


class Group(Value, frozen=True, kw_only=True):
    """A talk group. `number`: its slot key and its place in lists. `patch`: "P1" to "P9" while patched.

    `muted`: neither hears nor is heard in its patch until then. `emergency`: the emergency state, which outlives calls.
    """

    id: str
    name: str
    number: int
    kind: str  # static | dynamic | temporary | broadcast | all_call | private
    members: tuple[Member, ...]
    listeners: tuple[Listener, ...] = ()
    patch: str = ""
    muted: float | None = None
    emergency: bool = False
    expires: float | None = None
    created_by: str = ""


class Talker(Value, frozen=True, kw_only=True):
    """Who has a floor. `kind`: browser | phone | radio | satellite | sip."""

    leg: str
    name: str
    kind: str
    unit: str
    user: str


class Floor(Value, frozen=True, kw_only=True):
    """The right to talk in a group; its id is the group's. Groups in one patch have the same floor.

    `until`: when the talk limit or the hang time ends. `collision`: a radio talks at the same time.
    """

    id: str
    floor: str
    state: Literal["idle", "taken", "tail", "hang"]
    sequence: int
    since: float
    talker: Talker | None = None
    urgency: str = "normal"  # normal | peril | all_call | emergency
    until: float | None = None
    queued: int = 0
    blocked: str = ""  # all_call: only emergencies are granted
    collision: bool = False


class Patch(Value, frozen=True, kw_only=True):
    """Two or more groups that share one floor. `name`: P1 to P9."""

    id: str
    name: str
    groups: tuple[str, ...]
    since: float
    created_by: str


class PrivateCall(Value, frozen=True, kw_only=True):
    """A call between two. Full duplex: both talk at once; half: its `group` has a floor.

    `state`: ringing | active | ended, with `cause` declined | unanswered | busy | ended | lost | overridden.
    """

    id: str
    state: str
    duplex: Literal["full", "half"]
    caller: Talker
    callee: Talker
    since: float
    group: str = ""
    cause: str = ""


class CallBack(Value, frozen=True, kw_only=True):
    """Somebody asks to be called back (回呼请求). `taken_by` "" = nobody yet; `done` when it was dealt with."""

    id: str
    name: str
    unit: str
    user: str
    group: str
    text: str
    at: float
    times: int = 1
    taken_by: str = ""
    done: float | None = None


class AlarmAct(Value, frozen=True, kw_only=True):
    """One thing that happened to an alarm. `pressed`: when the key was pressed, of a press that came late."""

    at: float
    by: str
    act: str  # raised | again | acknowledged | parked | resumed | woke | escalated | closed
    text: str = ""
    pressed: float | None = None


class AlarmPosition(Value, frozen=True, kw_only=True):
    lat: float
    lon: float
    accuracy: float | None
    time: float


class Alarm(Value, frozen=True, kw_only=True):
    """An emergency alarm with its owner. `raised`: when the server got it, `pressed`: when the key was pressed.

    `until`: a parked one comes back then. `times`: pressed again while open.
    """

    id: str
    kind: str  # emergency | peril
    state: str  # new | acknowledged | parked | closed
    name: str
    unit: str
    device: str
    group: str
    stream: str
    raised: float
    pressed: float
    position: AlarmPosition | None = None
    owner: str = ""
    reason: str = ""
    until: float | None = None
    times: int = 1
    history: tuple[AlarmAct, ...] = ()


# --------------------------------------------------------------------------- server -> client


class VoiceSlot(Message, frozen=True, kw_only=True, tag="voice.slot"):
    """What leaves into one of this client's voice slots; `group` "" = nothing, `talker` None = the spurt is over.

    `call`: a private call's id when it is the sound of one. A slot stays with its group until another needs it.
    """

    slot: int
    group: str
    talker: Talker | None = None
    call: str = ""


class FloorTold(Message, frozen=True, kw_only=True, tag="floor.told"):
    """What became of this client's own request.

    `state`: granted | queued | denied | revoked | warned | tail | ended. `until`: of a grant or warning; `cause` and
    `talker` of a refusal or revocation; `position` of `size` in the queue.
    """

    group: str
    state: str
    sequence: int = 0
    urgency: str = "normal"
    until: float | None = None
    position: int = 0
    size: int = 0
    cause: str = ""
    talker: Talker | None = None


# --------------------------------------------------------------------------- client -> server


class FloorAlive(Message, frozen=True, kw_only=True, tag="floor.alive"):
    """Sent every 200 ms by the page itself (not a worker) while a key is held; no answer."""


class GroupTune(Command, frozen=True, kw_only=True, tag="group.tune"):
    """The complete list of groups this client listens to, best first, and of those its key talks in."""

    listening: Annotated[tuple[Id, ...], Meta(max_length=MAX_TUNED)]
    selected: Groups = ()


class FloorRequest(Command, frozen=True, kw_only=True, tag="floor.request"):
    """The key is down: ask for the floors of these groups. The microphone sends at once, see PROTOCOL.md.

    `bargeIn` (强插): take the floor from a talker of one's own rank, too; needs `talk.override`, else it says nothing.
    """

    groups: Groups
    barge_in: bool = False
    urgency: Literal["normal", "peril", "emergency"] = "normal"


class FloorAnswer(Value, frozen=True, kw_only=True):
    """As `FloorTold`, right away: granted, queued or denied."""

    group: str
    state: str
    sequence: int = 0
    until: float | None = None
    position: int = 0
    size: int = 0
    cause: str = ""
    talker: Talker | None = None


class FloorAnswers(Value, frozen=True, kw_only=True):
    """Result of floor.request, in the order asked."""

    answers: tuple[FloorAnswer, ...]


class FloorRelease(Command, frozen=True, kw_only=True, tag="floor.release"):
    """The key is up: give the floors back, leave the queues. No groups = all of them."""

    groups: Groups = ()


class FloorRevoke(Command, frozen=True, kw_only=True, tag="floor.revoke"):
    """Take the floor from whoever talks (强拆); needs a reason, is audited."""

    group: Id
    reason: Text


class AllCall(Command, frozen=True, kw_only=True, tag="call.all"):
    """Talk to everybody (全呼): the floor of the all-call group. Audited. Release with floor.release."""


class GroupCreate(Command, frozen=True, kw_only=True, tag="group.create"):
    """A group made on the spot. `hours`: it ends by itself (temporary); None = it stays."""

    name: Text
    kind: Literal["static", "dynamic", "temporary", "broadcast"] = "dynamic"
    members: Annotated[tuple[MemberWish, ...], Meta(max_length=MAX_MEMBERS)] = ()
    hours: float | None = None


class MemberWish(Value, frozen=True, kw_only=True):
    """As `Member`, without the name."""

    kind: Literal["unit", "user", "role"]
    id: Id
    talk: bool = True
    priority: Priority = 4


class GroupCreated(Value, frozen=True, kw_only=True):
    """Result of group.create."""

    group: str


class GroupChange(Command, frozen=True, kw_only=True, tag="group.change"):
    """Another name, end or complete list of members; what is None stays."""

    group: Id
    name: Text | None = None
    members: Annotated[tuple[MemberWish, ...], Meta(max_length=MAX_MEMBERS)] | None = None
    hours: float | None = None


class GroupDelete(Command, frozen=True, kw_only=True, tag="group.delete"):
    """Ends a group; needs a reason, is audited. Its recordings stay."""

    group: Id
    reason: Text


class PatchCreate(Command, frozen=True, kw_only=True, tag="patch.create"):
    """One floor for two or more groups (跨组互通)."""

    groups: Annotated[tuple[Id, ...], Meta(min_length=2, max_length=MAX_PRESSED)]


class PatchCreated(Value, frozen=True, kw_only=True):
    """Result of patch.create."""

    patch: str
    name: str


class PatchChange(Command, frozen=True, kw_only=True, tag="patch.change"):
    """The complete list of a patch's groups; fewer than two end it."""

    patch: Id
    groups: Groups


class PatchMute(Command, frozen=True, kw_only=True, tag="patch.mute"):
    """A patched group is on its own for a while; 0 s = no longer."""

    group: Id
    seconds: Seconds


class CallStart(Command, frozen=True, kw_only=True, tag="call.start"):
    """Call one unit or officer."""

    unit: MaybeId = ""
    user: MaybeId = ""
    duplex: Literal["full", "half"] = "full"


class CallStarted(Value, frozen=True, kw_only=True):
    """Result of call.start."""

    call: str


class CallAnswer(Command, frozen=True, kw_only=True, tag="call.answer"):
    """Take or decline a call that rings here."""

    call: Id
    accept: bool


class CallEnd(Command, frozen=True, kw_only=True, tag="call.end"):
    """Hang up, or give up ringing."""

    call: Id


class CallBackRequest(Command, frozen=True, kw_only=True, tag="callback.request"):
    """Ask the dispatchers to call back; asked again it counts up."""

    group: MaybeId = ""
    text: Text = ""


class CallBackTake(Command, frozen=True, kw_only=True, tag="callback.take"):
    """Say that one deals with it, or with `done` that it is dealt with."""

    callback: Id
    done: bool = False


class EmergencyStart(Command, frozen=True, kw_only=True, tag="emergency.start"):
    """Raise the emergency alarm of the caller's unit and open its group's floor; `key` counts a re-sent one once.

    `group` "" = the one its key talks in, else its first, else the default one. The microphone sends as at
    floor.request. `age`: s since the key was pressed, by the client's own clock; an SOS may wait for a network.
    """

    key: Id
    group: MaybeId = ""
    age: float = 0.0
    position: AlarmPosition | None = None


class EmergencyStarted(Value, frozen=True, kw_only=True):
    """Result of emergency.start; `answer` as of floor.request."""

    alarm: str
    group: str
    answer: FloorAnswer


class AlarmMove(Command, frozen=True, kw_only=True, tag="alarm.move"):
    """Acknowledge, park (with a reason and a time), resume or close (with a reason) an alarm."""

    alarm: Id
    act: Literal["acknowledge", "park", "resume", "close"]
    reason: Text = ""
    seconds: Seconds = 0.0


class Spurt(Value, frozen=True, kw_only=True):
    """A recorded transmission: `GET /recordings/{id}` is its sound. `duration` s, 0 while it goes on.

    `detail`: why it is cut or lost. `gap`: s that are missing between this one and the one it goes on with, `after`.
    `call`: the private call it was said in, to `peer`. `hold`: kept as evidence, by whom and why.
    """

    id: str
    started: float
    duration: float
    groups: tuple[str, ...]
    group_names: tuple[str, ...]
    talker: Talker
    urgency: str
    state: str  # recording | ready | cut | lost | erased
    position: AlarmPosition | None = None
    detail: str = ""
    after: str = ""
    gap: float = 0.0
    call: str = ""
    peer: Talker | None = None
    hold: bool = False
    held_by: str = ""
    held_why: str = ""


class Hold(Value, frozen=True, kw_only=True):
    """A recording that was held as evidence, or let go, since the server started; of the newest 200 such.

    `id`: the recording's; the rest as in `Spurt`.
    """

    id: str
    hold: bool
    held_by: str = ""
    held_why: str = ""


class SpurtSearch(Command, frozen=True, kw_only=True, tag="spurt.search"):
    """Recorded transmissions, newest first; `before`: a spurt's id, for the next page. Empty fields do not filter."""

    groups: Annotated[tuple[Id, ...], Meta(max_length=MAX_TUNED)] = ()
    unit: MaybeId = ""
    user: MaybeId = ""
    text: Text = ""
    since: float | None = None
    until: float | None = None
    emergency: bool = False
    held: bool = False
    before: MaybeId = ""
    limit: Annotated[int, Meta(ge=1, le=200)] = 50


class SpurtPage(Value, frozen=True, kw_only=True):
    """Result of spurt.search. `more`: there are older ones."""

    spurts: tuple[Spurt, ...]
    more: bool


class SpurtHold(Command, frozen=True, kw_only=True, tag="spurt.hold"):
    """Keep a recording as evidence (存证), or with `hold` false let retention have it again; with a reason, audited."""

    spurt: Id
    hold: bool
    reason: Text


class SpurtHeld(Value, frozen=True, kw_only=True):
    """Result of spurt.hold: the recording as it is now."""

    spurt: Spurt
