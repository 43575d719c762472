"""`fengsui doctor`: looks at everything a server needs and says what to do about what is missing.

Each check is one row of CHECKS: a name and a function from the configuration to findings. Exit code 1 when one fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib.util
import ipaddress
import json
import os
import resource
import shutil
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from server.addresses import interface_addresses
from server.cli.common import ConfigOption
from server.config import Config, load_config
from server.datafolder import MEGABYTE, REFUSE_BELOW, WARN_BELOW, free_bytes
from server.start_error import StartError
from server.storage.engine import StorageAway, connect_database, database_url
from server.storage.migrations import HEAD, version_of

State = Literal["ok", "warn", "fail"]

PLAUSIBLE_AFTER: Final = 1_767_225_600.0  # 2026-01-01
OPEN_FILES: Final = 4096
ANSWER: Final = 15.0  # s in which the database must answer
CODECS: Final = ("libx264", "libvpx", "libopus", "h264", "vp8", "opus", "aac", "pcm_alaw", "pcm_mulaw")
PRIVATE: Final = ("secrets.key", "metrics.token", "fengsui.sqlite3", "tls/ca.key", "tls/server.key")
MARKS: Final = {"ok": "[green]✓ ok[/]", "warn": "[yellow]! warn[/]", "fail": "[red]✗ fail[/]"}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    check: str
    state: State
    detail: str
    remedy: str = ""


Check = Callable[[Config], Iterator[tuple[State, str, str]]]


def ports(config: Config) -> Iterator[tuple[State, str, str]]:
    """Free, or held by our own server on the same data folder."""
    ours = _running(config.data)
    for name, host, port, kind in (
        ("http.port", config.http.host, config.http.port, socket.SOCK_STREAM),
        ("media.tcp_port", config.media.host, config.media.tcp_port, socket.SOCK_STREAM),
        ("media.udp_port", config.media.host, config.media.udp_port, socket.SOCK_DGRAM),
    ):
        shown = f"{port}/{'tcp' if kind == socket.SOCK_STREAM else 'udp'}"
        problem = _bind_problem(host, port, kind)
        if not problem:
            yield "ok", f"{shown} is free", ""
        elif ours:
            yield "ok", f"{shown} is in use; Fengsui is running (process {ours})", ""
        else:
            yield "fail", f"{shown}: {problem}", f"stop the program that has it, or set another {name}"


def addresses(config: Config) -> Iterator[tuple[State, str, str]]:
    """What clients are told to send media to."""
    offered = list(config.media.addresses) or (
        [config.media.host] if config.media.host else interface_addresses()
    )
    if config.media.public_address:
        offered.append(config.media.public_address)
    if all(ipaddress.ip_address(one).is_loopback for one in offered):
        yield (
            "warn",
            f"only {', '.join(offered) or 'none'}: no other machine can send pictures",
            "connect this machine to a network, or set media.addresses",
        )
        return
    yield "ok", ", ".join(offered), ""
    own = {*interface_addresses(), "127.0.0.1", "::1"}
    for one in (*config.media.addresses, config.media.host):
        if one and one not in own:
            yield "warn", f"{one} is no address of this machine", "correct media.addresses or media.host"


def codecs(config: Config) -> Iterator[tuple[State, str, str]]:
    """What pictures and sound are made and read with."""
    try:
        import av
    except ImportError as error:
        yield "fail", f"PyAV cannot be loaded: {error}", "install the packages again: make setup"
        return
    missing = [name for name in CODECS if name not in av.codecs_available]
    if missing:
        yield (
            "fail",
            f"PyAV lacks {', '.join(missing)}",
            "install PyAV's own wheel: pip install --force-reinstall av",
        )
    else:
        yield "ok", f"PyAV {av.__version__} has {', '.join(CODECS)}", ""


def ffmpeg(config: Config) -> Iterator[tuple[State, str, str]]:
    """Only the demo and some cameras need it."""
    found = shutil.which("ffmpeg")
    if found is None:
        yield "warn", "ffmpeg is not installed: no demo camera, no SRT", "apt-get install ffmpeg"
        return
    said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    yield "ok", said.stdout.splitlines()[0] if said.stdout else found, ""


def disk(config: Config) -> Iterator[tuple[State, str, str]]:
    """Room where the data is, or will be."""
    folder = next(path for path in (config.data, *config.data.parents) if path.exists())
    free = free_bytes(folder)
    detail = f"{free // MEGABYTE} MB free at {folder}"
    if free < REFUSE_BELOW:
        yield "fail", detail, "make room: the server does not start below 20 MB"
    elif free < WARN_BELOW:
        yield "warn", detail, "make room, or set server.data to a folder on another disk"
    else:
        yield "ok", detail, ""
    if not os.access(folder, os.W_OK | os.X_OK):
        yield "fail", f"{folder} cannot be written", "give it to the server's user, or set server.data"


def database(config: Config) -> Iterator[tuple[State, str, str]]:
    """Its driver is there, it answers, and its tables are ours."""
    shown = "storage.url"
    try:
        url = database_url(config.storage.url, config.data)
        shown = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
            yield "ok", f"none yet; the first start makes {url.database}", ""
            return
        version = asyncio.run(_tables(config))
    except StartError as error:
        yield "fail", str(error), error.remedy
    except (StorageAway, TimeoutError) as error:
        why = str(error) or "it does not answer"
        yield "fail", f"{shown} cannot be used: {why}", "look at storage.url and the server it names"
    else:
        if version is None:
            yield "ok", f"{shown} answers; the first start makes its tables", ""
        elif version == HEAD:
            yield "ok", f"{shown} answers", ""
        elif version < HEAD:
            yield "ok", f"{shown} answers; the next start brings its tables from {version} to {HEAD}", ""
        else:
            yield (
                "fail",
                f"{shown} has tables of a later version ({version})",
                "install that version of Fengsui",
            )


async def _tables(config: Config) -> str | None:
    async with (
        asyncio.timeout(ANSWER),
        connect_database(config.storage.url, config.data) as opened,
        opened.read() as connection,
    ):
        return await connection.run_sync(version_of)


def clock(config: Config) -> Iterator[tuple[State, str, str]]:
    """Set at all, and kept by NTP."""
    now = time.time()
    shown = datetime.datetime.fromtimestamp(now).astimezone().isoformat(timespec="seconds")
    if now < PLAUSIBLE_AFTER:
        yield "fail", f"{shown} cannot be", "set the clock: timedatectl set-time, or start NTP"
        return
    synchronised = _ntp_synchronised()
    if synchronised is None:
        yield "ok", f"{shown}; whether NTP keeps it is not known here", ""
    elif synchronised:
        yield "ok", f"{shown}, kept by NTP", ""
    else:
        yield "warn", f"{shown}, not kept by NTP", "timedatectl set-ntp true: evidence needs the right time"


def certificate(config: Config) -> Iterator[tuple[State, str, str]]:
    """The one in use, or that one will be made."""
    from cryptography import x509

    path = Path(config.tls.certificate) if config.tls.certificate else config.data / "tls" / "server.pem"
    if not config.tls.certificate and not path.exists():
        yield "ok", "none yet; the first start makes a local CA and a certificate", ""
        return
    try:
        leaf = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        yield "fail", f"{path}: {error}", "check tls.certificate: PEM, readable by the server"
        return
    days = (leaf.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days
    detail = f"{path} is valid for {days} days"
    if days < 0:
        yield "fail", f"{path} has expired", "replace it"
    elif days < 14:
        yield "warn", detail, "renew it; it is taken over without a restart"
    else:
        yield "ok", detail, ""


def front_end(config: Config) -> Iterator[tuple[State, str, str]]:
    """Built, and from these sources."""
    from web_console.assets import FrontEnd, FrontEndMissing

    try:
        loaded = FrontEnd.load()
    except FrontEndMissing as error:
        yield "fail", error.problem, error.remedy
        return
    yield "ok", f"{len(loaded.assets)} files for {', '.join(sorted(loaded.entries))}", ""


def relay_engine(config: Config) -> Iterator[tuple[State, str, str]]:
    """Which engine moves the packets."""
    build = "install Rust 1.85 or later (cargo) and a C compiler, then run make setup"
    built = importlib.util.find_spec("media._native") is not None
    if config.media.engine == "native" and not built:
        yield (
            "fail",
            "media.engine is native, which was not built here",
            f"{build}, or set media.engine to auto",
        )
    elif config.media.engine == "python" or not built:
        yield (
            "ok",
            "the one in Python; the native one carries several times as many viewers",
            "" if built else build,
        )
    else:
        yield "ok", "the native one", ""


def modes(config: Config) -> Iterator[tuple[State, str, str]]:
    """Nobody else reads keys, tokens and the database."""
    if not config.data.exists():
        yield "ok", f"{config.data} will be made with mode 0700", ""
        return
    if stat.S_IMODE(config.data.stat().st_mode) & 0o077:
        yield "fail", f"others can look into {config.data}", f"chmod 700 {config.data}"
    open_to_others = [
        path
        for path in (config.data / name for name in PRIVATE)
        if path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    for path in open_to_others:
        yield "fail", f"others can read {path}", f"chmod 600 {path}"
    if not open_to_others:
        yield "ok", f"{config.data} and its keys are private", ""


def open_files(config: Config) -> Iterator[tuple[State, str, str]]:
    """Each connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(OPEN_FILES, config.http.max_connections + 1000)
    if soft >= wanted:
        yield "ok", f"{soft} open files are allowed", ""
    else:
        yield (
            "warn",
            f"{soft} open files are allowed, {wanted} could be needed",
            f"ulimit -n {wanted} (hard limit {hard}), or LimitNOFILE={wanted} in the systemd unit",
        )


