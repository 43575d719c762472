"""Half load (20 publishers, 200 video deliveries): added delay, and the time from joining to a picture."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench.cost import JOIN_RATE
from bench.plan import DELIVERIES, PROBES, PUBLISHERS, TRIES, Plan, say
from bench.probes import Delays, Joined, JoinOnce, Listen, TakeDelays, Watch
from bench.processes import between, read
from bench.publishers import GetSent, Publish, SendPlain, Sent, SetSending
from bench.report import MIN_IDLE, HalfLoad, percentile
from bench.subject import Subject
from bench.viewers import GetReceived, JoinWhep, Leave, Received
from bench.workers import BenchFailed, Worker

GROUP: Final = "half load"
DIRECT: Final = "direct"  # the publisher whose packets go straight to the probes' process
SETTLE: Final = 3.0  # s
PAUSE: Final = 0.15  # s between joins
JOIN_WITHIN: Final = 1.0  # s for each join, on average


async def measure_half_load(
    plan: Plan,
    subject: Subject,
    publishers: Worker,
    viewers: Worker,
    probes: Worker,
    measured: list[HalfLoad],
) -> None:
    """Appends up to `TRIES` measurements; the last one is the first that had enough of the machine."""
    channels = subject.channels[:PUBLISHERS]
    say(f"half load: {PUBLISHERS} publishers, {DELIVERIES} viewers")
    for site, some in subject.shares(channels):
        await publishers.ask(Publish(site=site, names=some))
    port = await probes.ask(Listen())
    await publishers.ask(SendPlain(name=DIRECT, video_port=port, audio_port=port))
    await publishers.ask(SetSending(names=frozenset(channels), rate=JOIN_RATE))
    await asyncio.sleep(1.0)
    paths = await subject.paths(channels)
    share, more = divmod(DELIVERIES - PROBES, PUBLISHERS)
    counts = [share + (index >= PUBLISHERS - more) for index in range(PUBLISHERS)]
    for path, count in zip(paths, counts, strict=True):
        await viewers.ask(JoinWhep(group=GROUP, site=subject.sites[0], path=path, count=count, kinds="v"))
    await publishers.ask(SetSending(names=frozenset({*channels, DIRECT})))
    await probes.ask(Watch(site=subject.sites[0], paths=paths[:PROBES]))
    watchers = dict(zip(channels, counts, strict=True))
    begun = time.monotonic()
    for _ in range(TRIES):
        await asyncio.sleep(SETTLE)
        measured.append(await _once(plan, subject, publishers, viewers, probes, paths, watchers))
        enough = measured[-1].idle >= MIN_IDLE and measured[-1].joins_idle >= MIN_IDLE
        if enough or time.monotonic() - begun > plan.budget / 2:
            break
    await viewers.ask(Leave(group=GROUP))


async def _once(
    plan: Plan,
    subject: Subject,
    publishers: Worker,
    viewers: Worker,
    probes: Worker,
    paths: tuple[str, ...],
    watchers: dict[str, int],
) -> HalfLoad:
    processes = {
        **subject.processes(),
        str(publishers.pid): publishers.name,
        str(viewers.pid): viewers.name,
        str(probes.pid): probes.name,
    }
    before = {pid: read((int(pid),)) for pid in processes}
    sent_before: dict[str, Sent] = await publishers.ask(GetSent())
    received_before: Received = await viewers.ask(GetReceived(group=GROUP))
    await probes.ask(TakeDelays())
    await asyncio.sleep(plan.delay_window)
    delays: Delays = await probes.ask(TakeDelays())
    received: Received = await viewers.ask(GetReceived(group=GROUP))
    sent: dict[str, Sent] = await publishers.ask(GetSent())
    spent = {pid: between(reading, read((int(pid),))) for pid, reading in before.items()}
    idle = next(iter(spent.values())).idle
    shares: dict[str, float] = {}
    for pid, one in spent.items():
        shares[processes[pid]] = shares.get(processes[pid], 0.0) + one.cpu_ns / 1e9 / one.seconds
    every = delays.key + delays.delta + delays.sound
    if every:
        say(
            f"  added delay p50 {percentile(every, 50) / 1e6:.2f} p99 {percentile(every, 99) / 1e6:.2f} ms"
            f" of {len(every)} packets, machine {idle:.0%} idle"
        )
    before_joins = read(())
    joins: list[Joined] = []
    failures = 0
    begun = time.monotonic()
    for number in range(plan.joins):
        path = paths[number % len(paths)]
        if time.monotonic() - begun > JOIN_WITHIN * plan.joins:
            say(f"  joining takes too long; {number} of {plan.joins} times")
            break
        try:
            joins.append(await probes.ask(JoinOnce(site=subject.sites[0], path=path, kinds="av")))
        except BenchFailed as failed:
            failures += 1
            say(f"  join {number + 1} failed: {str(failed).splitlines()[0]}")
        await asyncio.sleep(PAUSE)
    joins_idle = between(before_joins, read(())).idle
    if joins:
        pictures = [one.picture for one in joins]
        say(
            f"  join to picture p50 {percentile(pictures, 50) * 1e3:.0f} p95 {percentile(pictures, 95) * 1e3:.0f} ms"
            f" of {len(joins)}, machine {joins_idle:.0%} idle"
        )
    return HalfLoad(
        publishers=PUBLISHERS,
        deliveries=DELIVERIES,
        idle=idle,
        delivered=received.packets - received_before.packets,
        expected=sum(
            (sent[channel].video_packets - sent_before[channel].video_packets) * count
            for channel, count in watchers.items()
        ),
        shares=shares,
        key_delays=delays.key,
        delta_delays=delays.delta,
        sound_delays=delays.sound,
        direct_delays=delays.direct,
        joins=[one.picture for one in joins],
        joins_answered=[one.answered for one in joins],
        joins_connected=[one.connected for one in joins],
        joins_failed=failures,
        joins_idle=joins_idle,
    )
