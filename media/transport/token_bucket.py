"""A limit on how often something may happen: so many a second on average, so many at once."""

from __future__ import annotations


class TokenBucket:
    """Starts full. `rate` tokens a second flow in, `burst` is the most it holds."""

    def __init__(self, *, rate: float, burst: float) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether it may happen now; if so, a token is gone."""
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
