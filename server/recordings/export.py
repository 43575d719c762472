"""Recordings copied out of the server: the sound as it was recorded, and what proves it. Blocks: call it in a thread.

    20261126T121300Z-019ac0….ogg   one for each recording, byte for byte
    index.csv                      for people: who, when, where, how long (opens in a spreadsheet)
    index.json                     for a court: all that the index knows, and where in the audit chain the export stands
    SHA256SUMS                     for `sha256sum -c`, and for `verify_export`

Files are named by the server, never by what somebody called himself.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from server.model.errors import BadRequest, FengsuiError
from server.recordings import files
from server.recordings.spurts import Spurt

CHUNK: Final = 1 << 20
INDEX: Final = "index.json"
TABLE: Final = "index.csv"
SUMS: Final = "SHA256SUMS"
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would calculate
COLUMNS: Final = (
    *("file", "id", "started", "seconds", "talker", "leg", "unit", "groups", "called"),
    *("emergency", "lat", "lon", "state", "evidence", "bytes", "sha256", "problem"),
)


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """`problem` "" = byte for byte what was recorded; else missing, or changed: it is copied all the same."""

    file: str
    sha256: str
    problem: str
    spurt: Spurt


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """The entry of the audit log that tells of the export."""

    number: int
    hash: str


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """What `index.json` holds. Times: wallclock s since 1970 UTC, of the server's clock."""

    server: str
    exported: float
    exported_by: str
    reason: str
    audit: Chain
    recordings: tuple[Exported, ...]


class ExportFailed(FengsuiError):
    """The folder cannot be written."""


def file_name(spurt: Spurt) -> str:
    return f"{datetime.fromtimestamp(spurt.started, UTC):%Y%m%dT%H%M%SZ}-{spurt.id}.ogg"


def prepare(folder: Path) -> None:
    """An empty folder that others cannot read. Raises BadRequest, ExportFailed."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadRequest(f"{folder} is not empty: an export is a folder of its own", field="to")
    except OSError as error:
        raise ExportFailed(f"{folder} cannot be written: {error.strerror}") from error


def copy(root: Path, spurts: Iterable[Spurt], folder: Path) -> list[Exported]:
    """The sound files. Raises ExportFailed."""
    return [_copy(root, spurt, folder) for spurt in spurts]


def _copy(root: Path, spurt: Spurt, folder: Path) -> Exported:
    name, found = file_name(spurt), hashlib.sha256()
    try:
        source = files.inside(root, spurt.path).open("rb")
    except (FengsuiError, OSError):
        return Exported(file="", sha256="", problem="missing", spurt=spurt)
    try:
        with source, _create(folder / name) as target:
            while chunk := source.read(CHUNK):
                found.update(chunk)
                target.write(chunk)
            target.flush()
            os.fsync(target.fileno())
    except OSError as error:
        raise ExportFailed(f"{folder / name} cannot be written: {error.strerror}") from error
    sha256 = found.hexdigest()
    return Exported(
        file=name, sha256=sha256, problem="" if sha256 == spurt.sha256 else "changed", spurt=spurt
    )


def _create(path: Path) -> BinaryIO:
    """A new file that others cannot read. Raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def write_index(folder: Path, index: Index) -> None:
    """Raises ExportFailed."""
    sums = "".join(f"{one.sha256}  {one.file}\n" for one in index.recordings if one.file)
    encoded = msgspec.json.format(msgspec.json.encode(index), indent=2)
    table = table_of(index.recordings).encode(
        "utf-8-sig"
    )  # a spreadsheet takes it for UTF-8 by its first bytes
    try:
        for name, data in ((INDEX, encoded + b"\n"), (TABLE, table), (SUMS, sums.encode())):
            with _create(folder / name) as file:
                file.write(data)
    except OSError as error:
        raise ExportFailed(f"{folder} cannot be written: {error.strerror}") from error


def table_of(recordings: Sequence[Exported]) -> str:
    """Text in cells stays text, whatever it begins with. Pure."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for one in recordings:
        writer.writerow([_inert(cell) for cell in _cells(one)])
    return out.getvalue()


def _cells(one: Exported) -> tuple[object, ...]:
    spurt = one.spurt
    place = spurt.place
    return (
        one.file,
        spurt.id,
        datetime.fromtimestamp(spurt.started, UTC).isoformat(timespec="milliseconds"),
        f"{spurt.duration:.2f}",
        spurt.talker.name,
        spurt.talker.leg,
        spurt.talker.unit,
        " · ".join(group.name for group in spurt.groups),
        spurt.peer.name if spurt.peer else "",
        "yes" if spurt.emergency else "",
        place.lat if place else "",
        place.lon if place else "",
        spurt.state.value,
        f"{spurt.held_by}: {spurt.held_why}" if spurt.hold else "",
        spurt.bytes,
        one.sha256,
        one.problem,
    )


def _inert(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def verify_export(folder: Path) -> list[tuple[str, str]]:
    """What is wrong with an export: (file, missing or changed); none = it is as it was made. Raises BadRequest."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{folder} is no export: it has no {SUMS}", field="folder") from error
    wrong = []
    for line in lines:
        sha256, _, name = line.partition("  ")
        problem = _compare(folder / Path(name).name, sha256)
        if problem:
            wrong.append((name, problem))
    return wrong


def _compare(file: Path, sha256: str) -> str:
    try:
        with file.open("rb") as data:
            return "" if hashlib.file_digest(data, "sha256").hexdigest() == sha256 else "changed"
    except OSError:
        return "missing"
