"""From what was measured to the one object that `fengsui bench relay --json` prints. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bench.report_head import Head

MIN_IDLE: Final = 0.10  # of the machine; with less a result is void
MIN_DELIVERED: Final = (
    0.95  # of what should have arrived; a key frame may be under way when counting begins or ends
)

METHOD: Final = {
    "load": "VP8 of 1 Mbit/s (30 frames/s, packets of 1,050 to 1,150 bytes that differ by one byte within a frame, a"
    " key frame of 24 packets every 2 s and when asked for, each publisher's at its own time) and Opus (50 packets/s);"
    " the same bytes for every subject",
    "viewers": "real ICE, DTLS and SRTP (AEAD_AES_128_GCM), one receiver report a second, transport-wide feedback every"
    " 100 ms where it is negotiated (ours; Janus offers none); their sockets are read every 25 ms, so that waking"
    " them is not charged to whoever sends",
    "cpu_us_per_packet": "user and system time of the control and media processes by packets that viewers received; the"
    " median of the rounds at `compared_viewers`; nothing is subtracted",
    "ratio_to_janus": "the same of the janus process (Debian package, streaming plugin, ICE-lite, plain RTP in), the"
    " subjects taking turns within each round; its media goes between two addresses of the machine, since it offers"
    " no loopback address",
    "ratio_to_bare_loop": "the same of a Python process that protects and sends each packet to each viewer (GSO trains)"
    " and does nothing else",
    "ratio_flat": "cost per packet at the largest fan-out by that at the smallest, both with as many viewers altogether"
    " as the largest has, on as many publishers as that takes, and without sound, neither sent"
    " nor delivered: with 400 the video deliveries of the rated load (`cpu_us_per_packet_by_viewers`)",
    "kb_per_viewer": "growth of the proportional set size of control and media from no viewer to the largest fan-out,"
    " the first one served, by its viewers",
    "join_ms_p95": "at half load, one at a time: from the POST to the first packet of a key frame at the viewer",
    "added_delay_ms": "at half load (20 publishers, 200 video deliveries): from making a packet in the publisher's"
    " process to its clear form in a viewer's; nothing is subtracted; `direct` is the same for packets sent straight"
    " to that viewer's process by UDP (`direct_delay_ms_p99`): what the two ends and the machine add by themselves",
    "void": f"a measurement with less than {MIN_IDLE:.0%} of the machine idle or less than {MIN_DELIVERED:.0%} of the"
    " packets delivered does not count; it is repeated, and when every try was void the figure is null with the reason",
}


DELAYS: Final = ("added_delay_ms_p99", "added_delay_ms_p95", "added_delay_ms_p50", "direct_delay_ms_p99")


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement of one subject ("ours", "janus", "bare_loop").

    `viewers`: of each publisher; `kinds`: what they take, "av" or "v".
    `resting_us_per_s`: what the same processes cost with the same viewers connected while nobody sends, us of
    processor time a second. `idle`: share of the machine.
    """

    subject: str
    publishers: int
    viewers: int
    kinds: str
    round: int
    seconds: float
    cpu_us: float
    delivered: int
    expected: int
    idle: float
    resting_us_per_s: float

    @property
    def void(self) -> str:
        """Why it does not count, "" = it does."""
        if self.idle < MIN_IDLE:
            return f"the machine was only {self.idle:.0%} idle"
        if self.delivered < MIN_DELIVERED * self.expected or not self.delivered:
            return f"only {self.delivered} of {self.expected} packets were delivered"
        return ""

    @property
    def us_per_packet(self) -> float:
        return self.cpu_us / self.delivered

    @property
    def net_us_per_packet(self) -> float:
        return (self.cpu_us - self.resting_us_per_s * self.seconds) / self.delivered


