"""What a bad link does to packets, sans-IO: delay, jitter, loss (random or in bursts), reordering, copies, a cut."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Impairment:
    """One direction of a link. Times in s, probabilities 0..1, rate in bit/s (0 = unlimited), queue in bytes.

    `loss` with `burst` > 1 drops in runs of `burst` packets on average (two-state Gilbert model), as many in all.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    burst: float = 1.0
    reorder: float = 0.0
    reorder_delay: float = 0.0
    duplicate: float = 0.0
    rate: int = 0
    queue: int = 64_000
    cut: bool = False


class Direction:
    """Packets put in come out when they are due; `lost` and `delivered` count."""

    def __init__(self, impairment: Impairment, seed: int) -> None:
        self.impairment = impairment
        self.lost = 0
        self.delivered = 0
        self._random = random.Random(seed)
        self._heap: list[tuple[float, int, bytes]] = []
        self._order = 0
        self._free_at = 0.0
        self._in_burst = False
        self._last_due = 0.0

    def put(self, packet: bytes, now: float) -> None:
        i = self.impairment
        if i.cut or self._drop(i):
            self.lost += 1
            return
        leave = now
        if i.rate:
            start = max(now, self._free_at)
            if (start - now) * i.rate / 8 > i.queue:
                self.lost += 1
                return
            self._free_at = leave = start + len(packet) * 8 / i.rate
        due = max(leave + i.delay + self._random.uniform(0, i.jitter), self._last_due)
        if i.reorder and self._random.random() < i.reorder:
            due += i.reorder_delay  # overtaken by those behind it
        else:
            self._last_due = due
        for _ in range(2 if i.duplicate and self._random.random() < i.duplicate else 1):
            self._order += 1
            heapq.heappush(self._heap, (due, self._order, packet))

    def _drop(self, i: Impairment) -> bool:
        if i.burst <= 1:
            return self._random.random() < i.loss
        leave_burst = 1 / i.burst
        enter_burst = leave_burst * i.loss / (1 - i.loss) if i.loss < 1 else 1.0
        self._in_burst = self._random.random() < ((1 - leave_burst) if self._in_burst else enter_burst)
        return self._in_burst

    def due(self, now: float) -> list[bytes]:
        out = []
        while self._heap and self._heap[0][0] <= now:
            out.append(heapq.heappop(self._heap)[2])
        self.delivered += len(out)
        return out

    @property
    def next_due(self) -> float | None:
        return self._heap[0][0] if self._heap else None
