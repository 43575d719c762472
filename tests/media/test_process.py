"""The media process as control sees it: a real child, real sockets, and the ways either side can die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from media.client import MediaAway, MediaClient, MediaProcess, attach, connect, spawn_media
from media.framing import encode
from media.protocol import (
    Apply,
    Demand,
    Notice,
    OpenIce,
    Ready,
    RestartIce,
    SetDemands,
    StartPull,
    Statistics,
    StopPull,
)
from media.relay.messages import (
    AddListener,
    AddTransport,
    EngineStatistics,
    ListenerKind,
    RemoveListener,
    RemoveTransport,
    TransportKind,
)
from media.serving import ENGINES
from media.settings import MediaSettings
from support.processes import gone, until_gone
from support.waiting import until

ROOT = Path(__file__).resolve().parent.parent.parent


def listener(number: int = 1) -> AddListener:
    return AddListener(listener=number, kind=ListenerKind.UDP_MUX, host="127.0.0.1")


@pytest.fixture
async def media() -> AsyncIterator[MediaClient]:
    async with spawn_media(MediaSettings(statistics_interval=0.1)) as client:
        yield client


async def test_ready_comes_first_and_says_who_is_there(media: MediaClient) -> None:
    assert media.ready.version == 1
    assert media.ready.engine == ENGINES["auto"][0]
    assert len(media.ready.fingerprint) == 95
    assert media.ready.pid != os.getpid()
    assert not gone(media.ready.pid)


async def test_a_transaction_gives_the_bound_ports_and_really_binds_them(media: MediaClient) -> None:
    done = await media.request(Apply(number=0, commands=(listener(1), listener(2))))
    assert done.error == ""
    assert len(set(done.ports)) == 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, pytest.raises(OSError, match="in use"):
        sock.bind(("127.0.0.1", done.ports[0]))


async def test_what_the_engine_refuses_is_said_and_changes_nothing(media: MediaClient) -> None:
    done = await media.request(Apply(number=0, commands=(listener(1), RemoveListener(listener=9))))
    assert done.error.startswith("RemoveListener: ")
    assert done.ports == ()
    assert (await media.request(Apply(number=0, commands=(listener(1),)))).error == ""


async def test_a_hundred_requests_at_once_are_answered_in_order(media: MediaClient) -> None:
    answers = await asyncio.gather(
        *(media.request(Apply(number=0, commands=(listener(number),))) for number in range(1, 101))
    )
    assert [done.error for done in answers] == [""] * 100
    numbers = [done.number for done in answers]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (
            OpenIce(
                number=0,
                transport=9,
                local_ufrag="a",
                local_password="b",
                remote_ufrag="",
                setup="passive",
                fingerprints=(),
            ),
            "unknown_transport",
        ),
        (
            RestartIce(number=0, transport=9, local_ufrag="a", local_password="b", remote_ufrag=""),
            "unknown_transport",
        ),
        (SetDemands(number=0, demands=(Demand(sink=9, height=1),)), "unknown_sink: 9"),
        (
            StartPull(
                number=0,
                pull=1,
                url="rtsp://192.0.2.1/",
                username="",
                password="",
                addresses=("192.0.2.1",),
                transport="tcp",
                video_source=0,
                audio_source=0,
            ),
            None,
        ),
        (StopPull(number=0, pull=9), None),
    ],
)
async def test_requests_about_nothing_are_refused(
    media: MediaClient,
    request_: OpenIce | RestartIce | SetDemands | StartPull | StopPull,
    error: str | None,
) -> None:
    done = await media.request(request_)
    assert done.error if error is None else done.error == error


def open_ice(transport: int, setup: str = "passive") -> OpenIce:
    return OpenIce(
        number=0,
        transport=transport,
        local_ufrag=f"ufrag{transport}",
        local_password="p" * 24,
        remote_ufrag="r",
        setup=setup,
        fingerprints=(("sha-256", "AA"),),
        connect_timeout=0.2,
    )


def webrtc(transport: int) -> AddTransport:
    return AddTransport(transport=transport, kind=TransportKind.WEBRTC, ufrags=(f"ufrag{transport}",))


async def test_a_thousand_peers_that_never_come_are_told_and_leave_no_memory(media: MediaClient) -> None:
    """H33 as far as it is the media process's."""
    numbers = range(1, 1001)

    async def come_and_go() -> None:
        await media.request(Apply(number=0, commands=tuple(webrtc(number) for number in numbers)))
        for number in numbers:
            assert (await media.request(open_ice(number))).error == ""
        lost = 0
        async for notice in media.notices():
            lost += type(notice).__name__ == "TransportLost"
            if lost == 1000:
                break
        removals = tuple(RemoveTransport(transport=number) for number in numbers)
        assert (await media.request(Apply(number=0, commands=removals))).error == ""

    await come_and_go()
    before = (await media.statistics()).resident_bytes
    await come_and_go()
    statistics = await media.statistics()
    assert statistics.counters["peers"] == 0
    assert statistics.engine.transports == ()
    assert statistics.resident_bytes - before <= 10_000_000


