"""Several phones with one join link, several desks of one account: each is a leg with a floor, ears and a name.

Of those with a sound path the first that came is called as its unit or account, the others by a number besides; when
one goes, those after it move up. Pure.
"""

from __future__ import annotations

from server.groups.membership import Subject
from server.model.ids import LegId


class Namesakes:
    """The legs of each unit and account, in the order in which they came."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], dict[LegId, None]] = {}

    def add(self, leg: LegId, subject: Subject) -> None:
        self._of.setdefault(_key(subject), {})[leg] = None

    def remove(self, leg: LegId, subject: Subject) -> None:
        key = _key(subject)
        legs = self._of.get(key, {})
        legs.pop(leg, None)
        if not legs:
            self._of.pop(key, None)

    def of(self, subject: Subject) -> tuple[LegId, ...]:
        return tuple(self._of.get(_key(subject), ()))


def numbered(name: str, place: int) -> str:
    """`place` from 1."""
    return name if place == 1 else f"{name} · {place}"


def _key(subject: Subject) -> tuple[str, str]:
    return ("unit", subject.unit) if subject.unit else ("user", subject.user)
