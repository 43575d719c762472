"""Whether a queue is growing somewhere on the way: the delay-based half of congestion control (GCC,
draft-ietf-rmcat-gcc-02 section 5, with the trendline filter that replaced its Kalman filter).

Packets are grouped by when they were sent; of two neighbouring groups the change of their distance, from sending to
arrival, is what a queue added. The slope of its smoothed sum over the last groups is compared with a threshold that
follows the link's own jitter, so that Wi-Fi is not taken for congestion.

Pure: the two clocks (ours when sending, the peer's when receiving) come in as seconds and are never compared.
"""

from __future__ import annotations

import math
from collections import deque
from enum import StrEnum

_BURST = 0.005  # s: what is sent within this is one group
_MAX_BURST = 0.100  # s: a group never spans more on arrival
_MAX_JUMP = 3.0  # s: a larger change is a clock, not a queue
_WINDOW = 20  # groups in the regression
_SMOOTHING = 0.9
_GAIN = 4.0
_MAX_COUNT = 60  # groups after which the slope counts in full
_OVERUSE_TIME = 10.0  # ms the slope must stay above the threshold
_THRESHOLD_START = 12.5  # ms
_THRESHOLD_MIN = 6.0
_THRESHOLD_MAX = 600.0
_THRESHOLD_OUTLIER = 15.0  # ms above the threshold where it no longer follows
_THRESHOLD_UP = 0.0087  # per ms
_THRESHOLD_DOWN = 0.039
_MAX_STEP = 100.0  # ms that one step of the threshold may stand for
_BUCKET = 0.5  # s over which the smallest delay is kept
_BUCKETS = 60


class LinkUse(StrEnum):
    """What the delay says of the link."""

    NORMAL = "normal"
    OVERUSE = "overuse"  # a queue grows
    UNDERUSE = "underuse"  # a queue drains


class _Group:
    __slots__ = ("first_arrival", "first_sent", "last_arrival", "last_sent")

    def __init__(self, sent: float, arrival: float) -> None:
        self.first_sent = self.last_sent = sent
        self.first_arrival = self.last_arrival = arrival


