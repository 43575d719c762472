"""Cost per delivered packet: every subject and every fan-out in turn, round after round.

Each fan-out is measured with the same number of viewers altogether, on as many publishers as that takes: with few
viewers alone a relay mostly wakes up and goes to sleep again, and that is what would be measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.plan import TRIES, Plan, Stage, say
from bench.processes import Reading, between, memory_kb, read
from bench.publishers import GetSent, Publish, Sent, SetSending, Withdraw
from bench.report import MIN_IDLE, Run
from bench.subject import Subject
from bench.viewers import GetReceived, JoinJanus, JoinWhep, Leave, Received
from bench.workers import Worker

OURS: Final = "ours"
JOIN_RATE: Final = 0.1  # of the full rate while viewers join, who would otherwise wait for each other
JOIN_WITHIN: Final = 0.25  # s for each viewer
LIVE_AFTER: Final = (
    0.5  # s of sending until a stream counts as live, and of silence until nothing is under way
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is compared with at `Plan.compared` viewers: its name is also that of its publisher and of its viewers.

    `join`: the question that brings viewers back that were lost, None where none can be.
    """

    name: str
    pid: int
    join: JoinJanus | None

    def pids(self) -> tuple[int, ...]:
        return (self.pid,)


@dataclass(kw_only=True)
class CostRounds:
    """`run` measures; `runs` and `memory_kb` (by number of viewers, first round) are what came of it."""

    plan: Plan
    subject: Subject
    publishers: Worker
    viewers: Worker
    references: tuple[Reference, ...]
    runs: list[Run] = field(default_factory=list)
    memory_kb: dict[int, int] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    async def run(self) -> None:
        for number in range(1, self.plan.rounds + 1):
            for stage in self.plan.stages:
                await self._stage(stage, number)

    async def _stage(self, stage: Stage, number: int) -> None:
        names = self.subject.channels[: stage.publishers]
        try:
            await self._join(stage, names, number)
            await self._take(OURS, stage, frozenset(names), self.subject.pids, number)
            if len(self.memory_kb) == 1:
                self.memory_kb[stage.publishers * stage.viewers] = memory_kb(self.subject.pids())
            if stage == Stage(publishers=1, viewers=self.plan.compared):
                for one in self.references:
                    if one.join is not None and (await self._received(one.name)).lost:
                        say(f"{one.name} has lost its viewers; they join again")
                        await self.viewers.ask(Leave(group=one.name))
                        await self.viewers.ask(one.join)
                    await self._take(one.name, stage, frozenset({one.name}), one.pids, number)
        finally:
            await self.publishers.ask(SetSending(names=frozenset()))
            await self.viewers.ask(Leave(group=OURS))
            await self.publishers.ask(Withdraw(names=frozenset(names)))

    async def _join(self, stage: Stage, names: tuple[str, ...], number: int) -> None:
        begun = time.monotonic()
        for site, some in self.subject.shares(names):
            await self.publishers.ask(Publish(site=site, names=some))
        # A stream that is silent is not live and cannot be joined.
        await self.publishers.ask(SetSending(names=frozenset(names), rate=JOIN_RATE))
        await asyncio.sleep(LIVE_AFTER)
        paths = await self.subject.paths(names)
        if not self.memory_kb:
            self.memory_kb[0] = memory_kb(self.subject.pids())
        for path in paths:
            join = JoinWhep(
                group=OURS,
                site=self.subject.sites[0],
                path=path,
                count=stage.viewers,
                kinds=stage.kinds,
            )
            await self.viewers.ask(join, within=5.0 + JOIN_WITHIN * stage.viewers)
        say(
            f"round {number}/{self.plan.rounds}: {stage.publishers} × {stage.viewers} viewers"
            f" ({time.monotonic() - begun:.1f} s to join)"
        )

    async def _take(
        self,
        name: str,
        stage: Stage,
        publishers: frozenset[str],
        pids: Callable[[], tuple[int, ...]],
        number: int,
    ) -> None:
        """Measure one subject; again when the machine was too busy for it and there is time."""
        for attempt in range(TRIES):
            run = await self._measure(name, stage, publishers, pids(), number)
            self.runs.append(run)
            say(_line(run))
            if run.idle >= MIN_IDLE or time.monotonic() - self._begun > self.plan.budget:
                return
            await asyncio.sleep(attempt + 1.0)

    async def _measure(
        self, name: str, stage: Stage, publishers: frozenset[str], pids: tuple[int, ...], number: int
    ) -> Run:
        plan = self.plan
        await self.publishers.ask(SetSending(names=frozenset()))
        await asyncio.sleep(LIVE_AFTER)
        before = read(pids)
        await asyncio.sleep(plan.rest)
        resting = between(before, read(pids))
        await self.publishers.ask(SetSending(names=publishers, kinds=stage.kinds))
        await asyncio.sleep(plan.settle)
        sent_before, received_before, before = await self._counts(stage, publishers, name, pids)
        await asyncio.sleep(plan.window)
        sent, received, after = await self._counts(stage, publishers, name, pids)
        spent = between(before, after)
        return Run(
            subject=name,
            publishers=len(publishers),
            viewers=stage.viewers,
            kinds=stage.kinds,
            round=number,
            seconds=spent.seconds,
            cpu_us=spent.cpu_ns / 1e3,
            delivered=received.packets - received_before.packets,
            expected=(sent - sent_before) * stage.viewers,
            idle=spent.idle,
            resting_us_per_s=resting.cpu_ns / 1e3 / resting.seconds,
        )

    async def _counts(
        self, stage: Stage, publishers: frozenset[str], group: str, pids: tuple[int, ...]
    ) -> tuple[int, Received, Reading]:
        sent: dict[str, Sent] = await self.publishers.ask(GetSent())
        packets = sum(
            sent[name].packets if stage.kinds == "av" else sent[name].video_packets for name in publishers
        )
        return packets, await self._received(group), read(pids)

    async def _received(self, group: str) -> Received:
        received: Received = await self.viewers.ask(GetReceived(group=group))
        return received


def _line(run: Run) -> str:
    who = f"  {run.subject}, {run.publishers} × {run.viewers} viewers ({run.kinds})"
    if not run.delivered:
        return f"{who}: nothing was delivered"
    return (
        f"{who}: {run.us_per_packet:.2f} us per packet ({run.net_us_per_packet:.2f} net of rest),"
        f" {run.delivered}/{run.expected} delivered, machine {run.idle:.0%} idle"
        + (f"; void: {run.void}" if run.void else "")
    )
