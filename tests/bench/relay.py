"""`fengsui bench relay`: what the relay costs per packet, beside Janus and a bare loop; memory, joining, added delay.

Progress goes to standard error, the result to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import re
import sys
from collections.abc import Sequence
from typing import Final

from bench import janus
from bench.bare_loop import running_bare_loop
from bench.command import run
from bench.cost import CostRounds, Reference
from bench.half_load import measure_half_load
from bench.machine import machine, versions
from bench.plan import NORMAL, PUBLISHERS, QUICK, Plan, say
from bench.probes import Probes
from bench.publishers import Publishers, SendPlain
from bench.report import HalfLoad, Measurements, Report, make_report
from bench.report_head import first_lines, json_of
from bench.subject import running_subject
from bench.viewers import JoinJanus, OpenPlain, Viewers
from bench.workers import BenchFailed, worker

TO_REACH: Final = {
    "ratio_to_janus": "≤ 0.45",
    "ratio_flat": "0.8 to 1.2",
    "kb_per_viewer": "≤ 300",
    "join_ms_p95": "≤ 300",
    "added_delay_ms_p99": "≤ 5",
}


async def measure(plan: Plan) -> Measurements:
    """Everything, with every process it needs started and ended. Raises BenchFailed."""
    janus_missing = janus.missing()
    janus_version = "-"
    async with contextlib.AsyncExitStack() as stack:
        say("starting the server")
        subject = await stack.enter_async_context(
            running_subject(max(PUBLISHERS, *(stage.publishers for stage in plan.stages)))
        )
        publishers = await stack.enter_async_context(worker("publishers", Publishers))
        viewers = await stack.enter_async_context(worker("viewers", Viewers))
        probes = await stack.enter_async_context(worker("probes", Probes))
        references = []
        if janus_missing:
            say(f"without Janus: {janus_missing}")
        else:
            say(f"starting Janus, {plan.compared} viewers of it")
            running = await stack.enter_async_context(janus.running_janus())
            janus_version = running.version
            join = JoinJanus(group="janus", url=running.url, count=plan.compared)
            try:
                await viewers.ask(join)
            except BenchFailed as failed:
                janus_missing = str(failed).splitlines()[0]
                say(f"without Janus: {janus_missing}")
            else:
                ports = SendPlain(name="janus", video_port=running.video_port, audio_port=running.audio_port)
                await publishers.ask(ports)
                references.append(Reference(name="janus", pid=running.pid, join=join))
        plain = OpenPlain(group="bare_loop", count=plan.compared)
        bare = await stack.enter_async_context(running_bare_loop(await viewers.ask(plain)))
        await publishers.ask(SendPlain(name="bare_loop", video_port=bare.port, audio_port=bare.port))
        references.append(Reference(name="bare_loop", pid=bare.pid, join=None))
        rounds = CostRounds(
            plan=plan,
            subject=subject,
            publishers=publishers,
            viewers=viewers,
            references=tuple(references),
        )
        half_load: list[HalfLoad] = []
        parts = {
            "cost": rounds.run(),
            "half_load": measure_half_load(plan, subject, publishers, viewers, probes, half_load),
        }
        broken_off: dict[str, str] = {}
        deadline = asyncio.get_running_loop().time() + plan.limit
        for name, part in parts.items():
            try:
                async with asyncio.timeout_at(deadline):
                    await part
            except BenchFailed as failed:
                broken_off[name] = str(failed).splitlines()[0]
            except TimeoutError:
                broken_off[name] = f"not within {plan.limit:g} s"
            if name in broken_off:
                say(f"broken off: {broken_off[name]}")
        say("ending")
        return Measurements(
            machine=machine(),
            versions={**versions(), "janus": janus_version},
            parameters={**dataclasses.asdict(plan), "processes": list(subject.processes().values())},
            viewers=plan.viewers,
            compared_viewers=plan.compared,
            runs=rounds.runs,
            memory_kb=rounds.memory_kb,
            half_load=half_load,
            janus_missing=janus_missing,
            broken_off=broken_off,
        )


def text_of(report: Report) -> str:
    """For people: the figures, what is to be reached, and what is missing and why."""
    names = [
        "cpu_us_per_packet",
        "ratio_to_janus",
        "ratio_to_bare_loop",
        "ratio_flat",
        "kb_per_viewer",
        "join_ms_p95",
        "added_delay_ms_p50",
        "added_delay_ms_p95",
        "added_delay_ms_p99",
        "direct_delay_ms_p99",
    ]
    lines = first_lines(report, names, TO_REACH)
    for title, by in (
        ("us per packet", report.cpu_us_per_packet_by_subject),
        ("us per packet by fan-out", report.cpu_us_per_packet_by_viewers),
    ):
        lines.append(f"{title}: " + ", ".join(f"{name} {value}" for name, value in by.items()))
    lines += [f"{name}: {why}" for name, why in report.reasons.items()]
    return "\n".join(lines)


def plan_of(arguments: Sequence[str]) -> tuple[Plan, bool]:
    """The plan, and whether one JSON object is wanted. Exits on wrong arguments."""
    parser = argparse.ArgumentParser(prog="fengsui bench relay", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help="one round, in about a minute")
    parser.add_argument("--viewers", help="of one publisher, as 10,100,400")
    parser.add_argument("--compared", type=int, help="number of viewers to compare with Janus at")
    parser.add_argument("--rounds", type=int)
    options = parser.parse_args(arguments)
    plan = QUICK if options.quick else NORMAL
    if options.viewers is not None:
        if not re.fullmatch(r"\d+(,\d+)*", options.viewers):
            parser.error("--viewers is a list such as 10,100,400")
        plan = dataclasses.replace(plan, viewers=tuple(sorted({*map(int, options.viewers.split(","))})))
    fewest, most = min(plan.viewers), max(plan.viewers)
    if fewest < 1 or most > min(1000, 100 * fewest):
        parser.error("--viewers: 1 to 1000, the largest at most 100 times the smallest")
    compared = plan.compared if options.compared is None else options.compared
    if not 1 <= compared <= 1000:
        parser.error("--compared: 1 to 1000")
    rounds = plan.rounds if options.rounds is None else options.rounds
    if not 1 <= rounds <= 10:
        parser.error("--rounds: 1 to 10")
    return dataclasses.replace(plan, compared=compared, rounds=rounds), options.json


def main(arguments: Sequence[str]) -> int:
    plan, as_json = plan_of(arguments)
    said = json_of if as_json else text_of
    return run(measure(plan), lambda measured: said(make_report(measured)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
