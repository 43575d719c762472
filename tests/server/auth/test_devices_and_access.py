"""Device credentials, and what a bearer token opens (H28)."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from server.auth.access import TokenAccess
from server.auth.audit import Audit
from server.auth.devices import Camera, Devices
from server.auth.sealing import Sealer, load_sealer
from server.auth.tokens import StreamTokens, device_of_token
from server.model.errors import BadRequest, Conflict, NotFound, NotLoggedIn, Refused, TooMany
from server.model.ids import StreamId
from server.storage.engine import Database
from server.storage.tables import streams
from support.clock import FakeClock


@pytest.fixture
def sealer(tmp_path: Path) -> Sealer:
    return load_sealer(tmp_path)


@pytest.fixture
def devices(database: Database, audit: Audit, sealer: Sealer, clock: FakeClock) -> Devices:
    return Devices(database, audit, sealer, clock)


@pytest.fixture
def access(devices: Devices, database: Database, audit: Audit, clock: FakeClock) -> TokenAccess:
    return TokenAccess(devices, StreamTokens(clock), database, audit, clock)


async def stream_of(database: Database, device: str, channel: str = "main") -> StreamId:
    async with database.read() as connection:
        query = select(streams.c.id).where(streams.c.device_id == device, streams.c.channel == channel)
        return StreamId((await connection.execute(query)).scalar_one())


def holds(folder: Path, secret: bytes) -> list[Path]:
    """Files with `secret` in them."""
    return [path for path in folder.iterdir() if secret in path.read_bytes()]


# ---- devices


async def test_a_token_is_shown_once_and_stored_as_a_hash(
    devices: Devices, audit: Audit, tmp_path: Path
) -> None:
    device, token = await devices.add(name="头盔一", unit="一号员", actor="cli:root")
    assert (device.name, device.unit, device.number, device.kind) == ("头盔一", "一号员", 1, "agent")
    assert device_of_token(token) == device.id
    who = await devices.principal(token)
    assert (who.role, who.id, who.device) == ("device", device.id, device.id)
    secret = token.split("_", 2)[2].encode()
    assert not holds(tmp_path, secret)
    (entry,) = await audit.newest()
    assert (entry.action, entry.object, entry.actor) == ("device.add", device.id, "cli:root")


async def test_units_are_found_by_name_or_made_and_numbered(devices: Devices) -> None:
    first, _ = await devices.add(name="a", unit="一号", actor="t")
    second, _ = await devices.add(name="b", unit=" 一号 ", actor="t")
    third, _ = await devices.add(name="a", unit="二号", unit_kind="drone", actor="t")
    assert [one.number for one in (first, second, third)] == [1, 1, 2]
    with pytest.raises(Conflict):
        await devices.add(name="a", unit="一号", actor="t")
    with pytest.raises(BadRequest):
        await devices.add(name="\u200b", unit="一号", actor="t")
    with pytest.raises(BadRequest):
        await devices.add(name="x", unit="三号", unit_kind="boat", actor="t")
    assert [(one.unit, one.name) for one in await devices.all()] == [
        ("一号", "a"),
        ("一号", "b"),
        ("二号", "a"),
    ]


async def test_a_device_is_named_by_its_id_or_by_a_name_that_is_its_alone(devices: Devices) -> None:
    first, _ = await devices.add(name="a", unit="一号", actor="t")
    await devices.add(name="a", unit="二号", actor="t")
    assert await devices.find(first.id) == first
    with pytest.raises(Conflict, match="2 devices"):
        await devices.find("a")
    with pytest.raises(NotFound):
        await devices.find("b")


async def test_revoked_and_renewed_tokens_are_worth_nothing(devices: Devices) -> None:
    device, token = await devices.add(name="a", unit="一号", actor="t")
    _, newer = await devices.renew_token("a", actor="t")
    with pytest.raises(NotLoggedIn):
        await devices.principal(token)
    assert (await devices.principal(newer)).id == device.id
    await devices.revoke("a", actor="t")
    with pytest.raises(Refused) as caught:
        await devices.principal(newer)
    assert caught.value.code == "revoked"
    with pytest.raises(Conflict):
        await devices.renew_token(device.id, actor="t")
    again, _ = await devices.add(name="a", unit="一号", actor="t")
    assert again.id != device.id


@pytest.mark.parametrize(
    "token",
    [
        "",
        "fsd_",
        "fsd_x_" + "A" * 43,
        "fsd_0198f7a2-1111-7222-8333-444455556666_" + "A" * 43,
        "A" * 5000,
        "fsd_\n",
    ],
)
async def test_tokens_that_are_none(devices: Devices, token: str) -> None:
    with pytest.raises(NotLoggedIn):
        await devices.principal(token)


async def test_a_cameras_password_is_sealed_for_it_alone(
    devices: Devices, sealer: Sealer, database: Database, tmp_path: Path
) -> None:
    camera = Camera(url="rtsp://10.0.0.9:554/1", username="viewer", password="Pa55-摄像头-9")
    device, token = await devices.add(name="枪机", unit="大坝", unit_kind="camera", camera=camera, actor="t")
    assert (token, device.kind, device.rtsp_url) == ("", "rtsp", "rtsp://10.0.0.9:554/1")
    async with database.read() as connection:
        sealed = (await connection.exec_driver_sql("SELECT sealed_password FROM devices")).scalar_one()
    assert sealer.open(sealed, device.id) == "Pa55-摄像头-9"
    assert not holds(tmp_path, "Pa55-摄像头-9".encode())


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.9/",
        "rtsp://",
        "rtsp:///x",
        "rtsp://viewer:secret@10.0.0.9/1",
        "rtsp://viewer@10.0.0.9/1",
        "rtsp://10.0.0.9:99999/",
        "rtsp://10.0.0.9:0/",
        "rtsp://10.0.0.9/a b",
        "rtsp://10.0.0.9/\r\nX: y",
        "rtsp://[::1/x",
        "rtsp://10.0.0.9/" + "a" * 2000,
        "-rtsp://10.0.0.9/",
    ],
)
async def test_camera_addresses_that_nobody_may_give(devices: Devices, url: str) -> None:
    with pytest.raises(BadRequest):
        await devices.add(name="x", unit="y", camera=Camera(url=url), actor="t")
    assert await devices.all() == []


# ---- access


async def test_a_device_publishes_its_own_channels_and_makes_at_most_eight(
    devices: Devices, access: TokenAccess, database: Database
) -> None:
    device, token = await devices.add(name="a", unit="一号", actor="t")
    assert await access.publisher(token, "10.0.0.9", "main") == (
        device.id,
        await stream_of(database, device.id),
    )
    _, thermal = await access.publisher(token, "10.0.0.9", "thermal")
    assert thermal == await stream_of(database, device.id, "thermal")
    assert await access.publisher(token, "10.0.0.9", "thermal") == (device.id, thermal)
    for number in range(6):
        await access.publisher(token, "10.0.0.9", f"c{number}")
    with pytest.raises(TooMany):
        await access.publisher(token, "10.0.0.9", "one-too-many")
    for channel in ("", "../main", "a b", "x" * 33, "é", "-main"):
        with pytest.raises(BadRequest):
            await access.publisher(token, "10.0.0.9", channel)


async def test_a_device_watches_its_own_unit_only(
    devices: Devices, access: TokenAccess, database: Database
) -> None:
    mine, token = await devices.add(name="a", unit="一号", actor="t")
    sibling, _ = await devices.add(name="b", unit="一号", actor="t")
    other, _ = await devices.add(name="a", unit="二号", actor="t")
    await access.viewer(token, await stream_of(database, mine.id), "")
    await access.viewer(token, await stream_of(database, sibling.id), "")
    with pytest.raises(Refused):
        await access.viewer(token, await stream_of(database, other.id), "")
    with pytest.raises(NotFound):
        await access.viewer(token, StreamId("nothing"), "")


async def test_stream_tokens_open_one_stream_in_one_direction(
    devices: Devices, access: TokenAccess, database: Database, clock: FakeClock
) -> None:
    device, _ = await devices.add(name="a", unit="一号", actor="t")
    other, _ = await devices.add(name="b", unit="二号", actor="t")
    stream, another = await stream_of(database, device.id), await stream_of(database, other.id)
    play, publish = await access.issue(stream, "play"), await access.issue(stream, "publish")
    await access.viewer(play, stream, "")
    assert await access.publisher(publish, "", "main") == (device.id, stream)
    for token, wanted in ((play, another), (publish, stream)):
        with pytest.raises(Refused):
            await access.viewer(token, wanted, "")
    for token, channel in ((play, "main"), (publish, "thermal")):
        with pytest.raises(Refused):
            await access.publisher(token, "", channel)
    with pytest.raises(NotLoggedIn):
        await access.viewer(play[:-1] + ("A" if play[-1] != "A" else "B"), stream, "")
    with pytest.raises(NotFound):
        await access.issue(StreamId("nothing"), "play")
    clock.advance(300.0)
    with pytest.raises(Refused) as caught:
        await access.viewer(play, stream, "")
    assert caught.value.code == "expired"


async def test_nothing_opens_a_revoked_devices_stream(
    devices: Devices, access: TokenAccess, database: Database
) -> None:
    device, token = await devices.add(name="a", unit="一号", actor="t")
    _, sibling = await devices.add(name="b", unit="一号", actor="t")
    stream = await stream_of(database, device.id)
    play, publish = await access.issue(stream, "play"), await access.issue(stream, "publish")
    await devices.revoke("a", actor="t")
    for attempt in (
        access.publisher(token, "", "main"),
        access.publisher(publish, "", "main"),
        access.viewer(play, stream, ""),
        access.viewer(sibling, stream, ""),
        access.issue(stream, "play"),
    ):
        with pytest.raises(Refused) as caught:
            await attempt
        assert caught.value.code == "revoked"
