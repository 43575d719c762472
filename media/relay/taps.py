"""Taps and injections: packets as records over Unix sockets, to and from other processes.

The engine listens on the path given (SOCK_SEQPACKET); one peer at a time, a newer one replaces it. Each message is a
batch of records one after the other, at most 64 KiB. A record is a header of 32 bytes, big-endian, and its payload:

    offset  size  field
         0     1  kind: 1 packet, 2 mapping (of a sender report), 3 key-frame request (engine to injection only)
         1     1  flags: 1 marker, 2 a key frame starts here, 4 discardable, 8 records before it were lost, 16 late
         2     1  layer, an index into the source's layers
         3     1  codec (`media.relay.messages.Codec`), 0 for kinds 2 and 3
         4     4  source
         8     8  extended sequence number, signed; a layer's own count, without gaps for padding
        16     4  RTP timestamp
        20     8  ns since 1970: of the packet's arrival, or in a mapping of the instant that the RTP timestamp names
        28     2  size of the payload that follows
        30     2  reserved, 0

A tap that does not read loses batches, which are counted and flagged in the next record; nobody else waits for it. What
an injection writes is taken as if it arrived now on a transport: of sequence numbers the low 16 bits count, and a
packet's time is not read.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from media.relay.feed import Feed
from media.relay.messages import AddSink, Codec
from media.relay.train import MediaPacket, Run

if TYPE_CHECKING:
    from media.relay.source import SourceLayer
    from media.relay.state import RelayState

HEADER: Final = struct.Struct(">BBBBIqIqHH")
MAX_BATCH: Final = 65_536  # bytes of one message
SOCKET_BUFFER: Final = 1024 * 1024  # bytes the kernel may hold for a slow reader
MESSAGES_PER_EVENT: Final = 64

PACKET: Final = 1
MAPPING: Final = 2
KEY_FRAME_REQUEST: Final = 3

MARKER: Final = 1
KEY_FRAME: Final = 2
DISCARDABLE: Final = 4
LOST_BEFORE: Final = 8
LATE: Final = 16

_CODECS: Final = {int(codec): codec for codec in Codec}


class RecordError(ValueError):
    """A batch that does not consist of whole, known records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record; see the module's table. `codec` None for mappings and requests."""

    kind: int
    source: int
    layer: int = 0
    flags: int = 0
    codec: Codec | None = None
    sequence: int = 0
    timestamp: int = 0
    time_ns: int = 0
    payload: bytes = b""

    def to_bytes(self) -> bytes:
        """Header and payload."""
        head = HEADER.pack(
            self.kind,
            self.flags,
            self.layer,
            self.codec or 0,
            self.source,
            self.sequence,
            self.timestamp,
            self.time_ns,
            len(self.payload),
            0,
        )
        return head + self.payload


def parse_batch(data: bytes) -> list[Record]:
    """The records of one message. Raises RecordError; then nothing of it is to be used."""
    records = []
    at = 0
    while at < len(data):
        if at + HEADER.size > len(data):
            raise RecordError(f"header cut at {at}")
        kind, flags, layer, codec, source, sequence, timestamp, time_ns, size, _ = HEADER.unpack_from(
            data, at
        )
        at += HEADER.size
        if kind not in {PACKET, MAPPING, KEY_FRAME_REQUEST} or (kind == PACKET and codec not in _CODECS):
            raise RecordError(f"kind {kind}, codec {codec}")
        if at + size > len(data):
            raise RecordError(f"payload cut at {at}")
        records.append(
            Record(
                kind=kind,
                flags=flags,
                layer=layer,
                codec=_CODECS.get(codec),
                source=source,
                sequence=sequence,
                timestamp=timestamp,
                time_ns=time_ns,
                payload=data[at : at + size],
            )
        )
        at += size
    return records


class RecordSocket:
    """A listening Unix socket and its one peer. Raises OSError from the constructor when it cannot be bound."""

    def __init__(self, path: str, counters: Counter[str]) -> None:
        self._path = path
        self._counters = counters
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.listening.setblocking(False)
            with contextlib.suppress(FileNotFoundError):
                if Path(path).is_socket():
                    os.unlink(path)
            self.listening.bind(path)
            os.chmod(path, 0o600)
            self.listening.listen(1)
        except BaseException:
            self.listening.close()
            raise
        self.peer: socket.socket | None = None

    def accept(self) -> socket.socket | None:
        """The next waiting peer, in place of the present one, which the caller has let go of."""
        try:
            accepted, _ = self.listening.accept()
        except OSError:
            return None
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER)
        self.peer = accepted
        return accepted

    def send(self, data: bytes) -> bool:
        """One message; False when nobody reads or the reader is slow."""
        if self.peer is None:
            return False
        try:
            self.peer.send(data)
        except OSError:
            return False
        return True

    def receive(self) -> bytes | None:
        """The next message: b"" when there is none now, None when the peer has gone."""
        if self.peer is None:
            return None
        try:
            return self.peer.recv(MAX_BATCH) or None
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            return None

    def hang_up(self) -> None:
        """Let go of the peer."""
        if self.peer is not None:
            self.peer.close()
            self.peer = None

    def close(self) -> None:
        self.hang_up()
        self.listening.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)


