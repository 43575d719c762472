"""What is registered, join links and their end, phones of accounts; against a real database."""

from __future__ import annotations

import asyncio
import re

import pytest
from sqlalchemy import text

from server.auth.permissions import Principal, Role
from server.model.errors import BadRequest, NotFound, NotLoggedIn, Refused, TooMany
from server.model.ids import DeviceId, LinkId, UnitId
from server.signalling.entities import JoinLink, Position
from server.units import registration
from server.units.links import checked_hours, link_url, qr_svg
from support.control import Control

CHIEF = Principal(role=Role.ADMIN, id="chief-id", name="总值班")


async def new_link(
    centre: Control, name: str = "三号车", unit: str = "", hours: float = 2.0
) -> tuple[LinkId, str]:
    link, secret = await centre.registration.create_link(
        name=name, unit=unit, hours=hours, who=CHIEF, address="192.0.2.7"
    )
    await centre.roster.reload()
    return link, secret


async def test_a_link_makes_a_unit_a_phone_and_a_stream(centre: Control) -> None:
    link, secret = await new_link(centre)
    assert re.fullmatch(r"[\w-]{22}", secret)
    who, device = centre.roster.guest(secret)
    assert (who.role, who.id, who.device, who.name) == (Role.GUEST, link, device.id, "三号车")
    unit = centre.unit("三号车")
    assert (unit.kind, unit.number, device.unit) == ("rescuer", 1, unit.id)
    assert centre.device(device.id).kind == "phone"
    stream = centre.roster.directory.channel(device.id, "main")
    assert stream is not None
    assert centre.stream(stream.id).unit == unit.id
    shown = centre.store.get("link", link)
    assert isinstance(shown, JoinLink)
    assert (shown.expires - shown.created, shown.unit, shown.revoked) == (7200.0, unit.id, False)
    assert shown.used == centre.clock.steady()


async def test_the_secret_is_stored_nowhere(centre: Control) -> None:
    _, secret = await new_link(centre)
    async with centre.database.read() as connection:
        for query in ("SELECT * FROM join_links", "SELECT * FROM audit", "SELECT * FROM devices"):
            assert secret not in str((await connection.execute(text(query))).all())


async def test_a_link_for_a_known_unit(centre: Control) -> None:
    await new_link(centre, "三号车")
    await new_link(centre, "三号车")  # by name
    unit = centre.unit("三号车")
    await new_link(centre, "副驾", unit.id)  # by id
    assert [one.id for one in centre.store.all("unit")] == [unit.id]
    assert sorted(device.name for device in centre.roster.directory.devices.values()) == [
        "三号车",
        "三号车",
        "副驾",
    ]
    with pytest.raises(NotFound):
        await new_link(centre, "x", "no-such-unit")


async def test_names_are_made_safe(centre: Control) -> None:
    """H21"""
    await new_link(centre, "\u202eevil\u200b\x00  name" + "长" * 100)
    (unit,) = centre.store.all("unit")
    assert unit.name == "evil name" + "长" * 55
    with pytest.raises(BadRequest):
        await new_link(centre, "\u200b\u202e")
    await centre.registration.rename_unit(unit.id, "é<b>", who=CHIEF, address="")
    await centre.roster.reload()
    assert centre.unit(unit.id).name == "é<b>"


async def test_a_link_expires_by_itself(centre: Control) -> None:
    link, secret = await new_link(centre, hours=2.0)
    device = centre.roster.guest(secret)[1].id
    ended: list[tuple[str, str]] = []
    centre.roster.on_link_end(lambda one, reason: ended.append((one, reason)))
    centre.roster.on_device_gone(lambda one, reason: ended.append((one, reason)))
    centre.clock.advance(7199)
    centre.roster.tick()
    assert ended == []
    centre.clock.advance(1)
    centre.roster.tick()
    centre.roster.tick()
    assert ended == [(link, "expired"), (device, "expired")]
    assert centre.device(device).revoked
    with pytest.raises(Refused) as refused:
        centre.roster.guest(secret)
    assert refused.value.code == "expired"
    await centre.roster.reload()
    assert ended == [(link, "expired"), (device, "expired")]


async def test_setting_the_wall_clock_ends_no_link(centre: Control) -> None:
    """P20"""
    _, secret = await new_link(centre, hours=2.0)
    centre.clock.wall = 86_400.0
    centre.roster.tick()
    centre.roster.guest(secret)


async def test_a_revoked_link_ends_at_the_next_reload(centre: Control) -> None:
    link, secret = await new_link(centre)
    ended: list[tuple[str, str]] = []
    centre.roster.on_link_end(lambda one, reason: ended.append((one, reason)))
    await centre.registration.revoke_link(link, who=CHIEF, address="192.0.2.7")
    await centre.registration.revoke_link(link, who=CHIEF, address="192.0.2.7")  # once is enough
    await centre.roster.reload()
    assert ended == [(link, "revoked")]
    with pytest.raises(Refused) as refused:
        centre.roster.guest(secret)
    assert refused.value.code == "revoked"
    shown = centre.store.get("link", link)
    assert isinstance(shown, JoinLink)
    assert shown.revoked
    with pytest.raises(NotFound):
        await centre.registration.revoke_link("nothing", who=CHIEF, address="")
    entries = await centre.audit.newest()
    assert [(entry.action, entry.object, entry.address) for entry in entries] == [
        ("link.revoke", link, "192.0.2.7"),
        ("link.create", link, "192.0.2.7"),
    ]


