"""When packets leave: a token bucket per transport, four classes, and a budget that transports behind one link share.

Voice goes first and may run ahead of its rate for a moment; repair, video and probes wait for tokens. The engine calls
`try_spend` for what can leave at once, which is nearly always, and `enqueue` only for the rest; then `pop` at
`next_deadline`. Sizes in bytes, rates in bit/s (0 = unlimited), `now` in seconds.

What is dropped when a queue is full:
    voice, repair  the oldest: a late packet is worth less than a new one
    video          the new one and all that follow of its frame: the rest of a torn frame is of no use
    probe          the new one
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")

_BURST = 0.010  # s of the rate that may leave at once after a pause
MIN_BURST = 3_000  # bytes: at least two packets, whatever the rate
_VOICE_AHEAD = 0.100  # s of the rate that voice may run ahead of it
_MIN_VOICE_AHEAD = 2_000  # bytes


class PacketClass(IntEnum):
    """Smaller goes first."""

    VOICE = 0
    REPAIR = 1
    VIDEO = 2
    PROBE = 3


_VOICE = PacketClass.VOICE
_VIDEO = PacketClass.VIDEO


class TokenBucket:
    """Bytes that may leave. It may go below zero by the last packet taken; voice may take it further down."""

    __slots__ = ("_burst", "_bytes_per_second", "_last", "_least_burst", "_tokens", "_voice_floor")

    def __init__(self, rate_bps: float, now: float) -> None:
        self._last = now
        self._tokens = 0.0
        self._bytes_per_second = 0.0
        self._burst = 0.0
        self._least_burst = MIN_BURST
        self._voice_floor = 0.0
        self.set_rate(rate_bps, now)
        self._tokens = self._burst

    def set_rate(self, rate_bps: float, now: float) -> None:
        """Change the rate; what was saved or owed stays. 0 = unlimited."""
        self._refill(now)
        self._bytes_per_second = rate_bps / 8
        self._burst = max(_BURST * self._bytes_per_second, self._least_burst)
        self._voice_floor = -max(_VOICE_AHEAD * self._bytes_per_second, _MIN_VOICE_AHEAD)

    def set_burst(self, size: int, now: float) -> None:
        """How many bytes may leave at once after a pause, at least; what was saved stays."""
        self._least_burst = max(size, MIN_BURST)
        self.set_rate(8 * self._bytes_per_second, now)

    def may_spend(self, now: float, kind: PacketClass) -> bool:
        """Whether a packet of this class may leave now."""
        if not self._bytes_per_second:
            return True
        self._refill(now)
        return self._tokens > (self._voice_floor if kind == _VOICE else 0.0)

    def spend(self, size: int) -> None:
        """A packet leaves; call `may_spend` first."""
        if self._bytes_per_second:
            self._tokens -= size

    def ready_at(self, kind: PacketClass) -> float:
        """When a packet of this class may leave if nothing else does until then."""
        if not self._bytes_per_second:
            return self._last
        missing = (self._voice_floor if kind == _VOICE else 0.0) - self._tokens
        # A hair later than exact, so that rounding never makes a timer fire just too early for ever.
        return self._last if missing < 0.0 else self._last + missing / self._bytes_per_second + 1e-6

    def _refill(self, now: float) -> None:
        if now > self._last:
            self._tokens = min(self._tokens + (now - self._last) * self._bytes_per_second, self._burst)
            self._last = now


class LinkBudget(TokenBucket):
    """What all transports behind one link may send together; give the same one to each `Pacer`.

    Voice of any transport goes before the rest of all of them, as it may run ahead of the rate and they then wait.
    """

    __slots__ = ()


@dataclass(slots=True)
class _Queue(Generic[Item]):
    limit: int
    items: deque[tuple[int, Item]]
    size: int = 0


class Pacer(Generic[Item]):
    """One transport's pacer. Items are whatever the engine sends.

    `displaced`: packets that waited and had to make way for a newer one since somebody took the count. What `enqueue`
    refuses its caller counts.
    """

    __slots__ = ("_bucket", "_budget", "_queued", "_queues", "_torn", "displaced")

    def __init__(
        self,
        rate_bps: float,
        now: float,
        *,
        budget: LinkBudget | None = None,
        limits: tuple[int, int, int, int] = (16_000, 150_000, 300_000, 20_000),
    ) -> None:
        """`limits`: bytes that may wait in each class."""
        self._bucket = TokenBucket(rate_bps, now)
        self._budget = budget
        self._queues: tuple[_Queue[Item], ...] = tuple(_Queue(limit, deque()) for limit in limits)
        self._queued = 0
        self._torn: set[int] = set()  # flows whose frame lost a packet here
        self.displaced = 0

    def set_rate(self, rate_bps: float, now: float) -> None:
        """The transport's rate, 0 = unlimited. Call `pop` next: what waits may leave earlier."""
        self._bucket.set_rate(rate_bps, now)

    def set_burst(self, size: int, now: float) -> None:
        """How much the path takes at once. The budget that others share keeps its own measure."""
        self._bucket.set_burst(size, now)

    def try_spend(self, size: int, now: float, kind: PacketClass = PacketClass.VIDEO) -> bool:
        """Whether this packet, or train of them, may leave at once; if so it is paid for.

        Never past packets that wait in the same class or a higher one.
        """
        if self._queued:
            for queue in self._queues[: kind + 1]:
                if queue.items:
                    return False
        if not self._may_spend(now, kind):
            return False
        self._spend(size)
        return True

    def enqueue(
        self, kind: PacketClass, size: int, item: Item, now: float, frame_end: bool = True, flow: int = 0
    ) -> bool:
        """Let a packet wait. False: it was dropped by its class's rule.

        `frame_end`: the last packet of its frame; `flow` tells streams of one transport apart, since a torn frame of
        one is no reason to drop another's. Call `pop` at `next_deadline`.
        """
        queue = self._queues[kind]
        if kind == _VIDEO:
            if flow in self._torn or queue.size + size > queue.limit:
                if frame_end:
                    self._torn.discard(flow)
                else:
                    self._torn.add(flow)
                return False
        elif size > queue.limit or (kind == PacketClass.PROBE and queue.size + size > queue.limit):
            return False
        else:
            while queue.size + size > queue.limit:
                self._take(queue)
                self.displaced += 1
        queue.items.append((size, item))
        queue.size += size
        self._queued += 1
        return True

    def pop(self, now: float) -> list[Item]:
        """The packets whose time has come, in the order they leave."""
        leaving: list[Item] = []
        if not self._queued:
            return leaving
        for kind in PacketClass:
            queue = self._queues[kind]
            while queue.items:
                if not self._may_spend(now, kind):
                    return leaving
                size, item = self._take(queue)
                self._spend(size)
                leaving.append(item)
        return leaving

    @property
    def next_deadline(self) -> float | None:
        """When `pop` has something; None when nothing waits.

        With a shared budget others may have spent it by then: look again after each `pop`.
        """
        if not self._queued:
            return None
        for kind in PacketClass:
            if self._queues[kind].items:
                ready = self._bucket.ready_at(kind)
                return ready if self._budget is None else max(ready, self._budget.ready_at(kind))
        return None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait."""
        return sum(queue.size for queue in self._queues)

    def drop_flow_state(self, flow: int) -> None:
        """A stream has gone: forget that a frame of it was torn."""
        self._torn.discard(flow)

    def _may_spend(self, now: float, kind: PacketClass) -> bool:
        if not self._bucket.may_spend(now, kind):
            return False
        return self._budget is None or self._budget.may_spend(now, kind)

    def _spend(self, size: int) -> None:
        self._bucket.spend(size)
        if self._budget is not None:
            self._budget.spend(size)

    def _take(self, queue: _Queue[Item]) -> tuple[int, Item]:
        size, item = queue.items.popleft()
        queue.size -= size
        self._queued -= 1
        return size, item