class Tap(RecordSocket):
    """A reader: batches go out, nothing is expected back."""


class Injection(RecordSocket):
    """A writer that feeds the given sources."""

    def __init__(self, path: str, counters: Counter[str], sources: tuple[int, ...]) -> None:
        super().__init__(path, counters)
        self.sources = frozenset(sources)


class TapSink(Feed):
    """An outgoing track on a tap: the same switching as for a viewer, the source's own numbers."""

    def __init__(self, state: RelayState, command: AddSink, tap: Tap) -> None:
        super().__init__(state, command.sink, command.kind)
        self.tap = tap
        self.tap_number = command.tap
        self.packets = 0
        self.octets = 0
        self.dropped = 0
        self._identity = 0  # of the layer told last
        self._report: tuple[float, int] | None = None
        self._lost = False

    @property
    def ready(self) -> bool:
        return self.tap.peer is not None

    def takes(self, codec: Codec) -> bool:
        return True

    def forget(self) -> None:
        self._identity = 0
        self._report = None

    def replays(self, layer: SourceLayer) -> bool:
        return True

    def forward(self, layer: SourceLayer, run: Run) -> None:
        if self._identity != layer.identity:
            self._identity = layer.identity
            self.tell_started(layer)
        batch: list[bytes] = []
        size = count = 0
        if layer.report is not None and layer.report != self._report:
            self._report = layer.report
            batch.append(self._mapping(layer, layer.report))
            size = len(batch[0])
        for packet in run.packets:
            record = self._record(layer, packet, 0)
            if size + len(record) > MAX_BATCH:
                self._deliver(batch, count)
                batch, size, count = [], 0, 0
            batch.append(record)
            size += len(record)
            count += 1
        self._deliver(batch, count)

    def late(self, layer: SourceLayer, packet: MediaPacket) -> None:
        self._deliver([self._record(layer, packet, LATE)], 1)

    def _deliver(self, batch: list[bytes], count: int) -> None:
        data = b"".join(batch)
        if self.tap.send(data):
            self.packets += count
            self.octets += len(data)
            self._lost = False
        else:
            self.dropped += count
            self._lost = True
            self.state.counters["tap_dropped"] += count

    def _record(self, layer: SourceLayer, packet: MediaPacket, flags: int) -> bytes:
        if packet.marker:
            flags |= MARKER
        if packet.number == layer.key_number:
            flags |= KEY_FRAME
        if packet.picture.discardable:
            flags |= DISCARDABLE
        if self._lost:
            flags |= LOST_BEFORE
        record = Record(
            kind=PACKET,
            flags=flags,
            layer=layer.index,
            codec=packet.codec,
            source=layer.source.number,
            sequence=packet.number,
            timestamp=packet.timestamp,
            time_ns=int(self.state.wallclock(packet.arrival) * 1e9),
            payload=packet.payload,
        )
        return record.to_bytes()

    def _mapping(self, layer: SourceLayer, report: tuple[float, int]) -> bytes:
        wallclock, timestamp = report
        record = Record(
            kind=MAPPING,
            layer=layer.index,
            source=layer.source.number,
            timestamp=timestamp,
            time_ns=int(wallclock * 1e9),
        )
        return record.to_bytes()


def inject(state: RelayState, injection: Injection, data: bytes, now: float) -> None:
    """Feed one message of an injection to its sources; what does not fit is counted."""
    try:
        records = parse_batch(data)
    except RecordError:
        state.counters["record_malformed"] += 1
        return
    for record in records:
        source = state.sources.get(record.source)
        if source is None or record.source not in injection.sources or record.layer >= len(source.layers):
            state.counters["record_unknown"] += 1
            continue
        layer = source.layers[record.layer]
        if record.kind == MAPPING:
            layer.report = (record.time_ns * 1e-9, record.timestamp)
        elif record.kind == PACKET and record.codec is not None:
            codec = next((codec for codec in source.codecs.values() if codec.codec is record.codec), None)
            if codec is None:
                state.counters["record_unknown"] += 1
                continue
            if not layer.ssrc:
                layer.begin_injected(codec)
            layer.receive(
                record.sequence & 0xFFFF,
                record.timestamp,
                bool(record.flags & MARKER),
                record.codec,
                record.payload,
                now,
                -1,
                -1,
            )
