"""How long pure code takes, on a machine that others use too."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Callable


def quickest(call: Callable[[], object], runs: int = 3, expected: type[Exception] = ValueError) -> float:
    """CPU seconds of the fastest of `runs` calls. The garbage of other tests is not collected meanwhile.

    `call` may raise `expected` (parse errors are ValueErrors); anything else is passed on.
    """
    best = float("inf")
    collecting = gc.isenabled()
    gc.disable()
    try:
        for _ in range(runs):
            started = time.process_time()
            with contextlib.suppress(expected):
                call()
            best = min(best, time.process_time() - started)
    finally:
        if collecting:
            gc.enable()
    return best
