"""Revisions, views and merged deltas of the entity store."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.signalling.entities import Device, HealthRow, JoinLink, Stream, Unit
from server.signalling.talk import Floor
from server.state import Entity, EntityStore, View

FIRST = 5_000
ALL = View(kinds=frozenset({"unit", "device", "stream", "link", "health"}), everything=True)
OWN = View(kinds=ALL.kinds, everything=False, unit="u1", device="d1")


def unit(number: int, name: str = "") -> Unit:
    return Unit(id=f"u{number}", name=name or f"unit {number}", kind="rescuer", number=number)


def device(number: int) -> Device:
    return Device(id=f"d{number}", unit=f"u{number}", name="phone", kind="phone", online=False)


def stream(number: int, state: str = "offline") -> Stream:
    return Stream(
        id=f"s{number}",
        device=f"d{number}",
        unit=f"u{number}",
        channel="main",
        name="x",
        state=state,
        since=1.0,
    )


def link(number: int) -> JoinLink:
    return JoinLink(
        id=f"l{number}", unit=f"u{number}", name="x", created=1.0, expires=2.0, created_by="chief"
    )


def published(*entities: Entity, **options: int) -> EntityStore:
    store = EntityStore(FIRST, **options)
    for entity in entities:
        store.put(entity)
    store.publish()
    return store


def delta(store: EntityStore, since: int, view: View = ALL) -> dict[str, Any] | None:
    data = store.delta(view, since)
    return None if data is None else json.loads(data)


def test_changes_become_one_revision_when_published() -> None:
    store = EntityStore(FIRST)
    assert not store.publish()
    store.put(unit(1))
    store.put(unit(2))
    assert (store.rev, store.dirty) == (5_000, True)
    assert store.publish()
    assert (store.rev, store.dirty) == (5_001, False)
    assert delta(store, 5_000) == {
        "type": "delta",
        "rev": 5_001,
        "changes": [
            {"kind": "unit", "id": "u1", "value": json.loads(store.snapshot(ALL))["units"][0]},
            {"kind": "unit", "id": "u2", "value": json.loads(store.snapshot(ALL))["units"][1]},
        ],
    }


def test_an_equal_entity_changes_nothing() -> None:
    store = published(unit(1))
    assert store.put(unit(1)) is False
    assert not store.dirty
    assert store.put(unit(1, "renamed")) is True
    assert store.dirty


def test_a_listener_hears_of_the_first_change_only() -> None:
    store = EntityStore(FIRST)
    heard: list[int] = []
    store.on_dirty(lambda: heard.append(1))
    store.put(unit(1))
    store.put(unit(2))
    assert heard == [1]
    store.publish()
    store.remove("unit", "u1")
    assert heard == [1, 1]


def test_a_listener_that_comes_late_hears_of_what_waits_already() -> None:
    store = EntityStore(FIRST)
    store.put(unit(1))
    heard: list[int] = []
    store.on_dirty(lambda: heard.append(1))
    assert heard == [1]


def test_a_client_that_is_behind_gets_each_entity_once() -> None:
    store = published(unit(1), unit(2))
    for name in ("a", "b", "c"):
        store.put(unit(1, name))
        store.publish()
    found = delta(store, 5_001)
    assert found is not None
    assert found["rev"] == 5_004
    assert [change["value"]["name"] for change in found["changes"]] == ["c"]


def test_removed_entities_are_told_as_null() -> None:
    store = published(unit(1), unit(2))
    store.remove("unit", "u1")
    store.remove("unit", "u9")
    store.publish()
    assert delta(store, 5_001) == {
        "type": "delta",
        "rev": 5_002,
        "changes": [{"kind": "unit", "id": "u1", "value": None}],
    }
    assert [found["id"] for found in json.loads(store.snapshot(ALL))["units"]] == ["u2"]
    assert store.get("unit", "u1") is None


def test_removals_are_remembered_for_a_bounded_while() -> None:
    store = published(*(unit(number) for number in range(6)), max_removed=2)
    for number in range(4):
        store.remove("unit", f"u{number}")
        store.publish()
    assert store.rev == 5_005
    assert not store.covers(5_001)
    assert not store.covers(5_002)
    assert store.covers(5_003)
    with pytest.raises(ValueError, match="5001"):
        store.delta(ALL, 5_001)
    found = delta(store, 5_003)
    assert found is not None
    assert [change["id"] for change in found["changes"]] == ["u2", "u3"]
    assert store.statistics()["entities"] == 4


def test_revisions_of_another_run_are_not_covered() -> None:
    store = published(unit(1))
    assert not store.covers(17)
    assert not store.covers(5_002)
    assert store.covers(5_000)


def test_an_own_view_shows_only_what_is_its_own() -> None:
    store = published(unit(1), unit(2), device(1), device(2), stream(1), stream(2), link(1))
    store.put(HealthRow(id="disk", name="disk", state="ok"))
    store.publish()
    found = json.loads(store.snapshot(OWN))
    assert [one["id"] for one in found["units"]] == ["u1"]
    assert [one["id"] for one in found["devices"]] == ["d1"]
    assert [one["id"] for one in found["streams"]] == ["s1"]
    assert (found["links"], found["health"]) == ([], [])
    store.put(stream(2, "live"))
    store.publish()
    assert store.delta(OWN, store.rev - 1) is None
    store.put(stream(1, "live"))
    store.publish()
    own = delta(store, store.rev - 2, OWN)
    assert own is not None
    assert [change["id"] for change in own["changes"]] == ["s1"]


def test_a_view_shows_only_wanted_kinds() -> None:
    store = published(unit(1), stream(1))
    wall = View(kinds=frozenset({"stream"}), everything=True)
    found = json.loads(store.snapshot(wall))
    assert (found["units"], len(found["streams"])) == ([], 1)


def test_equal_views_get_the_same_bytes_made_once() -> None:
    store = published(unit(1))
    same = View(kinds=frozenset(ALL.kinds), everything=True)
    assert store.snapshot(ALL) is store.snapshot(same)
    assert store.delta(ALL, 5_000) is store.delta(same, 5_000)
    assert store.statistics()["messages_encoded_total"] == 2


def test_a_snapshot_between_revisions_loses_nothing() -> None:
    """What is put after the snapshot's revision comes again with the next one."""
    store = published(unit(1))
    early = json.loads(store.snapshot(ALL))
    store.put(unit(1, "late"))
    late = json.loads(store.snapshot(View(kinds=frozenset({"unit"}), everything=True)))
    assert early["rev"] == late["rev"] == 5_001
    store.publish()
    found = delta(store, 5_001)
    assert found is not None
    assert found["changes"][0]["value"]["name"] == "late"


