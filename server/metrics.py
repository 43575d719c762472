"""One place that exports the numbers of all long-lived objects, in the form Prometheus reads.

Each object has `statistics()`: names to numbers (others are left out). A name that ends in `_total` is a counter.
"""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Statistics = Callable[[], Mapping[str, object]]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_NOT_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")

log = structlog.get_logger("server.metrics")


class Metrics(Collector):
    """`add` each object once; `text` is what /metrics answers."""

    def __init__(self) -> None:
        self._sources: dict[str, Statistics] = {}
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def add(self, name: str, statistics: Statistics) -> None:
        """Raises ValueError when the name is there already."""
        if name in self._sources:
            raise ValueError(f"{name} is exported already")
        self._sources[name] = statistics

    def collect(self) -> Iterable[Metric]:
        for source, statistics in sorted(self._sources.items()):
            try:
                snapshot = dict(statistics())
            except Exception:
                log.exception("no statistics", source=source)
                continue
            for key, value in _flat(snapshot, source):
                if key.endswith("_total"):
                    yield CounterMetricFamily(key, key, value=value)
                else:
                    yield GaugeMetricFamily(key, key, value=value)

    def text(self) -> bytes:
        return generate_latest(self._registry)


def _flat(values: Mapping[str, object], prefix: str) -> Iterable[tuple[str, float]]:
    for key, value in values.items():
        name = f"{prefix}_{_NOT_A_NAME.sub('_', str(key))}"
        if isinstance(value, bool | int | float):
            yield f"fengsui_{name}", float(value)
        elif isinstance(value, Mapping):
            yield from _flat(value, name)


def process_statistics() -> dict[str, object]:
    """CPU seconds, memory in bytes, open files and threads of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "cpu_seconds_total": usage.ru_utime + usage.ru_stime,
        "resident_bytes": pages * resource.getpagesize(),
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
        "uptime_seconds": time.monotonic() - _STARTED,
    }


_STARTED: Final = time.monotonic()
