"""`python -m media`: the media process. The control process starts it (`media.client.MediaProcess`)."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import functools
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import structlog

from media import log
from media.egress.recordings import WorkerRecordings
from media.ingest.workers import WorkerPulls
from media.memory import calm_collector
from media.priority import go_first
from media.private_folder import private_folder
from media.serving import ENGINES, MediaService
from media.settings import MediaSettings, load_settings

PR_SET_PDEATHSIG = 1  # prctl(2)
BAD_USAGE = 2


def main(arguments: list[str] | None = None) -> int:
    """Run until control is gone. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m media", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--fd", type=int, help="an inherited, connected Unix stream socket to control")
    where.add_argument(
        "--socket", type=Path, help="a Unix socket to listen on for the one control connection"
    )
    parser.add_argument("--config-json", default="{}", help="media.settings.MediaSettings as JSON")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(options.config_json)
        log.configure(settings.log_level)
        service_settings(settings)
    except (msgspec.DecodeError, KeyError) as error:
        print(f"python -m media: --config-json: {error}", file=sys.stderr)
        return BAD_USAGE
    if options.fd is not None:
        die_with_parent()
        connected, listening = socket.socket(fileno=options.fd), None
        connected.setblocking(False)
    else:
        connected, listening = None, listen(options.socket)
    try:
        go_first()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            calm_collector()
            runner.run(serve(settings, listening, connected))
    finally:
        if options.socket is not None:
            options.socket.unlink(missing_ok=True)
    return 0


def service_settings(settings: MediaSettings) -> None:
    """Raises KeyError when the settings name an engine that is not here."""
    if settings.engine not in ENGINES:
        raise KeyError(f"engine {settings.engine!r} is not one of {', '.join(ENGINES)}")


async def serve(
    settings: MediaSettings, listening: socket.socket | None, connected: socket.socket | None
) -> None:
    structlog.get_logger().info(
        "media_started", pid=os.getpid(), loop=type(asyncio.get_running_loop()).__module__
    )
    with private_folder() as folder:
        pulls = functools.partial(WorkerPulls, folder, settings.pull_retry_min, settings.pull_retry_max)
        recordings = functools.partial(
            WorkerRecordings, folder, settings.recordings, settings.recordings_reserve
        )
        service = MediaService(settings, pulls=pulls, recordings=recordings if settings.recordings else None)
        await service.run(listening, connected)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed, else asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def listen(path: Path) -> socket.socket:
    """Bind for this user only. A file a dead process left behind makes way. Raises OSError.

    The name appears when connections are taken, not before.
    """
    early = path.with_name(f"{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        sock.bind(str(early))
    finally:
        os.umask(old)
    sock.listen(4)
    sock.setblocking(False)
    early.rename(path)
    return sock


def die_with_parent() -> None:
    """SIGTERM when the thread that started us ends (prctl(2)); the end of the control socket says the same."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
