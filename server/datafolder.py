"""The folder that holds everything a server keeps: made with mode 0700, used by one server at a time, watched for
room.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from server.start_error import StartError

MEGABYTE: Final = 1_000_000
WARN_BELOW: Final = 200 * MEGABYTE
REFUSE_BELOW: Final = 20 * MEGABYTE
METRICS_TOKEN: Final = "metrics.token"  # noqa: S105 - a file's name


class FolderUnusable(StartError):
    """The data folder cannot be used."""


def prepare_folder(folder: Path) -> None:
    """Make the folder and see that it can be written, is private and has room. Raises FolderUnusable."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if mode & 0o077:
            folder.chmod(0o700)
        free = free_bytes(folder)
        if free < REFUSE_BELOW:
            raise FolderUnusable(
                f"the disk of {folder} is full: {free // MEGABYTE} MB free, at least {REFUSE_BELOW // MEGABYTE} needed",
                "make room on it, or set server.data to a folder on another disk",
            )
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"fengsui")
        probe.unlink()
    except OSError as error:
        raise FolderUnusable(
            f"the data folder {folder} cannot be written: {error.strerror}",
            "set server.data to a folder that the server's user owns",
        ) from error


def free_bytes(folder: Path) -> int:
    """Room for unprivileged users on the folder's disk."""
    return shutil.disk_usage(folder).free


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder for this server. Raises FolderUnusable when another one has it."""
    with (folder / "server.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise FolderUnusable(
                f"another server (process {file.read(20).strip() or 'unknown'}) uses the data folder {folder}",
                "stop it, or set another server.data",
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def metrics_token(folder: Path) -> Path:
    """The file with the secret of whoever reads /metrics without a session; made once, mode 0600. Raises OSError."""
    path = folder / METRICS_TOKEN
    with contextlib.suppress(FileExistsError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
    return path
