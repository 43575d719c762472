"""What processes and the machine cost, as the kernel counts it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`cpu_ns`: user and system time of the watched processes with all their threads, ended ones too (what utime and
    stime of /proc/PID/stat count, in ns). `busy`, `total`: the machine's ticks of all processors; the hypervisor's
    own (steal) are busy."""

    at: float
    cpu_ns: int
    busy: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Between two readings. `idle`: share of the machine's processors, 0 to 1."""

    seconds: float
    cpu_ns: int
    idle: float


def read(pids: Iterable[int]) -> Reading:
    """Raises ProcessLookupError when one of the processes is gone."""
    spent = sum(_cpu_ns(pid) for pid in pids)
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]  # guest time is in user time
    total = sum(ticks)
    return Reading(at=time.monotonic(), cpu_ns=spent, busy=total - ticks[3] - ticks[4], total=total)


def between(before: Reading, after: Reading) -> Spent:
    total = after.total - before.total
    busy = after.busy - before.busy
    return Spent(
        seconds=after.at - before.at,
        cpu_ns=after.cpu_ns - before.cpu_ns,
        idle=1 - busy / total if total else 1.0,
    )


def family(pid: int) -> tuple[int, ...]:
    """A process and all that come from it. Raises ProcessLookupError."""
    found = [pid]
    for one in found:
        try:
            for thread in Path(f"/proc/{one}/task").iterdir():
                found += map(int, (thread / "children").read_text(encoding="ascii").split())
        except FileNotFoundError:
            if one == pid:
                raise ProcessLookupError(f"process {pid} is gone") from None
    return tuple(found)


def name_of(pid: int) -> str:
    """The module of a Python process, else the program; for a report. Raises ProcessLookupError."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except FileNotFoundError:
        raise ProcessLookupError(f"process {pid} is gone") from None
    return words[words.index("-m") + 1] if "-m" in words[:-1] else Path(words[0]).name


def memory_kb(pids: Iterable[int]) -> int:
    """Proportional set size: pages that several processes share count once. Raises ProcessLookupError."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except FileNotFoundError:
            raise ProcessLookupError(f"process {pid} is gone") from None
        total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total


def _cpu_ns(pid: int) -> int:
    try:
        return time.clock_gettime_ns(
            ~pid << 3 | 2
        )  # the scheduler's clock of that process (man clock_getcpuclockid)
    except OSError:
        raise ProcessLookupError(f"process {pid} is gone") from None
