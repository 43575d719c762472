"""`fengsui agent`: publish a file, a capture device, an RTSP camera or a simulated scene to a server, for ever."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from media.agent.agent import AgentState
    from media.agent.tracks import Tracks

SCENE = "scene:"


def agent(
    source: Annotated[
        str,
        typer.Argument(
            help="a file (looped), /dev/videoN, rtsp://… or scene:NUMBER:NAME (a simulated picture)"
        ),
    ],
    server: Annotated[str, typer.Option(help="address of the server, https://host:port")],
    token_file: Annotated[
        Path | None,
        typer.Option(help="file with the device's token, mode 0600; without it FENGSUI_TOKEN is read"),
    ] = None,
    ca: Annotated[
        Path | None, typer.Option(help="the server's CA certificate (PEM, from https://server/ca)")
    ] = None,
    channel: Annotated[str, typer.Option(help="channel of the device")] = "main",
    codec: Annotated[str, typer.Option(help="h264 or vp8")] = "h264",
) -> None:
    """Publish a picture and sound from this machine; comes back by itself after any loss."""
    if codec not in ("h264", "vp8"):
        raise typer.BadParameter("codec is h264 or vp8", param_hint="--codec")
    try:
        from media.agent.agent import AgentSettings, FieldAgent
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"the agent needs the extra packages: pip install 'fengsui[agent]' ({error.name} is missing)"
        ) from error
    token = _token(token_file)
    tls = _trust(ca)
    runner = FieldAgent(
        AgentSettings(server=server, token=token, channel=channel, codec=codec),
        _opener(source),
        tls,
        _report,
    )
    asyncio.run(_until_stopped(runner.run()))


def _token(token_file: Path | None) -> str:
    if token_file is None:
        token = os.environ.get("FENGSUI_TOKEN", "")
    else:
        try:
            if token_file.stat().st_mode & 0o077:
                raise typer.BadParameter(
                    f"others can read {token_file}: chmod 600 it", param_hint="--token-file"
                )
            token = token_file.read_text().strip()
        except OSError as error:
            raise typer.BadParameter(f"{token_file}: {error.strerror}", param_hint="--token-file") from error
    if not token.startswith("fsd_"):
        raise typer.BadParameter(
            "a device token begins with fsd_; make one with `fengsui device add` on the server",
            param_hint="--token-file",
        )
    return token


def _trust(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise typer.BadParameter(
            f"{ca} is not a readable PEM certificate: {error}", param_hint="--ca"
        ) from error


def _opener(source: str) -> Callable[[], Tracks]:
    from media.agent.scene import Scene
    from media.agent.tracks import open_scene, open_source

    if not source.startswith(SCENE):
        return lambda: open_source(source)
    number, _, name = source.removeprefix(SCENE).partition(":")
    if not number.isdigit() or not 0 <= int(number) <= 255 or not name:
        raise typer.BadParameter(
            "a scene is scene:NUMBER:NAME with a number of 0 to 255", param_hint="SOURCE"
        )
    return lambda: open_scene(Scene(name=name, number=int(number)))


def _report(state: AgentState) -> None:
    line = {
        "connecting": "connecting …",
        "live": "live",
        "waiting": f"not live: {state.reason}; next try in {state.retry_in:g} s",
    }[state.state]
    print(line, file=sys.stderr, flush=True)


async def _until_stopped(run: Coroutine[None, None, None]) -> None:
    """Run until SIGTERM or Ctrl-C, then let it end its session."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(run)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        return