async def test_a_transport_is_opened_once_and_with_a_role_that_exists(media: MediaClient) -> None:
    await media.request(Apply(number=0, commands=(webrtc(1), webrtc(2))))
    assert (await media.request(open_ice(1))).error == ""
    assert (await media.request(open_ice(1))).error == "already_open"
    assert (await media.request(open_ice(2, setup="holdconn"))).error == "bad_request"


async def test_there_are_no_more_transports_than_allowed() -> None:
    async with spawn_media(MediaSettings(max_transports=2)) as media:
        assert (await media.request(Apply(number=0, commands=(webrtc(1), webrtc(2))))).error == ""
        done = await media.request(Apply(number=0, commands=(webrtc(3),)))
        assert done.error == "too_many_transports"
        swap = (RemoveTransport(transport=1), webrtc(3))
        assert (await media.request(Apply(number=0, commands=swap))).error == ""


async def test_statistics_come_by_themselves_and_when_asked(media: MediaClient) -> None:
    came = await anext(notice async for notice in media.notices() if isinstance(notice, Statistics))
    assert came.number == 0
    assert came.cpu_seconds > 0
    asked = await media.statistics()
    assert asked.number > 0
    assert asked.resident_bytes > 10_000_000
    assert asked.time >= came.time


# --------------------------------------------------------------------------- ends


async def test_the_child_ends_with_the_block_that_wanted_it() -> None:
    async with spawn_media() as media:
        pid = media.ready.pid
    assert gone(pid)


async def test_a_killed_child_is_noticed_by_everybody_who_waits() -> None:
    started: asyncio.Future[MediaClient] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(MediaProcess(MediaSettings()).run(started.set_result))
    media = await started
    os.kill(media.ready.pid, signal.SIGSTOP)
    waiting = asyncio.create_task(media.request(Apply(number=0, commands=())))
    await asyncio.sleep(0)
    os.kill(media.ready.pid, signal.SIGKILL)
    with pytest.raises(MediaAway):
        await waiting
    assert [notice async for notice in media.notices()] == []
    assert await running == -signal.SIGKILL
    with pytest.raises(MediaAway):
        await media.request(Apply(number=0, commands=()))


async def test_a_child_that_does_not_answer_is_away() -> None:
    async with spawn_media() as media:
        os.kill(media.ready.pid, signal.SIGSTOP)
        try:
            with pytest.raises(MediaAway, match=r"no answer within 0\.2 s"):
                await media.request(Apply(number=0, commands=()), timeout=0.2)
        finally:
            os.kill(media.ready.pid, signal.SIGCONT)
        assert (await media.request(Apply(number=0, commands=()))).error == ""


@pytest.mark.parametrize("hangs", [False, True])
async def test_cancelling_the_supervisor_stops_the_child(hangs: bool) -> None:
    started: asyncio.Future[MediaClient] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(MediaProcess(MediaSettings()).run(started.set_result))
    media = await started
    if hangs:
        os.kill(media.ready.pid, signal.SIGSTOP)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gone(media.ready.pid)


