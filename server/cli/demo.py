"""`fengsui demo`: a server with simulated field units that send real media through its public interfaces."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from media.agent.rtsp_camera import CameraSettings, CameraUnavailable, SimulatedCamera
from media.agent.scene import Scene
from server.auth.devices import Camera
from server.auth.permissions import Role
from server.cli.common import operator
from server.config import load_config
from server.groups.membership import GroupKind, MemberKind, MemberRecord
from server.groups.stored import Author, StoredGroups
from server.log import logging_to
from server.model.errors import FengsuiError, NotFound
from server.people import People, open_people

START_TIMEOUT: Final = 60.0  # s
STOP_TIMEOUT: Final = 10.0
CAMERA_USER, CAMERA_UNIT, CAMERA_NAME = "demo", "青山水库", "大坝枪机"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldUnit:
    """One simulated unit: `number` is in the picture's colour code, `codec` h264 or vp8."""

    unit: str
    device: str
    kind: str
    number: int
    codec: str


GROUPS: Final = (
    ("搜救一组", GroupKind.STATIC),
    ("医疗保障", GroupKind.STATIC),
    ("指挥广播", GroupKind.BROADCAST),
)
UNITS: Final = (
    FieldUnit(unit="突击一队", device="单兵记录仪", kind="rescuer", number=1, codec="h264"),
    FieldUnit(unit="无人机 01", device="云台相机", kind="drone", number=2, codec="vp8"),
    FieldUnit(unit="前方指挥车", device="车顶相机", kind="vehicle", number=3, codec="h264"),
)

console = Console(highlight=False, soft_wrap=True)


def demo(
    data: Annotated[Path, typer.Option(help="folder that the demo keeps its accounts and keys in")] = Path(
        "demo-data"
    ),
    port: Annotated[int, typer.Option(help="HTTPS and media port; ICE-TCP takes the next one")] = 8443,
    camera_port: Annotated[int, typer.Option(help="port of the simulated RTSP camera")] = 8554,
    ready_fd: Annotated[
        int | None, typer.Option(help="write one JSON line to this file descriptor when everything runs")
    ] = None,
) -> None:
    """Start a server with three simulated field units and a camera, and say what to try. Ctrl-C ends it all."""
    sys.exit(asyncio.run(_demo(data, port, camera_port, ready_fd)))


async def _demo(data: Path, port: int, camera_port: int, ready_fd: int | None) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        camera = await _start_camera(stack, camera_port)
        config = _write_config(data, port, camera)
        tokens = await _prepare(config, camera)
        server = await stack.enter_async_context(_child("serve", "--config", str(config), ready=True))
        if server.ready is None:
            return await server.process.wait()
        url = f"https://127.0.0.1:{server.ready['http_port']}"
        for unit in UNITS:
            await stack.enter_async_context(
                _child(
                    "agent",
                    f"scene:{unit.number}:{unit.unit}",
                    *("--server", url, "--ca", str(data / "tls" / "ca.pem"), "--codec", unit.codec),
                    token=tokens[unit.device],
                    log=data / f"agent-{unit.number}.log",
                )
            )
        _explain(url, str(server.ready["setup_code"]), camera is not None)
        if ready_fd is not None:
            with os.fdopen(ready_fd, "w") as file:
                file.write(json.dumps(server.ready) + "\n")
        ended = asyncio.create_task(server.process.wait())
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, asked), return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        return ended.result() if ended.done() else 0


async def _start_camera(stack: contextlib.AsyncExitStack, port: int) -> SimulatedCamera | None:
    settings = CameraSettings(
        scene=Scene(name=f"{CAMERA_UNIT} {CAMERA_NAME}", number=6),
        port=port,
        user=CAMERA_USER,
        password=os.urandom(9).hex(),
    )
    try:
        return await stack.enter_async_context(SimulatedCamera(settings))
    except (CameraUnavailable, OSError) as error:
        console.print(f"[yellow]no simulated camera:[/] {error}")
        return None


def _write_config(data: Path, port: int, camera: SimulatedCamera | None) -> Path:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = data / "demo.toml"
    config.write_text(
        "# Written anew at each start of the demo.\n"
        f"[server]\nname = '烽燧演示'\ndata = '{data}'\n"
        f"[http]\nport = {port}\n[media]\nudp_port = {port}\ntcp_port = {port + 1 if port else 0}\n"
        f"[ingest.rtsp]\nenabled = true\nnetworks = ['127.0.0.1/32']\n"
        f"ports = [{camera.port if camera else 8554}]\n",
        encoding="utf-8",
    )
    config.chmod(0o600)
    return config


