"""Slowing guessers down: a rate per key, and waits that double with each failure. Sans-IO; times are `now`, s."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

MAX_KEYS: Final = 20_000  # the one that was not seen for longest is forgotten


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Rate:
    """At most `per_minute` events a minute for each key, as many at once as a minute has."""

    def __init__(self, per_minute: float) -> None:
        self._size = per_minute
        self._fill = per_minute / 60.0
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._refused = 0

    def take(self, key: str, now: float) -> float:
        """Count one event. 0.0 = fine, else refused and the s until one is allowed."""
        bucket = self._buckets.get(key)
        if bucket is None:
            while len(self._buckets) >= MAX_KEYS:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = _Bucket(self._size, now)
        else:
            self._buckets.move_to_end(key)
        bucket.left = min(self._size, bucket.left + (now - bucket.at) * self._fill)
        bucket.at = now
        if bucket.left >= 1.0:
            bucket.left -= 1.0
            return 0.0
        self._refused += 1
        return (1.0 - bucket.left) / self._fill

    def statistics(self) -> dict[str, object]:
        return {"keys": len(self._buckets), "refused_total": self._refused}


@dataclass(slots=True)
class _Failures:
    count: int
    until: float


class BackOff:
    """`free` failures cost nothing; after that each doubles the wait, from 1 s up to `longest` s. A success, or
    `forget_after` s without a failure, forgets them."""

    def __init__(self, *, free: int, longest: float, forget_after: float = 900.0) -> None:
        self._free = free
        self._longest = longest
        self._forget_after = forget_after
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._refused = 0

    def wait(self, key: str, now: float) -> float:
        """Seconds that `key` must still wait, 0.0 = may try."""
        failures = self._failures.get(key)
        if failures is None:
            return 0.0
        if now >= failures.until + self._forget_after:
            del self._failures[key]
            return 0.0
        left = max(0.0, failures.until - now)
        if left:
            self._refused += 1
        return left

    def failed(self, key: str, now: float) -> None:
        self.wait(key, now)  # forgets what is old
        failures = self._failures.get(key)
        if failures is None:
            while len(self._failures) >= MAX_KEYS:
                self._failures.popitem(last=False)
            failures = self._failures[key] = _Failures(0, now)
        self._failures.move_to_end(key)
        failures.count += 1
        over = failures.count - self._free
        # 2.0 ** 30 is above any `longest`; a larger exponent would overflow after days of guessing
        failures.until = now + (min(self._longest, 2.0 ** min(over - 1, 30)) if over > 0 else 0.0)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)

    def statistics(self) -> dict[str, object]:
        return {"keys": len(self._failures), "refused_total": self._refused}