class HalfLoad(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement at half load. Delays in ns, joins in s; `shares` of processor time by process (1 = one core)."""

    publishers: int
    deliveries: int
    idle: float
    delivered: int
    expected: int
    shares: dict[str, float]
    key_delays: list[int]
    delta_delays: list[int]
    sound_delays: list[int]
    direct_delays: list[int]
    joins: list[float]
    joins_answered: list[float]
    joins_connected: list[float]
    joins_failed: int
    joins_idle: float


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a report is made from. `janus_missing`: why there are no runs of Janus, "" = there are some;
    `broken_off`: of "cost" and "half_load", why that part has less than was planned."""

    machine: dict[str, str | int | float]
    versions: dict[str, str]
    parameters: dict[str, object]
    viewers: tuple[int, ...]
    compared_viewers: int
    runs: list[Run]
    memory_kb: dict[int, int]  # viewers -> kB of control and media
    half_load: list[HalfLoad]
    janus_missing: str = ""
    broken_off: dict[str, str] = {}


class Report(Head, frozen=True, kw_only=True):
    """The one object. A figure that is null has a sentence in `reasons` under its name."""

    cpu_us_per_packet: float | None
    ratio_to_janus: float | None
    ratio_to_bare_loop: float | None
    ratio_flat: float | None
    kb_per_viewer: float | None
    join_ms_p95: float | None
    added_delay_ms_p99: float | None
    added_delay_ms_p95: float | None
    added_delay_ms_p50: float | None
    direct_delay_ms_p99: float | None
    added_delay_ms_by_kind: dict[str, dict[str, float]]
    join_ms: dict[str, float]
    cpu_us_per_packet_by_subject: dict[str, float | None]
    cpu_us_per_packet_by_viewers: dict[str, float | None]
    half_load: dict[str, object]
    idle_least: float | None
    reasons: dict[str, str]
    runs: list[dict[str, object]]


def make_report(measured: Measurements) -> Report:
    """Medians, ratios and percentiles of what was measured; what was void is listed and does not count."""
    reasons: dict[str, str] = {}
    compared = measured.compared_viewers

    def cost(subject: str, publishers: int, viewers: int, kinds: str, name: str) -> float | None:
        wanted = (subject, publishers, viewers, kinds)
        runs = [
            run for run in measured.runs if (run.subject, run.publishers, run.viewers, run.kinds) == wanted
        ]
        valid = [run.us_per_packet for run in runs if not run.void]
        if valid:
            return statistics.median(valid)
        why = "void, " + runs[-1].void if runs else measured.broken_off.get("cost", "was not measured")
        reasons.setdefault(name, f"{subject} with {publishers} × {viewers} viewers: {why}")
        return None

    def ratio(above: float | None, below: float | None) -> float | None:
        return None if above is None or below is None or below <= 0 else _rounded(above / below)

    ours = cost("ours", 1, compared, "av", "cpu_us_per_packet")
    if ours is None:
        reasons["ratio_to_janus"] = reasons["ratio_to_bare_loop"] = reasons["cpu_us_per_packet"]
    janus = None
    if measured.janus_missing:
        reasons["ratio_to_janus"] = measured.janus_missing
    else:
        janus = cost("janus", 1, compared, "av", "ratio_to_janus")
    bare = cost("bare_loop", 1, compared, "av", "ratio_to_bare_loop")
    most = max(measured.viewers)
    by_viewers = {
        count: cost("ours", most // count, count, "v", "cpu_us_per_packet_by_viewers")
        for count in sorted(measured.viewers)
    }
    flat = None
    if len(by_viewers) < 2:
        reasons["ratio_flat"] = "it takes two numbers of viewers"
    else:
        flat = ratio(by_viewers[most], by_viewers[min(by_viewers)])
        if flat is None:
            reasons["ratio_flat"] = reasons["cpu_us_per_packet_by_viewers"]
    half = next((one for one in measured.half_load if not _void_delays(one)), None)
    joins = next((one for one in measured.half_load if not _void_joins(one)), None)
    not_measured = measured.broken_off.get("half_load", "was not measured")
    last = measured.half_load[-1] if measured.half_load else None
    if half is None:
        why = not_measured if last is None else "void, " + _void_delays(last)
        reasons |= dict.fromkeys(DELAYS, why)
    if joins is None:
        reasons["join_ms_p95"] = not_measured if last is None else "void, " + _void_joins(last)
    every = [] if half is None else half.key_delays + half.delta_delays + half.sound_delays
    return Report(
        bench="relay",
        machine=measured.machine,
        versions=measured.versions,
        method={**METHOD, "parameters": measured.parameters, "compared_viewers": compared},
        cpu_us_per_packet=_rounded(ours),
        ratio_to_janus=ratio(ours, janus),
        ratio_to_bare_loop=ratio(ours, bare),
        ratio_flat=flat,
        kb_per_viewer=_memory(measured.memory_kb, reasons),
        join_ms_p95=None if joins is None else _rounded(percentile(joins.joins, 95) * 1e3),
        added_delay_ms_p99=_milliseconds(every, 99),
        added_delay_ms_p95=_milliseconds(every, 95),
        added_delay_ms_p50=_milliseconds(every, 50),
        direct_delay_ms_p99=_milliseconds([] if half is None else half.direct_delays, 99),
        added_delay_ms_by_kind={} if half is None else _by_kind(half),
        join_ms={} if joins is None else _join_steps(joins),
        cpu_us_per_packet_by_subject={
            "ours": _rounded(ours),
            "janus": _rounded(janus),
            "bare_loop": _rounded(bare),
        },
        cpu_us_per_packet_by_viewers={str(count): _rounded(value) for count, value in by_viewers.items()},
        half_load=_load(half or last),
        idle_least=min((_rounded(run.idle) or 0.0 for run in measured.runs if not run.void), default=None),
        reasons=reasons,
        runs=[_listed(run) for run in measured.runs],
    )


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest value that at least `percent` of them do not exceed. Raises ValueError when there are none."""
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def _void_delays(half: HalfLoad) -> str:
    if half.idle < MIN_IDLE:
        return f"the machine was only {half.idle:.0%} idle"
    if half.delivered < MIN_DELIVERED * half.expected:
        return f"only {half.delivered} of {half.expected} packets were delivered"
    if not half.delta_delays:
        return "no packet came through"
    return ""


def _void_joins(half: HalfLoad) -> str:
    if not half.joins:
        return "nobody could join"
    return f"the machine was only {half.joins_idle:.0%} idle" if half.joins_idle < MIN_IDLE else ""


def _memory(memory_kb: dict[int, int], reasons: dict[str, str]) -> float | None:
    if len(memory_kb) < 2:
        reasons["kb_per_viewer"] = "was not measured"
        return None
    fewest, most = min(memory_kb), max(memory_kb)
    return _rounded((memory_kb[most] - memory_kb[fewest]) / (most - fewest))


def _milliseconds(delays: Sequence[int], percent: float) -> float | None:
    return _rounded(percentile(delays, percent) / 1e6) if delays else None


def _by_kind(half: HalfLoad) -> dict[str, dict[str, float]]:
    kinds = {
        "key_frames": half.key_delays,
        "other_frames": half.delta_delays,
        "sound": half.sound_delays,
        "direct": half.direct_delays,
    }
    return {
        name: {
            "packets": len(delays),
            **{f"p{each}": round(percentile(delays, each) / 1e6, 3) for each in (50, 95, 99)},
        }
        for name, delays in kinds.items()
        if delays
    }


def _join_steps(half: HalfLoad) -> dict[str, float]:
    steps = {"answered": half.joins_answered, "connected": half.joins_connected, "picture": half.joins}
    figures: dict[str, float] = {
        "joins": len(half.joins),
        "failed": half.joins_failed,
        "idle": round(half.joins_idle, 3),
    }
    for name, seconds in steps.items():
        for each in (50, 95):
            figures[f"{name}_p{each}"] = round(percentile(seconds, each) * 1e3, 1)
    return figures


def _load(half: HalfLoad | None) -> dict[str, object]:
    if half is None:
        return {}
    return {
        "publishers": half.publishers,
        "video_deliveries": half.deliveries,
        "idle": round(half.idle, 3),
        "delivered": half.delivered,
        "expected": half.expected,
        "cores": {name: round(share, 3) for name, share in half.shares.items()},
    }


def _listed(run: Run) -> dict[str, object]:
    return {
        "subject": run.subject,
        "publishers": run.publishers,
        "viewers": run.viewers,
        "kinds": run.kinds,
        "round": run.round,
        "us_per_packet": _rounded(run.us_per_packet) if run.delivered else None,
        "net_us_per_packet": _rounded(run.net_us_per_packet) if run.delivered else None,
        "delivered": run.delivered,
        "expected": run.expected,
        "idle": round(run.idle, 3),
        "void": run.void,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