PARENT = """
import asyncio, sys
from media.client import spawn_media
async def main():
    async with spawn_media() as media:
        print(media.ready.pid, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_the_child_is_gone_a_second_after_its_parent(how: signal.Signals) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.send_signal(how)
    await until_gone(child, within=1.0)
    await parent.communicate()


async def test_sigterm_ends_the_process_orderly() -> None:
    started: asyncio.Future[MediaClient] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(MediaProcess(MediaSettings()).run(started.set_result))
    os.kill((await started).ready.pid, signal.SIGTERM)
    assert await running == 0


# --------------------------------------------------------------------------- a socket of its own


@contextlib.asynccontextmanager
async def listening(tmp_path: Path, *options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, Path]]:
    path = tmp_path / "media.sock"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "media",
        "--socket",
        str(path),
        *options,
        cwd=ROOT,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        await until(lambda: path.exists() or process.returncode is not None, 10)
        yield process, path
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_one_control_connection_and_the_end_with_it(tmp_path: Path) -> None:
    async with listening(tmp_path) as (process, path):
        assert path.stat().st_mode & 0o777 == 0o600
        async with connect(path) as media:
            with pytest.raises(MediaAway):
                async with connect(path):
                    pytest.fail("a second control connection was taken")
            assert (await media.request(Apply(number=0, commands=()))).error == ""
        _, log = await asyncio.wait_for(process.communicate(), 2)
        assert process.returncode == 0
        assert not path.exists()
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert events[0] == "media_started"
    assert "second_control_connection" in events
    assert events[-1] == "control_gone"


async def test_one_that_stood_still_while_control_asked_and_went_ends_without_a_fault(tmp_path: Path) -> None:
    async with listening(tmp_path, "--config-json", '{"statistics_interval": 0.001}') as (process, path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        await reader.read(1)  # the beginning of Ready
        process.send_signal(signal.SIGSTOP)
        for number in range(1, 11):
            writer.write(encode(Apply(number=number, commands=())))
        await writer.drain()
        writer.close()
        process.send_signal(signal.SIGCONT)
        _, log = await asyncio.wait_for(process.communicate(), 5)
        assert process.returncode == 0
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert "unhandled" not in events
    assert events[-1] == "control_gone"


@pytest.mark.parametrize("junk", [b"\xff" * 64, b"\0\0\0\5hello", b"GET / HTTP/1.1\r\n\r\n"])
async def test_a_control_that_speaks_otherwise_ends_the_process(tmp_path: Path, junk: bytes) -> None:
    async with listening(tmp_path) as (process, path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(junk)
        async with asyncio.timeout(5):
            with contextlib.suppress(ConnectionResetError):
                while await reader.read(65536):
                    pass
            await process.wait()
        writer.close()
        assert process.returncode == 0


@pytest.mark.parametrize("settings", ['{"engine": "warp"}', '{"no_such": 1}', "[", '{"log_level": "loud"}'])
async def test_wrong_settings_are_said_and_stop_the_start(tmp_path: Path, settings: str) -> None:
    async with listening(tmp_path, "--config-json", settings) as (process, _):
        _, words = await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 2
        assert b"--config-json" in words


# --------------------------------------------------------------------------- another version


@contextlib.asynccontextmanager
async def speaking(first: Notice | bytes | None) -> AsyncIterator[socket.socket]:
    """A socket whose other end has said this, and no more (None: it closed at once)."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        if first is None:
            theirs.close()
        else:
            theirs.sendall(first if isinstance(first, bytes) else encode(first))
        yield ours


READY = Ready(version=1, fingerprint="AA", engine="python", pid=1)


@pytest.mark.parametrize(
    "first",
    [
        Ready(version=2, fingerprint="AA", engine="python", pid=1),
        Statistics(
            number=0,
            time=0.0,
            cpu_seconds=0.0,
            busiest_seconds=0.0,
            resident_bytes=0,
            loop_lag_ms=0.0,
            engine=EngineStatistics(transports=(), sources=(), sinks=(), counters={}),
        ),
        b"\xff" * 10,
        b"",
        None,
    ],
)
async def test_control_closes_on_a_version_it_does_not_know(first: Notice | bytes | None) -> None:
    async with speaking(first) as sock:
        with pytest.raises(MediaAway):
            async with attach(sock, ready_timeout=0.3):
                pytest.fail("it was taken for a media process")


async def test_junk_after_ready_ends_the_connection() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        theirs.sendall(encode(READY))
        async with attach(ours) as media:
            theirs.sendall(b"\xff" * 10)
            await asyncio.wait_for(media.gone.wait(), 2)
            assert "bytes" in media.reason


async def test_errors_inside_the_block_come_out_as_they_are() -> None:
    async with speaking(READY) as sock:
        with pytest.raises(KeyError):
            async with attach(sock):
                raise KeyError("mine")


async def test_lag_of_a_stopped_process_is_measured_and_logged_once_a_second(tmp_path: Path) -> None:
    async with listening(tmp_path, "--config-json", '{"statistics_interval": 0.1}') as (process, path):
        async with connect(path) as media:
            for _ in range(3):
                process.send_signal(signal.SIGSTOP)
                time.sleep(0.2)  # noqa: ASYNC251  both stand still, for longer than two looks are apart
                process.send_signal(signal.SIGCONT)
                await media.statistics()
            async for notice in media.notices():
                if isinstance(notice, Statistics) and notice.counters.get("loop_lag", 0) >= 3:
                    break
        _, log = await asyncio.wait_for(process.communicate(), 2)
    lines = [json.loads(line) for line in log.splitlines()]
    assert 1 <= sum(line["event"] == "loop_lag" for line in lines) <= 2
