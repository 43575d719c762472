"""Who hears whom, and in which voice slot. Pure.

A client has few voice slots and may listen to many groups. A slot is given to a group when somebody talks in it and
stays with it until another needs one, so that what a person set for a group (volume, ear) stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from server.model.ids import GroupId, LegId

SLOTS: Final = 8
CALL: Final = "call:"  # a private call in place of a group


class Slots:
    """The voice slots of one client. `held`: what each slot was last given to, "" = nothing yet."""

    def __init__(self, count: int = SLOTS) -> None:
        self.held: list[str] = [""] * count
        self._used: list[int] = [0] * count
        self._clock = 0

    def assign(self, wanted: Sequence[str]) -> dict[str, int]:
        """Slots for what is to be heard now, best first; what finds none is left out."""
        chosen = list(wanted[: len(self.held)])
        found = {name: self.held.index(name) for name in chosen if name in self.held}
        for name in chosen:
            if name not in found:
                free = [slot for slot in range(len(self.held)) if slot not in found.values()]
                slot = min(free, key=lambda slot: (self.held[slot] != "", self._used[slot], slot))
                self.held[slot] = name
                found[name] = slot
        self._clock += 1
        for slot in found.values():
            self._used[slot] = self._clock
        return found


class Talking(msgspec.Struct, frozen=True, kw_only=True):
    """A microphone that is open, and the groups (or the call) it is heard in."""

    leg: LegId
    names: tuple[str, ...]


class Ears(msgspec.Struct, frozen=True, kw_only=True):
    """A leg that may hear. `listening`: its calls and groups, best first; `deaf`: half duplex, and it talks now."""

    leg: LegId
    listening: tuple[str, ...]
    deaf: bool = False


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """`talker` leaves into `slot` of `listener`, as the sound of the group or call `name`."""

    talker: LegId
    listener: LegId
    slot: int
    name: str


def hear(talking: Iterable[Talking], ears: Iterable[Ears], slots: Mapping[LegId, Slots]) -> list[Heard]:
    """Everything that is to be heard now.

    A talker is heard once by each listener, in the first of the listener's groups it talks in; of two who talk in one
    group at once (a collision of carriers) the first is heard; nobody hears itself.
    """
    found = []
    by_name: dict[str, list[LegId]] = {}
    for each in talking:
        for name in each.names:
            by_name.setdefault(name, []).append(each.leg)
    if not by_name:
        return []
    for ear in ears:
        if ear.deaf:
            continue
        chosen: dict[str, LegId] = {}
        for name in ear.listening:
            for talker in by_name.get(name, ()):
                if talker != ear.leg and name not in chosen and talker not in chosen.values():
                    chosen[name] = talker
        if chosen:
            assigned = slots[ear.leg].assign(list(chosen))
            found += [
                Heard(talker=chosen[name], listener=ear.leg, slot=slot, name=name)
                for name, slot in assigned.items()
            ]
    return found


def call_name(call: str) -> str:
    return CALL + call


def group_or_call(name: str) -> tuple[GroupId, str]:
    """(group, call) of a name, one of them ""."""
    if name.startswith(CALL):
        return GroupId(""), name[len(CALL) :]
    return GroupId(name), ""
