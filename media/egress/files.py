"""One thread that touches the disk: files are appended to, synced once a second, closed with their hash.

A slow disk holds up this thread and nobody else. What waits for it is bounded in bytes: a recording whose pages do not
fit any more is given up (it ends at its last whole page) and told of as failed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

MAX_WAITING: Final = 8 * 1024 * 1024  # bytes of pages
SYNC: Final = 1.0  # s between two syncs
PATH: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,64}/){0,4}[A-Za-z0-9_-]{1,64}\.ogg")
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEvent:
    """`state` "started", "ended" or "failed" (why in `detail`). `samples`, `bytes`, `sha256`: what the file holds."""

    recording: str
    state: str
    samples: int = 0
    bytes: int = 0
    sha256: str = ""
    detail: str = ""


@dataclass(slots=True)
class _File:
    handle: int
    bytes: int = 0
    samples: int = 0
    dirty: bool = False
    hash: hashlib._Hash = field(default_factory=hashlib.sha256)


@dataclass(frozen=True, slots=True)
class _Order:
    kind: str  # open, write, close
    recording: str
    path: str = ""
    data: bytes = b""
    samples: int = 0


class Files:
    """Orders in from one thread, events out to it; `wake` is readable while there are events.

    `reserve`: bytes of the disk that are left to others. Raises OSError when `root` cannot be made or opened.
    """

    def __init__(self, root: str, reserve: int) -> None:
        os.makedirs(root, mode=0o700, exist_ok=True)
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self._reserve = reserve
        self._orders: queue.SimpleQueue[_Order | None] = queue.SimpleQueue()
        self._waiting = 0  # bytes; changed under the lock
        self._lock = threading.Lock()
        self._given_up: dict[str, str] = {}  # recording -> why
        self._files: dict[str, _File] = {}  # of the thread alone
        self._events: deque[FileEvent] = deque()
        self.wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="files", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ from outside

    def open(self, recording: str, path: str, head: bytes) -> None:
        """A new file that begins with `head`. "started" follows, or "failed"."""
        self._put(_Order("open", recording, path=path, data=head))

    def write(self, recording: str, page: bytes, samples: int) -> bool:
        """Append whole pages; `samples` is what the file plays then. False = too much waits already: give it up."""
        if self._waiting + len(page) > MAX_WAITING:
            return False
        self._put(_Order("write", recording, data=page, samples=samples))
        return True

    def close(self, recording: str, page: bytes, samples: int) -> None:
        """Append the last page. "ended" follows, unless it failed before."""
        self._put(_Order("close", recording, data=page, samples=samples))

    def give_up(self, recording: str, why: str) -> None:
        """End it at the last page that was written. "failed" follows."""
        self._given_up[recording] = why
        self._put(_Order("write", recording))

    def events(self) -> list[FileEvent]:
        """What happened since."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.wake, 4096)
        found = []
        while self._events:
            found.append(self._events.popleft())
        return found

    def finish(self, timeout: float) -> bool:
        """Do all that was ordered, then end. False = it took too long."""
        self._orders.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _put(self, order: _Order) -> None:
        with self._lock:
            self._waiting += len(order.data)
        self._orders.put(order)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        next_sync = time.monotonic() + SYNC
        while True:
            try:
                order = self._orders.get(timeout=max(0.0, next_sync - time.monotonic()))
            except queue.Empty:
                pass
            else:
                if order is None:
                    break
                with self._lock:
                    self._waiting -= len(order.data)
                self._do(order)
            if time.monotonic() >= next_sync:
                self._sync()
                next_sync = time.monotonic() + SYNC
        for recording in tuple(self._files):
            self._fail(recording, "stopped")

    def _do(self, order: _Order) -> None:
        try:
            if order.kind == "open":
                self._check_room()
                made = self._files[order.recording] = _File(self._create(order.path))
                self._append(made, order.data, 0)
                self._tell(FileEvent(recording=order.recording, state="started"))
            file = self._files.get(order.recording)
            if file is None:
                self._given_up.pop(order.recording, None)
                return  # it failed before
            if order.recording in self._given_up:
                raise OSError(errno.EBUSY, self._given_up.pop(order.recording))
            if order.kind == "write":
                self._append(file, order.data, order.samples)
            elif order.kind == "close":
                self._append(file, order.data, order.samples)
                os.fsync(file.handle)
                self._over(order.recording, "ended", "")
        except OSError as error:
            self._fail(order.recording, _reason(error))

    def _append(self, file: _File, data: bytes, samples: int) -> None:
        """All of it or nothing."""
        if not data:
            return
        done = 0
        try:
            while done < len(data):
                done += os.write(file.handle, data[done:])
        except OSError:
            if done:
                with contextlib.suppress(OSError):
                    os.ftruncate(file.handle, file.bytes)
            raise
        file.hash.update(data)
        file.bytes += len(data)
        file.samples = max(file.samples, samples)
        file.dirty = True

    def _create(self, path: str) -> int:
        """A new file below the root, never through a link. Raises OSError."""
        if not PATH.fullmatch(path):
            raise OSError(errno.EINVAL, f"no path for a recording: {path[:80]!r}")
        *folders, name = path.split("/")
        at = os.dup(self._root)
        try:
            for folder in folders:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(folder, 0o700, dir_fd=at)
                    os.fsync(at)
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = inner
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            handle = os.open(name, flags, 0o600, dir_fd=at)
            os.fsync(at)
            return handle
        finally:
            os.close(at)

    def _check_room(self) -> None:
        """Raises OSError."""
        room = os.fstatvfs(self._root)
        if room.f_bavail * room.f_frsize < self._reserve:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _sync(self) -> None:
        dirty = [(recording, file) for recording, file in self._files.items() if file.dirty]
        for recording, file in dirty:
            try:
                self._check_room()
                os.fdatasync(file.handle)
                file.dirty = False
            except OSError as error:
                self._fail(recording, _reason(error))

    def _fail(self, recording: str, detail: str) -> None:
        self._given_up.pop(recording, None)
        if recording not in self._files:
            self._tell(FileEvent(recording=recording, state="failed", detail=detail))
            return
        with contextlib.suppress(OSError):
            os.fsync(self._files[recording].handle)
        self._over(recording, "failed", detail)

    def _over(self, recording: str, state: str, detail: str) -> None:
        file = self._files.pop(recording)
        os.close(file.handle)
        self._tell(
            FileEvent(
                recording=recording,
                state=state,
                samples=file.samples,
                bytes=file.bytes,
                sha256=file.hash.hexdigest(),
                detail=detail,
            )
        )

    def _tell(self, event: FileEvent) -> None:
        self._events.append(event)
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b"1")


def _reason(error: OSError) -> str:
    return "disk_full" if error.errno in FULL else f"{error.strerror}"
