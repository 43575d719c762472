"""Transport-wide feedback of a viewer, folded per train without an object per packet.

`media.rtp.twcc` is the complete reader; this one answers only what the estimator above asks: of each train sent, how
many bytes arrived, when the last of them did, and how many did not; and for the pacer how far apart the packets of a
train arrived. Viewers report ten times a second each, so this is the second busiest code of the relay. Most of what
they say is that everything arrived as fast as ever: such a message is one sample, and `calm` tells that nobody needs to
hear of it soon.
"""

from __future__ import annotations

import struct
from collections import deque
from functools import lru_cache
from math import inf
from typing import Final

from media.relay.dispersion import Dispersion
from media.rtp.errors import BadField, Truncated

Sent = tuple[int, int, float, int, int]  # first sequence (extended), count, send time, segment, last size
Sample = tuple[float, float, int]  # send time, arrival or -1, bytes

_FIXED: Final = struct.Struct(">BBHIIHHI")
_RTPFB: Final = 205
_FORMAT: Final = 15
_TICK: Final = 250e-6  # s
_REFERENCE: Final = 0.064  # s
_FLAT: Final = 0.015  # s above the least delay up to which nothing waits anywhere on the way
_RISE: Final = 0.002  # s a second by which the least delay may rise: clocks drift, paths change
_JUMP: Final = 3.0  # s: a larger change is a clock, not a queue
_WRAP: Final = (1 << 24) * _REFERENCE  # s after which the reference time begins anew


def is_alone(data: bytes) -> bool:
    """Whether a datagram is one transport feedback and nothing else, as browsers send it."""
    return (
        len(data) >= 24
        and data[1] == _RTPFB
        and data[0] & 0xDF == 0x8F
        and 4 * (data[2] << 8 | data[3]) + 4 == len(data)
    )


class ArrivalFolder:
    """One peer's feedback, message by message; its clock is unwrapped from message to message.

    `calm`: nothing was missing in the last message and its packets met no queue. `dispersion`: of all trains while it
    was not calm, of one of each message since.
    """

    __slots__ = ("_epoch", "_least", "_least_at", "_newest", "calm", "dispersion")

    def __init__(self) -> None:
        self.calm = False
        self.dispersion = Dispersion()
        self._epoch = 0.0
        self._newest = 0.0
        self._least = inf  # delay, by two clocks
        self._least_at = 0.0

    def fold(self, data: bytes, next_sequence: int, trains: deque[Sent]) -> list[Sample]:
        """The samples of one whole RTCP packet; trains it speaks of, and all before, leave the deque.

        After a calm message the next one is a single sample if nothing is missing in it, else there is one of each
        train. `next_sequence`: the extended transport sequence that would be sent next. Raises PacketError, and then
        nothing has changed.
        """
        base16, symbols, at, reference = _read(data)
        base = next_sequence - 1 + ((base16 - next_sequence + 1 + 0x8000) & 0xFFFF) - 0x8000
        clock = self._unwrapped(reference)
        whole = 0 not in symbols and bool(trains) and trains[0][0] == base
        if whole and self.calm:
            samples = _together(data, symbols, at, base, clock, trains, self.dispersion)
        else:
            samples = _apart(data, symbols, at, base, clock, trains, self.dispersion)
        self.calm = bool(samples) and self._flat(samples[-1]) and whole
        return samples

    def _flat(self, sample: Sample) -> bool:
        sent, arrival, _ = sample
        delay = arrival - sent
        least = self._least + _RISE * max(sent - self._least_at, 0.0)
        if delay < least or delay > least + _JUMP:
            least = delay
        self._least, self._least_at = least, sent
        return delay - least <= _FLAT

    def _unwrapped(self, reference: int) -> float:
        """Seconds on the peer's clock, never negative and without the wrap of 24 bits."""
        clock = (reference & 0xFFFFFF) * _REFERENCE + self._epoch
        if clock < self._newest - _WRAP / 2:
            self._epoch += _WRAP
            clock += _WRAP
        elif clock > self._newest + _WRAP / 2 and self._epoch:
            clock -= _WRAP  # a late message from before the wrap
        self._newest = max(self._newest, clock)
        return clock