async def test_a_device_that_is_revoked_elsewhere(centre: Control) -> None:
    device, _ = await centre.agent("头盔", "一号员")
    gone: list[tuple[str, str]] = []
    centre.roster.on_device_gone(lambda one, reason: gone.append((one, reason)))
    await centre.devices.revoke(device, actor="cli")
    await centre.roster.reload()
    assert gone == [(device, "revoked")]
    assert centre.device(device).revoked
    assert centre.roster.is_gone(device)
    centre.clock.advance(86_401)
    await centre.roster.reload()
    assert centre.store.get("device", device) is None
    assert gone == [(device, "revoked")]
    assert centre.unit("一号员").number == 1  # the unit stays


async def test_links_and_their_phones_go_a_day_after_their_end(centre: Control) -> None:
    link, secret = await new_link(centre, hours=1.0)
    device = centre.roster.guest(secret)[1].id
    centre.clock.advance(3600 + 86_399)
    await centre.roster.reload()
    assert centre.store.get("link", link) is not None
    centre.clock.advance(2)
    await centre.roster.reload()
    assert centre.store.get("link", link) is None
    assert centre.store.get("device", device) is None
    assert list(centre.store.all("stream")) == []
    with pytest.raises(NotLoggedIn):
        centre.roster.guest(secret)


async def test_a_wrong_secret(centre: Control) -> None:
    await new_link(centre)
    for secret in ("", "x", "A" * 22, "\U0001f692"):
        with pytest.raises(NotLoggedIn):
            centre.roster.guest(secret)


async def test_a_field_account_gets_a_phone_of_its_own(centre: Control) -> None:
    user = await centre.user("李四", Role.FIELD)
    who = Principal(role=Role.FIELD, id=user.id, name="李四")
    phones = await asyncio.gather(*(centre.roster.phone_of(who, "192.0.2.7") for _ in range(5)))
    assert len({phone.id for phone in phones}) == 1
    assert [(unit.name, unit.number) for unit in centre.roster.directory.units.values()] == [("李四", 1)]
    await centre.devices.revoke(phones[0].id, actor="cli")
    await centre.roster.reload()
    with pytest.raises(Refused) as refused:
        await centre.roster.phone_of(who, "192.0.2.7")
    assert refused.value.code == "revoked"
    centre.clock.advance(2 * 86_400)
    await centre.roster.reload()  # it is not even listed any more
    with pytest.raises(Refused):
        await centre.roster.phone_of(who, "192.0.2.7")


async def test_devices_are_bounded(centre: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "MAX_DEVICES", 2)
    await new_link(centre, "a")
    await new_link(centre, "b")
    with pytest.raises(TooMany):
        await new_link(centre, "c")
    assert sorted(unit.name for unit in centre.roster.directory.units.values()) == ["a", "b"]


async def test_uses_are_written(centre: Control) -> None:
    link, secret = await new_link(centre)
    for address in ("192.0.2.50", "192.0.2.51"):
        centre.roster.guest(secret, address)
        await centre.roster.write_used()
    uses = [entry for entry in await centre.audit.newest() if entry.action == "link.use"]
    assert [(entry.object, entry.actor, entry.address) for entry in uses] == [
        (link, f"guest:{link}:三号车", "192.0.2.50")
    ]
    async with centre.database.read() as connection:
        used = (await connection.execute(text("SELECT used FROM join_links"))).scalar()
    assert used == centre.clock.steady()
    await centre.roster.reload()
    assert centre.roster.directory.links[link].used == used


async def test_a_units_position_is_shown_and_survives_a_reload(centre: Control) -> None:
    await new_link(centre, "三号车")
    unit = centre.unit("三号车")
    position = Position(lat=31.0, lon=121.0, accuracy=5.0, time=1.0)
    centre.roster.set_position(UnitId(unit.id), position)
    await centre.roster.reload()
    assert centre.unit("三号车").position == position


async def test_presence_is_shown(centre: Control) -> None:
    device, _ = await centre.agent("头盔", "一号员")
    centre.presence.connected(device, centre.clock.wallclock())
    centre.roster.show_device(device)
    assert centre.device(device).online
    centre.roster.show_device(DeviceId("unknown"))


def test_an_address_for_a_phone() -> None:
    assert link_url("https://fengsui.test:8443/", "secret") == "https://fengsui.test:8443/j/secret"
    svg = qr_svg("https://fengsui.test:8443/j/" + "x" * 22)
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg" viewBox=')
    assert svg.count("http") == 1  # nothing is fetched from outside
    assert "<script" not in svg
    with pytest.raises(BadRequest):
        qr_svg("x" * 5000)


@pytest.mark.parametrize("hours", [0.0, -1.0, 0.001, 168.1, float("nan"), float("inf")])
def test_hours_out_of_bounds(hours: float) -> None:
    with pytest.raises(BadRequest) as refused:
        checked_hours(hours, default=12.0, longest=168.0)
    assert refused.value.field == "hours"


def test_hours() -> None:
    assert checked_hours(None, default=12.0, longest=168.0) == 12.0
    assert checked_hours(168.0, default=12.0, longest=168.0) == 168.0
