"""What an earlier run left: recordings that nobody ended are played as far as they go; files without a row get one."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Set
from pathlib import Path
from typing import Final

import msgspec
import structlog

from server.model.clock import Clock
from server.model.ids import SpurtId
from server.model.uuid7 import new_id
from server.recordings import files
from server.recordings.index import SpurtIndex
from server.recordings.spurts import Spurt, SpurtState

LEFT: Final = 10_000  # rows of an earlier run that are looked at
TOGETHER: Final = 200  # rows put before they are waited for
ORPHAN: Final = "orphan"

log = structlog.get_logger("server.recordings")


async def recover(index: SpurtIndex, folder: Path, ours: Set[SpurtId], clock: Clock) -> list[Spurt]:
    """Spurts that changed, already put into the index; `ours` began in this run. Raises StorageAway, OSError."""
    wallclock = clock.wallclock()
    changed: list[Spurt] = []
    for spurt in await index.in_state(SpurtState.RECORDING, LEFT):
        if spurt.id in ours:
            continue
        found = await asyncio.to_thread(files.look, folder, spurt.path)
        changed.append(settled(spurt, found, wallclock, "server_stopped"))
        index.put(changed[-1])
    await asyncio.to_thread(folder.mkdir, 0o700, True, True)
    present = await asyncio.to_thread(lambda: list(files.every_path(folder)))
    known = await index.known_paths()
    orphans = 0
    for path in present:
        state = known.get(path)
        if state is SpurtState.ERASED:  # the server died between the row and the file
            await asyncio.to_thread(files.remove, folder, path)
        elif state is None:
            found = await asyncio.to_thread(files.look, folder, path)
            if found is not None and found.probe is not None:
                orphans += 1
                changed.append(_orphan(path, found))
                index.put(changed[-1])
                if orphans % TOGETHER == 0:
                    await index.flush()
    if changed:
        log.warning("recordings of an earlier run were found", spurts=len(changed), orphans=orphans)
    return changed


def settled(spurt: Spurt, found: files.Found | None, wallclock: float, why: str = "") -> Spurt:
    """A spurt whose file nobody can tell of, by what the file says itself; `why` nobody can."""
    if found is None or found.probe is None or not found.probe.duration:
        return msgspec.structs.replace(
            spurt,
            state=SpurtState.LOST,
            ended=spurt.ended or min(spurt.started, wallclock),
            detail=spurt.detail or why or ("no_file" if found is None else "no_packets"),
        )
    whole = found.probe.over and spurt.ended is not None and not spurt.detail
    return msgspec.structs.replace(
        spurt,
        state=SpurtState.READY if whole else SpurtState.CUT,
        ended=spurt.ended or spurt.started + found.probe.duration,
        duration=found.probe.duration,
        bytes=found.bytes,
        sha256=found.sha256,
        detail="" if whole else spurt.detail or why,
    )


def _orphan(path: str, found: files.Found) -> Spurt:
    """Of a file without a row only itself is known, and what the recorder wrote into its head."""
    assert found.probe is not None  # noqa: S101  the caller looked
    tags = found.probe.tags
    try:
        started = float(tags.get("STARTED", ""))
    except ValueError:
        started = found.modified - found.probe.duration
    try:
        name = str(uuid.UUID(tags.get("RECORDING", "")))
    except ValueError:
        name = new_id(started)
    return Spurt(
        id=SpurtId(name),
        started=started,
        ended=started + found.probe.duration,
        groups=(),
        state=SpurtState.CUT,
        path=path,
        duration=found.probe.duration,
        bytes=found.bytes,
        sha256=found.sha256,
        detail=ORPHAN,
    )
