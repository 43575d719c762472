"""Logs of the media process: one JSON object a line on stderr, where the control process collects them.

debug: for whoever develops · info: a step in the life of a peer or of the process · warning: something is worse
than it should be, and the process copes · error: a bug, or something is lost.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Callable

import structlog

FAULT_INTERVAL = 1.0  # s between two lines about the same kind of fault


def configure(level: str) -> None:
    """Send all logs of this process, the libraries' too, to stderr. Raises KeyError (level)."""
    number = logging.getLevelNamesMapping()[level.upper()]
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(ensure_ascii=False),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=number,
        stream=sys.stderr,
        force=True,
        format='{"event": "library", "logger": "%(name)s", "level": "%(levelname)s", "message": "%(message)r"}',
    )


class FaultLog:
    """Faults that may repeat a thousand times a second: counted always, logged once a second for each kind.

    A kind is a word of the program, never of a peer, so there are few of them.
    """

    def __init__(self, log: structlog.typing.FilteringBoundLogger, clock: Callable[[], float]) -> None:
        self.counters: Counter[str] = Counter()
        self._log = log
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}  # kind -> (when, count then)

    def report(self, kind: str, **facts: object) -> None:
        """Count one more fault; the line says how many there were since the last one."""
        self.counters[kind] += 1
        now = self._clock()
        at, count = self._logged.get(kind, (-FAULT_INTERVAL, 0))
        if now - at >= FAULT_INTERVAL:
            self._logged[kind] = (now, self.counters[kind])
            self._log.warning(kind, times=self.counters[kind] - count, **facts)
