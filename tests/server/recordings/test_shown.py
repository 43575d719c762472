"""Holds as every console sees them: the newest, each once."""

from __future__ import annotations

import msgspec

from server.recordings.shown import HoldsShown
from server.signalling.talk import Hold
from server.state import EntityStore
from support.spurts import spurt


def test_the_newest_200_are_shown_each_once_as_it_is_now() -> None:
    store = EntityStore(1)
    shown = HoldsShown(store)
    made = [spurt(1_700_000_000.0 + each) for each in range(202)]
    for each in made[:-1]:
        shown.changed(msgspec.structs.replace(each, hold=True, held_by="王", held_why="调查"))
    shown.changed(msgspec.structs.replace(made[1], hold=False, held_by="", held_why=""))
    shown.changed(msgspec.structs.replace(made[-1], hold=True, held_by="李", held_why="坍塌"))
    told = {one.id: one for one in store.all("hold") if isinstance(one, Hold)}
    assert len(told) == 200
    assert set(told) == {one.id for one in (made[1], *made[3:])}
    assert told[made[1].id] == Hold(id=made[1].id, hold=False)
    assert told[made[-1].id] == Hold(id=made[-1].id, hold=True, held_by="李", held_why="坍塌")
