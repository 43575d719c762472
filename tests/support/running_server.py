"""The real server as a child process, driven only through its public interfaces (design: "Server under test").

    async with running_server(limits={"requests_per_minute": 60}) as server:
        admin = await server.setup_admin()
        token = await server.add_device("头盔一", unit="一号员")

Each keyword is a section of the configuration; ports are lasting ones and the data is in a temporary folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from support.ports import lasting_port

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD_TIMEOUT: Final = 90.0
START_TIMEOUT: Final = 60.0  # on a machine that is busy with other tests
STOP_TIMEOUT: Final = 10.0
PASSWORD: Final = "蓝鲸 walks 7 roofs"
CSRF: Final = "X-Fengsui-CSRF"

Settings = Mapping[str, Mapping[str, Any]]


class ServerFailed(AssertionError):
    """The server did not start or a command failed; the text holds what it said."""


@dataclass(kw_only=True)
class Account:
    """A logged-in person: a client with the session's cookie, and what every changing request needs."""

    client: aiohttp.ClientSession
    me: dict[str, Any]
    origin: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Origin": self.origin, CSRF: str(self.me["csrf"])}

    async def post(self, path: str, body: object = None) -> aiohttp.ClientResponse:
        return await self.client.post(
            self.origin + path, json=body if body is not None else {}, headers=self.headers
        )

    @property
    def cookie(self) -> str:
        """As the Cookie header says it."""
        cookies = self.client.cookie_jar.filter_cookies(URL(self.origin))
        return "; ".join(f"{name}={morsel.value}" for name, morsel in cookies.items())


@dataclass(kw_only=True)
class RunningServer:
    """`url` is https://127.0.0.1:port; `spki` is what Chromium takes as the certificate's exception."""

    folder: Path
    config: Path
    process: asyncio.subprocess.Process
    ready: dict[str, Any]
    _clients: list[aiohttp.ClientSession] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.ready["http_port"])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def spki(self) -> str:
        return str(self.ready["spki"])

    @property
    def setup_code(self) -> str:
        return str(self.ready["setup_code"])

    @property
    def udp_port(self) -> int:
        return int(self.ready["udp_port"])

    @property
    def tcp_port(self) -> int:
        return int(self.ready["tcp_port"])

    @property
    def pid(self) -> int:
        return int(self.ready["pid"])

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def ca(self) -> Path:
        """The CA certificate to trust."""
        return self.data / "tls" / "ca.pem"

    def ssl_context(self) -> ssl.SSLContext:
        """Trusts this server's CA and nothing else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.ca)
        return context

    def client(self, **options: Any) -> aiohttp.ClientSession:
        """An HTTP client that trusts the server, with its own cookies; closed with the server."""
        client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.ssl_context()),
            cookie_jar=aiohttp.CookieJar(unsafe=True),
            **options,
        )
        self._clients.append(client)
        return client

    async def setup_admin(
        self, username: str = "chief", name: str = "总值班", password: str = PASSWORD
    ) -> Account:
        """Do the first-run set-up; returns the logged-in administrator."""
        body = {"code": self.setup_code, "username": username, "password": password, "name": name}
        return await self._enter("/api/setup", body)

    async def login(self, username: str = "chief", password: str = PASSWORD) -> Account:
        return await self._enter("/api/login", {"username": username, "password": password})

    async def add_user(self, username: str, role: str, password: str = PASSWORD) -> Account:
        """Make an account through the command line and log in."""
        await self.cli("user", "add", username, "--role", role, "--password-stdin", stdin=password + "\n")
        return await self.login(username, password)

    async def add_device(self, name: str, unit: str, *options: str, stdin: str = "") -> str:
        """Make a device through the command line; returns its token ("" for a camera)."""
        return (await self.cli("device", "add", name, "--unit", unit, *options, stdin=stdin)).strip()

    async def cli(self, *arguments: str, stdin: str = "", check: bool = True) -> str:
        """Run `fengsui ...` beside the server; returns its standard output. Raises ServerFailed."""
        code, out, err = await run_cli(*arguments, "--config", str(self.config), stdin=stdin)
        if check and code != 0:
            raise ServerFailed(f"fengsui {' '.join(arguments)} ended with {code}\n{out}\n{err}")
        return out

    def log(self) -> str:
        """Everything the server has said so far."""
        return (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; returns the exit code."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        async with asyncio.timeout(STOP_TIMEOUT):
            return await self.process.wait()

    async def restart(self) -> None:
        """Start again with the same folder and ports, after `stop`."""
        pinned: Settings = {
            "http": {"port": self.port},
            "media": {key: self.ready[key] for key in ("udp_port", "tcp_port") if key in self.ready},
        }
        text = self.config.read_text(encoding="utf-8")
        settings = _merged(json.loads(text.splitlines()[0].removeprefix("# ")), pinned)
        _write_config(self.config, settings)
        self.process, self.ready = await _start(self.config, self.folder)

    async def _enter(self, path: str, body: dict[str, str]) -> Account:
        client = self.client()
        async with client.post(self.url + path, json=body, headers={"Origin": self.url}) as answer:
            if answer.status != 200:
                raise ServerFailed(f"POST {path}: {answer.status} {await answer.text()}")
            return Account(client=client, me=await answer.json(), origin=self.url)


def family(pid: int) -> list[int]:
    """A process and all below it."""
    lists = [(task / "children").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    children = [int(each) for text in lists for each in text.split()]
    return [pid, *(each for child in children for each in family(child))]


def media_pid(server: RunningServer) -> int:
    """The server's child that moves media."""
    for children in Path(f"/proc/{server.process.pid}/task").glob("*/children"):
        for pid in children.read_text().split():
            if b"\0media\0" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    raise AssertionError("the server has no media process")


