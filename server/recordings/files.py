"""The files of recordings, on disk. Everything here blocks: call it in a thread."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from server.model.errors import NotFound
from server.recordings.ogg import NotOgg, Probe, probe

PATH: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,64}/){0,4}[A-Za-z0-9_-]{1,64}\.ogg")
MAX_PROBED: Final = 256 * 1024 * 1024  # bytes; the recorder stops long before


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file as it is. `probe` None: it is no recording, or nothing is in it. `modified`: wallclock s."""

    bytes: int
    sha256: str
    modified: float
    probe: Probe | None


def new_path(wallclock: float) -> str:
    """A folder a day (UTC), and a name of 128 random bits that nobody can guess."""
    return f"{datetime.fromtimestamp(wallclock, UTC):%Y-%m-%d}/{secrets.token_hex(16)}.ogg"


def inside(root: Path, path: str) -> Path:
    """The file of a path of the index. Raises NotFound: no path of ours, a link, something outside, or not there."""
    if not PATH.fullmatch(path):
        raise NotFound("there is no such recording")
    whole = root / path
    try:
        resolved = whole.resolve(strict=True)
        regular = stat.S_ISREG(whole.lstat().st_mode)
    except (OSError, RuntimeError) as error:
        raise NotFound("the recording's file is not there") from error
    if not regular or resolved != root.resolve() / path:
        raise NotFound("there is no such recording")
    return resolved


def look(root: Path, path: str) -> Found | None:
    """None when there is no such file."""
    try:
        with inside(root, path).open("rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MAX_PROBED)
    except (NotFound, OSError):
        return None
    found: Probe | None = None
    with contextlib.suppress(NotOgg):
        found = probe(data)
    return Found(
        bytes=status.st_size, sha256=hashlib.sha256(data).hexdigest(), modified=status.st_mtime, probe=found
    )


def remove(root: Path, path: str) -> bool:
    """Remove a recording's file, durably. False = there was none. Raises OSError."""
    try:
        file = inside(root, path)
        file.unlink()
    except (NotFound, FileNotFoundError):
        return False
    handle = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    with contextlib.suppress(OSError):  # a day's folder that is empty now
        if file.parent != root.resolve():
            file.parent.rmdir()
    return True


def every_path(root: Path) -> Iterator[str]:
    """Paths of all files that could be recordings."""
    for folder, _, names in os.walk(root):
        for name in names:
            path = str((Path(folder) / name).relative_to(root))
            if PATH.fullmatch(path):
                yield path


def room(root: Path) -> tuple[int, int]:
    """Free and all bytes of the disk of `root`, which is made when it is not there. Raises OSError."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    usage = shutil.disk_usage(root)
    return usage.free, usage.total
