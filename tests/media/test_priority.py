"""The media process goes first, what it starts does not."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os
from media.priority import go_back, go_first
before = os.getpriority(os.PRIO_PROCESS, 0)
go_first()
first = os.getpriority(os.PRIO_PROCESS, 0)
go_back()
print(before, first, os.getpriority(os.PRIO_PROCESS, 0))
"""


def nices(nice: int) -> list[int]:
    said = subprocess.run(
        [sys.executable, "-c", f"import os; os.nice({nice})\n{SCRIPT}"],
        check=True,
        capture_output=True,
        text=True,
    )
    return [int(number) for number in said.stdout.split()]


def test_first_where_it_is_allowed_and_back_in_any_case() -> None:
    before, first, back = nices(0)
    assert first == (-10 if os.geteuid() == 0 else before)
    assert back == max(before, 0)


def test_who_was_told_to_be_nice_stays_so_behind_the_media_process() -> None:
    before, first, back = nices(5)
    assert before == os.getpriority(os.PRIO_PROCESS, 0) + 5
    assert first == (-10 if os.geteuid() == 0 else before)
    assert back >= 0
