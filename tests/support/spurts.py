"""Talk spurts for tests: rows, and files as the recorder writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from media.egress.ogg import OggOpusWriter
from server.model.ids import SpurtId, UnitId, UserId
from server.model.uuid7 import new_id
from server.recordings.spurts import Place, Spurt, SpurtGroup, Talker

FIRE = SpurtGroup(id="g-fire", name="消防一组")
FLOOD = SpurtGroup(id="g-flood", name="Flood desk")
SILENT = b"\xf8\xff\xfe"  # 20 ms


def spurt(
    started: float,
    *,
    groups: tuple[SpurtGroup, ...] = (FIRE,),
    name: str = "张伟",
    unit: str = "unit-1",
    user: str = "user-1",
    emergency: bool = False,
    **fields: Any,
) -> Spurt:
    return Spurt(
        id=SpurtId(new_id(started)),
        started=started,
        groups=groups,
        talker=Talker(name=name, leg="phone", unit=UnitId(unit), user=UserId(user)),
        emergency=emergency,
        place=Place(lat=30.5, lon=114.3, accuracy=8.0),
        **fields,
    )


def ogg(
    seconds: float, *, over: bool = True, tags: Sequence[tuple[str, str]] = (), packet: bytes = SILENT
) -> bytes:
    """A file of so many seconds."""
    writer = OggOpusWriter(7, 9600)
    data = writer.head(tags)
    for _ in range(round(seconds * 50)):
        data += writer.add(packet, 960)
    return data + (writer.finish() if over else writer.flush())


def put_file(root: Path, path: str, data: bytes) -> Path:
    file = root / path
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.write_bytes(data)
    return file
