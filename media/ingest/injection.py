"""A worker's end of an injection: frames become records on the engine's socket (see `media.relay.taps`)."""

from __future__ import annotations

import socket
import time

from media.ingest.camera import CLOCKS, Frame
from media.relay.messages import Codec, MediaKind
from media.relay.taps import KEY_FRAME, MAPPING, MARKER, MAX_BATCH, PACKET, Record

CODECS = {MediaKind.VIDEO: Codec.H264, MediaKind.AUDIO: Codec.OPUS}
MAPPING_EVERY = 1.0  # s


class InjectionWriter:
    """Writes frames of one or two sources; never waits: what the engine does not take at once is counted and lost.

    `sources`: the engine's source of each kind, 0 = its frames are not wanted.

    Raises OSError from the constructor when the engine does not listen.
    """

    def __init__(self, path: str, sources: dict[MediaKind, int]) -> None:
        self.dropped = 0
        self._sources = sources
        self._sequences = dict.fromkeys(MediaKind, 0)
        self._mapped = dict.fromkeys(MediaKind, 0.0)
        self._zero_ns: int | None = None  # wallclock of the camera's time 0, so that sound and picture agree
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * 1024 * 1024)
        self._socket.connect(path)
        self._socket.setblocking(False)

    def write(self, frame: Frame, now: float) -> None:
        """`now` is monotonic, s. Raises ConnectionError when the engine has gone."""
        source = self._sources[frame.kind]
        if not source:
            return
        batch: list[bytes] = []
        if now - self._mapped[frame.kind] >= MAPPING_EVERY:
            self._mapped[frame.kind] = now
            batch.append(self._mapping(source, frame).to_bytes())
        size = sum(map(len, batch))
        for index, payload in enumerate(frame.payloads):
            last = index == len(frame.payloads) - 1
            record = Record(
                kind=PACKET,
                source=source,
                codec=CODECS[frame.kind],
                flags=(MARKER if last and frame.kind is MediaKind.VIDEO else 0)
                | (KEY_FRAME if frame.key_frame and index == 0 else 0),
                sequence=self._sequences[frame.kind],
                timestamp=frame.rtp_time & 0xFFFFFFFF,
                payload=payload,
            ).to_bytes()
            self._sequences[frame.kind] += 1
            if size + len(record) > MAX_BATCH:
                self._send(batch)
                batch, size = [], 0
            batch.append(record)
            size += len(record)
        self._send(batch)

    def _mapping(self, source: int, frame: Frame) -> Record:
        media_ns = frame.rtp_time * 1_000_000_000 // CLOCKS[frame.kind]
        if self._zero_ns is None:
            self._zero_ns = time.time_ns() - media_ns
        return Record(
            kind=MAPPING,
            source=source,
            timestamp=frame.rtp_time & 0xFFFFFFFF,
            time_ns=self._zero_ns + media_ns,
        )

    def _send(self, batch: list[bytes]) -> None:
        try:
            self._socket.send(b"".join(batch))
        except BlockingIOError:
            self.dropped += len(batch)
