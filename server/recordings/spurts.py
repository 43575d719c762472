"""A talk spurt: one transmission in one or more talk groups, and the file it was recorded in. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from server.model.ids import DeviceId, SpurtId, UnitId, UserId


class SpurtState(StrEnum):
    RECORDING = "recording"
    READY = "ready"  # complete, sha256 known
    CUT = "cut"  # playable as far as it got: media or the server died, or the disk was full
    LOST = "lost"  # there is no file, or nothing in it
    ERASED = "erased"  # the file was removed; the row is the proof


OVER: Final = frozenset({SpurtState.READY, SpurtState.CUT, SpurtState.LOST, SpurtState.ERASED})
WITH_FILE: Final = frozenset({SpurtState.RECORDING, SpurtState.READY, SpurtState.CUT})


class SpurtGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A talk group that heard it, with its name at that time."""

    id: str
    name: str


class Talker(msgspec.Struct, frozen=True, kw_only=True):
    """Who spoke, "" = has none. `name` as shown then. `leg`: browser, phone, radio, satellite, sip, or "unknown"."""

    name: str = ""
    leg: str = "unknown"
    unit: UnitId = UnitId("")
    user: UserId = UserId("")
    device: DeviceId = DeviceId("")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the talker was: WGS 84 degrees; `accuracy` in m, None = not said."""

    lat: float
    lon: float
    accuracy: float | None = None


class Spurt(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the index. `id` is a UUIDv7 made at the grant, so ids sort by time.

    `started`: wallclock s of the grant; `ended` of the release, None = still talking. `began`: of the first packet in
    the file (its time 0; before `started` when the voice was held until the grant), 0.0 = not known. `duration`: s that
    the file plays. `path`: below the recordings folder, made by `SpurtRecorder.begin`. `detail`: why it is cut or lost.
    `after`: the recording that this one goes on with, because it ended before what was said did; `gap` s are missing
    between them.
    `call`: the private call it was said in, to `peer`; each of the two has a recording of its own (both parts, should
    the sound path have been away meanwhile).
    `hold`: evidence; nothing erases it; by whom and why. `erased` when, by whom and why, for erased ones.
    """

    id: SpurtId
    started: float
    groups: tuple[SpurtGroup, ...]
    talker: Talker = Talker()
    emergency: bool = False
    priority: int = 0
    place: Place | None = None
    ended: float | None = None
    state: SpurtState = SpurtState.RECORDING
    path: str = ""
    began: float = 0.0
    duration: float = 0.0
    bytes: int = 0
    sha256: str = ""
    detail: str = ""
    after: SpurtId = SpurtId("")
    gap: float = 0.0
    call: str = ""
    peer: Talker | None = None
    hold: bool = False
    held_by: str = ""
    held_why: str = ""
    erased: float | None = None
    erased_by: str = ""
    erased_why: str = ""


class SpurtQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What to search for; what is empty does not narrow. Newest first.

    `groups`: in any of them. `unit`, `user`: the talker's, or of whom a call was with. `text`: in one of their names or
    in that of a group, upper and lower case alike. `since` and `until`: wallclock s of the start, `until` excluded.
    `before`: the last id of the page before. `limit` <= 200.
    """

    groups: tuple[str, ...] = ()
    unit: str = ""
    user: str = ""
    text: str = ""
    since: float | None = None
    until: float | None = None
    emergency: bool = False
    held: bool = False
    before: str = ""
    limit: int = 50


MAX_PAGE: Final = 200


def matches(spurt: Spurt, query: SpurtQuery) -> bool:
    """Whether a spurt is one of those asked for, as the database would say; `limit` aside."""
    text = query.text.strip().casefold()
    parties = (spurt.talker, *((spurt.peer,) if spurt.peer else ()))
    names = (*(party.name for party in parties), *(group.name for group in spurt.groups))
    return (
        (not query.groups or any(group.id in query.groups for group in spurt.groups))
        and (not query.unit or any(party.unit == query.unit for party in parties))
        and (not query.user or any(party.user == query.user for party in parties))
        and (not text or any(text in name.casefold() for name in names))
        and (query.since is None or spurt.started >= query.since)
        and (query.until is None or spurt.started < query.until)
        and (not query.emergency or spurt.emergency)
        and (not query.held or spurt.hold)
        and (not query.before or spurt.id < query.before)
    )
