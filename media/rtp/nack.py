"""Which packets of an incoming stream are missing, and when to ask for them (receiver side of RFC 4585 NACK).

A gap is left alone for a moment, since most are reordering; then the packet is asked for, and again every
round trip, until it comes, is too old to be of use, or has been asked for often enough. Giving up means the
decoder cannot go on: the caller then asks for a key frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from media.rtp.sequence import ExtendedSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What to do now: ask for the 16-bit sequence numbers in `lost`; `give_up`: ask for a key frame."""

    lost: tuple[int, ...] = ()
    give_up: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LossStatistics:
    """Counters since the start; `missing`: packets still waited for.

    `reordered` came before they were asked for, `recovered` after; `abandoned` never came in time.
    """

    missing: int
    reordered: int
    recovered: int
    asked: int
    abandoned: int
    give_ups: int
    restarts: int


class _Missing:
    __slots__ = ("due", "since", "tries")

    def __init__(self, since: float, due: float) -> None:
        self.since = since
        self.due = due
        self.tries = 0


_NOTHING = Repair()


class LossTracker:
    """Losses of one stream (one SSRC; RTX unwrapped before). Times in seconds.

    Call `received` for every packet in the order of arrival and `poll` at `next_deadline` or on any regular
    tick. At most `max_packets` packets are waited for.
    """

    __slots__ = (
        "_abandoned",
        "_asked",
        "_deadline",
        "_give_up",
        "_give_ups",
        "_max_age",
        "_max_packets",
        "_max_tries",
        "_min_interval",
        "_missing",
        "_recovered",
        "_reorder_wait",
        "_reordered",
        "_restarts",
        "_strays",
        "_unwrapper",
    )

    def __init__(
        self,
        *,
        reorder_wait: float = 0.010,
        min_interval: float = 0.020,
        max_tries: int = 10,
        max_age: float = 1.0,
        max_packets: int = 500,
    ) -> None:
        self._reorder_wait = reorder_wait
        self._min_interval = min_interval
        self._max_tries = max_tries
        self._max_age = max_age
        self._max_packets = max_packets
        self._unwrapper = ExtendedSequence()
        self._missing: dict[int, _Missing] = {}
        self._deadline = math.inf
        self._give_up = False
        self._strays = 0
        self._reordered = self._recovered = self._asked = self._abandoned = self._give_ups = 0
        self._restarts = 0

    def received(self, sequence: int, now: float) -> None:
        """A packet with this 16-bit sequence number arrived, by itself or out of an RTX packet."""
        highest = self._unwrapper.highest
        extended = self._unwrapper.unwrap(sequence)
        if highest is None or extended == highest + 1:
            self._strays = 0
            self._forget_older_than(extended - self._max_packets)
            return
        if extended > highest:
            self._strays = 0
            self._open_gap(highest + 1, extended, now)
            return
        missing = self._missing.pop(extended, None)
        if missing is not None:
            if missing.tries:
                self._recovered += 1
            else:
                self._reordered += 1
        elif extended < highest - self._max_packets:
            # A sender that begins its numbers anew looks like one that is endlessly late.
            self._strays += 1
            if self._strays >= 16:
                self._restart(sequence)

    def poll(self, now: float, rtt: float) -> Repair:
        """What is due. `rtt`: round trip to the sender, 0 when unknown."""
        if now < self._deadline and not self._give_up:
            return _NOTHING
        lost: list[int] = []
        abandoned: list[int] = []
        deadline = math.inf
        wait = max(rtt, self._min_interval)
        for sequence, missing in self._missing.items():
            end = missing.since + self._max_age
            if now >= end or (now >= missing.due and missing.tries >= self._max_tries):
                abandoned.append(sequence)
                continue
            if now >= missing.due:
                missing.tries += 1
                missing.due = now + wait
                lost.append(sequence & 0xFFFF)
            deadline = min(deadline, missing.due, end)
        self._deadline = deadline
        if abandoned:
            self._abandon(abandoned)
        give_up = self._give_up
        self._give_up = False
        self._asked += len(lost)
        self._give_ups += give_up
        return Repair(lost=tuple(lost), give_up=give_up)

    def key_frame(self, sequence: int) -> None:
        """A key frame starts at this sequence number: what is missing before it is no longer needed."""
        start = self._unwrapper.peek(sequence)
        for missing in [number for number in self._missing if number < start]:
            del self._missing[missing]
        self._give_up = False

    @property
    def next_deadline(self) -> float | None:
        """When `poll` has something to say; None when nothing is missing."""
        if self._give_up:
            return 0.0
        return self._deadline if self._missing else None

    def statistics(self) -> LossStatistics:
        """A snapshot of the counters."""
        return LossStatistics(
            missing=len(self._missing),
            reordered=self._reordered,
            recovered=self._recovered,
            asked=self._asked,
            abandoned=self._abandoned,
            give_ups=self._give_ups,
            restarts=self._restarts,
        )

    def _open_gap(self, first: int, end: int, now: float) -> None:
        self._forget_older_than(end - self._max_packets)
        if first < end - self._max_packets:
            self._abandoned += end - self._max_packets - first
            self._give_up = True
            first = end - self._max_packets
        due = now + self._reorder_wait
        for number in range(first, end):
            self._missing[number] = _Missing(now, due)
        self._deadline = min(self._deadline, due)

    def _forget_older_than(self, limit: int) -> None:
        # Gaps open in rising order, so the oldest is always the first.
        if self._missing and next(iter(self._missing)) < limit:
            self._abandon([number for number in self._missing if number < limit])

    def _abandon(self, numbers: list[int]) -> None:
        if numbers:
            for number in numbers:
                del self._missing[number]
            self._abandoned += len(numbers)
            self._give_up = True

    def _restart(self, sequence: int) -> None:
        self._restarts += 1
        self._strays = 0
        self._missing.clear()
        self._deadline = math.inf
        self._unwrapper.reset()
        self._unwrapper.unwrap(sequence)
