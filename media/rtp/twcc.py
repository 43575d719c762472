"""Transport-wide congestion control feedback: RTPFB 15 of draft-holmer-rmcat-transport-wide-cc-extensions-01.

One counter numbers every packet of a transport; the receiver reports when each arrived, in ticks of 250 us
from a reference time in units of 64 ms. Only arrivals are listed here; what is missing between them was not
received.
`TwccReceiver` keeps the arrivals of one transport and decides when to report.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from media.rtp.errors import BadField, Truncated
from media.rtp.sequence import ExtendedSequence

TICK_US = 250
REFERENCE_US = 64_000
TICKS_PER_REFERENCE = 256
MAX_BODY_SIZE = 1_150  # with the 12 bytes before it and SRTCP it stays in one datagram

_FIXED = struct.Struct("!HHI")  # base sequence, status count, reference time (24) and feedback count (8)
_SHORT = struct.Struct("!H")
_MAX_RUN = 0x1FFF
_ABSENT, _SMALL, _LARGE, _RESERVED = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportFeedback:
    """One feedback message.

    `arrivals`: (16-bit transport sequence, arrival in us on the receiver's clock) in sequence order, for
    packets that arrived. The clock wraps with the 24-bit `reference_time` (signed, units of 64 ms: 12
    days).
    `base_sequence` and `status_count` bound what the message speaks about: the rest of that range was not
    received.
    """

    sender_ssrc: int
    media_ssrc: int
    base_sequence: int
    status_count: int
    reference_time: int
    feedback_count: int
    arrivals: tuple[tuple[int, int], ...]

    @classmethod
    def parse_body(cls, sender_ssrc: int, media_ssrc: int, body: bytes) -> TransportFeedback:
        """Read what follows the two SSRCs, without RTCP padding.

        Raises `Truncated` for chunks or deltas past the end, `BadField` for no packets or the reserved
        symbol.
        """
        size = len(body)
        if size < _FIXED.size:
            raise Truncated("transport feedback", needed=_FIXED.size, available=size)
        base, count, reference_and_count = _FIXED.unpack_from(body)
        if count == 0:
            raise BadField("packet status count", 0)
        reference = reference_and_count >> 8
        if reference & 0x800000:
            reference -= 1 << 24
        received, offset = _read_symbols(body, count)
        arrivals = []
        ticks = reference * TICKS_PER_REFERENCE
        for index, large in received:
            if large:
                if offset + 2 > size:
                    raise Truncated("large delta", needed=offset + 2, available=size)
                delta = (body[offset] << 8) | body[offset + 1]
                ticks += delta - 0x10000 if delta & 0x8000 else delta
                offset += 2
            else:
                if offset == size:
                    raise Truncated("small delta", needed=offset + 1, available=size)
                ticks += body[offset]
                offset += 1
            arrivals.append(((base + index) & 0xFFFF, ticks * TICK_US))
        return cls(
            sender_ssrc=sender_ssrc,
            media_ssrc=media_ssrc,
            base_sequence=base,
            status_count=count,
            reference_time=reference,
            feedback_count=reference_and_count & 0xFF,
            arrivals=tuple(arrivals),
        )

    def to_bytes(self) -> bytes:
        """The whole RTCP packet. Raises `BadField` as `pack_body`, and if the fields contradict the
        arrivals."""
        last = (self.arrivals[-1][0] - self.base_sequence) & 0xFFFF if self.arrivals else 0
        if not last < self.status_count <= 0xFFFF:
            raise BadField("packet status count", self.status_count)
        extended = [
            (self.base_sequence + ((sequence - self.base_sequence) & 0xFFFF), time_us)
            for sequence, time_us in self.arrivals
        ]
        body = pack_body(
            self.base_sequence,
            extended,
            feedback_count=self.feedback_count,
            status_count=self.status_count,
            reference_time=self.reference_time,
        )
        return pack_packet(self.sender_ssrc, self.media_ssrc, body)


def pack_packet(sender_ssrc: int, media_ssrc: int, body: bytes) -> bytes:
    """Put the RTCP header, the SSRCs and the padding around a body made by `pack_body` or `TwccReceiver`."""
    padding = -len(body) % 4
    first = 0x8F | (0x20 if padding else 0)
    header = struct.pack("!BBHII", first, 205, (8 + len(body) + padding) // 4, sender_ssrc, media_ssrc)
    if padding:
        return header + body + bytes(padding - 1) + bytes((padding,))
    return header + body


def pack_body(
    base: int,
    arrivals: Sequence[tuple[int, int]],
    *,
    feedback_count: int,
    status_count: int | None = None,
    reference_time: int | None = None,
) -> bytes:
    """Encode arrivals, without RTCP header, SSRCs and padding.

    `arrivals`: (extended sequence, arrival us), ascending by sequence, none below `base`. `status_count` and
    `reference_time` are derived from them when not given.
    Raises `BadField` when the range exceeds 65,535 packets, is empty or descends, or when neighbours
    arrived more than 8.19 s apart: report those in two messages.
    """
    symbols: list[tuple[int, int]] = []  # (symbol, run)
    deltas = bytearray()
    ticks = 0
    if reference_time is None:
        first_ticks = _ticks(arrivals[0][1]) if arrivals else 0
        reference_time = first_ticks // TICKS_PER_REFERENCE
    ticks = reference_time * TICKS_PER_REFERENCE
    expected = base
    for sequence, time_us in arrivals:
        if sequence < expected:
            raise BadField("transport sequence", sequence)
        if sequence > expected:
            symbols.append((_ABSENT, sequence - expected))
        now = _ticks(time_us)
        delta = now - ticks
        ticks = now
        if 0 <= delta <= 0xFF:
            deltas.append(delta)
            symbols.append((_SMALL, 1))
        elif -0x8000 <= delta <= 0x7FFF:
            deltas += _SHORT.pack(delta & 0xFFFF)
            symbols.append((_LARGE, 1))
        else:
            raise BadField("receive delta", delta)
        expected = sequence + 1
    total = expected - base
    if status_count is not None:
        if status_count > total:
            symbols.append((_ABSENT, status_count - total))
        total = status_count
    if not 0 < total <= 0xFFFF:
        raise BadField("packet status count", total)
    fixed = _FIXED.pack(base & 0xFFFF, total, (reference_time & 0xFFFFFF) << 8 | feedback_count & 0xFF)
    return fixed + _write_chunks(symbols) + bytes(deltas)


def _ticks(time_us: int) -> int:
    return (time_us + TICK_US // 2) // TICK_US


def _read_symbols(body: bytes, count: int) -> tuple[list[tuple[int, bool]], int]:
    """(index, whether its delta is large) of every received packet, and where the deltas start."""
    size = len(body)
    received: list[tuple[int, bool]] = []
    offset = _FIXED.size
    index = 0
    while index < count:
        if offset + 2 > size:
            raise Truncated("packet status chunk", needed=offset + 2, available=size)
        chunk = (body[offset] << 8) | body[offset + 1]
        offset += 2
        if chunk < 0x8000:
            run = min(chunk & _MAX_RUN, count - index)
            symbol = chunk >> 13
            if symbol == _RESERVED:
                raise BadField("packet status symbol", symbol)
            if symbol != _ABSENT:
                if len(received) + run > size:
                    # Every received packet costs a byte of delta: refuse before building a long list.
                    raise Truncated("receive deltas", needed=len(received) + run, available=size)
                large = symbol == _LARGE
                received += [(position, large) for position in range(index, index + run)]
            index += run
        elif chunk < 0xC000:
            bits = chunk & 0x3FFF
            while bits:
                place = 14 - bits.bit_length()
                if index + place < count:
                    received.append((index + place, False))
                bits &= (1 << (13 - place)) - 1
            index += 14
        else:
            for place, shift in enumerate(range(12, -1, -2)):
                symbol = (chunk >> shift) & 3
                if symbol and index + place < count:
                    if symbol == _RESERVED:
                        raise BadField("packet status symbol", symbol)
                    received.append((index + place, symbol == _LARGE))
            index += 7
    return received, offset


def _write_chunks(symbols: list[tuple[int, int]]) -> bytes:
    """Run-length chunks for runs of seven or more (or all that is left), else vectors of 14 or 7 symbols."""
    runs = _merge(symbols)
    chunks = bytearray()
    position = 0
    while position < len(runs):
        symbol, run = runs[position]
        if run >= 7 or position == len(runs) - 1:
            while run:
                part = min(run, _MAX_RUN)
                chunks += _SHORT.pack(symbol << 13 | part)
                run -= part
            position += 1
            continue
        window: list[int] = []
        for following, length in runs[position : position + 14]:
            window += [following] * min(length, 14 - len(window))
        if len(window) > 7 and _LARGE not in window:
            chunks += _SHORT.pack(0x8000 | _fold(window, 14, 1))
            taken = 14
        else:
            chunks += _SHORT.pack(0xC000 | _fold(window[:7], 7, 2))
            taken = 7
        while taken and position < len(runs):
            symbol, run = runs[position]
            if run > taken:
                runs[position] = (symbol, run - taken)
                taken = 0
            else:
                taken -= run
                position += 1
    return bytes(chunks)


def _merge(symbols: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for symbol, run in symbols:
        if merged and merged[-1][0] == symbol:
            merged[-1] = (symbol, merged[-1][1] + run)
        else:
            merged.append((symbol, run))
    return merged


def _fold(window: list[int], places: int, width: int) -> int:
    value = 0
    for symbol in window:
        value = value << width | symbol
    return value << width * (places - len(window))


@dataclass(frozen=True, slots=True, kw_only=True)
class TwccReceiverStatistics:
    """Counters since the start. `waiting`: arrivals not yet reported."""

    received: int
    duplicates: int
    too_late: int
    restarts: int
    dropped: int
    messages: int
    waiting: int


class TwccReceiver:
    """Receiver side of one transport: note each arrival, take a feedback body when one is due.

    Call `record` for every packet with a transport sequence (padding and RTX too), then `feedback(now)`
    until it returns None, at the latest at `next_deadline`. Times in seconds unless a name says us.

    A packet that arrives after a message said it was missing moves the start of the next message back to
    itself, so the sender hears of it; arrivals older than `memory` behind the newest are forgotten. At most
    `capacity` arrivals are kept; the oldest go first and are counted.
    """

    __slots__ = (
        "_arrivals",
        "_capacity",
        "_dropped",
        "_duplicates",
        "_feedback_count",
        "_floor",
        "_interval",
        "_last_sent",
        "_memory_us",
        "_messages",
        "_next",
        "_received",
        "_restarts",
        "_strays",
        "_threshold",
        "_too_late",
        "_unwrapper",
        "_waiting",
    )

    def __init__(
        self, *, interval: float = 0.1, threshold: int = 50, memory: float = 0.5, capacity: int = 2_000
    ) -> None:
        self._interval = interval
        self._threshold = threshold
        self._memory_us = round(memory * 1_000_000)
        self._capacity = capacity
        self._unwrapper = ExtendedSequence()
        self._arrivals: dict[int, int] = {}
        self._next: int | None = None  # extended sequence the next message starts at
        self._floor: int | None = None  # nothing is known any more of sequences below
        self._waiting = 0
        self._last_sent: float | None = None
        self._feedback_count = 0
        self._strays = 0
        self._received = self._duplicates = self._too_late = self._restarts = self._dropped = 0
        self._messages = 0

    def record(self, transport_sequence: int, arrival_us: int) -> None:
        """Note that the packet with this 16-bit transport sequence arrived."""
        highest = self._unwrapper.highest
        extended = self._unwrapper.unwrap(transport_sequence)
        if highest is not None and extended < highest - 0x2000:
            # 8,192 packets late is no reordering: the peer may have begun to count anew.
            self._strays += 1
            if self._strays < 16:
                self._too_late += 1
                return
            extended = self._restart(transport_sequence)
        elif highest is None or extended > highest:
            self._strays = 0
        if extended in self._arrivals:
            self._duplicates += 1
            return
        if self._floor is not None and extended < self._floor:
            # A message from here on would call its forgotten neighbours lost.
            self._too_late += 1
            return
        if self._next is None or extended < self._next:
            self._next = extended
        self._arrivals[extended] = arrival_us
        self._received += 1
        self._waiting += 1
        if len(self._arrivals) > self._capacity:
            self._forget_oldest()

    def feedback(self, now: float) -> bytes | None:
        """The next feedback body if one is due, for `pack_packet`; call again until None.

        Due: something is waiting, and the interval has passed or more than the threshold is waiting.
        """
        if not self._waiting or self._next is None:
            return None
        recent = self._last_sent is not None and now - self._last_sent < self._interval
        if recent and self._waiting <= self._threshold:
            return None
        pending = sorted(item for item in self._arrivals.items() if item[0] >= self._next)
        batch = _fitting(self._next, pending)
        body = pack_body(self._next, batch, feedback_count=self._feedback_count)
        self._feedback_count = (self._feedback_count + 1) & 0xFF
        self._messages += 1
        self._next = batch[-1][0] + 1
        self._waiting = len(pending) - len(batch)
        if not self._waiting:
            self._last_sent = now
            self._forget_reported()
        return body

    @property
    def next_deadline(self) -> float | None:
        """When `feedback` has something to say if nothing more arrives; None when nothing is waiting."""
        return self.interval_ends if self._waiting else None

    @property
    def interval_ends(self) -> float:
        """From when on whatever arrives may be reported at once."""
        return 0.0 if self._last_sent is None else self._last_sent + self._interval

    def statistics(self) -> TwccReceiverStatistics:
        """A snapshot of the counters."""
        return TwccReceiverStatistics(
            received=self._received,
            duplicates=self._duplicates,
            too_late=self._too_late,
            restarts=self._restarts,
            dropped=self._dropped,
            messages=self._messages,
            waiting=self._waiting,
        )

    def _restart(self, transport_sequence: int) -> int:
        self._restarts += 1
        self._strays = 0
        self._arrivals.clear()
        self._waiting = 0
        self._next = self._floor = None
        self._unwrapper.reset()
        return self._unwrapper.unwrap(transport_sequence)

    def _forget_reported(self) -> None:
        horizon = max(self._arrivals.values()) - self._memory_us
        self._forget([sequence for sequence, time_us in self._arrivals.items() if time_us < horizon])

    def _forget_oldest(self) -> None:
        oldest = sorted(self._arrivals)[: self._capacity // 4]
        unreported = sum(1 for sequence in oldest if self._next is not None and sequence >= self._next)
        self._dropped += unreported
        self._waiting -= min(unreported, self._waiting)
        self._forget(oldest)
        if self._next is not None and self._floor is not None:
            self._next = max(self._next, self._floor)

    def _forget(self, sequences: list[int]) -> None:
        if sequences:
            for sequence in sequences:
                del self._arrivals[sequence]
            self._floor = max(sequences) + 1


def _fitting(base: int, pending: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The first part of `pending` that one message can carry: by size, by range and by the span of a
    delta."""
    room = MAX_BODY_SIZE - _FIXED.size
    expected = base
    previous: int | None = None
    for position, (sequence, time_us) in enumerate(pending):
        # At worst a packet takes a large delta, a chunk of its own and the run-length chunks of the gap
        # before it.
        room -= 4 + 2 * -(-(sequence - expected) // _MAX_RUN)
        expected = sequence + 1
        ticks = _ticks(time_us)
        if previous is not None and (
            room < 0 or sequence - base >= 0xFFFF or not -0x8000 <= ticks - previous <= 0x7FFF
        ):
            return pending[:position]
        previous = ticks
    return pending
