"""What takes part in a group: a leg with its abilities, and what its user may do. Pure; times in s.

Abilities are declared facts. The floor never asks what kind a leg is, only what it can do.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from server.model.ids import LegId

LegKind: TypeAlias = Literal["browser", "phone", "radio", "satellite", "sip"]

HIGHEST_PRIORITY: Final = 15


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One way of one member into a group.

    `wake` and `hang` are for whoever routes and keys; the floor itself needs only the other three.
    """

    id: LegId
    kind: LegKind
    refusable: bool = True  # False = a radio carrier that takes the floor by itself
    half_duplex: bool = False  # hears nothing while talking and cannot be told to stop
    wake: float = 0.0  # s from key-up until it carries voice: it gets a spurt from its start
    hang: float = 0.0  # s it stays keyed after a spurt
    lost_after: float = (
        1.0  # s without voice or keep-alive until its talker counts as gone; up to 2 on satellite
    )


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """What the member behind a leg may do in this group (TS 22.179 6.2.3, TS 24.380 4.1.1)."""

    talk: bool = True  # False = listens only; may still raise an emergency
    priority: int = 0  # 0 to 15, bigger wins
    override: bool = (
        False  # talker override: over a lower priority in the same call, barging in 强插 over an equal one
    )
    broadcast: bool = False  # may talk in a broadcast group

    def or_better(self, other: Rights | None) -> Rights:
        """The best of both: in a patch a leg has that of the groups it listens to."""
        if other is None:
            return self
        return Rights(
            talk=self.talk or other.talk,
            priority=max(self.priority, other.priority),
            override=self.override or other.override,
            broadcast=self.broadcast or other.broadcast,
        )
