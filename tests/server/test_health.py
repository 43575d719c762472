"""What /health says: each row when it is well and when it is not, with a remedy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from server import health as health_module
from server.health import Finding, Health
from server.signalling.messages import Device, Stream
from server.state import EntityStore
from server.storage.engine import open_database
from server.tls import CertificateInfo
from support.clock import FakeClock


@dataclass(kw_only=True)
class Machine:
    """What a `Health` looks at, to be changed by a test."""

    health: Health
    clock: FakeClock
    store: EntityStore
    facts: dict[str, Any] = field(default_factory=dict)

    async def row(self, name: str) -> Finding:
        return await self.health._rows[name][1]()


@pytest.fixture
async def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    clock, store = FakeClock(), EntityStore(5_000)
    facts: dict[str, Any] = {
        "media": True,
        "restarts": 0,
        "set_up": True,
        "expires": clock.wallclock() + 300 * 86_400,
        "stalls": 0,
        "clients": {"connections": 3},
        "free": 5_000_000_000,
    }
    monkeypatch.setattr(health_module, "free_bytes", lambda _: facts["free"])
    async with open_database("", tmp_path) as database:
        health = Health(
            store,
            clock,
            data=tmp_path,
            database=database,
            media_up=lambda: facts["media"],
            media_restarts=lambda: facts["restarts"],
            set_up=lambda: facts["set_up"],
            certificate=lambda: CertificateInfo(
                fingerprint="", spki="", names=(), not_before=0.0, not_after=facts["expires"], own_ca=True
            ),
            loop=lambda: {"stalls_total": facts["stalls"]},
            clients=lambda: facts["clients"],
        )
        yield Machine(health=health, clock=clock, store=store, facts=facts)


async def test_a_calm_machine(machine: Machine) -> None:
    found = {name: (await machine.row(name)).state for name in machine.health._rows}
    assert set(found.values()) == {"ok"}
    assert [await check() for check in machine.health.checks.values()] == ["", "", "", ""]
    assert machine.health.warnings() == []


@pytest.mark.parametrize(
    ("row", "facts", "state", "value"),
    [
        ("media", {"media": False}, "error", None),
        ("media", {"restarts": 2}, "warning", 2.0),
        ("disk", {"free": 150_000_000}, "warning", 150),
        ("disk", {"free": 10_000_000}, "error", 10),
        ("certificate", {"expires": 1_800_000_000.0 + 5 * 86_400}, "warning", 5.0),
        ("certificate", {"expires": 1_800_000_000.0 - 1}, "error", -1.0),
        ("loop", {"stalls": 4}, "warning", 4.0),
        ("clients", {"clients": {"connections": 7, "not_reading_total": 1}}, "warning", 7.0),
        ("clients", {"clients": {"goodbye_too_slow_total": 1}}, "warning", 0.0),
    ],
)
async def test_each_trouble_has_a_remedy(
    machine: Machine, row: str, facts: dict[str, Any], state: str, value: float | None
) -> None:
    machine.facts.update(facts)
    found = await machine.row(row)
    assert (found.state, found.value) == (state, value)
    assert found.detail
    assert found.remedy


async def test_what_is_over_is_told_for_ten_minutes(machine: Machine) -> None:
    machine.facts.update(restarts=1, clients={"connections": 1, "not_reading_total": 1})
    for name in ("media", "clients"):
        assert (await machine.row(name)).state == "warning"
    machine.clock.advance(599)
    for name in ("media", "clients"):
        assert (await machine.row(name)).state == "warning"
    machine.clock.advance(1)
    for name in ("media", "clients"):
        assert (await machine.row(name)).state == "ok"


async def test_cameras_without_a_picture_are_named_with_their_cause(machine: Machine) -> None:
    for number in range(7):
        kind = "agent" if number == 6 else "rtsp"
        machine.store.put(
            Device(
                id=f"d{number}",
                unit="u",
                name=f"camera {number}",
                kind=kind,
                online=False,
                revoked=number == 5,
            )
        )
        machine.store.put(
            Stream(
                id=f"s{number}",
                device=f"d{number}",
                unit="u",
                channel="main",
                name="x",
                state="live" if number == 0 else "retrying",
                since=1.0,
                cause="" if number == 0 else "unauthorized",
            )
        )
    found = await machine.row("cameras")
    assert (found.state, found.value) == ("warning", 4.0)
    assert found.detail == (
        "no picture from camera 1 (unauthorized), camera 2 (unauthorized), camera 3 (unauthorized), "
        "camera 4 (unauthorized)"
    )


async def test_what_is_not_ready(machine: Machine) -> None:
    machine.facts.update(media=False, set_up=False, free=1)
    found = {name: await check() for name, check in machine.health.checks.items()}
    assert found == {"setup": "needs-set-up", "media": "away", "storage": "", "disk": "full"}
