"""Logs: no secret in any line, one line a second for a fault that repeats, and no line lost for its exception."""

from __future__ import annotations

import io
import json
import logging
import threading
from typing import Any

import pytest
import structlog

from server.log import Repeats, logging_to, redact_text

SECRET = "A1b2" * 11


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"token fsd_0198f7a2-1111_{SECRET} came", "token fsd_0198f7a2-1111_[removed] came"),
        (f"Authorization: Bearer {SECRET}", "Authorization: Bearer [removed]"),
        (f"fst1.k1.{SECRET}.{SECRET}", "fst1.[removed]"),
        (f"GET /j/{SECRET} HTTP/1.1", "GET /j/[removed] HTTP/1.1"),
        (f"DELETE /s/{SECRET}", "DELETE /s/[removed]"),
        (f"cookie __Host-fengsui={SECRET}; a=b", "cookie __Host-fengsui=[removed]; a=b"),
        (f"a=ice-ufrag:abcd\r\na=ice-pwd:{SECRET}\r\n", "a=ice-ufrag:abcd\r\na=ice-pwd:[removed]\r\n"),
        ("rtsp://viewer:secret@10.0.0.9/1", "rtsp://viewer:[removed]@10.0.0.9/1"),
        ("stream 0198f7a2 at 10.0.0.9:8443", "stream 0198f7a2 at 10.0.0.9:8443"),
    ],
)
def test_secrets_are_taken_out_of_text(text: str, shown: str) -> None:
    assert redact_text(text) == shown


def test_secrets_are_taken_out_by_name_and_by_form_at_any_depth() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log = structlog.get_logger("test.secrets").bind(unit="u1")
        log.info("joined", token=SECRET, password="x", headers={"Authorization": f"Bearer {SECRET}"})
        try:
            raise ValueError(f"bad link /j/{SECRET}")
        except ValueError:
            log.exception("refused")
        logging.getLogger("some.library").error("lost %s", f"/s/{SECRET}")
    assert SECRET not in stream.getvalue()
    first, second, third = lines(stream)
    assert (first["event"], first["unit"], first["token"], first["password"]) == (
        "joined",
        "u1",
        "[removed]",
        "[removed]",
    )
    assert set(first) == {"event", "unit", "token", "password", "headers", "logger", "level", "time"}
    assert "ValueError: bad link /j/[removed]" in second["exception"]
    assert third["event"] == "lost /s/[removed]"


def test_a_fault_that_repeats_is_counted() -> None:
    stream = io.StringIO()
    with logging_to(stream):
        log = structlog.get_logger("test.repeats")
        for number in range(500):
            log.warning("bad packet", number=number)
            log.info("fine", number=number)
    told = lines(stream)
    assert sum(line["event"] == "fine" for line in told) == 500
    assert sum(line["event"] == "bad packet" for line in told) <= 2


def test_repeats_pass_once_a_second_with_the_count() -> None:
    repeats = Repeats(window=1.0)
    key = ("a", "b", "warning")
    assert [repeats.passes(key, now) for now in (0.0, 0.1, 0.9, 1.0, 1.5, 2.5)] == [0, None, None, 2, None, 1]
    assert repeats.passes(("other", "b", "warning"), 0.1) == 0


def test_repeats_forget_the_oldest_of_too_many() -> None:
    repeats = Repeats()
    for number in range(513):
        repeats.passes((str(number), "", ""), 0.0)
    assert repeats.passes(("0", "", ""), 0.1) == 0
    assert repeats.passes(("512", "", ""), 0.1) is None


def test_the_level_holds() -> None:
    stream = io.StringIO()
    with logging_to(stream, level="warning"):
        structlog.get_logger("test.level").info("no")
        structlog.get_logger("test.level").warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


def test_a_stream_that_does_not_read_drops_and_counts() -> None:
    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            gate.wait(5)
            return super().write(text)

    gate = threading.Event()
    stream = Stuck()
    with logging_to(stream) as queue:
        log = structlog.get_logger("test.stuck")
        for number in range(5000):
            log.info("line", number=number)
        assert 800 <= int(str(queue.statistics()["dropped_total"])) <= 1000
        gate.set()
