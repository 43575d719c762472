"""Streams as clients see them, cameras, and the end of what may not go on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from server.model.errors import AddressNotAdmitted, NotFound, StreamNotLive, Unavailable
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import LayerView
from support.control import Control, control
from support.waiting import until

ONE = MediaSessionId("session-one")
LAYER = LayerView(
    rid="h",
    codec="vp8",
    width=640,
    height=480,
    live=True,
    bitrate=500_000,
    frames_per_second=24.96,
    fraction_lost=0.01234567,
)


@contextlib.asynccontextmanager
async def running(centre: Control) -> AsyncIterator[None]:
    """The catalogue's service beside the block."""
    task = asyncio.create_task(centre.catalogue.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_stream_from_registered_to_live(centre: Control) -> None:
    device, stream = await centre.agent("头盔", "一号员")
    shown = centre.stream(stream)
    assert (shown.state, shown.cause, shown.channel, shown.name) == (
        "offline",
        "never_connected",
        "main",
        "头盔",
    )
    assert shown.unit == centre.unit("一号员").id
    assert not centre.device(device).online

    centre.media.show(stream, "signalled", session=ONE)
    assert (centre.stream(stream).state, centre.device(device).online) == ("connecting", False)
    centre.media.show(stream, "ice", remote="192.0.2.9:4444", tcp=True)
    assert centre.device(device).online
    centre.clock.advance(1)
    centre.media.show(
        stream, "key_frame", live=True, layers=(LAYER,), audio="opus", audio_live=True, viewers=2
    )
    shown = centre.stream(stream)
    assert (shown.state, shown.since, shown.via) == ("live", centre.clock.wallclock(), "whip")
    assert (shown.remote, shown.tcp, shown.viewers, shown.audio) == ("192.0.2.9:4444", True, 2, "opus")
    assert msgspec.to_builtins(shown.layers[0]) == {
        "rid": "h",
        "codec": "vp8",
        "width": 640,
        "height": 480,
        "live": True,
        "bitrate": 500_000,
        "framesPerSecond": 25.0,
        "loss": 0.0123,
    }
    centre.catalogue.shown(stream, "frozen")
    assert centre.stream(stream).steps[-1].at is None
    centre.catalogue.shown(stream, "shown")
    centre.catalogue.shown("no-such-stream", "shown")
    centre.clock.advance(1)
    assert centre.stream(stream).steps[-1].at == centre.clock.wallclock() - 1


async def test_the_end_tells_its_cause_and_the_device_is_away(centre: Control) -> None:
    device, stream = await centre.agent("头盔", "一号员")
    centre.media.show(stream, "key_frame", session=ONE, live=True)
    centre.media.lose(ONE, "consent_lost")
    shown = centre.stream(stream)
    assert (shown.state, shown.cause, shown.detail, shown.via) == ("offline", "consent_lost", "", "")
    assert not centre.device(device).online
    assert centre.device(device).last_seen == centre.clock.wallclock()
    centre.media.show(stream, "key_frame", session=ONE, live=True)
    centre.media.lose(ONE, "the relay tripped over something new")
    shown = centre.stream(stream)
    assert (shown.cause, shown.detail) == ("closed", "the relay tripped over something new")


async def test_steps_of_strangers_change_nothing(centre: Control) -> None:
    centre.media.events.session_step(ONE, "lost", "closed")
    centre.media.events.stream_changed(StreamId("unknown"))
    assert list(centre.store.all("stream")) == []


async def test_numbers_alone_are_told_once_a_second(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    centre.media.show(stream, "key_frame", session=ONE, live=True, layers=(LAYER,))
    assert centre.stream(stream).layers[0].bitrate == 500_000
    centre.clock.advance(0.5)
    centre.media.show(stream, "key_frame", layers=(msgspec.structs.replace(LAYER, bitrate=400_000),))
    assert centre.stream(stream).layers[0].bitrate == 500_000
    centre.media.show(stream, "key_frame", live=False)
    shown = centre.stream(stream)  # that it stalled is told at once
    assert (shown.state, shown.layers[0].bitrate) == ("stalled", 400_000)
    centre.media.show(stream, "key_frame", live=True)
    centre.stream(stream)
    centre.media.show(stream, "key_frame", layers=(msgspec.structs.replace(LAYER, bitrate=300_000),))
    assert centre.stream(stream).layers[0].bitrate == 400_000
    centre.clock.advance(1.0)
    assert centre.stream(stream).layers[0].bitrate == 300_000


async def test_time_alone_says_what_is_missing(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    centre.media.show(stream, "dtls", session=ONE)
    assert centre.stream(stream).cause == ""
    centre.clock.advance(2)
    centre.catalogue.look()
    assert centre.stream(stream).cause == "no_packets"


async def test_a_change_that_nobody_told_is_noticed(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    centre.media.show(stream, "key_frame", session=ONE, live=True)
    centre.stream(stream)
    del centre.media.views[stream]
    centre.catalogue.look()
    assert centre.stream(stream).state == "offline"


async def test_a_revoked_device_is_cut_off(centre: Control) -> None:
    """H28"""
    device, stream = await centre.agent("头盔", "一号员")
    async with running(centre):
        centre.media.show(stream, "key_frame", session=ONE, live=True)
        await centre.devices.revoke(device, actor="cli")
        await centre.roster.reload()
        await until(lambda: ("close_stream", stream, "revoked") in centre.media.calls)
    shown = centre.stream(stream)
    assert (shown.state, shown.cause) == ("offline", "revoked")


async def test_a_stream_that_is_not_registered_any_more_goes(centre: Control) -> None:
    device, stream = await centre.agent("头盔", "一号员")
    await centre.devices.revoke(device, actor="cli")
    centre.clock.advance(86_401)
    centre.media.show(stream, "key_frame", session=ONE, live=True)
    async with running(centre):
        await centre.roster.reload()
        await until(lambda: ("close_stream", stream, "revoked") in centre.media.calls)
    assert centre.store.get("stream", stream) is None


async def test_an_officer_ends_a_stream(centre: Control) -> None:
    _, stream = await centre.agent("头盔", "一号员")
    with pytest.raises(StreamNotLive):
        await centre.catalogue.close(stream)
    centre.media.show(stream, "key_frame", session=ONE, live=True)
    await centre.catalogue.close(stream)
    assert centre.stream(stream).cause == "ended_by_officer"
    with pytest.raises(NotFound):
        centre.catalogue.record("no-such-stream")


async def test_a_camera_is_pulled_once_with_its_password(centre: Control) -> None:
    _, stream = await centre.camera("大门", "rtsp://192.0.2.20:554/main", password="观海 1949")
    pull = ("pull", stream, "rtsp://192.0.2.20:554/main", "viewer", "观海 1949", "tcp")
    async with running(centre):
        await until(lambda: pull in centre.media.calls)
        await centre.roster.reload()
        centre.media.show(stream, "key_frame", live=True)
        await until(lambda: centre.stream(stream).state == "live")
    assert centre.media.calls == [pull]
    assert [step.name for step in centre.stream(stream).steps] == [
        "registered",
        "signalled",
        "packets",
        "key_frame",
        "shown",
    ]


async def test_a_camera_that_may_not_be_connected_to_is_tried_again_later(centre: Control) -> None:
    _, stream = await centre.camera("大门", "rtsp://192.0.2.20:554/main")
    centre.media.fail = AddressNotAdmitted("192.0.2.20 is in no network of ingest.rtsp.networks")
    async with running(centre):
        await until(lambda: len(centre.media.calls) == 1)
        await until(lambda: centre.stream(stream).cause == "not_admitted")
        assert centre.stream(stream).detail == "192.0.2.20 is in no network of ingest.rtsp.networks"
        centre.clock.advance(59)
        await centre.roster.reload()
        await asyncio.sleep(0.05)
        assert len(centre.media.calls) == 1
        centre.clock.advance(1)
        await centre.roster.reload()
        await until(lambda: len(centre.media.calls) == 2)


async def test_a_camera_that_changed_is_pulled_anew(centre: Control) -> None:
    await centre.camera("大门", "rtsp://192.0.2.20:554/main")
    async with running(centre):
        await until(lambda: len(centre.media.calls) == 1)
        async with centre.database.write() as connection:
            await connection.exec_driver_sql("UPDATE devices SET rtsp_url = 'rtsp://192.0.2.21:554/main'")
        await centre.roster.reload()
        await until(lambda: len(centre.media.calls) == 3)
    assert [call[0] for call in centre.media.calls] == ["pull", "close_stream", "pull"]
    assert centre.media.calls[2][2] == "rtsp://192.0.2.21:554/main"


async def test_a_password_that_cannot_be_read(centre: Control) -> None:
    _, stream = await centre.camera("大门", "rtsp://192.0.2.20:554/main", password="x")
    async with centre.database.write() as connection:
        await connection.exec_driver_sql(
            "UPDATE devices SET sealed_password = x'00112233445566778899aabbccddee'"
        )
    await centre.roster.reload()
    async with running(centre):
        await until(lambda: centre.stream(stream).cause == "unauthorized")
    assert centre.media.calls == []


async def test_an_officer_ends_a_camera_and_it_comes_back_after_a_minute(centre: Control) -> None:
    _, stream = await centre.camera("大门", "rtsp://192.0.2.20:554/main")
    async with running(centre):
        await until(lambda: len(centre.media.calls) == 1)
        await centre.catalogue.close(stream)
        assert (centre.stream(stream).state, centre.stream(stream).cause) == ("offline", "ended_by_officer")
        centre.clock.advance(60)
        await centre.roster.reload()
        await until(lambda: len(centre.media.calls) == 3)
    assert [call[0] for call in centre.media.calls] == ["pull", "close_stream", "pull"]


async def test_a_revoked_camera_is_not_pulled_any_more(centre: Control) -> None:
    device, stream = await centre.camera("大门", "rtsp://192.0.2.20:554/main")
    async with running(centre):
        await until(lambda: len(centre.media.calls) == 1)
        await centre.devices.revoke(device, actor="cli")
        await centre.roster.reload()
        await until(lambda: ("close_stream", stream, "revoked") in centre.media.calls)
        centre.clock.advance(100)
        await centre.roster.reload()
        await asyncio.sleep(0.05)
    assert [call[0] for call in centre.media.calls] == ["pull", "close_stream"]


async def test_pulling_is_off_by_default(tmp_path: Path) -> None:
    async with control(tmp_path, rtsp_enabled=False) as centre:
        _, stream = await centre.camera("大门", "rtsp://192.0.2.20:554/main")
        async with running(centre):
            await until(lambda: centre.stream(stream).detail != "")
        shown = centre.stream(stream)
        assert (shown.cause, shown.detail) == ("disabled", "set enabled = true in [ingest.rtsp]")
        assert centre.media.calls == []


async def test_a_close_that_fails_does_not_end_the_service(centre: Control) -> None:
    device, stream = await centre.agent("头盔", "一号员")
    other, second = await centre.agent("头盔", "二号员")
    async with running(centre):
        for one in (stream, second):
            centre.media.show(one, "key_frame", session=MediaSessionId(f"session-of-{one}"), live=True)
        centre.media.fail = Unavailable("media is away")
        await centre.devices.revoke(device, actor="cli")
        await centre.roster.reload()
        await until(lambda: len(centre.media.calls) == 1)
        await centre.devices.revoke(other, actor="cli")
        await centre.roster.reload()
        await until(lambda: len(centre.media.calls) == 2)
    assert centre.catalogue.statistics()["closed_total"] == 1
