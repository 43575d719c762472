"""How much the relay benchmark measures, and how it says what it is doing."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final

PUBLISHERS: Final = 20  # half load (design.md section 3)
DELIVERIES: Final = 200
PROBES: Final = 10  # of the deliveries
TRIES: Final = 3  # of a measurement that is void


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Times in s. `settle`: from the first packet until measuring; `rest`: measuring while nobody sends.

    `budget`: after which nothing void is tried again; `limit`: ends the whole benchmark.
    """

    viewers: tuple[int, ...]
    compared: int
    rounds: int
    settle: float
    window: float
    rest: float
    delay_window: float
    joins: int
    budget: float
    limit: float


NORMAL: Final = Plan(
    viewers=(10, 100, 400),
    compared=100,
    rounds=3,
    settle=2.0,
    window=4.0,
    rest=2.0,
    delay_window=20.0,
    joins=40,
    budget=220.0,
    limit=480.0,
)
QUICK: Final = Plan(
    viewers=(10, 100),
    compared=100,
    rounds=1,
    settle=1.5,
    window=3.0,
    rest=1.5,
    delay_window=6.0,
    joins=12,
    budget=30.0,
    limit=180.0,
)


def say(text: str) -> None:
    """Progress, to standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
