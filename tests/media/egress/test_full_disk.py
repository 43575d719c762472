"""P16: a disk that is full ends what is recorded, playable, says so, and takes the next when there is room."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.egress.files import FileEvent, Files
from media.egress.ogg import OggOpusWriter
from support.small_disk import mounted
from support.talking import decoding_complaints, probed, tone


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 1 MiB."""
    with mounted(tmp_path / "small", "1m") as folder:
        yield folder


class Disk:
    """`Files`, and what it told."""

    def __init__(self, root: Path, reserve: int = 0) -> None:
        self.files = Files(str(root), reserve)
        self.told: list[FileEvent] = []

    def until(self, recording: str, *states: str) -> FileEvent:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for event in self.told:
                if event.recording == recording and event.state in states:
                    return event
            select.select([self.files.wake], [], [], 0.1)
            self.told += self.files.events()
        raise AssertionError(f"{recording} was not told of: {self.told}")

    def record(self, recording: str, path: str, seconds: float) -> FileEvent:
        writer = OggOpusWriter(1, 9_600)
        self.files.open(recording, path, writer.head(()))
        for packet in tone(2.0) * round(seconds / 2):
            if page := writer.add(packet, 960):
                self.files.write(recording, page, writer.written)
        self.files.close(recording, writer.finish(), writer.written)
        return self.until(recording, "ended", "failed")


def test_a_full_disk(small_disk: Path) -> None:
    disk = Disk(small_disk / "recordings")
    assert disk.record("r0", "0.ogg", 2.0).state == "ended"
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for _ in range(256 - 14):
            file.write(bytes(4096))
    full = disk.record("r1", "d/1.ogg", 60.0)
    path = small_disk / "recordings" / "d" / "1.ogg"
    assert (full.state, full.detail) == ("failed", "disk_full")
    assert full.bytes == path.stat().st_size
    assert full.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert 1.0 < probed(path) == full.samples / 48_000 < 60.0
    assert decoding_complaints(path) == ""
    assert disk.record("r2", "2.ogg", 4.0).detail == "disk_full"
    filler.unlink()
    roomy = disk.record("r3", "3.ogg", 4.0)
    assert roomy.state == "ended"
    assert abs(probed(small_disk / "recordings" / "3.ogg") - 4.0) < 0.06
    assert disk.files.finish(5.0)


def test_what_is_reserved_is_left_to_others(small_disk: Path) -> None:
    disk = Disk(small_disk, reserve=900_000)
    assert disk.record("r0", "0.ogg", 2.0).state == "ended"
    (small_disk / "log").write_bytes(bytes(200_000))
    assert disk.record("r1", "1.ogg", 2.0).detail == "disk_full"
    (small_disk / "log").unlink()
    assert disk.record("r2", "2.ogg", 2.0).state == "ended"
    disk.files.open("r3", "3.ogg", b"head")
    disk.until("r3", "started")
    (small_disk / "log").write_bytes(bytes(200_000))
    for _ in range(30):  # a sync a second looks at the room
        disk.files.write("r3", b"page", 1)
        time.sleep(0.1)
    assert disk.until("r3", "failed").detail == "disk_full"
    assert disk.files.finish(5.0)


def test_a_slow_disk_costs_recordings_and_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("media.egress.files.MAX_WAITING", 10_000)
    disk = Disk(tmp_path)
    disk.files.open("r", "r.ogg", b"head")
    disk.until("r", "started")
    write = os.write

    def slow(handle: int, data: bytes) -> int:
        time.sleep(0.2)
        return write(handle, data)

    monkeypatch.setattr("media.egress.files.os.write", slow)
    taken = 0
    while disk.files.write("r", bytes(1000), 1):
        taken += 1
        assert taken < 20
    disk.files.give_up("r", "disk_slow")
    monkeypatch.setattr("media.egress.files.os.write", write)
    told = disk.until("r", "failed")
    assert told.detail == "disk_slow"
    assert told.bytes == (tmp_path / "r.ogg").stat().st_size
    assert disk.files.finish(5.0)


async def test_a_folder_that_cannot_be_made_is_no_endless_loop(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="file"):
        await asyncio.to_thread(Files, str(tmp_path / "file" / "recordings"), 0)