def test_the_cache_is_bounded() -> None:
    store = published(unit(1))
    for number in range(1000):
        store.snapshot(View(kinds=frozenset({"unit"}), everything=False, unit=f"u{number}"))
    assert len(store._cache) == 256


class Client:
    """Keeps what it was told, as a console does."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.rev = 0
        self.known: dict[tuple[str, str], Any] = {}

    def sync(self, store: EntityStore) -> None:
        if not store.covers(self.rev):
            message = json.loads(store.snapshot(self.view))
            lists = {
                "unit": "units",
                "device": "devices",
                "stream": "streams",
                "link": "links",
                "health": "health",
            }
            self.known = {
                (kind, value["id"]): value for kind, name in lists.items() for value in message[name]
            }
        else:
            data = store.delta(self.view, self.rev)
            message = {"changes": []} if data is None else json.loads(data)
            for change in message["changes"]:
                key = (change["kind"], change["id"])
                if change["value"] is None:
                    self.known.pop(key, None)
                else:
                    self.known[key] = change["value"]
        self.rev = store.rev


numbers = st.integers(0, 3)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("unit"), numbers, st.sampled_from("abc")),
        st.tuples(st.just("stream"), numbers, st.sampled_from(["offline", "live"])),
        st.tuples(st.just("remove"), st.sampled_from(["unit", "stream"]), numbers),
        st.tuples(st.just("publish")),
        st.tuples(st.just("sync"), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(steps, st.integers(1, 3))
def test_every_client_ends_with_what_is_true(taken: list[tuple[Any, ...]], max_removed: int) -> None:
    store = EntityStore(FIRST, max_removed=max_removed)
    clients = [Client(ALL), Client(View(kinds=frozenset({"stream"}), everything=True)), Client(OWN)]
    for step in taken:
        match step:
            case ("unit", number, name):
                store.put(unit(number, name))
            case ("stream", number, state):
                store.put(stream(number, state))
            case ("remove", kind, number):
                store.remove(kind, f"{kind[0]}{number}")
            case ("publish",):
                store.publish()
            case ("sync", number):
                clients[number].sync(store)
    store.publish()
    for client in clients:
        client.sync(store)
        fresh = Client(client.view)
        fresh.sync(store)
        assert client.known == fresh.known


def phone(number: int, *groups: str) -> View:
    kinds = frozenset({"unit", "device", "stream", "group", "floor"})
    return View(
        kinds=kinds, everything=False, unit=f"u{number}", device=f"d{number}", groups=frozenset(groups)
    )


def floor(group: str, sequence: int = 1) -> Floor:
    return Floor(id=group, floor=group, state="taken", sequence=sequence, since=1.0)


def test_a_view_is_concerned_by_what_is_its_own_and_nothing_else() -> None:
    store = published(unit(1), unit(2), device(1), stream(2), floor("g1"), floor("g2"))
    since = store.rev
    one, two, desk = (
        phone(1, "g1"),
        phone(2, "g2", "g3"),
        msgspec.structs.replace(ALL, kinds=frozenset({"floor"})),
    )
    assert not any(store.concerns(view, since) for view in (one, two, desk))
    store.put(floor("g2", 2))
    store.publish()
    assert [store.concerns(view, since) for view in (one, two, desk)] == [False, True, True]
    store.put(stream(2, "live"))
    store.publish()
    assert [store.concerns(view, since + 1) for view in (one, two, desk)] == [False, True, False]
    store.remove("unit", "u1")
    store.publish()
    assert [store.concerns(view, since + 2) for view in (one, two, desk)] == [True, False, False]
    assert store.concerns(two, since)  # what was missed before still counts
    assert store.delta(one, since + 2) is not None
    assert store.delta(two, since + 2) is None


def test_what_was_forgotten_leaves_nothing_behind() -> None:
    store = published(max_removed=3)
    for number in range(20):
        store.put(floor(f"g{number}"))
        store.publish()
        store.remove("floor", f"g{number}")
        store.publish()
    assert len(store._touched) <= 1 + 3
    assert store.delta(phone(1, "g19"), store.rev - 1) is not None


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.sampled_from(["floor", "stream", "unit", "publish", "remove"])),
        max_size=30,
    )
)
def test_a_client_that_is_not_concerned_would_have_got_nothing(steps: list[tuple[int, str]]) -> None:
    """`concerns` may only say yes too often; two clients that are woken by it, and by everything, know the same."""
    store = EntityStore(FIRST)
    views = [phone(1, "g1", "g2"), phone(2, "g2"), ALL]
    known = [FIRST] * len(views)
    for number, what in steps:
        match what:
            case "floor":
                store.put(floor(f"g{number}", store.rev))
            case "stream":
                store.put(stream(number, f"s{store.rev}"))
            case "unit":
                store.put(unit(number, f"n{store.rev}"))
            case "remove":
                store.remove("floor", f"g{number}")
            case _:
                store.publish()
                for index, view in enumerate(views):
                    if not store.concerns(view, known[index]):
                        assert not _changes(store, view, known[index])
                        known[index] = store.rev


def _changes(store: EntityStore, view: View, since: int) -> list[str]:
    """What a delta would have to tell, by looking at everything."""
    return [
        key[1]
        for key, entry in store._entries.items()
        if since < entry.changed <= store.rev and view.shows(entry.value)
    ]
