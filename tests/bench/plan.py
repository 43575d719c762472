"""How much the relay benchmark measures, and how it says what it is doing."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Final

PUBLISHERS: Final = 20  # half load (design.md section 3)
DELIVERIES: Final = 200
PROBES: Final = 10  # of the deliveries
TRIES: Final = 2  # of a measurement that is void


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """So many publishers with so many viewers each. `kinds`: what these take, "av" or "v" (only the picture)."""

    publishers: int
    viewers: int
    kinds: str = "av"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Times in s. `settle`: from the first packet until measuring; `rest`: measuring while nobody sends.

    `viewers`: of one publisher, the fan-outs measured; `compared`: at how many viewers of one publisher the
    references are. `budget`: after which nothing void is tried again; `limit`: ends the whole benchmark.
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

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Fan-outs, the largest first, all with as many viewers altogether (video deliveries: with 400 the rated load
        of design.md section 3); then the comparison."""
        most = max(self.viewers)
        fans = [
            Stage(publishers=most // count, viewers=count, kinds="v")
            for count in sorted(self.viewers, reverse=True)
        ]
        return (*fans, Stage(publishers=1, viewers=self.compared))


NORMAL: Final = Plan(
    viewers=(10, 100, 400),
    compared=100,
    rounds=3,
    settle=2.0,
    window=4.0,
    rest=1.5,
    delay_window=20.0,
    joins=40,
    budget=200.0,
    limit=480.0,
)
QUICK: Final = Plan(
    viewers=(10, 100),
    compared=100,
    rounds=1,
    settle=1.5,
    window=3.0,
    rest=1.0,
    delay_window=6.0,
    joins=12,
    budget=20.0,
    limit=180.0,
)


def say(text: str) -> None:
    """Progress, to standard error."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)
