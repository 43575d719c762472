"""Who gets the processor first: the media process before control and its own workers, where the system lets it.

A packet that waits for the processor is late whatever the relay does; control and workers can wait some milliseconds.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

FIRST: Final = -10  # nice(2)
USUAL: Final = 0


def go_first() -> None:
    """For the media process. Takes CAP_SYS_NICE or a limit (RLIMIT_NICE); without it nothing changes."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(FIRST, os.getpriority(os.PRIO_PROCESS, 0)))


def go_back() -> None:
    """For a process that the media process started: behind it again."""
    os.setpriority(os.PRIO_PROCESS, 0, max(USUAL, os.getpriority(os.PRIO_PROCESS, 0)))
