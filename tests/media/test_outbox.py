"""A slow reader finds the newest state of each thing, in the order of the last changes."""

from __future__ import annotations

from typing import get_args

from media.outbox import SUBJECTS, Outbox
from media.protocol import Done, Notice, SinkState, Statistics, TransportStep
from media.relay.messages import Address, EngineStatistics

HERE = Address("192.0.2.1", 1)


def drain(outbox: Outbox) -> list[Notice]:
    return list(iter(outbox.pop, None))


def sink(number: int, layer: int) -> SinkState:
    return SinkState(sink=number, source=1, state="started", layer=layer)


def test_first_in_first_out() -> None:
    outbox = Outbox()
    notices: list[Notice] = [sink(1, 0), Done(number=5), TransportStep(transport=1, step="ice", remote=HERE)]
    for notice in notices:
        outbox.put(notice)
    assert drain(outbox) == notices
    assert outbox.pop() is None


def test_the_newest_state_of_a_thing_replaces_the_older_and_comes_later() -> None:
    outbox = Outbox()
    for notice in (sink(1, 0), sink(2, 0), sink(1, 2)):
        outbox.put(notice)
    assert drain(outbox) == [sink(2, 0), sink(1, 2)]
    assert outbox.replaced == 1


def test_steps_of_one_transport_are_different_things() -> None:
    outbox = Outbox()
    steps = [TransportStep(transport=1, step=step, remote=HERE) for step in ("ice", "dtls", "path")]
    for step in steps:
        outbox.put(step)
    assert drain(outbox) == steps


def test_old_statistics_are_of_no_interest_but_asked_ones_are() -> None:
    outbox = Outbox()
    engine = EngineStatistics(transports=(), sources=(), sinks=(), counters={})
    for number in (0, 7, 0):
        outbox.put(
            Statistics(
                number=number,
                time=0.0,
                cpu_seconds=0.0,
                busiest_seconds=0.0,
                resident_bytes=0,
                loop_lag_ms=0.0,
                engine=engine,
            )
        )
    assert len(outbox) == 2


def test_a_full_outbox_drops_new_things_but_never_an_answer() -> None:
    outbox = Outbox(capacity=2)
    notices: list[Notice] = [sink(1, 0), sink(2, 0), sink(3, 0), sink(1, 1), Done(number=1), Done(number=2)]
    for notice in notices:
        outbox.put(notice)
    assert drain(outbox) == [sink(2, 0), sink(1, 1), Done(number=1), Done(number=2)]
    assert outbox.dropped == 1


def test_every_notice_has_a_subject() -> None:
    assert set(SUBJECTS) == set(get_args(Notice))
