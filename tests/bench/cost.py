"""Cost per delivered packet: every subject and every number of viewers in turn, round after round."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from bench.plan import TRIES, Plan, say
from bench.processes import Reading, between, memory_kb, read
from bench.publishers import GetSent, Publish, Sent, SetSending
from bench.report import Run
from bench.subject import Subject
from bench.viewers import GetReceived, JoinWhep, Leave, Received
from bench.workers import Worker

CHANNEL: Final = "one"  # the stream that everybody watches
LIVE_AFTER: Final = (
    0.5  # s of sending until a stream counts as live, and of silence until nothing is under way
)
NOBODY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What is compared with at `Plan.compared` viewers: its name is also that of its publisher and of its viewers."""

    name: str
    pid: int

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
        plan = self.plan
        await self.publishers.ask(Publish(site=self.subject.sites[0], names=(CHANNEL,)))
        (path,) = await self.subject.paths((CHANNEL,))
        for number in range(1, plan.rounds + 1):
            joined = 0
            for count in plan.viewers:
                begun = time.monotonic()
                await self._join(path, count - joined)
                say(
                    f"round {number}/{plan.rounds}: {count} viewers ({time.monotonic() - begun:.1f} s to join)"
                )
                joined = count
                await self._take("ours", CHANNEL, self.subject.pids, count, number)
                if number == 1:
                    self.memory_kb[count] = memory_kb(self.subject.pids())
                if count == plan.compared:
                    for one in self.references:
                        await self._take(one.name, one.name, one.pids, count, number)
            await self.viewers.ask(Leave(group="ours"))
        await self.publishers.ask(SetSending(names=NOBODY))

    async def _join(self, path: str, count: int) -> None:
        """A stream that is silent is not live and cannot be joined."""
        await self.publishers.ask(SetSending(names=frozenset({CHANNEL})))
        await asyncio.sleep(LIVE_AFTER)
        await self.viewers.ask(JoinWhep(group="ours", site=self.subject.sites[0], path=path, count=count))

    async def _take(
        self, name: str, publisher: str, pids: Callable[[], tuple[int, ...]], viewers: int, number: int
    ) -> None:
        """Measure one subject; again when that was void and there is time."""
        for attempt in range(TRIES):
            run = await self._measure(name, publisher, pids(), viewers, number)
            self.runs.append(run)
            say(_line(run))
            if not run.void or time.monotonic() - self._begun > self.plan.budget:
                return
            await asyncio.sleep(attempt + 1.0)

    async def _measure(
        self, name: str, publisher: str, pids: tuple[int, ...], viewers: int, number: int
    ) -> Run:
        plan = self.plan
        await self.publishers.ask(SetSending(names=NOBODY))
        await asyncio.sleep(LIVE_AFTER)
        before = read(pids)
        await asyncio.sleep(plan.rest)
        resting = between(before, read(pids))
        await self.publishers.ask(SetSending(names=frozenset({publisher})))
        await asyncio.sleep(plan.settle)
        sent_before, received_before, before = await self._counts(publisher, name, pids)
        await asyncio.sleep(plan.window)
        sent, received, after = await self._counts(publisher, name, pids)
        spent = between(before, after)
        if received.lost:
            say(f"{received.lost} viewers of {name} have lost their connection")
        return Run(
            subject=name,
            viewers=viewers,
            round=number,
            seconds=spent.seconds,
            cpu_us=spent.cpu_ns / 1e3,
            delivered=received.packets - received_before.packets,
            expected=(sent.packets - sent_before.packets) * viewers,
            idle=spent.idle,
            resting_us_per_s=resting.cpu_ns / 1e3 / resting.seconds,
        )

    async def _counts(
        self, publisher: str, group: str, pids: tuple[int, ...]
    ) -> tuple[Sent, Received, Reading]:
        sent: dict[str, Sent] = await self.publishers.ask(GetSent())
        received: Received = await self.viewers.ask(GetReceived(group=group))
        return sent[publisher], received, read(pids)


def _line(run: Run) -> str:
    if not run.delivered:
        return f"  {run.subject}, {run.viewers} viewers: nothing was delivered"
    return (
        f"  {run.subject}, {run.viewers} viewers: {run.us_per_packet:.2f} us per packet"
        f" ({run.net_us_per_packet:.2f} net of rest), {run.delivered}/{run.expected} delivered,"
        f" machine {run.idle:.0%} idle" + (f"; void: {run.void}" if run.void else "")
    )
