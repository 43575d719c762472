"""Reception statistics of one incoming stream and round-trip times (RFC 3550 6.4, A.1, A.3, A.8)."""

from __future__ import annotations

from dataclasses import dataclass

from media.rtp import ntp
from media.rtp.rtcp import DlrrItem, ReportBlock
from media.rtp.sequence import difference32

_MAX_DROPOUT = 3_000  # packets forward that are still a gap, not a new start
_MAX_MISORDER = 100  # packets back that are still reordering


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionSnapshot:
    """Since the start: packets `received` (duplicates included, as the RFC counts) and `lost`; `jitter` in
    seconds."""

    received: int
    lost: int
    jitter: float
    highest_sequence: int
    restarts: int


class ReceptionStatistics:
    """What a report block says of one SSRC.

    Call `received` for every packet as it came from the network (RTX not unwrapped into it),
    `sender_report` for every SR of the source, `report_block` when a report is due. Times are monotonic
    seconds.
    """

    __slots__ = (
        "_arrival_ticks",
        "_base",
        "_clock_rate",
        "_cycles",
        "_expected_before",
        "_highest",
        "_jitter",
        "_last_sr",
        "_last_sr_time",
        "_received",
        "_received_before",
        "_restart_at",
        "_restarts",
        "_timestamp",
    )

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._base: int | None = None
        self._highest = 0
        self._cycles = 0
        self._received = 0
        self._expected_before = 0
        self._received_before = 0
        self._jitter = 0.0
        self._timestamp = 0
        self._arrival_ticks = 0.0
        self._last_sr = 0
        self._last_sr_time = 0.0
        self._restart_at = -1
        self._restarts = 0

    def received(self, sequence: int, timestamp: int, now: float) -> None:
        """A packet arrived. A jump in sequence is believed when a second packet follows it (RFC 3550 A.1)."""
        if self._base is None:
            self._start(sequence)
        else:
            step = (sequence - self._highest) & 0xFFFF
            if step < _MAX_DROPOUT:
                if sequence < self._highest:
                    self._cycles += 0x10000
                self._highest = sequence
            elif step <= 0x10000 - _MAX_MISORDER:
                if sequence != self._restart_at:
                    self._restart_at = (sequence + 1) & 0xFFFF
                    return
                self._start(sequence)
                self._restarts += 1
        arrival = now * self._clock_rate
        if self._received:
            transit_change = (arrival - self._arrival_ticks) - difference32(timestamp, self._timestamp)
            self._jitter += (abs(transit_change) - self._jitter) / 16
        self._arrival_ticks = arrival
        self._timestamp = timestamp
        self._received += 1

    def sender_report(self, ntp_time: int, now: float) -> None:
        """An SR of this source arrived; its 64-bit NTP time comes back to the sender as LSR."""
        self._last_sr = ntp.middle32(ntp_time)
        self._last_sr_time = now

    def report_block(self, ssrc: int, now: float) -> ReportBlock | None:
        """The block for this source, and the start of the next interval. None before the first packet."""
        if self._base is None:
            return None
        expected = self._cycles + self._highest - self._base + 1
        expected_interval = expected - self._expected_before
        lost_interval = expected_interval - (self._received - self._received_before)
        self._expected_before = expected
        self._received_before = self._received
        fraction = 0
        if expected_interval > 0 and lost_interval > 0:
            fraction = min(255, (lost_interval << 8) // expected_interval)
        delay = 0
        if self._last_sr:
            delay = min(0xFFFFFFFF, max(0, round((now - self._last_sr_time) * 65_536)))
        return ReportBlock(
            ssrc=ssrc,
            fraction_lost=fraction,
            cumulative_lost=max(-0x800000, min(0x7FFFFF, expected - self._received)),
            highest_sequence=(self._cycles + self._highest) & 0xFFFFFFFF,
            jitter=min(0xFFFFFFFF, int(self._jitter)),
            last_sr=self._last_sr,
            delay_since_last_sr=delay,
        )

    def snapshot(self) -> ReceptionSnapshot:
        """The totals so far."""
        expected = 0 if self._base is None else self._cycles + self._highest - self._base + 1
        return ReceptionSnapshot(
            received=self._received,
            lost=expected - self._received,
            jitter=self._jitter / self._clock_rate,
            highest_sequence=self._cycles + self._highest,
            restarts=self._restarts,
        )

    def _start(self, sequence: int) -> None:
        self._base = self._highest = sequence
        self._cycles = 0
        self._received = self._received_before = self._expected_before = 0
        self._restart_at = -1


def round_trip_time(report: ReportBlock | DlrrItem, ntp_now: int) -> float | None:
    """Seconds from our report to the peer and back, from the peer's answer received at `ntp_now` (64 bits).

    For a report block it is the time since our SR, for a DLRR item (RFC 3611 4.5) since our RRTR. None when
    the peer has not yet seen one, or when the answer is impossible (a peer that claims a longer delay than
    has passed).
    """
    if isinstance(report, ReportBlock):
        last, delay = report.last_sr, report.delay_since_last_sr
    else:
        last, delay = report.last_rr, report.delay
    if last == 0:
        return None
    elapsed = difference32(ntp.middle32(ntp_now), last) - delay
    if elapsed < 0:
        # The clocks' granularity may make a loopback answer look early by a tick or two.
        return 0.0 if elapsed > -66 else None
    return elapsed / 65_536
