"""The audit chain: whatever somebody edits, verification names the first bad entry (P19)."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from server.auth.audit import Audit
from server.storage.engine import Database, open_database
from support.clock import FakeClock


async def fill(audit: Audit, clock: FakeClock, count: int = 7) -> None:
    for number in range(1, count + 1):
        clock.advance(1.5)
        assert (
            await audit.append(
                actor=f"admin:{number}:总值班",
                action="user.add",
                object=f"user-{number}",
                address="10.0.0.9",
                detail="role dispatcher",
            )
            == number
        )


async def edit(database: Database, statement: str, **values: Any) -> None:
    async with database.write() as connection:
        await connection.execute(text(statement), values)


async def test_an_untouched_chain_is_whole(audit: Audit, clock: FakeClock) -> None:
    assert (await audit.verify()).first_bad == 0
    await fill(audit, clock)
    verdict = await audit.verify()
    assert (verdict.entries, verdict.first_bad, verdict.problem) == (7, 0, "")
    newest = await audit.newest(limit=2)
    assert [entry.seq for entry in newest] == [7, 6]
    assert verdict.head == newest[0].hash
    assert [entry.seq for entry in await audit.newest(before=3)] == [2, 1]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("time", 1.0),
        ("monotonic", 1.0),
        ("actor", "somebody"),
        ("action", "user.addx"),
        ("object", ""),
        ("result", "failed"),
        ("address", "10.0.0.8"),
        ("detail", "role admin"),
        ("previous", "1" * 64),
        ("hash", "1" * 64),
    ],
)
async def test_a_changed_field_is_found(
    audit: Audit, clock: FakeClock, database: Database, column: str, value: object
) -> None:
    await fill(audit, clock)
    await edit(database, f"UPDATE audit SET {column} = :value WHERE seq = 4", value=value)  # noqa: S608
    verdict = await audit.verify()
    assert (verdict.first_bad, verdict.entries) == (4, 3)
    assert verdict.problem


async def test_removed_inserted_renumbered_and_cut_entries_are_found(
    audit: Audit, clock: FakeClock, database: Database
) -> None:
    await fill(audit, clock)
    await edit(database, "DELETE FROM audit WHERE seq = 7")
    verdict = await audit.verify()
    assert (verdict.first_bad, verdict.entries) == (7, 6)
    await edit(database, "DELETE FROM audit WHERE seq = 3")
    assert (await audit.verify()).first_bad == 3
    await edit(database, "UPDATE audit SET seq = seq - 1 WHERE seq > 3")
    assert (await audit.verify()).first_bad == 3
    await edit(database, "UPDATE audit SET seq = 0 WHERE seq = 1")
    assert (await audit.verify()).first_bad == 1


async def test_an_entry_below_the_first_and_an_emptied_log_are_found(
    audit: Audit, clock: FakeClock, database: Database
) -> None:
    await fill(audit, clock, 2)
    await edit(
        database,
        "INSERT INTO audit SELECT 0, time, monotonic, actor, action, object, result, address, detail, previous, hash "
        "FROM audit WHERE seq = 1",
    )
    assert (await audit.verify()).first_bad == 1
    await edit(database, "DELETE FROM audit")
    verdict = await audit.verify()
    assert (verdict.first_bad, verdict.entries) == (1, 0)


@pytest.mark.parametrize("storage_url", [""])
async def test_one_byte_flipped_anywhere_in_the_rows_is_found(
    audit: Audit, clock: FakeClock, database: Database, tmp_path: Path
) -> None:
    await fill(audit, clock, 5)
    dice = random.Random(19)
    columns = ("actor", "action", "object", "result", "address", "detail", "previous", "hash")
    for _ in range(60):
        seq, column = dice.randint(1, 5), dice.choice(columns)
        read = f"SELECT CAST({column} AS BLOB) FROM audit WHERE seq = ?"  # noqa: S608
        with sqlite3.connect(tmp_path / "fengsui.sqlite3") as raw:
            before = raw.execute(read, (seq,)).fetchone()[0]
            data = bytearray(before)
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(7)
            raw.execute(
                f"UPDATE audit SET {column} = CAST(? AS TEXT) WHERE seq = ?",  # noqa: S608
                (data.decode("latin-1") if max(data) > 127 else bytes(data), seq),
            )
        assert (await audit.verify()).first_bad == seq, (seq, column, data)
        with sqlite3.connect(tmp_path / "fengsui.sqlite3") as raw:
            raw.execute(f"UPDATE audit SET {column} = CAST(? AS TEXT) WHERE seq = ?", (before, seq))  # noqa: S608
    assert (await audit.verify()).first_bad == 0


async def test_two_writers_make_one_chain(
    audit: Audit, clock: FakeClock, storage_url: str, tmp_path: Path
) -> None:
    async with open_database(storage_url, tmp_path) as other:
        theirs = Audit(other, clock)
        for number in range(1, 21, 2):
            assert await audit.append(actor="server", action="login") == number
            assert await theirs.append(actor="cli", action="user.add") == number + 1
    assert (await audit.verify()).entries == 20


async def test_entries_keep_their_order_when_the_wall_clock_jumps(audit: Audit, clock: FakeClock) -> None:
    await audit.append(actor="a", action="x")
    clock.wall = -3600.0
    clock.advance(1.0)
    await audit.append(actor="a", action="y")
    newest = await audit.newest()
    assert [entry.action for entry in newest] == ["y", "x"]
    assert newest[0].time < newest[1].time
    assert newest[0].monotonic > newest[1].monotonic
    assert (await audit.verify()).first_bad == 0


async def test_long_and_strange_text_is_cut_and_still_verifies(audit: Audit) -> None:
    await audit.append(actor="a" * 999, action="b" * 99, object="\ud800\0名", detail="d" * 99999)
    (entry,) = await audit.newest()
    assert (len(entry.actor), len(entry.action), len(entry.detail)) == (256, 64, 2000)
    assert entry.object == "?\N{REPLACEMENT CHARACTER}名"
    assert (await audit.verify()).first_bad == 0
