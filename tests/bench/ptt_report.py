"""From what was measured to the one object that `fengsui bench ptt --json` prints. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from bench.report import MIN_DELIVERED, MIN_IDLE, percentile
from bench.report_head import Head

STEP_MS: Final = 20  # of sound in one packet
CATCH_UP: Final = 5  # what was kept leaves at 1.25 times its pace: so many times as long as the grant took
LIVE_AFTER_MS: Final = 300  # beside that, before a packet counts as forwarded live

METHOD: Final = {
    "load": "in each group one phone presses for 1.2 s and pauses for 0.6 s on average (both vary by 30 %), one phone"
    " looks into every packet it hears and three count them; beside them video streams of 1 Mbit/s with sound, each"
    " watched, and consoles that see every floor; recording is on",
    "clients": "real WebSockets over TLS as PROTOCOL.md says; real ICE, DTLS and SRTP (AEAD_AES_128_GCM), Opus of 100"
    " to 140 bytes every 20 ms in, RED out; each packet carries its press, its number and the time it was made",
    "grant_ms": "from the press (its first packet has been sent, the request is about to be) to the answer `granted` at"
    " the client, through its own TLS and JSON",
    "first_packet_ms": "from the press to the first packet of it at a listener",
    "forward_ms": "from making a packet to its clear form at a listener, only packets that were not kept back by the"
    " grant before them; minus the same percentile of the same marks through a bare UDP echo process in the same"
    " window, which pays for two wake-ups as the relay does (`forward_raw_ms`, `echo_ms`: both as they were)",
    "clipped_ms": "20 ms times the lowest number that a listener got of a press that was granted; all of it when it got"
    " nothing. `gap_ms` is what is missing after that, `cut_ms` what is missing at the end",
    "mouth_to_ear_ms": "between two headless Chromiums, from a beep's onset in the speaker's microphone track to the"
    " onset in what the listener plays, both seen by an AudioWorklet and dated by the machine's one clock; the delays"
    " of a sound card on both sides are not in it. Nobody else talks then",
    "void": f"a measurement with less than {MIN_IDLE:.0%} of the machine idle, or with less than {MIN_DELIVERED:.0%} of"
    " the packets heard, does not count: it is repeated, and when every try was void the figure is null with the reason"
    " and what was seen stands in `runs`",
}


class Press(msgspec.Struct, frozen=True, kw_only=True):
    """One press as both ends saw it. `answered_ms` None = no answer. `heard`: (first, last, packets) of each listener
    that looks into packets, None = it got nothing; `first_packet_ms`: of the first one that got something."""

    state: str
    cause: str
    answered_ms: float | None
    first_packet_ms: float | None
    sent: int
    heard: tuple[tuple[int, int, int] | None, ...]


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement with so many busy groups. Delays in ns; `shares` of processor time by process (1 = one core)."""

    groups: int
    listeners: int
    seconds: float
    idle: float
    presses: list[Press]
    delays: list[int]
    echoes: list[int]
    delivered: int
    expected: int
    shares: dict[str, float]

    @property
    def void(self) -> str:
        """Why it does not count, "" = it does."""
        if self.idle < MIN_IDLE:
            return f"the machine was only {self.idle:.0%} idle"
        if not self.granted:
            return "no press was granted"
        if self.delivered < MIN_DELIVERED * self.expected:
            return f"only {self.delivered} of {self.expected} packets were heard"
        return ""

    @property
    def granted(self) -> list[Press]:
        return [press for press in self.presses if press.state == "granted"]


class MouthToEar(msgspec.Struct, frozen=True, kw_only=True):
    """`delays`: ms of each beep; `beeps`: how many were spoken while the floor was held."""

    delays: list[float]
    beeps: int
    idle: float

    @property
    def void(self) -> str:
        if self.idle < MIN_IDLE:
            return f"the machine was only {self.idle:.0%} idle"
        return "" if self.delays else "no beep was heard"


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """`stages`: in the order they were measured, tries of the same number of groups one after another.

    `mouth_missing`: why there is no measurement between browsers; `broken_off`: why there are fewer stages.
    """

    machine: dict[str, str | int | float]
    versions: dict[str, str]
    parameters: dict[str, object]
    groups: tuple[int, ...]
    stages: list[Stage]
    mouth: list[MouthToEar] = []
    mouth_missing: str = ""
    broken_off: str = ""


class Report(Head, frozen=True, kw_only=True):
    """The one object. A figure that is null has a sentence in `reasons` under its name."""

    grant_ms_p50: float | None
    grant_ms_p95: float | None
    grant_ms_p99: float | None
    first_packet_ms_p95: float | None
    forward_ms_p95: float | None
    clipped_ms_p50: float | None
    clipped_ms_p99: float | None
    gap_ms_p99: float | None
    mouth_to_ear_ms_p50: float | None
    mouth_to_ear_ms_p95: float | None
    by_groups: dict[str, dict[str, float | None]]
    idle: dict[str, float]
    reasons: dict[str, str]
    runs: list[dict[str, object]]