class DelayTrend:
    """Fed with every packet that arrived, in the order of sending; `use` is the current verdict."""

    __slots__ = (
        "_accumulated",
        "_count",
        "_current",
        "_history",
        "_over_count",
        "_over_time",
        "_previous",
        "_previous_slope",
        "_smoothed",
        "_threshold_at",
        "threshold",
        "trend",
        "use",
    )

    def __init__(self) -> None:
        self.use = LinkUse.NORMAL
        self.threshold = _THRESHOLD_START
        self.trend = 0.0  # what is compared with the threshold, ms
        self._threshold_at: float | None = None
        self._reset()

    def _reset(self) -> None:
        self._current: _Group | None = None
        self._previous: _Group | None = None
        self._count = 0
        self._accumulated = 0.0
        self._smoothed = 0.0
        self._history: deque[tuple[float, float]] = deque(maxlen=_WINDOW)
        self._previous_slope = 0.0
        self._over_time = 0.0
        self._over_count = 0
        self.trend = 0.0

    def add(self, sent: float, arrival: float) -> None:
        """A packet sent at `sent` on our clock arrived at `arrival` on the peer's."""
        group = self._current
        if group is None:
            self._current = _Group(sent, arrival)
            return
        if sent < group.first_sent:
            return  # sent before the group began: it belongs to one that is closed
        if self._belongs(group, sent, arrival):
            group.last_sent = max(group.last_sent, sent)
            group.last_arrival = max(group.last_arrival, arrival)
            return
        previous = self._previous
        if previous is not None:
            sent_delta = group.last_sent - previous.last_sent
            arrival_delta = group.last_arrival - previous.last_arrival
            if abs(arrival_delta - sent_delta) > _MAX_JUMP:
                self._reset()
                self.use = LinkUse.NORMAL
                self._current = _Group(sent, arrival)
                return
            if arrival_delta >= 0.0:
                self._update(1_000 * sent_delta, 1_000 * arrival_delta, 1_000 * group.last_arrival)
        self._previous = group
        self._current = _Group(sent, arrival)

    @staticmethod
    def _belongs(group: _Group, sent: float, arrival: float) -> bool:
        if sent - group.first_sent <= _BURST:
            return True
        # Sent later but arrived in one go with the group: something on the way collected them.
        arrival_delta = arrival - group.last_arrival
        return (
            arrival_delta <= _BURST
            and arrival_delta < sent - group.last_sent
            and arrival - group.first_arrival < _MAX_BURST
        )

    def _update(self, sent_delta: float, arrival_delta: float, arrival: float) -> None:
        self._count += 1
        self._accumulated += arrival_delta - sent_delta
        self._smoothed = _SMOOTHING * self._smoothed + (1 - _SMOOTHING) * self._accumulated
        self._history.append((arrival, self._smoothed))
        slope = self._slope() if len(self._history) == _WINDOW else 0.0
        self.trend = min(self._count, _MAX_COUNT) * slope * _GAIN
        self._judge(slope, sent_delta)
        self._adapt(arrival)
        self._previous_slope = slope

    def _slope(self) -> float:
        """Least squares over (arrival, smoothed delay): ms of delay per ms."""
        # One pass with plain sums, from the first arrival on: this runs for every group of every viewer.
        count = len(self._history)
        start = self._history[0][0]
        sum_x = sum_y = sum_xx = sum_xy = 0.0
        for x, y in self._history:
            x -= start
            sum_x += x
            sum_y += y
            sum_xx += x * x
            sum_xy += x * y
        spread = sum_xx - sum_x * sum_x / count
        if spread <= 0.0:
            return self._previous_slope
        return (sum_xy - sum_x * sum_y / count) / spread

    def _judge(self, slope: float, sent_delta: float) -> None:
        if self.trend > self.threshold:
            self._over_time += sent_delta if self._over_count else sent_delta / 2
            self._over_count += 1
            if self._over_time > _OVERUSE_TIME and self._over_count > 1 and slope >= self._previous_slope:
                self._over_time = 0.0
                self._over_count = 0
                self.use = LinkUse.OVERUSE
            return
        self._over_time = 0.0
        self._over_count = 0
        self.use = LinkUse.UNDERUSE if self.trend < -self.threshold else LinkUse.NORMAL

    def _adapt(self, arrival: float) -> None:
        size = abs(self.trend)
        step = 0.0 if self._threshold_at is None else min(arrival - self._threshold_at, _MAX_STEP)
        self._threshold_at = arrival
        if size > self.threshold + _THRESHOLD_OUTLIER:
            return  # a sudden peak is the very thing to be seen
        rate = _THRESHOLD_DOWN if size < self.threshold else _THRESHOLD_UP
        moved = self.threshold + rate * (size - self.threshold) * max(step, 0.0)
        self.threshold = min(max(moved, _THRESHOLD_MIN), _THRESHOLD_MAX)


class StandingQueue:
    """The part of the delay that never goes away: a queue that is full and stays full has no trend.

    The smallest one-way delay of the last second or so is compared with the smallest of the last half minute. Jitter
    does not matter to a minimum, and half a minute is too short for the clocks to drift apart.
    """

    __slots__ = ("_buckets", "_current", "_current_at")

    def __init__(self) -> None:
        self._buckets: deque[float] = deque(maxlen=_BUCKETS)
        self._current = math.inf
        self._current_at = -math.inf

    def add(self, sent: float, arrival: float) -> None:
        """A packet sent at `sent` on our clock arrived at `arrival` on the peer's."""
        delay = arrival - sent
        if self._buckets and abs(delay - self._buckets[-1]) > _MAX_JUMP:
            self.rebase()  # one of the clocks was set
        if sent - self._current_at >= _BUCKET:
            if self._current < math.inf:
                self._buckets.append(self._current)
            self._current = delay
            self._current_at = sent
        elif delay < self._current:
            self._current = delay

    @property
    def delay(self) -> float:
        """Seconds; 0.0 until enough is known."""
        buckets = self._buckets
        if len(buckets) < 3:
            return 0.0
        return min(buckets[-1], buckets[-2], self._current) - min(min(buckets), self._current)

    def rebase(self) -> None:
        """Take the present delay for that of an empty link: the path itself has become longer."""
        self._buckets.clear()
        self._current = math.inf
        self._current_at = -math.inf
