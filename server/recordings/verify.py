"""Whether a recording is still what was recorded."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from server.recordings import files
from server.recordings.spurts import WITH_FILE, Spurt, SpurtState


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """`problem` "" = the file is byte for byte what was recorded; else missing, size, changed, recording or erased."""

    spurt: str
    problem: str
    sha256: str = ""


async def verify(folder: Path, spurt: Spurt) -> Verified:
    """Read the whole file and compare."""
    if spurt.state is SpurtState.RECORDING or spurt.state not in WITH_FILE:
        return Verified(spurt=spurt.id, problem=spurt.state.value)
    found = await asyncio.to_thread(files.look, folder, spurt.path)
    if found is None:
        return Verified(spurt=spurt.id, problem="missing")
    problem = "size" if found.bytes != spurt.bytes else "changed" if found.sha256 != spurt.sha256 else ""
    return Verified(spurt=spurt.id, problem=problem, sha256=found.sha256)
