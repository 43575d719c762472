"""One table: what each role may do. What is not in it is refused.

The WebSocket protocol and HTTP share it (`server/signalling/PROTOCOL.md`, `server.api.table`). "own" actions concern
only the caller's things; the handler sees to that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from server.model.errors import Refused


class Action(StrEnum):
    STREAM_WATCH = "stream.watch"
    STREAM_PUBLISH = "stream.publish"  # the caller's own streams
    STREAM_CLOSE = "stream.close"
    LINK_CREATE = "link.create"  # and revoke
    UNIT_EDIT = "unit.edit"
    POSITION_REPORT = "position.report"  # the caller's own unit
    RECORDING_SEARCH = "recording.search"
    RECORDING_PLAY = "recording.play"
    RECORDING_HOLD = "recording.hold"  # as evidence: nothing erases it
    RECORDING_RELEASE = "recording.release"  # evidence that retention may erase again
    RECORDING_ERASE = "recording.erase"
    HEALTH_READ = "health.read"
    AUDIT_READ = "audit.read"
    METRICS_READ = "metrics.read"
    SESSION_OWN = "session.own"  # me, log out, list and end the caller's own log-ins
    SESSION_ALL = "session.all"  # and everybody's
    SOCKET_OPEN = "socket.open"  # a WebSocket of the console or the phone page
    TALK_USE = (
        "talk.use"  # listen and talk in groups that the caller is a member of, call, ask to be called back
    )
    TALK_OVERRIDE = "talk.override"  # take the floor over a talker of the same priority
    TALK_EVERYWHERE = "talk.everywhere"  # in every group, member or not
    TALK_BROADCAST = "talk.broadcast"  # in broadcast groups, and the all-call
    FLOOR_REVOKE = "floor.revoke"
    GROUP_MANAGE = "group.manage"  # make, change and end groups and patches
    EMERGENCY_RAISE = "emergency.raise"
    ALARM_HANDLE = "alarm.handle"  # and call-backs


class Role(StrEnum):
    ADMIN = "admin"  # made by set-up; for now also a dispatcher
    DISPATCHER = "dispatcher"
    FIELD = "field"  # a rescuer with an account: the phone page
    DEVICE = "device"  # a device token: agent, body cam, WHIP and WHEP
    GUEST = "guest"  # a join link


ACCOUNT_ROLES: Final = (Role.ADMIN, Role.DISPATCHER, Role.FIELD)  # what a user of the database may have

_DISPATCHER: Final = frozenset(
    {
        Action.STREAM_WATCH,
        Action.STREAM_CLOSE,
        Action.LINK_CREATE,
        Action.UNIT_EDIT,
        Action.RECORDING_SEARCH,
        Action.RECORDING_PLAY,
        Action.RECORDING_HOLD,
        Action.HEALTH_READ,
        Action.SESSION_OWN,
        Action.SOCKET_OPEN,
        Action.TALK_USE,
        Action.TALK_OVERRIDE,
        Action.TALK_EVERYWHERE,
        Action.TALK_BROADCAST,
        Action.FLOOR_REVOKE,
        Action.GROUP_MANAGE,
        Action.EMERGENCY_RAISE,
        Action.ALARM_HANDLE,
    }
)
_PHONE: Final = frozenset(
    {
        Action.STREAM_PUBLISH,
        Action.POSITION_REPORT,
        Action.SOCKET_OPEN,
        Action.TALK_USE,
        Action.EMERGENCY_RAISE,
    }
)

ALLOWED: Final[dict[Role, frozenset[Action]]] = {
    Role.ADMIN: _DISPATCHER
    | {
        Action.RECORDING_RELEASE,
        Action.RECORDING_ERASE,
        Action.AUDIT_READ,
        Action.METRICS_READ,
        Action.SESSION_ALL,
    },
    Role.DISPATCHER: _DISPATCHER,
    Role.FIELD: _PHONE | {Action.SESSION_OWN},
    Role.DEVICE: frozenset({Action.STREAM_PUBLISH, Action.STREAM_WATCH, Action.POSITION_REPORT}),
    Role.GUEST: _PHONE,
}


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. `id` is a user's, device's or join link's id; `session` a log-in session's id ("" = none);
    `device` the device that a token or link stands for."""

    role: Role
    id: str
    name: str
    session: str = ""
    device: str = ""

    @property
    def actor(self) -> str:
        """How the audit log names it."""
        return f"{self.role}:{self.id}:{self.name}"


def allowed(role: Role, action: Action) -> bool:
    return action in ALLOWED.get(role, frozenset())


def actions_of(role: Role) -> tuple[str, ...]:
    """For the client, in a stable order."""
    return tuple(sorted(ALLOWED.get(role, frozenset())))


def require(principal: Principal, action: Action) -> None:
    """Raises Refused."""
    if not allowed(principal.role, action):
        raise Refused(f"the role {principal.role} may not do {action}")
