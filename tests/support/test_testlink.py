"""The test link does what it says, or no test that stands on it means anything."""

from __future__ import annotations

import asyncio
import re

from support.impairment import Direction, Impairment
from support.testlink import TestLink


def carried(impairment: Impairment, count: int = 10_000, every: float = 0.001) -> Direction:
    direction = Direction(impairment, seed=7)
    for n in range(count):
        direction.put(n.to_bytes(4, "big") + bytes(96), n * every)
    return direction


def test_loss_in_bursts_keeps_its_share_and_its_length() -> None:
    direction = Direction(Impairment(loss=0.3, burst=5), seed=3)
    runs, run, lost = [], 0, 0
    for n in range(50_000):
        before = direction.lost
        direction.put(b"x", float(n))
        if direction.lost > before:
            run += 1
            lost += 1
        elif run:
            runs.append(run)
            run = 0
    assert 0.27 < lost / 50_000 < 0.33
    assert 4.5 < sum(runs) / len(runs) < 5.5


def test_rate_and_queue_bound_what_passes() -> None:
    direction = carried(Impairment(rate=400_000, queue=10_000))  # 800 kbit/s offered for 10 s
    passed = len(direction.due(10.0))
    assert 4_900 < passed < 5_200
    assert 4_600 < direction.lost < 5_100


def test_jitter_alone_keeps_order_and_reordering_does_not() -> None:
    ordered = carried(Impairment(delay=0.05, jitter=0.03), 1000).due(100)
    assert ordered == sorted(ordered)
    mixed = carried(Impairment(reorder=0.1, reorder_delay=0.01), 1000).due(100)
    assert mixed != sorted(mixed)
    assert sorted(mixed) == ordered


async def test_link_delays_and_cuts_real_packets() -> None:
    async with TestLink(Impairment(delay=0.1), Impairment(delay=0.05)) as link:
        assert 150 <= await ping(link) < 250
        await link.set(Impairment(cut=True))
        assert await ping(link) < 0
        counts = await link.set(Impairment(), Impairment())
        assert counts["lost_forward"] >= 1
        assert 0 <= await ping(link) < 50


async def ping(link: TestLink) -> float:
    """Round trip in ms, -1 = no answer."""
    process = await asyncio.create_subprocess_exec(
        *link.command("near", "ping", "-c1", "-W1", link.far_address), stdout=asyncio.subprocess.PIPE
    )
    output = (await process.communicate())[0].decode()
    found = re.search(r"time=([\d.]+)", output)
    return float(found[1]) if found else -1.0
