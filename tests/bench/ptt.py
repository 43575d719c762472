"""`fengsui bench ptt`: press to grant, what is clipped, forwarding and mouth to ear, with busy talk groups and video.

Progress goes to standard error, the result to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.command import run
from bench.echo import Echo, StartEcho
from bench.listeners import Ear, ListenEcho, Listeners, OpenConsoles, OpenListeners, TakeHeard
from bench.machine import machine, versions
from bench.mouth_to_ear import measure_mouth_to_ear
from bench.plan import TRIES, say
from bench.processes import between, read
from bench.ptt_report import Measurements, MouthToEar, Press, Report, Stage, is_live, make_report
from bench.publishers import Publish, Publishers, SetSending
from bench.report import MIN_IDLE
from bench.report_head import first_lines, json_of
from bench.subject import Subject, running_subject
from bench.talk_client import Seat, TalkSite
from bench.talkers import OpenTalkers, Pressed, SendEcho, TakePresses, Talk, Talkers
from bench.viewers import JoinWhep, Viewers
from bench.workers import BenchFailed, Worker, worker
from support.talk_client import TalkClient, phone_token, talk_client

LISTENERS: Final = 4  # of each group; the first looks into every packet
CONSOLES: Final = 20
SETTLE: Final = 2.0  # s from the first press of a stage until measuring
FLIGHT: Final = 0.5  # s for the last packets
OPEN_WITHIN: Final = 180.0
TO_REACH: Final = {
    "grant_ms_p95": "≤ 50",
    "grant_ms_p99": "≤ 150",
    "forward_ms_p95": "≤ 5",
    "clipped_ms_p50": "0",
    "clipped_ms_p99": "≤ 20",
    "mouth_to_ear_ms_p95": "≤ 200",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`groups`: how many are busy, one stage after another; `seconds` of each; `videos`: streams beside them, each
    with one viewer; `holds`, `hold`: presses between two browsers and how long each is, s; 0 = none."""

    groups: tuple[int, ...] = (1, 10, 50)
    seconds: float = 20.0
    videos: int = 20
    consoles: int = CONSOLES
    holds: int = 2
    hold: float = 20.0


async def measure(plan: Plan) -> Measurements:
    """Everything, with every process it needs started and ended. Raises BenchFailed."""
    stages: list[Stage] = []
    mouth: list[MouthToEar] = []
    mouth_missing = "" if plan.holds else "browsers were left out"
    broken_off = ""
    async with contextlib.AsyncExitStack() as stack:
        say("starting the server")
        subject = await stack.enter_async_context(running_subject(max(1, plan.videos)))
        say(f"{max(plan.groups)} groups of {1 + LISTENERS} phones")
        nets = await make_nets(subject, max(plan.groups))
        load = Load(subject=subject, plan=plan)
        await load.open(stack, nets)
        for groups in plan.groups:
            try:
                for _ in range(TRIES):
                    stages.append(await load.stage(groups))
                    if not stages[-1].void:
                        break
            except BenchFailed as failed:
                broken_off = str(failed).splitlines()[0]
                say(f"broken off: {broken_off}")
                break
        if plan.holds:
            say("two browsers")
            await load.video(sending=False)
            try:
                for _ in range(TRIES):
                    mouth.append(await measure_mouth_to_ear(subject, plan.holds, plan.hold))
                    if not mouth[-1].void:
                        break
            except BenchFailed as failed:
                mouth_missing = str(failed).splitlines()[0]
                say(f"without browsers: {mouth_missing}")
        say("ending")
        return Measurements(
            machine=machine(),
            versions=versions(),
            parameters={**dataclasses.asdict(plan), "processes": list(subject.processes().values())},
            groups=plan.groups,
            stages=stages,
            mouth=mouth,
            mouth_missing=mouth_missing,
            broken_off=broken_off,
        )


async def make_nets(subject: Subject, count: int) -> list[tuple[Seat, ...]]:
    """Groups with the phones that are members of each, the talker first."""
    server, admin = subject.server, subject.admin
    async with talk_client(
        admin.client, server.url, cookie=admin.cookie, want=("unit", "link", "group")
    ) as officer:

        async def net(number: int) -> tuple[Seat, ...]:
            names = [f"{number:02}-{phone}" for phone in range(1 + LISTENERS)]
            tokens = [await phone_token(officer, name) for name in names]
            members = [{"kind": "unit", "id": await _unit(officer, name)} for name in names]
            made = await officer.do("group.create", name=f"组 {number:02}", members=members)
            return tuple(Seat(group=made["group"], token=token) for token in tokens)

        return [await net(number) for number in range(count)]


