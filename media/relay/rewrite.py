"""How one sink's numbers follow from the numbers of the layers that feed it, one after the other.

A `Stretch` is a run of outgoing packets with one fixed relation to one layer: out = in + offset for sequence numbers
(both extended) and timestamps, and offsets for VP8's picture numbers. A new stretch begins at every switch of layer or
source and after every packet dropped on purpose. The log of the last ones answers the two questions that come late:
which source packet was this number (NACK), and which number does this source packet get (reordered arrival).
"""

from __future__ import annotations

from collections import deque
from typing import Final

MAX_STRETCHES: Final = 64
_MIN_STEP: Final = 1  # ticks: time never stands still or runs back at a switch
_MAX_DISAGREEMENT: Final = 1.0  # s between sender reports and arrival before arrival is believed instead


class Stretch:
    """One relation. `layer` is the identity of the layer; `first_number`/`first_out` its first packet."""

    __slots__ = (
        "first_number",
        "first_out",
        "layer",
        "offset",
        "picture_delta",
        "squeezed",
        "timestamp_offset",
        "tl0_delta",
    )

    def __init__(
        self,
        layer: int,
        first_number: int,
        first_out: int,
        timestamp_offset: int,
        picture_delta: int = 0,
        tl0_delta: int = 0,
        squeezed: dict[int, int] | None = None,
    ) -> None:
        self.layer = layer
        self.first_number = first_number
        self.first_out = first_out
        self.offset = first_out - first_number
        self.timestamp_offset = timestamp_offset
        self.picture_delta = picture_delta
        self.tl0_delta = tl0_delta
        self.squeezed = squeezed  # source timestamp -> outgoing timestamp of replayed frames

    def timestamp(self, source_timestamp: int) -> int:
        """The outgoing timestamp of a source timestamp."""
        if self.squeezed is not None:
            moved = self.squeezed.get(source_timestamp)
            if moved is not None:
                return moved
        return (source_timestamp + self.timestamp_offset) & 0xFFFFFFFF

    def after_drop(self, first_number: int, first_out: int) -> Stretch:
        """The relation that goes on behind packets dropped on purpose; pictures keep their numbers."""
        return Stretch(
            self.layer,
            first_number,
            first_out,
            self.timestamp_offset,
            self.picture_delta,
            self.tl0_delta,
            self.squeezed,
        )


class StretchLog:
    """The last stretches of a sink, the newest being the current one."""

    __slots__ = ("_stretches",)

    def __init__(self) -> None:
        self._stretches: deque[Stretch] = deque(maxlen=MAX_STRETCHES)

    def append(self, stretch: Stretch) -> None:
        """A stretch that begins where the last one ended. One that was never used is replaced."""
        if self._stretches and self._stretches[-1].first_out == stretch.first_out:
            self._stretches.pop()
        self._stretches.append(stretch)

    def by_out(self, out: int) -> Stretch | None:
        """The stretch in which the extended outgoing number `out` was sent."""
        for stretch in reversed(self._stretches):
            if out >= stretch.first_out:
                return stretch
        return None

    def by_number(self, layer: int, number: int) -> Stretch | None:
        """The stretch to which a late packet of the layer being forwarded belongs.

        None when it lies before the last switch of layer, or among the packets dropped on purpose.
        """
        upper: int | None = None  # first outgoing number that is no longer this stretch's
        for stretch in reversed(self._stretches):
            if stretch.layer != layer:
                return None
            if number >= stretch.first_number:
                out = number + stretch.offset
                return stretch if upper is None or out < upper else None
            upper = stretch.first_out
        return None


def extended_out(sequence: int, highest: int) -> int:
    """The extended outgoing number that a peer means by 16 bits, nearest to the highest one sent."""
    return highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000


def timestamp_step(clock_rate: int, arrival_delta: float, report_delta: float | None) -> int:
    """Ticks from the last packet of the old layer to the first of the new one.

    `arrival_delta`: s between their arrivals. `report_delta`: s between their capture times by both layers' sender
    reports, None without them; it is believed unless it lies more than a second away from the arrivals.
    """
    delta = arrival_delta
    if report_delta is not None and abs(report_delta - arrival_delta) <= _MAX_DISAGREEMENT:
        delta = report_delta
    return max(_MIN_STEP, round(delta * clock_rate))


def squeeze(timestamps: list[int], last: int, step: int) -> dict[int, int]:
    """Outgoing timestamps that bring kept frames to the present: `step` ticks apart, the newest at `last`.

    `timestamps`: the distinct source timestamps in sending order.
    """
    count = len(timestamps)
    return {stamp: (last - (count - 1 - index) * step) & 0xFFFFFFFF for index, stamp in enumerate(timestamps)}


class NumberLine:
    """A layer's own count of its packets: extended sequence numbers without those of padding-only packets.

    Padding consumes sequence numbers that no viewer shall miss. A number below a closed gap keeps its place, and a gap
    that is a real loss is never closed.
    """

    __slots__ = ("_closed", "_shift", "highest")

    _MAX_CLOSED: Final = 256

    def __init__(self) -> None:
        self.highest: int | None = None  # raw extended sequence
        self._shift = 0
        self._closed: deque[tuple[int, int]] = deque(maxlen=self._MAX_CLOSED)  # (raw, shift below it)

    def extend(self, sequence: int) -> int:
        """The raw extended number of 16 bits, nearest to the highest so far. Nothing is remembered."""
        highest = self.highest
        if highest is None:
            return sequence
        return highest + ((sequence - highest + 0x8000) & 0xFFFF) - 0x8000

    def number(self, raw: int) -> int:
        """The layer's number of a packet with content; the highest moves on when it is the newest."""
        if self.highest is None or raw > self.highest:
            self.highest = raw
            return raw - self._shift
        shift = self._shift
        for closed, below in reversed(self._closed):
            if raw > closed:
                break
            shift = below
        return raw - shift

    def close(self, raw: int) -> bool:
        """Take the newest packet out of the count because it was only padding; False when it is not the newest."""
        if self.highest is not None and raw <= self.highest:
            return False
        self._closed.append((raw, self._shift))
        self._shift += 1
        self.highest = raw
        return True
