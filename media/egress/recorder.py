"""The worker process that writes all recordings: `python -m media.egress.recorder`, a socket to the node as its input.

The socket (SOCK_SEQPACKET) carries one msgpack message each: an `Order` in, a `Report` out. Packets come over the
engine's tap. The node writes an order before it lets the engine act on anything later, and here orders are looked at
after packets were read and before they are used: so a recording never misses its first packet.

It ends when the node closes the socket, or dies: then every file is closed with its last page. Killed itself, it loses
what waits for a page (`PAGE`, and `WINDOW` of `media.egress.timeline`): less than a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from media.egress.files import FileEvent, Files
from media.egress.ogg import OggOpusWriter
from media.egress.timeline import WINDOW, Frame, Timeline
from media.priority import go_back
from media.protocol import RecordingState, StartRecording, StopRecording
from media.relay.taps import MAX_BATCH, PACKET, Record, RecordError, parse_batch
from media.rtp.opus import CLOCK_RATE

PAGE: Final = 0.4  # s of sound on a page
TICK: Final = 0.05  # s
GATHER: Final = 0.01  # s of packets that are read together: each wake-up costs more than they do
ALIVE: Final = 1.0  # s between two signs of life
LAST_PACKETS: Final = WINDOW + 0.05  # s after a stop in which what is on its way still comes
MAX_SECONDS: Final = 3600  # of one recording
MAX_BYTES: Final = 64 * 1024 * 1024
BATCHES: Final = 64  # read before orders are looked at
MAX_ORDERS: Final = 10_000  # at once; the socket holds fewer
ENDING: Final = 5.0  # s for the last pages
MEMORY: Final = 1 << 30
PR_SET_NO_NEW_PRIVS: Final = 38
MAX_MESSAGE: Final = 64 * 1024


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first order: the tap's path, the folder of recordings, bytes of its disk that are left to others."""

    tap: str
    folder: str
    reserve: int


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A sign of life with all counts so far."""

    counters: dict[str, int]


Order = Begin | StartRecording | StopRecording
Report = RecordingState | Alive


@dataclass(slots=True)
class _Take:
    """One recording under way."""

    request: StartRecording
    timeline: Timeline
    writer: OggOpusWriter
    began: float = 0.0
    flushed: float = 0.0
    bytes: int = 0
    stopping: float | None = None
    detail: str = ""


@dataclass(slots=True)
class Recorder:
    """Orders and records in, pages to `files`, reports out. `now` is monotonic, `wallclock` s since 1970."""

    files: Files
    counters: Counter[str] = field(default_factory=Counter)
    reports: deque[Report] = field(default_factory=deque)
    _takes: dict[str, _Take] = field(default_factory=dict)
    _by_source: dict[int, _Take] = field(default_factory=dict)
    _ending: dict[str, _Take] = field(default_factory=dict)  # its file is being closed

    @property
    def idle(self) -> bool:
        """Whether no file is open."""
        return not (self._takes or self._ending)

    def start(self, request: StartRecording, now: float, wallclock: float) -> None:
        if (before := self._by_source.get(request.source)) is not None:
            self._finish(before, "")
        take = _Take(
            request,
            Timeline(self.counters),
            OggOpusWriter(int.from_bytes(os.urandom(4), "big"), round(PAGE * CLOCK_RATE)),
            flushed=now,
        )
        self._takes[request.recording] = self._by_source[request.source] = take
        tags = (("RECORDING", request.recording), ("STARTED", f"{wallclock:.3f}"))
        self.files.open(request.recording, request.path, take.writer.head(tags))

    def stop(self, recording: str, now: float) -> None:
        take = self._takes.get(recording)
        if take is not None and take.stopping is None:
            take.stopping = now + LAST_PACKETS

    def packets(self, records: Iterable[Record], now: float) -> None:
        for record in records:
            if record.kind != PACKET:
                continue
            take = self._by_source.get(record.source)
            if take is None:
                self.counters["recorder_nobodys"] += 1
                continue
            take.began = take.began or record.time_ns * 1e-9
            self._add(take, take.timeline.take(record.codec, record.timestamp, record.payload, now))

    def tick(self, now: float) -> None:
        """Call every TICK or so."""
        for take in tuple(self._takes.values()):
            self._add(take, take.timeline.due(now))
            if take.stopping is not None and now >= take.stopping:
                self._finish(take, "")
            elif take.request.recording in self._takes and now - take.flushed >= PAGE:
                take.flushed = now
                self._write(take, take.writer.flush())

    def happened(self, events: Iterable[FileEvent]) -> None:
        """What became of files."""
        for event in events:
            take = self._takes.get(event.recording) or self._ending.get(event.recording)
            if event.state != "started":
                self._forget(event.recording)
            if event.state == "failed":
                self.counters["recorder_failed"] += 1
            self.reports.append(
                RecordingState(
                    recording=event.recording,
                    state=event.state,
                    began=take.began if take else 0.0,
                    duration=event.samples / CLOCK_RATE,
                    bytes=event.bytes,
                    sha256=event.sha256,
                    detail=event.detail or (take.detail if take else ""),
                )
            )

    def finish(self) -> None:
        """End all; their events follow."""
        for take in tuple(self._takes.values()):
            self._finish(take, "stopped")

    def _add(self, take: _Take, frames: Iterable[Frame]) -> None:
        pages = bytearray()
        for frame in frames:
            if take.writer.samples + frame.samples > MAX_SECONDS * CLOCK_RATE:
                self._write(take, bytes(pages))
                return self._finish(take, "too_long")
            pages += take.writer.add(frame.payload, frame.samples)
        self._write(take, bytes(pages))
        if take.bytes > MAX_BYTES:
            self._finish(take, "too_long")
        return None

    def _write(self, take: _Take, pages: bytes) -> None:
        recording = take.request.recording
        if not pages or recording not in self._takes:
            return
        take.bytes += len(pages)
        if not self.files.write(recording, pages, take.writer.written):
            self.counters["recorder_given_up"] += 1
            self._put_away(take)
            self.files.give_up(recording, "disk_slow")

    def _finish(self, take: _Take, detail: str) -> None:
        if take.request.recording not in self._takes:
            return
        pages = bytearray()
        for frame in take.timeline.rest() if detail != "too_long" else ():
            pages += take.writer.add(frame.payload, frame.samples)
        pages += take.writer.finish()
        take.detail = detail
        self._put_away(take)
        self.files.close(take.request.recording, bytes(pages), take.writer.written)

    def _put_away(self, take: _Take) -> None:
        """Nothing more goes into it; what became of its file is still to come."""
        self._takes.pop(take.request.recording, None)
        if self._by_source.get(take.request.source) is take:
            del self._by_source[take.request.source]
        self._ending[take.request.recording] = take

    def _forget(self, recording: str) -> None:
        take = self._takes.get(recording) or self._ending.get(recording)
        if take is not None:
            self._put_away(take)
            self._ending.pop(recording)


def main() -> None:
    _prepare()
    channel = socket.socket(fileno=os.dup(0))
    begin = msgspec.msgpack.decode(channel.recv(MAX_MESSAGE), type=Begin)
    tap = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    tap.connect(begin.tap)
    for each in (channel, tap):
        each.setblocking(False)
    recorder = Recorder(Files(begin.folder, begin.reserve))
    try:
        _work(recorder, channel, tap)
    finally:
        recorder.finish()
        if not recorder.files.finish(ENDING):
            os._exit(1)  # a disk that hangs: a page at most is not there
        recorder.happened(recorder.files.events())
        _send(recorder, channel)


def _work(recorder: Recorder, channel: socket.socket, tap: socket.socket) -> None:
    """Until the node has gone or SIGTERM came."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    poll = select.poll()
    for each in (channel, tap, recorder.files.wake):
        poll.register(each, select.POLLIN)
    orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
    tick = alive = 0.0
    recorder.reports.append(Alive(counters={}))
    while not stopping:
        now = time.monotonic()
        if now >= tick:
            recorder.tick(now)
            tick = now + TICK
        if now >= alive:
            recorder.reports.append(Alive(counters=dict(recorder.counters)))
            alive = now + ALIVE
        _send(recorder, channel)
        poll.poll(1000 * (ALIVE if recorder.idle else TICK))
        if not recorder.idle:
            time.sleep(GATHER)
        records = _read(recorder, tap)
        now = time.monotonic()
        for data in _messages(channel, MAX_ORDERS):
            if not data:
                return
            order = orders.decode(data)
            if isinstance(order, StartRecording):
                recorder.start(order, now, time.time())
            elif isinstance(order, StopRecording):
                recorder.stop(order.recording, now)
        if records is None:
            return
        recorder.packets(records, now)
        recorder.happened(recorder.files.events())


def _read(recorder: Recorder, tap: socket.socket) -> list[Record] | None:
    """Records that are there now; None = the engine has gone."""
    records: list[Record] = []
    for data in _messages(tap, BATCHES):
        if not data:
            return None
        try:
            records += parse_batch(data)
        except RecordError:
            recorder.counters["recorder_broken"] += 1
    return records


def _messages(connection: socket.socket, most: int) -> Iterable[bytes]:
    """What is there now; b"" = the other end has gone."""
    for _ in range(most):
        try:
            data = connection.recv(MAX_BATCH)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        yield data
        if not data:
            return


def _send(recorder: Recorder, channel: socket.socket) -> None:
    """As far as the node reads."""
    while recorder.reports:
        try:
            channel.send(msgspec.msgpack.encode(recorder.reports[0]))
        except BlockingIOError:
            return
        except OSError:
            recorder.reports.clear()
            return
        recorder.reports.popleft()


def _prepare() -> None:
    """Ctrl-C is for those above; memory has a limit; nothing that runs here gets more rights."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    go_back()
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


if __name__ == "__main__":
    main()