def _together(
    data: bytes,
    symbols: bytes,
    at: int,
    base: int,
    clock: float,
    trains: deque[Sent],
    dispersion: Dispersion,
) -> list[Sample]:
    """One sample of everything, for a message in which nothing is missing and whose first train is the oldest."""
    end = base + len(symbols)
    size = 0
    sent = 0.0
    _, count, _, segment, last = trains[0]
    start = ticks = 0
    if 1 < count <= len(symbols):
        start = count
        first, at = _skip(data, symbols, 0, 1, 0, at)
        ticks, at = _skip(data, symbols, 1, count, first, at)
        dispersion.note(segment * (count - 2) + last, (ticks - first) * _TICK)
    while trains and trains[0][0] < end:
        first, count, sent, segment, last = trains.popleft()
        if first + count > end:
            trains.appendleft((end, first + count - end, sent, segment, last))
            size += segment * (end - first)
        else:
            size += segment * (count - 1) + last
    ticks, _ = _skip(data, symbols, start, len(symbols), ticks, at)
    return [(sent, clock + ticks * _TICK, size)]


def _apart(
    data: bytes,
    symbols: bytes,
    at: int,
    base: int,
    clock: float,
    trains: deque[Sent],
    dispersion: Dispersion,
) -> list[Sample]:
    """The samples of each train: first what was lost of it, then what arrived."""
    end = base + len(symbols)
    ticks = 0
    place = 0  # symbols used
    samples: list[Sample] = []
    while trains and trains[0][0] < end:
        first, count, sent, segment, last = trains.popleft()
        until = first + count
        if until > end:
            trains.appendleft((end, until - end, sent, segment, last))
            until = end
            last = segment
        if until <= base:
            continue  # nothing was ever said of it
        start, stop = max(first, base) - base, until - base
        if start > place:
            ticks, at = _skip(data, symbols, place, start, ticks, at)
        part = symbols[start:stop]
        lost = part.count(0)
        size = segment * (stop - start - 1) + last
        if lost:
            missing = lost * segment if part[-1] else (lost - 1) * segment + last
            samples.append((sent, -1.0, missing))
            size -= missing
        if not lost and stop - start > 1:
            begun, at = _skip(data, symbols, start, start + 1, ticks, at)
            ticks, at = _skip(data, symbols, start + 1, stop, begun, at)
            dispersion.note(size - segment, (ticks - begun) * _TICK)
            samples.append((sent, clock + ticks * _TICK, size))
        elif lost < len(part):
            ticks, at = _skip(data, symbols, start, stop, ticks, at)
            samples.append((sent, clock + ticks * _TICK, size))
        place = stop
    return samples


def _skip(data: bytes, symbols: bytes, start: int, stop: int, ticks: int, at: int) -> tuple[int, int]:
    """(ticks, offset) behind the deltas of symbols[start:stop]."""
    part = symbols[start:stop]
    large = part.count(2)
    small = part.count(1)
    if not large:
        return ticks + sum(data[at : at + small]), at + small
    for symbol in part:
        if symbol == 1:
            ticks += data[at]
            at += 1
        elif symbol == 2:
            delta = data[at] << 8 | data[at + 1]
            ticks += delta - 0x10000 if delta & 0x8000 else delta
            at += 2
    return ticks, at


def _read(data: bytes) -> tuple[int, bytes, int, int]:
    """(base sequence, a status for each packet, offset of the deltas, reference time). Raises PacketError."""
    if len(data) < _FIXED.size:
        raise Truncated("transport feedback", needed=_FIXED.size, available=len(data))
    first, _, _, _, _, base, count, reference = _FIXED.unpack_from(data)
    end = len(data)
    if first & 0x20:
        padding = data[-1]
        if not padding or padding > end - _FIXED.size:
            raise BadField("padding", padding)
        end -= padding
    if not count:
        raise BadField("packet status count", 0)
    at = _FIXED.size
    symbols = bytearray()
    while len(symbols) < count:
        if at + 2 > end:
            raise Truncated("packet status chunk", needed=at + 2, available=end)
        chunk = data[at] << 8 | data[at + 1]
        at += 2
        if chunk < 0x8000:
            symbols += bytes((chunk >> 13,)) * (chunk & 0x1FFF)
            if not chunk & 0x1FFF:
                raise BadField("run length", 0)
        else:
            symbols += _vector(chunk)
    del symbols[count:]
    if 3 in symbols:
        raise BadField("packet status symbol", 3)
    needed = at + symbols.count(1) + 2 * symbols.count(2)
    if needed > end:
        raise Truncated("receive deltas", needed=needed, available=end)
    return base, bytes(symbols), at, reference >> 8


@lru_cache(maxsize=4096)
def _vector(chunk: int) -> bytes:
    if chunk & 0x4000:
        return bytes((chunk >> shift) & 3 for shift in range(12, -1, -2))
    return bytes((chunk >> shift) & 1 for shift in range(13, -1, -1))
