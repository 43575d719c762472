"""The benchmark's helper processes: answers, failures, late answers and ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from bench.processes import between, family, memory_kb, name_of, read
from bench.workers import BenchFailed, worker


@dataclass(frozen=True)
class Wait:
    seconds: float
    say: str


@dataclass(frozen=True)
class Fail:
    status: int = 0  # of the process, 0 = it lives on


class Role:
    @property
    def handlers(self) -> Mapping[type, Callable[[Any], Awaitable[object]]]:
        return {Wait: self.wait, Fail: self.fail}

    async def wait(self, question: Wait) -> str:
        await asyncio.sleep(question.seconds)
        return question.say

    async def fail(self, question: Fail) -> None:
        if question.status:
            os._exit(question.status)
        raise ValueError("it does not work")

    async def close(self) -> None:
        return None


async def test_answers_failures_and_a_late_answer_that_nobody_gets() -> None:
    async with worker("helper", Role) as helper:
        assert await helper.ask(Wait(0.0, "one")) == "one"
        with pytest.raises(BenchFailed, match="helper did not answer Wait"):
            await helper.ask(Wait(0.4, "late"), within=0.1)
        assert await helper.ask(Wait(0.0, "two")) == "two"
        with pytest.raises(BenchFailed, match="it does not work"):
            await helper.ask(Fail())
        assert await helper.ask(Wait(0.0, "three")) == "three"
        large = "x" * 3_000_000  # more than a pipe holds
        assert await helper.ask(Wait(0.0, large)) == large
        pid = helper.pid
        assert pid in family(os.getpid())
        assert name_of(pid).startswith("python")
    with pytest.raises(ProcessLookupError):
        read((pid,))


async def test_a_helper_that_dies_is_a_failure_not_a_wait() -> None:
    async with worker("helper", Role) as helper:
        with pytest.raises(BenchFailed, match="helper died during Fail"):
            await helper.ask(Fail(status=3))


def test_readings_count_the_work_of_a_process() -> None:
    mine = (os.getpid(),)
    before = read(mine)
    memory = memory_kb(mine)
    ballast = bytearray(os.urandom(20_000_000))
    while read(mine).cpu_ns - before.cpu_ns < 50_000_000:
        sum(ballast[:1000])
    spent = between(before, read(mine))
    assert 50_000_000 <= spent.cpu_ns <= spent.seconds * 1e9 * 1.5
    assert 0.0 <= spent.idle <= 1.0
    assert memory_kb(mine) - memory > 15_000