CHECKS: Final[dict[str, Check]] = {
    "ports": ports,
    "addresses": addresses,
    "codecs": codecs,
    "ffmpeg": ffmpeg,
    "disk": disk,
    "database": database,
    "clock": clock,
    "certificate": certificate,
    "front end": front_end,
    "relay engine": relay_engine,
    "file modes": modes,
    "open files": open_files,
}


def examine(config: Config) -> list[Finding]:
    """Every check, in order; one that fails by itself is a finding."""
    found = []
    for name, check in CHECKS.items():
        try:
            results = list(check(config))
        except Exception as error:
            results = [("fail", f"this check broke: {error!r}", "please report it")]
        found += [
            Finding(check=name, state=state, detail=detail, remedy=remedy)
            for state, detail, remedy in results
        ]
    return found


def doctor(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object instead of a table")] = False,
) -> None:
    """Check this machine, and say what to do about what is wrong."""
    try:
        found = [Finding(check="configuration", state="ok", detail=str(config or "every default"))]
        found += examine(load_config(config))
    except StartError as error:
        found = [Finding(check="configuration", state="fail", detail=str(error), remedy=error.remedy)]
    failed = any(finding.state == "fail" for finding in found)
    if as_json:
        typer.echo(
            json.dumps({"ok": not failed, "checks": msgspec.to_builtins(found)}, ensure_ascii=False, indent=1)
        )
    else:
        rows = Table("check", "", "what", "remedy")
        for finding in found:
            rows.add_row(finding.check, MARKS[finding.state], finding.detail, finding.remedy)
        Console(soft_wrap=True, emoji=False).print(rows)
    raise typer.Exit(1 if failed else 0)


def _running(data: Path) -> int:
    """The process of the server that uses the folder, 0 = none."""
    import fcntl

    with contextlib.suppress(OSError, ValueError), (data / "server.lock").open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return int(file.read(20))
    return 0


def _bind_problem(host: str, port: int, kind: socket.SocketKind) -> str:
    family = socket.AF_INET if host and ":" not in host else socket.AF_INET6
    try:
        with socket.socket(family, kind) as sock:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.bind((host, port))
            if kind == socket.SOCK_STREAM:
                sock.listen()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _ntp_synchronised() -> bool | None:
    """What systemd says; None = nobody knows."""
    tool = shutil.which("timedatectl")
    if tool is None:
        return None
    try:
        said = subprocess.run(  # noqa: S603
            [tool, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(said)
