"""How much one peer's link carries, from what the peer reports of what we sent (GCC: draft-ietf-rmcat-gcc-02).

Two estimates, of which the smaller counts: one from delay (a growing queue: step back to 85 % of what arrives, else
grow) and one from loss (over 10 %: step back, under 2 %: grow). A REMB and the configured range bound the result.

Where this departs from the draft:
- A relay mostly sends less than it might. Growth stops at 1.5 times what arrives plus a margin, but an estimate never
  falls because less is sent; and when a sender that uses little of its estimate meets a queue, the estimate steps down
  towards what is used, not below it. What was sent and did arrive raises the estimate at once.
- Growth is 50 % a second until the first sign of congestion, since nothing else probes. Until then `state` also tells
  of delay as such: the slope takes half a second to be seen, and a link that is tried with far too much
  (`media.relay.allocation`) has filled its queues by then.
- A queue that is full and stays full has no trend: delay that never goes away makes the estimate step back too.
- Loss that does not lessen when less is sent is not ours and is left out of account, else a bad radio link would end at
  the minimum.

Pure: rates in bit/s, times in seconds, `now` is an argument.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from media.relay.delay_trend import DelayTrend, LinkUse, StandingQueue

_RATE_WINDOW = 0.5  # s over which sent and received rates are measured
_STEP_BACK = 0.85  # of the received rate
_MAX_STEP_BACK = 0.7  # of the estimate, while little of it is used
_LITTLE_USED = 0.7  # of the estimate
_GROWTH = 1.08  # per second
_START_GROWTH = 1.5  # per second, until the first sign of congestion
_MARGIN = 10_000
_HEADROOM = 1.5  # times what arrives
_STEP_INTERVAL = 0.2  # s between two steps back
_NEAR = 1.1  # times the rate at which queues grew: where growth is additive
_PROVEN = 0.95  # of what was sent and arrived: carried, whatever was estimated
_PAUSE = 2.0  # s without packets after which rates are measured anew
_MIN_ADDITIVE = 4_000  # bit/s per second
_PACKET_BITS = 9_600
_CHOKED = 0.100  # s of delay, of all packets of a report, above the least so far: a queue, while starting
_DRIFT = 0.001  # s per second that the two clocks may part
_STANDING = 0.075  # s of delay that does not go away
_STANDING_STEPS = 4  # in vain: then the delay is the path's own
_LOSS_LOW = 0.02
_LOSS_HIGH = 0.10
_LOSS_INTERVAL = 1.0  # s of samples, and
_LOSS_SAMPLES = 20  # samples, that one loss fraction is taken over
_INHERENT_KEPT = 0.97  # of it, per loss fraction: what was misjudged is judged again
_REMB_LIFE = 10.0  # s; peers that send REMB repeat it every second or so
_SILENCE = 2.0  # s without arrivals reported after which receiver reports count instead
_DEFAULT_RTT = 0.1

Sample = tuple[float, float | None, int]
"""(send time, arrival time on the peer's clock, bytes); arrival None or negative: lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthStatistics:
    """A snapshot: rates in bit/s (0 = unknown or unlimited), `rtt` in s, `trend` and `threshold` in ms."""

    target_bps: int
    delay_bps: int
    loss_bps: int
    remb_bps: int
    sent_bps: int
    acked_bps: int
    fraction_lost: float
    rtt: float
    trend: float
    threshold: float
    delay_steps: int
    loss_steps: int


class BandwidthEstimator:
    """One transport's send-side estimate. Feed it what the peer reports, then read `target_bps` and `state`.

    `start`, `minimum`, `maximum` in bit/s. While no packet arrivals are reported (a peer without transport-wide
    feedback) receiver reports drive the estimate, and REMB bounds it.
    """

    __slots__ = (
        "_acked",
        "_capacity",
        "_choked",
        "_delay_at",
        "_delay_bps",
        "_delay_step_at",
        "_delay_steps",
        "_feedback_at",
        "_fraction_lost",
        "_inherent",
        "_least_delay",
        "_loss_at",
        "_loss_bps",
        "_loss_step",
        "_loss_step_at",
        "_loss_steps",
        "_lossy",
        "_lost_bytes",
        "_maximum",
        "_minimum",
        "_remb_at",
        "_remb_bps",
        "_rtt",
        "_rtt_reported",
        "_samples",
        "_sent",
        "_standing",
        "_standing_first",
        "_standing_steps",
        "_starting",
        "_total_bytes",
        "_trend",
    )

    def __init__(self, *, start: int = 300_000, minimum: int = 30_000, maximum: int = 10_000_000) -> None:
        self._minimum = minimum
        self._maximum = maximum
        self._delay_bps = float(start)
        self._loss_bps = math.inf
        self._remb_bps = math.inf
        self._remb_at = -math.inf
        self._trend = DelayTrend()
        self._standing = StandingQueue()
        self._standing_steps = 0
        self._standing_first = 0.0  # what the delay was at the first of these steps
        self._sent = _RateWindow()
        self._acked = _RateWindow()
        self._capacity: float | None = None  # received rate at which queues grew
        self._starting = True
        self._least_delay = math.inf  # from our clock to the peer's, while starting
        self._choked = False
        self._rtt = _DEFAULT_RTT
        self._rtt_reported = False
        self._feedback_at = -math.inf  # when arrivals were last reported
        self._delay_at: float | None = None
        self._delay_step_at = -math.inf
        self._loss_at: float | None = None
        self._loss_step_at = -math.inf
        self._loss_step: tuple[float, float] | None = None  # (fraction, sent rate) at the last step for loss
        self._inherent = 0.0  # loss that does not depend on what is sent
        self._lossy = False
        self._lost_bytes = 0
        self._total_bytes = 0
        self._samples = 0
        self._fraction_lost = 0.0
        self._delay_steps = 0
        self._loss_steps = 0

    @property
    def target_bps(self) -> int:
        """What may be sent."""
        carried = min(self._delay_bps, self._loss_bps, self._remb_bps, self._maximum)
        return int(max(carried, self._minimum))

    @property
    def state(self) -> LinkUse:
        """OVERUSE while a queue grows (at the start: is there), or more than a tenth is lost."""
        return LinkUse.OVERUSE if self._lossy or self._choked else self._trend.use

    def on_feedback(self, samples: Sequence[Sample], now: float) -> None:
        """Transport-wide feedback: what became of packets, in the order of sending."""
        self._lapse_remb(now)
        newest: float | None = None
        least = math.inf
        for sent, arrival, size in samples:
            self._sent.add(sent, size)
            self._total_bytes += size
            self._samples += 1
            if arrival is None or arrival < 0.0:
                self._lost_bytes += size
            else:
                self._acked.add(arrival, size)
                self._trend.add(sent, arrival)
                self._standing.add(sent, arrival)
                newest = sent
                least = min(least, arrival - sent)
        if newest is not None:
            if self._feedback_at > -math.inf:
                self._least_delay += _DRIFT * (now - self._feedback_at)
            self._feedback_at = now
            self._choked = self._starting and least > self._least_delay + _CHOKED
            self._least_delay = min(self._least_delay, least)
            if not self._rtt_reported:
                self._rtt += 0.2 * (max(now - newest, 0.0) - self._rtt)
            self._follow_delay(now)
        self._count_loss(now)

    def on_receiver_report(self, fraction_lost: float, rtt: float | None, now: float) -> None:
        """A report block of one of our streams: fraction 0..1; `rtt` None or negative when it tells none.

        The loss counts only while no arrivals are reported, since it is the same loss.
        """
        self._lapse_remb(now)
        if rtt is not None and rtt >= 0.0:
            self._rtt = rtt
            self._rtt_reported = True
        if now - self._feedback_at < _SILENCE:
            return
        elapsed = 0.0 if self._loss_at is None else min(now - self._loss_at, 5.0)
        self._loss_at = now
        self._follow_loss(fraction_lost, elapsed, now)
        if fraction_lost < _LOSS_LOW:
            self._delay_bps = min(self._delay_bps * _GROWTH**elapsed, float(self._maximum))

    def on_remb(self, bps: int, now: float) -> None:
        """The peer's own estimate: a cap until it sends another, or for 10 s. 0 says nothing."""
        if bps > 0:
            self._remb_bps = float(bps)
            self._remb_at = now

    def statistics(self) -> BandwidthStatistics:
        """A snapshot."""
        return BandwidthStatistics(
            target_bps=self.target_bps,
            delay_bps=int(self._delay_bps),
            loss_bps=_finite(self._loss_bps),
            remb_bps=_finite(self._remb_bps),
            sent_bps=int(self._sent.rate or 0),
            acked_bps=int(self._acked.rate or 0),
            fraction_lost=self._fraction_lost,
            rtt=self._rtt,
            trend=self._trend.trend,
            threshold=self._trend.threshold,
            delay_steps=self._delay_steps,
            loss_steps=self._loss_steps,
        )

    def _lapse_remb(self, now: float) -> None:
        if now - self._remb_at > _REMB_LIFE:
            self._remb_bps = math.inf

    # ------------------------------------------------------------ delay

    def _follow_delay(self, now: float) -> None:
        elapsed = 0.0 if self._delay_at is None else min(max(now - self._delay_at, 0.0), 1.0)
        self._delay_at = now
        acked = self._acked.rate
        if acked is None:
            return
        sent = self._sent.rate or acked
        if self._trend.use is LinkUse.OVERUSE:
            if now - self._delay_step_at >= _STEP_INTERVAL:
                self._delay_step_at = now
                self._step_back(acked, sent)
        elif self._trend.use is LinkUse.NORMAL:
            if self._standing.delay > _STANDING:
                self._drain(acked, sent, now)
            else:
                self._standing_steps = 0
                self._grow(acked, sent, elapsed)

    def _drain(self, acked: float, sent: float, now: float) -> None:
        """Step back for a queue that stands, as long as that makes it shorter."""
        if now - self._delay_step_at < 1.0 + self._rtt:
            return
        self._delay_step_at = now
        if not self._standing_steps:
            self._standing_first = self._standing.delay
        elif self._standing_steps >= _STANDING_STEPS:
            if self._standing.delay > 0.5 * self._standing_first:
                self._standing.rebase()
            self._standing_steps = 0
            return
        self._standing_steps += 1
        self._step_back(acked, sent)

    def _grow(self, acked: float, sent: float, elapsed: float) -> None:
        rate = self._delay_bps
        if self._capacity is not None and acked > _NEAR * self._capacity:
            self._capacity = None  # the link carries more than when it was last full
        if self._starting:
            grown = rate * _START_GROWTH**elapsed
        elif self._capacity is not None:
            per_second = max(_PACKET_BITS / (self._rtt + 0.1), _MIN_ADDITIVE)
            grown = rate + per_second * elapsed
        else:
            grown = rate * _GROWTH**elapsed
        grown = min(max(grown, _PROVEN * min(acked, sent)), _HEADROOM * acked + _MARGIN, self._maximum)
        self._delay_bps = max(rate, grown)

    def _step_back(self, acked: float, sent: float) -> None:
        self._starting = False
        lower = _STEP_BACK * acked
        if sent < _LITTLE_USED * self._delay_bps:
            lower = max(lower, _MAX_STEP_BACK * self._delay_bps)
        elif self._capacity is None or abs(acked / self._capacity - 1) > _NEAR - 1:
            self._capacity = acked
        else:
            self._capacity += 0.1 * (acked - self._capacity)
        if lower < self._delay_bps:
            self._delay_bps = lower
            self._delay_steps += 1

    # ------------------------------------------------------------ loss

    def _count_loss(self, now: float) -> None:
        if self._loss_at is None:
            self._loss_at = now
        elapsed = now - self._loss_at
        if self._samples < _LOSS_SAMPLES or elapsed < _LOSS_INTERVAL or not self._total_bytes:
            return
        fraction = self._lost_bytes / self._total_bytes
        self._lost_bytes = self._total_bytes = self._samples = 0
        self._loss_at = now
        self._follow_loss(fraction, min(elapsed, 1.0), now)

    def _follow_loss(self, fraction: float, elapsed: float, now: float) -> None:
        self._fraction_lost = fraction
        settled = now - self._loss_step_at >= _STEP_INTERVAL + self._rtt
        if settled:
            self._learn_inherent_loss(fraction)
        excess = max(0.0, fraction - self._inherent) / (1 - self._inherent)
        self._lossy = excess > _LOSS_HIGH
        if excess >= _LOSS_LOW:
            self._starting = False
        elif self._loss_bps < math.inf:
            self._loss_bps *= _GROWTH**elapsed
            if self._loss_bps > self._maximum:
                self._loss_bps = math.inf
        if self._lossy and settled:
            sent = self._sent.rate
            self._loss_step = None if sent is None else (fraction, sent)
            self._loss_step_at = now
            self._loss_steps += 1
            self._loss_bps = max(self.target_bps * (1 - 0.5 * excess), float(self._minimum))

    def _learn_inherent_loss(self, fraction: float) -> None:
        """Was the loss before the last step ours? On a full link less sent is less lost, on a bad one it is not."""
        self._inherent *= _INHERENT_KEPT
        if fraction < self._inherent:
            self._inherent += 0.5 * (fraction - self._inherent)
        sent = self._sent.rate
        if self._loss_step is None or not sent:
            return
        before, sent_before = self._loss_step
        if sent > 0.95 * sent_before:
            return
        self._loss_step = None
        if_full = max(0.0, 1 - (1 - before) * sent_before / sent)
        if fraction > (before + if_full) / 2:
            self._inherent = max(self._inherent, min(fraction, before, 0.5))


class _RateWindow:
    """Bit/s over the last `_RATE_WINDOW` of whatever clock the times are of.

    An entry stands for what came since the one before it, so the oldest one kept only says when the window begins.
    """

    __slots__ = ("_bytes", "_entries", "_newest", "_since")

    def __init__(self) -> None:
        self._entries: deque[tuple[float, int]] = deque()
        self._bytes = 0
        self._since = 0.0
        self._newest = -math.inf

    def add(self, time: float, size: int) -> None:
        entries = self._entries
        if abs(time - self._newest) > _PAUSE:
            # After a pause, or on another clock, an average over the window would say nothing.
            entries.clear()
            entries.append((time, 0))
            self._bytes = 0
            self._since = self._newest = time
            return
        if time > self._newest:
            self._newest = time
        entries.append((time, size))
        self._bytes += size
        begin = self._newest - _RATE_WINDOW
        while len(entries) > 1 and entries[1][0] <= begin:
            entries.popleft()
            self._bytes -= entries[0][1]

    @property
    def rate(self) -> float | None:
        """None until a whole window has been seen."""
        if self._newest - self._since < _RATE_WINDOW:
            return None
        return 8 * self._bytes / (self._newest - self._entries[0][0])


def _finite(rate: float) -> int:
    return 0 if rate == math.inf else int(rate)
