"""The index: found at once, written behind, searched in both; a locked database holds nobody up (P18)."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.model.errors import BadRequest
from server.model.ids import SpurtId, UserId
from server.recordings.index import SpurtIndex
from server.recordings.spurts import Spurt, SpurtQuery, SpurtState, Talker
from server.storage.engine import Database, open_database
from support.spurts import FIRE, FLOOD, spurt
from support.waiting import until

T = 1_800_000_000.0


@contextlib.asynccontextmanager
async def open_index(folder: Path, url: str = "") -> AsyncIterator[tuple[SpurtIndex, Database]]:
    async with open_database(url, folder) as database:
        index = SpurtIndex(database)
        running = asyncio.create_task(index.run())
        try:
            yield index, database
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def over(value: Spurt, **fields: object) -> Spurt:
    made: dict[str, object] = {"ended": value.started + 3.0, "state": SpurtState.READY, **fields}
    return msgspec.structs.replace(value, **made)


async def test_what_was_put_comes_back_as_it_was(storage_url: str, tmp_path: Path) -> None:
    async with open_index(tmp_path, storage_url) as (index, database):
        value = over(
            spurt(T, groups=(FIRE, FLOOD), emergency=True),
            path="2026-11-23/x.ogg", began=T - 0.4, duration=2.5, bytes=9000, sha256="ab" * 32, hold=True, priority=3,
        )  # fmt: skip
        index.put(value)
        await index.flush()
        assert await SpurtIndex(database).get(value.id) == value
        called = msgspec.structs.replace(
            spurt(T + 2), call="c1", peer=Talker(name="李", leg="browser", user=UserId("user-9")), groups=()
        )
        index.put(called)
        await index.flush()
        assert await SpurtIndex(database).get(called.id) == called
        assert await SpurtIndex(database).search(SpurtQuery(user="user-9")) == (called,)
        assert await SpurtIndex(database).search(SpurtQuery(text="李")) == (called,)
        bare = msgspec.structs.replace(spurt(T + 1), place=None, groups=())
        index.put(bare)
        await index.flush()
        assert await SpurtIndex(database).get(bare.id) == bare


QUERIES = (
    SpurtQuery(),
    SpurtQuery(groups=("g-fire",)),
    SpurtQuery(groups=("g-flood", "g-fire")),
    SpurtQuery(unit="unit-2"),
    SpurtQuery(user="user-3"),
    SpurtQuery(text="张"),
    SpurtQuery(text="FLOOD"),
    SpurtQuery(text="100%_"),
    SpurtQuery(emergency=True),
    SpurtQuery(since=T + 5, until=T + 20),
    SpurtQuery(limit=3),
)


async def test_the_database_and_the_memory_find_the_same(storage_url: str, tmp_path: Path) -> None:
    names = ("张伟", "Li Na", "100%_sure", "王芳")
    made = [
        spurt(
            T + number,
            groups=((FIRE,), (FLOOD,), (FIRE, FLOOD))[number % 3],
            name=names[number % 4],
            unit=f"unit-{number % 5}",
            user=f"user-{number % 7}",
            emergency=number % 6 == 0,
        )
        for number in range(30)
    ]
    async with open_index(tmp_path, storage_url) as (index, database):
        for value in made:
            index.put(value)
        fresh = [await index.search(query) for query in QUERIES]  # hardly anything is written yet
        await index.flush()
        stored = [await SpurtIndex(database).search(query) for query in QUERIES]
        assert fresh == stored
        assert [len(found) for found in stored] == [30, 20, 30, 6, 4, 8, 20, 7, 5, 15, 3]
        assert [value.id for value in stored[0]] == sorted((value.id for value in made), reverse=True)
        page, pages = await index.search(SpurtQuery(limit=7)), list[Spurt]()
        while page:
            pages += page
            page = await index.search(SpurtQuery(limit=7, before=page[-1].id))
        assert pages == list(stored[0])
        assert await index.search(SpurtQuery(text="张\0")) == ()
        for wrong in (0, 201, -1):
            with pytest.raises(BadRequest):
                await index.search(SpurtQuery(limit=wrong))


async def test_instant_recall(storage_url: str, tmp_path: Path) -> None:
    async with open_index(tmp_path, storage_url) as (index, database):
        first, second, third = (over(spurt(T + number)) for number in range(3))
        for value in (first, second, third):
            index.put(value)
        talking = spurt(T + 3)
        index.put(talking)
        index.put(over(spurt(T + 4, groups=(FLOOD,))))
        index.put(over(spurt(T + 5), state=SpurtState.LOST))
        assert await index.latest("g-fire", None) == third
        assert await index.latest("g-fire", third.id) == second
        index.put(msgspec.structs.replace(talking, ended=T + 3.5))  # released now; its file is being closed
        found = await index.latest("g-fire", None)
        assert found is not None
        assert found.id == talking.id
        await index.flush()
        cold = SpurtIndex(database)
        found = await cold.latest("g-fire", None)
        assert found is not None
        assert found.id == talking.id
        assert await cold.latest("g-fire", second.id) == first
        assert await cold.latest("g-fire", first.id) is None
        assert await cold.latest("g-none", None) is None


async def test_a_locked_database_is_noticed_by_nobody(tmp_path: Path) -> None:
    """P18: 5 s."""
    async with open_index(tmp_path) as (index, database):
        kept = over(spurt(T))
        index.put(kept)
        await index.flush()
        other = sqlite3.connect(tmp_path / "fengsui.sqlite3", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        longest, began, values = 0.0, time.monotonic(), list[Spurt]()
        while time.monotonic() - began < 5.0:
            value = spurt(T + 1 + len(values))
            before = time.monotonic()
            index.put(value)
            index.put(over(value))
            longest = max(longest, time.monotonic() - before)
            values.append(over(value))
            if len(values) % 50 == 0:
                found = await index.search(SpurtQuery(limit=2))
                assert [each.id for each in found] == [values[-1].id, values[-2].id]
                assert await index.latest("g-fire", None) == values[-1]
            await asyncio.sleep(0.01)
        assert longest < 0.05
        other.execute("COMMIT")
        other.close()
        freed = time.monotonic()
        await asyncio.wait_for(index.flush(), 8)
        assert time.monotonic() - freed < 8.0  # promised: 2 s
        assert len(await SpurtIndex(database).search(SpurtQuery(limit=200))) == min(200, len(values) + 1)
        assert index.statistics()["dropped_total"] == 0


async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.recordings.index.MAX_WAITING", 10)
    async with open_database("", tmp_path) as database:
        index = SpurtIndex(database)  # nobody writes
        values = [spurt(T + number) for number in range(15)]
        for value in values:
            index.put(value)
            index.put(over(value))
        assert index.statistics()["dropped_total"] == 5
        assert index.statistics()["waiting"] == 10
        await index.finish()
        cold = SpurtIndex(database)
        assert len(await cold.search(SpurtQuery())) == 10


async def test_a_failed_change_changes_nothing(tmp_path: Path) -> None:
    async with open_index(tmp_path) as (index, database):
        value = over(spurt(T))
        index.put(value)

        async def fails(*_: object) -> None:
            raise RuntimeError("no audit")

        with pytest.raises(RuntimeError):
            await index.change([value.id], lambda one: msgspec.structs.replace(one, hold=True), fails)
        assert await index.get(value.id) == value
        await index.flush()
        assert await SpurtIndex(database).get(value.id) == value


@settings(max_examples=30)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from(["put", "yield", "flush", "change"])), max_size=25
    )
)
def test_the_newest_form_wins_whatever_the_order(
    steps: list[tuple[int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def run() -> None:
        async with open_index(tmp_path_factory.mktemp("index")) as (index, database):
            newest: dict[SpurtId, Spurt] = {}
            values = [spurt(T + number) for number in range(5)]

            async def nothing(*_: object) -> None: ...

            for count, (which, step) in enumerate(steps):
                value = msgspec.structs.replace(values[which], duration=float(count))
                if step == "put":
                    index.put(value)
                    newest[value.id] = value
                elif step == "change":
                    if not await index.change([value.id], lambda _, value=value: value, nothing):
                        continue
                    assert value.id in newest
                    newest[value.id] = value
                elif step == "flush":
                    await index.flush()
                else:
                    await asyncio.sleep(0)
                assert await index.search(SpurtQuery()) == tuple(
                    sorted(newest.values(), key=lambda each: each.id, reverse=True)
                )
            await index.flush()
            cold = await SpurtIndex(database).search(SpurtQuery())
            assert {each.id: each for each in cold} == newest

    asyncio.run(run())


async def test_flush_ends_when_all_is_written(tmp_path: Path) -> None:
    async with open_index(tmp_path) as (index, _):
        for number in range(500):
            index.put(spurt(T + number))
        await asyncio.wait_for(index.flush(), 8)
        await until(lambda: index.statistics()["waiting"] == 0)
        assert index.statistics()["written_total"] == 500