async def run_cli(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
    """Run `fengsui`; returns its exit code and what it wrote."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "server",
        *arguments,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 60)
    return process.returncode or 0, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def running_server(
    *, folder: Path | None = None, **settings: Mapping[str, Any]
) -> AsyncIterator[RunningServer]:
    """A server that answers, for as long as the block runs. Raises ServerFailed with its log when it does not start;
    when the block fails the log's end is added to the exception."""
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fengsui-")))
        config = folder / "fengsui.toml"
        defaults: Settings = {
            "server": {"data": str(folder / "data"), "log_level": "debug"},
            "http": {"port": lasting_port()},
            "media": {"udp_port": lasting_port(), "tcp_port": lasting_port()},
        }
        _write_config(config, _merged(defaults, settings))
        process, ready = await _start_built(config, folder)
        server = RunningServer(folder=folder, config=config, process=process, ready=ready)
        try:
            yield server
        except BaseException as error:
            error.add_note("the server's log ends:\n" + server.log()[-6000:])
            raise
        finally:
            for client in server._clients:
                await client.close()
            await _end(server.process)


async def _start_built(config: Path, folder: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    """The server refuses a front end that is older than its sources, and somebody may be editing those just now."""
    for _ in range(3):
        await _build_console()
        try:
            return await _start(config, folder)
        except ServerFailed as error:
            if "make build" not in str(error):
                raise
            (folder / "server.log").unlink()
    raise ServerFailed("the console's sources change faster than they can be built")


async def _build_console() -> None:
    """A fresh build costs nothing here."""
    build = await asyncio.create_subprocess_exec(
        ROOT / ".ci" / "setup",
        "build",
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(build.communicate(), BUILD_TIMEOUT)
    if build.returncode != 0:
        raise ServerFailed("the console does not build:\n" + said.decode(errors="replace")[-3000:])


async def _start(config: Path, folder: Path) -> tuple[asyncio.subprocess.Process, dict[str, Any]]:
    ours, theirs = os.pipe()
    with (folder / "server.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "server",
            "serve",
            "--config",
            str(config),
            "--ready-fd",
            str(theirs),
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs,),
        )
    os.close(theirs)
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb")
    )
    try:
        async with asyncio.timeout(START_TIMEOUT):
            line = await reader.readline()
    except TimeoutError:
        line = b""
    finally:
        transport.close()
    if not line:
        await _end(process)
        said = (folder / "server.log").read_text(encoding="utf-8", errors="replace")
        raise ServerFailed(f"the server did not start (exit code {process.returncode}):\n{said[-6000:]}")
    return process, json.loads(line)


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)


def _merged(defaults: Settings, settings: Settings) -> dict[str, dict[str, Any]]:
    merged = {name: dict(section) for name, section in defaults.items()}
    for name, section in settings.items():
        merged.setdefault(name, {}).update(section)
    return merged


def _write_config(path: Path, settings: Settings) -> None:
    """As TOML; the first line is a comment with the same as JSON, to be read again by `restart`."""
    lines = ["# " + json.dumps(settings)]
    _write_tables(lines, "", settings)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.chmod(0o600)


def _write_tables(lines: list[str], prefix: str, table: Mapping[str, Any]) -> None:
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines.append(f"[{prefix}{key}]")
            plain = {name: one for name, one in value.items() if not isinstance(one, Mapping)}
            lines += [f"{name} = {json.dumps(one, ensure_ascii=False)}" for name, one in plain.items()]
            nested = {name: one for name, one in value.items() if isinstance(one, Mapping)}
            _write_tables(lines, f"{prefix}{key}.", nested)
