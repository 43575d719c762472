"""The legs that are attached now: a client's sound path, what it listens to and where its key talks. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from server.groups.hearing import Slots
from server.groups.legs import Leg
from server.groups.membership import Subject
from server.model.ids import DeviceId, FloorId, GroupId, LegId, MediaSessionId
from server.signalling.talk import Listener, Talker
from server.signalling.wire import Message


class Told(Protocol):
    """Who is at the other end of a leg. Must not block."""

    def tell(self, message: Message) -> None: ...


@dataclass(slots=True, kw_only=True, eq=False)
class Attached:
    """One leg. `called`: its unit or account, `name`: as it is shown (`namesakes`). `extra`: groups and calls it is in
    without having tuned to them, heard before all others.

    `asked`: for each floor its key is held for, the groups it named.
    """

    leg: Leg
    subject: Subject
    called: str
    name: str
    device: DeviceId
    told: Told
    session: MediaSessionId | None = None
    path: bool = False
    tuned: tuple[GroupId, ...] = ()
    selected: frozenset[GroupId] = frozenset()
    extra: list[str] = field(default_factory=list)
    asked: dict[FloorId, tuple[GroupId, ...]] = field(default_factory=dict)
    slots: Slots = field(default_factory=Slots)

    @property
    def id(self) -> LegId:
        return self.leg.id

    @property
    def listening(self) -> tuple[str, ...]:
        """Calls and groups, best first."""
        return tuple(dict.fromkeys((*self.extra, *self.tuned)))

    def talker(self) -> Talker:
        return Talker(
            leg=self.id,
            name=self.name,
            kind=self.leg.kind,
            unit=self.subject.unit,
            user=self.subject.user,
        )

    def listener(self, group: GroupId, talk: bool) -> Listener:
        return Listener(
            leg=self.id,
            name=self.name,
            kind=self.leg.kind,
            unit=self.subject.unit,
            user=self.subject.user,
            selected=group in self.selected,
            talk=talk,
            voice=self.path,
        )