async def _prepare(config: Path, camera: SimulatedCamera | None) -> dict[str, str]:
    """The demo's devices; a token for each unit by its device's name."""
    with logging_to(level="warning"):
        async with open_people(load_config(config)) as people:
            tokens = {unit.device: await _token(people, unit) for unit in UNITS}
            await _add_groups(people)
            await _add_camera(people, camera)
    return tokens


async def _token(people: People, unit: FieldUnit) -> str:
    try:
        _, token = await people.devices.renew_token(unit.device, actor=operator())
    except NotFound:
        _, token = await people.devices.add(
            name=unit.device, unit=unit.unit, unit_kind=unit.kind, actor=operator()
        )
    return token


async def _add_groups(people: People) -> None:
    """Talk groups to try: every phone is in the first two, the third is spoken by officers only."""
    stored = StoredGroups(people.database, people.audit, people.clock)
    known = {record.name for record in (await stored.load())[0]}
    members = [MemberRecord(kind=MemberKind.ROLE, subject=role) for role in (Role.GUEST, Role.FIELD)]
    author = Author(actor=operator(), name=operator(), user=operator(), address="")
    for name, kind in GROUPS:
        if name not in known:
            await stored.create(name=name, kind=kind, members=members, expires=None, author=author)


async def _add_camera(people: People, camera: SimulatedCamera | None) -> None:
    """The camera has a new password at each start, so its device is made anew."""
    with contextlib.suppress(FengsuiError):
        await people.devices.revoke(CAMERA_NAME, actor=operator())
    if camera is not None:
        await people.devices.add(
            name=CAMERA_NAME,
            unit=CAMERA_UNIT,
            unit_kind="camera",
            camera=Camera(url=camera.url, username=CAMERA_USER, password=camera.password),
            actor=operator(),
        )


@dataclass(frozen=True, slots=True)
class _Running:
    process: asyncio.subprocess.Process
    ready: dict[str, object] | None


@contextlib.asynccontextmanager
async def _child(
    *arguments: str, ready: bool = False, token: str = "", log: Path | None = None
) -> AsyncIterator[_Running]:
    """`fengsui ARGUMENTS` as a child that ends with the block."""
    read, write = os.pipe() if ready else (-1, -1)
    output = None if log is None else await asyncio.to_thread(log.open, "ab")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "server",
        *arguments,
        *(("--ready-fd", str(write)) if ready else ()),
        pass_fds=(write,) if ready else (),
        env=os.environ | ({"FENGSUI_TOKEN": token} if token else {}),
        stderr=output,
        process_group=0,  # a Ctrl-C is ours alone to hand on
    )
    if output is not None:
        output.close()
    line = b""
    if ready:
        os.close(write)
        line = await _first_line(read)
    try:
        yield _Running(process, json.loads(line) if line else None)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _first_line(fd: int) -> bytes:
    """The line, or nothing when the child ended before it wrote one."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb")
    )
    try:
        return await asyncio.wait_for(reader.readline(), START_TIMEOUT)
    finally:
        transport.close()


def _explain(url: str, setup_code: str, camera: bool) -> None:
    console.print()
    if setup_code:
        console.print(
            f"  1. open [bold]{url}/setup[/] and make the administrator; set-up code [bold]{setup_code}[/]"
        )
    else:
        console.print(f"  1. open [bold]{url}[/] and log in")
    units = "、".join(unit.unit for unit in UNITS) + (f"、{CAMERA_UNIT} (RTSP)" if camera else "")
    console.print(f"  2. on the video wall (视频墙) place the live units: {units}")
    console.print("  3. 邀请手机: scan the QR code with a phone on the same network and go live from it")
    console.print(
        "  4. talk: 开始值班 on the console, then hold F8; the phone has a talk key of its own"
        f" (groups: {'、'.join(name for name, _ in GROUPS)})"
    )
    console.print(
        "  5. pull the plug: stop a unit's process and see its tile say so; it comes back by itself"
    )
    console.print(
        "  The certificate is the server's own: the browser warns once, or trust the CA from /ca. Ctrl-C ends it.\n"
    )
