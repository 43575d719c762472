"""The one table of rights, told again here so that a slip of the hand in it shows."""

from __future__ import annotations

import pytest

from server.auth.permissions import ALLOWED, Action, Principal, Role, actions_of, allowed, require
from server.model.errors import Refused

EXPECTED = {
    "stream.watch": {"admin", "dispatcher", "device"},
    "stream.publish": {"field", "device", "guest"},
    "stream.close": {"admin", "dispatcher"},
    "link.create": {"admin", "dispatcher"},
    "unit.edit": {"admin", "dispatcher"},
    "position.report": {"field", "device", "guest"},
    "recording.search": {"admin", "dispatcher"},
    "recording.play": {"admin", "dispatcher"},
    "recording.hold": {"admin", "dispatcher"},
    "recording.release": {"admin"},
    "recording.erase": {"admin"},
    "health.read": {"admin", "dispatcher"},
    "audit.read": {"admin"},
    "metrics.read": {"admin"},
    "session.own": {"admin", "dispatcher", "field"},
    "session.all": {"admin"},
    "socket.open": {"admin", "dispatcher", "field", "guest"},
    "talk.use": {"admin", "dispatcher", "field", "guest"},
    "talk.override": {"admin", "dispatcher"},
    "talk.everywhere": {"admin", "dispatcher"},
    "talk.broadcast": {"admin", "dispatcher"},
    "floor.revoke": {"admin", "dispatcher"},
    "group.manage": {"admin", "dispatcher"},
    "emergency.raise": {"admin", "dispatcher", "field", "guest"},
    "alarm.handle": {"admin", "dispatcher"},
}


def test_the_table_says_what_is_meant() -> None:
    said = {str(action): {str(role) for role in Role if allowed(role, action)} for action in Action}
    assert said == EXPECTED


def test_every_role_has_a_row_and_others_have_nothing() -> None:
    assert set(ALLOWED) == set(Role)
    assert actions_of("somebody") == ()  # type: ignore[arg-type]


@pytest.mark.parametrize("role", list(Role))
def test_require_refuses_what_is_not_allowed(role: Role) -> None:
    who = Principal(role=role, id="x", name="y")
    for action in Action:
        if str(role) in EXPECTED[action]:
            require(who, action)
        else:
            with pytest.raises(Refused):
                require(who, action)