async def _unit(officer: TalkClient, name: str) -> str:
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        for unit in officer.entities.get("unit", {}).values():
            if unit["name"] == name:
                return str(unit["id"])
        await asyncio.sleep(0.01)
    raise BenchFailed(f"the server knows no unit {name}")


@dataclass(kw_only=True)
class Load:
    """Every process of the load, and one stage of it after another."""

    subject: Subject
    plan: Plan
    _workers: dict[str, Worker] = dataclasses.field(default_factory=dict)

    async def open(self, stack: contextlib.AsyncExitStack, nets: list[tuple[Seat, ...]]) -> None:
        """Connect everybody. Raises BenchFailed."""
        roles: dict[str, Any] = {
            "talkers": Talkers,
            "ears": Listeners,
            "crowd": Listeners,
            "echo": Echo,
            "publishers": Publishers,
            "viewers": Viewers,
        }
        for name, role in roles.items():
            self._workers[name] = await stack.enter_async_context(worker(name, role))
        server, admin = self.subject.server, self.subject.admin
        site = TalkSite(url=server.url, ca=str(server.ca))
        talkers, ears, crowd = (self._workers[name] for name in ("talkers", "ears", "crowd"))
        await talkers.ask(OpenTalkers(site=site, seats=tuple(net[0] for net in nets)), OPEN_WITHIN)
        await ears.ask(
            OpenListeners(site=site, seats=tuple(net[1] for net in nets), closely=True), OPEN_WITHIN
        )
        rest = tuple(seat for net in nets for seat in net[2:])
        await crowd.ask(OpenListeners(site=site, seats=rest, closely=False), OPEN_WITHIN)
        await crowd.ask(OpenConsoles(site=site, cookie=admin.cookie, count=self.plan.consoles), OPEN_WITHIN)
        port = await ears.ask(ListenEcho())
        await talkers.ask(SendEcho(port=await self._workers["echo"].ask(StartEcho(port=port))))
        if self.plan.videos:
            say(f"{self.plan.videos} video streams")
            await self._open_videos()

    async def _open_videos(self) -> None:
        channels = self.subject.channels[: self.plan.videos]
        for site, some in self.subject.shares(channels):
            await self._workers["publishers"].ask(Publish(site=site, names=some))
        await self.video(sending=True)
        await asyncio.sleep(1.0)
        for path in await self.subject.paths(channels):
            join = JoinWhep(group="watching", site=self.subject.sites[0], path=path, count=1)
            await self._workers["viewers"].ask(join)

    async def video(self, *, sending: bool) -> None:
        channels = self.subject.channels[: self.plan.videos] if sending else ()
        await self._workers["publishers"].ask(SetSending(names=frozenset(channels)))

    async def stage(self, groups: int) -> Stage:
        """One measurement with so many groups that talk. Raises BenchFailed."""
        talkers, ears, crowd = (self._workers[name] for name in ("talkers", "ears", "crowd"))
        processes = {
            **self.subject.processes(),
            **{str(each.pid): name for name, each in self._workers.items()},
        }
        for one in (ears, crowd):
            await one.ask(TakeHeard())
        await talkers.ask(Talk(groups=groups))
        await asyncio.sleep(SETTLE)
        before = {pid: read((int(pid),)) for pid in processes}
        began = time.monotonic_ns()
        await asyncio.sleep(self.plan.seconds)
        ended = time.monotonic_ns()
        spent = {pid: between(reading, read((int(pid),))) for pid, reading in before.items()}
        await talkers.ask(Talk(groups=0))
        await asyncio.sleep(FLIGHT)
        presses: list[Pressed] = await talkers.ask(TakePresses())
        ear: Ear = await ears.ask(TakeHeard())
        others: Ear = await crowd.ask(TakeHeard())
        shares: dict[str, float] = {}
        for pid, used in spent.items():
            shares[processes[pid]] = shares.get(processes[pid], 0.0) + used.cpu_ns / 1e9 / used.seconds
        granted = sum(press.sent for press in presses if press.state == "granted")
        stage = Stage(
            groups=groups,
            listeners=LISTENERS,
            seconds=self.plan.seconds,
            idle=next(iter(spent.values())).idle,
            presses=[press_of(each, ear) for each in presses if began <= each.pressed_ns <= ended],
            delays=live_delays(presses, ear),
            echoes=ear.echoes,
            delivered=ear.packets + others.packets,
            expected=granted * LISTENERS,
            shares=shares,
        )
        _tell(stage)
        return stage


