"""Why the floor is denied, revoked or a place in the queue lost, with the numbers of TS 24.380 8.2.3.4."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

OTHER: Final = 255  # TS 24.380's number for a reason it does not know


class Cause(StrEnum):
    """`deny_number` and `revoke_number` are those of TS 24.380, which numbers the two apart."""

    BUSY = "busy"  # another has the floor
    QUEUE_FULL = "queue_full"
    RECEIVE_ONLY = "receive_only"  # the member may only listen, or the group is a broadcast of others
    KEY_HELD = "key_held"  # after a denial or revoke the key must be let go first
    NO_PATH = "no_path"  # its media path is not open, so nobody would hear the first word
    NO_MEMBER = "no_member"  # not, or no longer, in this group
    BLOCKED = "blocked"  # an all-call is on elsewhere
    TALK_LIMIT = "talk_limit"
    PRE_EMPTED = "pre_empted"
    COLLISION = "collision"  # a radio took the floor by itself
    FORCED = "forced"  # forced release 强拆 by an officer
    NOT_CONFIRMED = "not_confirmed"  # granted from the queue, but the key was not pressed in time (T132)
    LOST = "lost"  # gone without a word
    CANCELLED = "cancelled"  # left the queue by itself
    WAITED = "waited"  # in the queue for too long
    ENDED = "ended"  # the group, patch or call is no more

    @property
    def deny_number(self) -> int:
        return DENY_NUMBERS.get(self, OTHER)

    @property
    def revoke_number(self) -> int:
        return REVOKE_NUMBERS.get(self, OTHER)


DENY_NUMBERS: Final[dict[Cause, int]] = {
    Cause.BUSY: 1,
    Cause.KEY_HELD: 4,
    Cause.RECEIVE_ONLY: 5,
    Cause.NO_PATH: 6,
    Cause.QUEUE_FULL: 7,
}
REVOKE_NUMBERS: Final[dict[Cause, int]] = {
    Cause.TALK_LIMIT: 2,
    Cause.RECEIVE_ONLY: 3,
    Cause.NO_MEMBER: 3,
    Cause.PRE_EMPTED: 4,
    Cause.NO_PATH: 6,
}
