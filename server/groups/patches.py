"""Patches of talk groups 跨组互通: which groups talk as one, and who in a patch is muted for a while. Pure.

A patch has two or more groups and one floor; a group is in at most one patch, so that no loop can come to be. Names are
P1 to P9, the lowest free number, as they stand on every member's card. `now` is monotonic s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from server.model.errors import BadRequest, Conflict, NotFound, TooMany
from server.model.ids import FloorId, GroupId, PatchId

MOST_PATCHES: Final = 9
MOST_GROUPS: Final = 16  # in one patch


class Patch(msgspec.Struct, frozen=True, kw_only=True):
    """`groups` in the order in which they came; `muted`: group -> until when, None = until it is unmuted."""

    id: PatchId
    groups: tuple[GroupId, ...]
    muted: dict[GroupId, float | None] = {}


class Patches:
    """All patches of one server. Every method that returns a Patch returns how it is now."""

    def __init__(self) -> None:
        self._patches: dict[PatchId, Patch] = {}

    def make(self, groups: Iterable[GroupId]) -> Patch:
        """Raises BadRequest (fewer than two), Conflict (one is in a patch already), TooMany (nine there are)."""
        wanted = tuple(dict.fromkeys(groups))
        if len(wanted) < 2:
            raise BadRequest("a patch needs two groups or more", field="groups")
        if len(wanted) > MOST_GROUPS:
            raise TooMany(f"a patch has at most {MOST_GROUPS} groups", field="groups")
        for group in wanted:
            self._refuse_patched(group, "groups")
        names = (PatchId(f"P{number}") for number in range(1, MOST_PATCHES + 1))
        name = next((name for name in names if name not in self._patches), None)
        if name is None:
            raise TooMany(f"there are {MOST_PATCHES} patches already", field="groups")
        return self._set(Patch(id=name, groups=wanted))

    def restore(self, patch: Patch) -> None:
        """A patch as it was when it was stored. Raises Conflict as `make`."""
        for group in patch.groups:
            self._refuse_patched(group, "groups")
        self._set(patch)

    def add(self, patch: PatchId, group: GroupId) -> Patch:
        """Nothing changes when it is in this patch. Raises NotFound, Conflict (it is in another), TooMany."""
        found = self.get(patch)
        if group in found.groups:
            return found
        self._refuse_patched(group, "group")
        if len(found.groups) >= MOST_GROUPS:
            raise TooMany(f"a patch has at most {MOST_GROUPS} groups", field="group")
        return self._set(msgspec.structs.replace(found, groups=(*found.groups, group)))

    def remove(self, patch: PatchId, group: GroupId) -> Patch | None:
        """None = fewer than two were left, so the patch ended. Raises NotFound."""
        found = self._with(patch, group)
        left = tuple(other for other in found.groups if other != group)
        if len(left) < 2:
            del self._patches[patch]
            return None
        muted = {other: until for other, until in found.muted.items() if other != group}
        return self._set(msgspec.structs.replace(found, groups=left, muted=muted))

    def end(self, patch: PatchId) -> Patch:
        """Returns how it was. Raises NotFound."""
        found = self.get(patch)
        del self._patches[patch]
        return found

    # ------------------------------------------------------------------ mute

    def mute(self, patch: PatchId, group: GroupId, until: float | None) -> Patch:
        """It neither hears the others nor is heard by them until then, None = until `unmute`. Raises NotFound."""
        found = self._with(patch, group)
        return self._set(msgspec.structs.replace(found, muted={**found.muted, group: until}))

    def unmute(self, patch: PatchId, group: GroupId) -> Patch:
        """Nothing changes when it is not muted. Raises NotFound."""
        found = self._with(patch, group)
        muted = {other: until for other, until in found.muted.items() if other != group}
        return self._set(msgspec.structs.replace(found, muted=muted))

    def tick(self, now: float) -> list[Patch]:
        """End mutes whose time is over; the patches that changed."""
        changed = []
        for patch in tuple(self._patches.values()):
            muted = {group: until for group, until in patch.muted.items() if until is None or until > now}
            if len(muted) != len(patch.muted):
                changed.append(self._set(msgspec.structs.replace(patch, muted=muted)))
        return changed

    def deadline(self) -> float | None:
        """When the next mute ends."""
        ends = (until for patch in self._patches.values() for until in patch.muted.values())
        return min((until for until in ends if until is not None), default=None)

    # ------------------------------------------------------------------ readers

    def get(self, patch: PatchId) -> Patch:
        """Raises NotFound."""
        found = self._patches.get(patch)
        if found is None:
            raise NotFound(f"there is no patch {patch}", field="patch")
        return found

    def all(self) -> tuple[Patch, ...]:
        """By name."""
        return tuple(sorted(self._patches.values(), key=lambda patch: patch.id))

    def of(self, group: GroupId) -> Patch | None:
        return next((patch for patch in self._patches.values() if group in patch.groups), None)

    def floor_of(self, group: GroupId) -> FloorId:
        """Whose floor a key of this group asks for: the patch's; its own when it is in none or muted there."""
        patch = self.of(group)
        return FloorId(group if patch is None or group in patch.muted else patch.id)

    def hears(self, group: GroupId) -> tuple[GroupId, ...]:
        """The groups whose talkers `group` hears, itself included."""
        patch = self.of(group)
        if patch is None or group in patch.muted:
            return (group,)
        return tuple(other for other in patch.groups if other not in patch.muted)

    # ------------------------------------------------------------------ inside

    def _set(self, patch: Patch) -> Patch:
        self._patches[patch.id] = patch
        return patch

    def _with(self, patch: PatchId, group: GroupId) -> Patch:
        found = self.get(patch)
        if group not in found.groups:
            raise NotFound(f"the group {group} is not in {patch}", field="group")
        return found

    def _refuse_patched(self, group: GroupId, field: str) -> None:
        other = self.of(group)
        if other is not None:
            raise Conflict(f"the group {group} is in {other.id} already", field=field)
