"""Other processes, as /proc tells of them."""

from __future__ import annotations

from pathlib import Path

from support.waiting import until


def children(pid: int) -> list[int]:
    """Of a process with one thread that starts others."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    """Whether a process is dead (a zombie of somebody else's counts as dead)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


async def until_gone(pid: int, within: float) -> None:
    """Raises TimeoutError."""
    await until(lambda: gone(pid), within)
