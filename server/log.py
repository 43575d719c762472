"""Logs: JSON lines on stderr, or coloured text when a person watches.

debug: what a developer follows; info: what an operator may want to know later; warning: something is worse than it
should be and goes on; error: something is lost. Context travels in child loggers (`unit=`, `stream=`, `device=`).

Before a line is written, secrets are taken out and a fault that repeats is counted instead: at most one line a
second for each logger, event and level, with `repeated` saying how many were left out. Writing happens in a thread
behind a bounded queue, so that a terminal that does not read stops nobody; what does not fit is dropped and counted.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import logging.handlers
import queue
import re
import sys
import time
from collections.abc import Iterator, MutableMapping
from typing import Any, Final, TextIO

import structlog

QUEUE_SIZE: Final = 4096
REPEAT_WINDOW: Final = 1.0  # s
MAX_REPEATING: Final = 512  # different faults remembered; the oldest is forgotten

SECRET_NAMES: Final = frozenset(
    {
        "authorization",
        "cookie",
        "csrf",
        "key",
        "password",
        "sdp",
        "secret",
        "set-cookie",
        "setup_code",
        "token",
    }
)
REMOVED: Final = "[removed]"
SECRETS: Final = (
    (re.compile(r"\bfsd_([0-9A-Za-z-]+)_[\w-]{16,}"), rf"fsd_\1_{REMOVED}"),
    (re.compile(r"\bfst1\.[\w-]+\.[\w-]+\.[\w-]+"), f"fst1.{REMOVED}"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}"), rf"\1 {REMOVED}"),
    (re.compile(r"(__Host-fengsui=)[^;\s\"']+"), rf"\1{REMOVED}"),
    (re.compile(r"(a=ice-pwd:)\S+"), rf"\1{REMOVED}"),
    (re.compile(r"(/(?:j|s)/)[\w-]{16,}"), rf"\1{REMOVED}"),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+(@)"), rf"\1{REMOVED}\2"),
)

EventDict = MutableMapping[str, Any]


def redact_text(text: str) -> str:
    """`text` without tokens, cookies, passwords in addresses, ICE passwords and secret paths."""
    for pattern, instead in SECRETS:
        text = pattern.sub(instead, text)
    return text


def redact(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Processor: takes secrets out of every value, by its name or by its form."""
    for name, value in event.items():
        if name.startswith("_"):
            continue  # structlog's own, taken out later
        if name.lower() in SECRET_NAMES and value:
            event[name] = REMOVED
        elif isinstance(value, str):
            event[name] = redact_text(value)
        elif isinstance(value, bytes | dict | list | tuple | set | frozenset) and name != "exc_info":
            event[name] = redact_text(repr(value))
    return event


class Repeats:
    """Which faults to pass and which to count. Sans-IO."""

    def __init__(self, window: float = REPEAT_WINDOW) -> None:
        self._window = window
        self._known: dict[tuple[str, str, str], tuple[float, int]] = {}

    def passes(self, key: tuple[str, str, str], now: float) -> int | None:
        """None = leave it out; else how many were left out since the last one that passed."""
        last, left_out = self._known.pop(key, (float("-inf"), 0))
        if now - last < self._window:
            self._known[key] = (last, left_out + 1)
            return None
        while len(self._known) >= MAX_REPEATING:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (now, 0)
        return left_out


class CountRepeats:
    """Processor: warnings and errors that repeat are counted and told once a second."""

    def __init__(self) -> None:
        self._repeats = Repeats()

    def __call__(self, _logger: object, method: str, event: EventDict) -> EventDict:
        level = str(event.get("level", method))
        if level not in ("warning", "error", "critical"):
            return event
        key = (str(event.get("logger", "")), str(event.get("event", "")), level)
        left_out = self._repeats.passes(key, time.monotonic())
        if left_out is None:
            raise structlog.DropEvent
        if left_out:
            event["repeated"] = left_out
        return event


class _Queue(logging.handlers.QueueHandler):
    """Gives records to the writing thread as they are; drops and counts when it is behind."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None]) -> None:
        super().__init__(records)
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def statistics(self) -> dict[str, object]:
        return {"dropped_total": self.dropped}


class _Listener(logging.handlers.QueueListener):
    """The writing thread; a stream that does not take its last lines holds the exit up for 2 s at most."""

    def __init__(self, records: queue.Queue[logging.LogRecord | None], write: logging.Handler) -> None:
        super().__init__(records, write)
        self._records = records

    def stop(self) -> None:
        thread = self._thread
        if thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._records.put(None, timeout=2.0)
            thread.join(timeout=2.0)
        self._thread = None


class _Format(structlog.stdlib.ProcessorFormatter):
    """A record that a processor drops becomes an empty text instead of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except structlog.DropEvent:
            return ""


class _Write(logging.StreamHandler[TextIO]):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            if line := self.format(record):
                self.stream.write(line + "\n")
                self.stream.flush()
        except Exception:
            self.handleError(record)


@contextlib.contextmanager
def logging_to(stream: TextIO | None = None, *, level: str = "info") -> Iterator[_Queue]:
    """Send this process's logs, structlog's and the standard library's, to `stream` (stderr) inside the block.

    Yields the queue, for its `statistics()`.
    """
    stream = stream or sys.stderr
    human = stream.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        _stamp(human),
        *([] if human else [structlog.processors.format_exc_info]),
        redact,
        CountRepeats(),
    ]
    last: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(timestamp_key="time", exception_formatter=_plain_traceback)
        if human
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[  # what must happen in the caller's thread; the rest is the writer's
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            _capture_exception,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    write = _Write(stream)
    write.setFormatter(
        _Format(
            processors=[
                *shared,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                last,
            ]
        )
    )
    records: queue.Queue[logging.LogRecord | None] = queue.Queue(QUEUE_SIZE)
    handler = _Queue(records)
    listener = _Listener(records, write)
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiosqlite", "sqlalchemy", "alembic", "asyncio", "aiohttp.access", "redis"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
    listener.start()
    try:
        yield handler
    finally:
        listener.stop()
        root.handlers[:], root.level = before


def _capture_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    return event


def _stamp(human: bool) -> structlog.typing.Processor:
    """Adds the time at which the record was made, not the one at which it is written."""

    def stamp(_logger: object, _method: str, event: EventDict) -> EventDict:
        made = float(event["_record"].created)
        zone = None if human else datetime.UTC
        moment = datetime.datetime.fromtimestamp(made, zone)
        event["time"] = (
            moment.strftime("%H:%M:%S.%f")[:-3] if human else moment.isoformat(timespec="microseconds")
        )
        return event

    return stamp


def _plain_traceback(target: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    target.write("\n" + redact_text(logging.Formatter().formatException(exc_info)))
