"""From packets as they come to a voice without holes: order, redundancy, silence where nothing was sent. Pure.

The file's time is RTP time, so a gap stays as long as it was. Ogg cannot skip time (RFC 7845 4.1): what is missing is
filled, briefly with requests for concealment, else with coded silence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from media.egress.ogg import MAX_PACKET
from media.relay.messages import Codec
from media.rtp import opus
from media.rtp.errors import PacketError
from media.rtp.red import unwrap
from media.rtp.sequence import difference32

WINDOW: Final = 0.1  # s that a packet waits for those before it
MAX_WAITING: Final = 200  # packets that wait; more are let go early
CONCEAL: Final = 2_880  # samples (60 ms) that a decoder is asked to make up; longer gaps are silent
NEW_TIME: Final = (
    3 * opus.CLOCK_RATE
)  # difference of RTP time to ours from which the source began to count anew
LEAST: Final = 120  # samples (2.5 ms): the shortest Opus frame
SILENCE: Final = {960: b"\xf8\xff\xfe", 480: b"\xf0\xff\xfe", 240: b"\xe8\xff\xfe", LEAST: b"\xe0\xff\xfe"}


@dataclass(frozen=True, slots=True)
class Frame:
    """An Opus packet of the file, `samples` at 48 kHz long."""

    payload: bytes
    samples: int


@dataclass(slots=True)
class _Waiting:
    frame: Frame
    since: float


class Timeline:
    """One voice. `take` what comes and write what it returns; `due` when time has passed; `rest` at the end.

    `counters` is shared: what was late, broken, not Opus, filled.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self.counters = counters
        self._waiting: dict[int, _Waiting] = {}  # by RTP time, not wrapping
        self._first: int | None = None  # RTP time of the earliest packet, while the beginning is waited for
        self._next: int | None = None  # where the file ends, in RTP time
        self._done = 0  # RTP time of the last frame let go
        self._newest = 0
        self._anchor = (0, 0.0)  # an RTP time and when it came
        self._toc = 0

    def take(self, codec: Codec | None, timestamp: int, payload: bytes, now: float) -> list[Frame]:
        """A packet with its 32-bit RTP time; frames that are due. `now`: monotonic s."""
        frames = self._frames(codec, payload)
        if not frames:
            return []
        made: list[Frame] = []
        time = self._unwrapped(timestamp, now, made)
        if self._next is None:
            self._first = time if self._first is None else min(self._first, time)
        for offset, frame in frames:
            begin = time - offset
            if begin in self._waiting:
                continue
            if self._next is not None and begin <= self._done:
                if not offset:
                    self.counters["recorder_late"] += 1
                continue
            self._waiting[begin] = _Waiting(frame, now)
        return made + self._released(now)

    def due(self, now: float) -> list[Frame]:
        """What has waited for long enough."""
        return self._released(now)

    def rest(self) -> list[Frame]:
        """All that waits."""
        return self._released(float("inf"))

    def _frames(self, codec: Codec | None, payload: bytes) -> list[tuple[int, Frame]]:
        """Frames of a packet, each with how many ticks it lies before the packet's own time."""
        if codec is Codec.OPUS:
            blocks = [(0, payload)]
        elif codec is Codec.RED:
            try:
                blocks = [(block.timestamp_offset, block.payload) for block in unwrap(payload)]
            except PacketError:
                self.counters["recorder_broken"] += 1
                return []
        else:
            self.counters["recorder_codec"] += 1
            return []
        frames = []
        for offset, block in blocks:
            if not block and offset:
                continue  # nothing was sent then
            try:
                samples = opus.parse(block).samples
            except PacketError:
                samples = 0
            if not samples or len(block) > MAX_PACKET:
                self.counters["recorder_broken"] += 1
                continue
            frames.append((offset, Frame(block, samples)))
        return frames

    def _unwrapped(self, timestamp: int, now: float, made: list[Frame]) -> int:
        """RTP time without wrapping; when the source begins to count anew the file's line is moved there."""
        if self._first is None and self._next is None:
            self._newest, self._anchor = timestamp, (timestamp, now)
            return timestamp
        time = self._newest + difference32(timestamp, self._newest & 0xFFFFFFFF)
        origin, at = self._anchor
        passed = round((now - at) * opus.CLOCK_RATE)
        if abs(time - origin - passed) <= NEW_TIME:
            self._newest = max(self._newest, time)
            return time
        self.counters["recorder_new_time"] += 1
        made += self.rest()
        assert self._next is not None  # noqa: S101  something was taken before
        begin = max(self._next, origin + passed)
        self._next += timestamp - begin
        self._done = self._next - 1
        self._newest, self._anchor = timestamp, (timestamp, now)
        return timestamp

    def _released(self, now: float) -> list[Frame]:
        made: list[Frame] = []
        while self._waiting:
            begin = min(self._waiting)
            head = self._waiting[begin]
            waits = now - head.since < WINDOW and len(self._waiting) <= MAX_WAITING
            if self._next is None:
                if waits:
                    break
                assert self._first is not None  # noqa: S101  set with the first packet
                self._next, self._done = self._first, self._first - 1
            if begin <= self._done:
                del self._waiting[begin]  # redundancy of the first packet: from before the recording
                continue
            gap = begin - self._next
            if gap >= LEAST and waits:
                break
            del self._waiting[begin]
            frames = [*self._fill(gap), head.frame] if gap >= LEAST else [head.frame]
            made += frames
            self._next += sum(frame.samples for frame in frames)
            self._done = begin
            self._toc = head.frame.payload[0] & 0xFC
        return made

    def _fill(self, gap: int) -> list[Frame]:
        """Frames for `gap` samples; what is shorter than any frame is left for the next gap."""
        self.counters["recorder_filled"] += 1
        if gap <= CONCEAL and self._toc:
            request = Frame(bytes([self._toc]), opus.parse(bytes([self._toc])).samples)
            if gap % request.samples == 0:
                return [request] * (gap // request.samples)
        made: list[Frame] = []
        for samples, payload in SILENCE.items():
            count, gap = divmod(gap, samples)
            made += [Frame(payload, samples)] * count
        return made