def press_of(pressed: Pressed, ear: Ear) -> Press:
    """One press with what was heard of it: each group has one listener that looks closely."""
    heard = next((one for one in ear.spoken if one.press == pressed.press), None)
    return Press(
        state=pressed.state,
        cause=pressed.cause,
        answered_ms=(pressed.answered_ns - pressed.pressed_ns) / 1e6 if pressed.answered_ns else None,
        first_packet_ms=(heard.first_ns - pressed.pressed_ns) / 1e6 if heard else None,
        sent=pressed.sent,
        heard=((heard.first, heard.last, heard.packets) if heard else None,),
    )


def live_delays(presses: Sequence[Pressed], ear: Ear) -> list[int]:
    """Of packets that nothing kept back."""
    answered = {
        each.press: (each.answered_ns - each.pressed_ns) / 1e6 for each in presses if each.answered_ns
    }
    return [
        delay for press, index, delay in ear.delays if press in answered and is_live(index, answered[press])
    ]


def _tell(stage: Stage) -> None:
    report = make_report(
        Measurements(machine={}, versions={}, parameters={}, groups=(stage.groups,), stages=[stage])
    )
    run = report.runs[0]
    say(
        f"  {stage.groups} groups: {len(stage.presses)} presses, grant p50 {run['grant_ms_p50']} p95"
        f" {run['grant_ms_p95']} p99 {run['grant_ms_p99']} ms, forward p95 {run['forward_ms_p95']} ms,"
        f" clipped p99 {run['clipped_ms_p99']} ms, machine {stage.idle:.0%} idle"
        + (" (void)" if stage.idle < MIN_IDLE else "")
    )


def text_of(report: Report) -> str:
    """For people: the figures, what is to be reached, and what is missing and why."""
    names = [
        "grant_ms_p50",
        "grant_ms_p95",
        "grant_ms_p99",
        "first_packet_ms_p95",
        "forward_ms_p95",
        "clipped_ms_p50",
        "clipped_ms_p99",
        "gap_ms_p99",
        "mouth_to_ear_ms_p50",
        "mouth_to_ear_ms_p95",
    ]
    lines = first_lines(report, names, TO_REACH)
    for groups, figures in report.by_groups.items():
        some = {name: figures[name] for name in names if name in figures}
        lines.append(f"{groups} groups: " + ", ".join(f"{name} {value}" for name, value in some.items()))
    lines.append("idle: " + ", ".join(f"{name} {share:.0%}" for name, share in report.idle.items()))
    lines += [f"{name}: {why}" for name, why in report.reasons.items()]
    return "\n".join(lines)


def plan_of(arguments: Sequence[str]) -> tuple[Plan, bool]:
    """The plan, and whether one JSON object is wanted. Exits on wrong arguments."""
    parser = argparse.ArgumentParser(prog="fengsui bench ptt", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="shorter stages, without browsers")
    parser.add_argument("--groups", help="busy groups of each stage, as 1,10,50")
    parser.add_argument("--seconds", type=float, help="of each stage")
    parser.add_argument("--videos", type=int, help="video streams beside them")
    parser.add_argument("--no-browser", action="store_true", help="without mouth to ear")
    options = parser.parse_args(arguments)
    plan = Plan(seconds=8.0, holds=0) if options.quick else Plan()
    if options.groups is not None:
        if not re.fullmatch(r"\d+(,\d+)*", options.groups):
            parser.error("--groups is a list such as 1,10,50")
        plan = dataclasses.replace(plan, groups=tuple(dict.fromkeys(map(int, options.groups.split(",")))))
    if not all(1 <= groups <= 200 for groups in plan.groups):
        parser.error("--groups: 1 to 200")
    if options.seconds is not None:
        plan = dataclasses.replace(plan, seconds=options.seconds)
    if not 1 <= plan.seconds <= 600:
        parser.error("--seconds: 1 to 600")
    if options.videos is not None:
        plan = dataclasses.replace(plan, videos=options.videos)
    if not 0 <= plan.videos <= 100:
        parser.error("--videos: 0 to 100")
    if options.no_browser:
        plan = dataclasses.replace(plan, holds=0)
    return plan, options.json


def main(arguments: Sequence[str]) -> int:
    plan, as_json = plan_of(arguments)
    said = json_of if as_json else text_of
    return run(measure(plan), lambda measured: said(make_report(measured)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
