"""PostgreSQL as a child process with a cluster of its own on a unix socket; to be killed and started again."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

USER: Final = "fengsui"
BINARIES: Final = Path("/usr/lib/postgresql")
START_TIMEOUT: Final = 30.0  # s
UNPRIVILEGED: Final = "postgres"  # the server refuses to run as root


class PostgresServer:
    """`url(name)` is what configurations take. fsync is off: what was committed survives a kill all the same."""

    def __init__(self, binaries: Path, folder: Path) -> None:
        self._binaries = binaries
        self.folder = folder
        self._account = UNPRIVILEGED if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count(1)
        self._made: set[str] = set()

    def make(self) -> None:
        """The cluster's files."""
        if self._account is not None:
            owner = pwd.getpwnam(self._account)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._run(
            *("initdb", "--pgdata", str(self.folder / "data"), "--username", USER),
            *("--auth", "trust", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )

    def start(self) -> None:
        """Returns when it answers."""
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._binaries / "postgres"),
                    *("-D", str(self.folder / "data"), "-k", str(self.folder)),
                    *("-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"),
                ],
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._account,
                group=self._account,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self.folder}"

    def new_database(self) -> str:
        """The URL of an empty one."""
        name = f"test{next(self._names)}"
        self._run("createdb", "--host", str(self.folder), "--username", USER, name)
        return self.url(name)

    def emptied(self) -> str:
        """The URL of one that is emptied each time: quicker than a new one, for tests that have it to themselves."""
        name = "emptied"
        if name not in self._made:
            self._run("createdb", "--host", str(self.folder), "--username", USER, name)
            self._made.add(name)
        again = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"
        self._run("psql", "--quiet", "--host", str(self.folder), "--username", USER, "--command", again, name)
        return self.url(name)

    def signal(self, number: int) -> None:
        """To all its processes; each child has a session of its own."""
        if self._process is None or self._process.poll() is not None:
            return
        main = self._process.pid
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        for pid in (main, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        if self._process is not None:
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
            self._process.wait()

    def log(self) -> str:
        return (self.folder.parent / f"{self.folder.name}.log").read_text(errors="replace")

    def _answers(self) -> bool:
        asked = subprocess.run(
            [str(self._binaries / "pg_isready"), "--quiet", "--host", str(self.folder)], check=False
        )
        return asked.returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._binaries / program), *arguments],
            capture_output=True,
            cwd="/",
            user=self._account,
            group=self._account,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")


@contextlib.contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for as long as the block runs; the test is skipped where there is none."""
    found = sorted(BINARIES.glob("*/bin/postgres"))
    if not found:
        pytest.skip("PostgreSQL is not installed")
    # not below pytest's folder, which only its own user may enter
    with tempfile.TemporaryDirectory(prefix="fengsui-postgres-") as outer:
        os.chmod(outer, 0o711)  # noqa: S103  the server's user goes through it
        folder = Path(outer) / "p"
        folder.mkdir(mode=0o700)
        server = PostgresServer(found[-1].parent, folder)
        server.make()
        server.start()
        try:
            yield server
        finally:
            server.kill()