def make_report(measured: Measurements) -> Report:
    """What was void is listed with its reason and does not count."""
    reasons: dict[str, str] = {}
    counted: dict[int, Stage] = {}
    idle: dict[str, float] = {}
    for groups in measured.groups:
        tries = [stage for stage in measured.stages if stage.groups == groups]
        good = next((stage for stage in tries if not stage.void), None)
        if good is not None:
            counted[groups] = good
        else:
            why = f"void, {tries[-1].void}" if tries else measured.broken_off or "was not measured"
            reasons[f"by_groups.{groups}"] = why
        if tries:
            idle[str(groups)] = round((good or tries[-1]).idle, 3)
    overall = figures(list(counted.values()))
    if not counted:
        missing = next(iter(reasons.values()), measured.broken_off or "was not measured")
        reasons |= dict.fromkeys(overall, missing)
    for name, value in overall.items():
        if value is None and name not in reasons:
            reasons[name] = "nothing of it was seen"
    mouth = next((one for one in measured.mouth if not one.void), None)
    if mouth is None:
        why = f"void, {measured.mouth[-1].void}" if measured.mouth else measured.mouth_missing
        reasons["mouth_to_ear_ms_p95"] = why or "was not measured"
    if measured.mouth:
        idle["mouth_to_ear"] = round((mouth or measured.mouth[-1]).idle, 3)
    return Report(
        bench="ptt",
        machine=measured.machine,
        versions=measured.versions,
        method={**METHOD, "parameters": measured.parameters},
        grant_ms_p50=overall["grant_ms_p50"],
        grant_ms_p95=overall["grant_ms_p95"],
        grant_ms_p99=overall["grant_ms_p99"],
        first_packet_ms_p95=overall["first_packet_ms_p95"],
        forward_ms_p95=overall["forward_ms_p95"],
        clipped_ms_p50=overall["clipped_ms_p50"],
        clipped_ms_p99=overall["clipped_ms_p99"],
        gap_ms_p99=overall["gap_ms_p99"],
        mouth_to_ear_ms_p50=None if mouth is None else round(percentile(mouth.delays, 50), 1),
        mouth_to_ear_ms_p95=None if mouth is None else round(percentile(mouth.delays, 95), 1),
        by_groups={str(groups): figures([stage]) for groups, stage in counted.items()},
        idle=idle,
        reasons=reasons,
        runs=[_listed(stage) for stage in measured.stages] + [_mouth(one) for one in measured.mouth],
    )


def figures(stages: Sequence[Stage]) -> dict[str, float | None]:
    """Of these measurements together; None where nothing was seen."""
    granted = [press for stage in stages for press in stage.granted]
    grants = [press.answered_ms for press in granted if press.answered_ms is not None]
    first = [press.first_packet_ms for press in granted if press.first_packet_ms is not None]
    clipped, gaps, cut = lost_of(granted)
    delays = [delay / 1e6 for stage in stages for delay in stage.delays]
    echoes = [delay / 1e6 for stage in stages for delay in stage.echoes]
    added = {
        each: None if not delays or not echoes else percentile(delays, each) - percentile(echoes, each)
        for each in (50, 95)
    }
    made: dict[str, float | None] = {
        **_percentiles("grant_ms", grants, 50, 95, 99),
        **_percentiles("first_packet_ms", first, 50, 95),
        "forward_ms_p50": added[50],
        "forward_ms_p95": added[95],
        **_percentiles("forward_raw_ms", delays, 50, 95, 99),
        **_percentiles("echo_ms", echoes, 50, 95, 99),
        **_percentiles("clipped_ms", clipped, 50, 99),
        **_percentiles("gap_ms", gaps, 50, 99),
        **_percentiles("cut_ms", cut, 50, 99),
    }
    return {name: None if value is None else round(value, 3) for name, value in made.items()}


def lost_of(presses: Iterable[Press]) -> tuple[list[float], list[float], list[float]]:
    """ms clipped at the beginning, missing between, and cut off at the end: of each press at each listener."""
    clipped: list[float] = []
    gaps: list[float] = []
    cut: list[float] = []
    for press in presses:
        for heard in press.heard:
            if heard is None:
                clipped.append(float(press.sent * STEP_MS))
                continue
            first, last, packets = heard
            clipped.append(float(first * STEP_MS))
            gaps.append(float(max(0, last - first + 1 - packets) * STEP_MS))
            cut.append(float(max(0, press.sent - 1 - last) * STEP_MS))
    return clipped, gaps, cut


def is_live(index: int, answered_ms: float) -> bool:
    """Whether a packet with this number was not kept back any more when the grant took so long."""
    return index * STEP_MS >= answered_ms * CATCH_UP + LIVE_AFTER_MS


def _percentiles(name: str, values: Sequence[float], *percents: int) -> dict[str, float | None]:
    return {f"{name}_p{each}": percentile(values, each) if values else None for each in percents}


def _listed(stage: Stage) -> dict[str, object]:
    states: dict[str, int] = {}
    for press in stage.presses:
        name = press.state if not press.cause else f"{press.state}: {press.cause}"
        states[name] = states.get(name, 0) + 1
    return {
        "groups": stage.groups,
        "listeners_of_each": stage.listeners,
        "seconds": round(stage.seconds, 1),
        "idle": round(stage.idle, 3),
        "void": stage.void,
        "presses": states,
        "delivered": stage.delivered,
        "expected": stage.expected,
        "cores": {name: round(share, 3) for name, share in stage.shares.items()},
        **figures([stage]),
    }


def _mouth(one: MouthToEar) -> dict[str, object]:
    return {
        "groups": "mouth_to_ear",
        "idle": round(one.idle, 3),
        "void": one.void,
        "beeps": one.beeps,
        "heard": len(one.delays),
        **_percentiles("mouth_to_ear_ms", one.delays, 50, 95, 99),
    }
