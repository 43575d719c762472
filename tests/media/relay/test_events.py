"""The engine's queue of events and when it wakes its reader."""

from __future__ import annotations

import select

from media.relay.events import MAX_EVENTS, EventQueue
from media.relay.messages import EventsDropped, VoiceActivity

EVENT = VoiceActivity(source=1, active=True, clipped=0.0)


def readable(queue: EventQueue) -> bool:
    return bool(select.select([queue.fd], [], [], 0)[0])


def test_what_need_not_be_known_soon_wakes_nobody_and_goes_with_what_must() -> None:
    queue = EventQueue()
    queue.put(EVENT, soon=False)
    assert queue.waiting
    assert not readable(queue)
    queue.put(EVENT)
    assert not queue.waiting
    assert readable(queue)
    assert queue.take() == [EVENT, EVENT]
    assert not readable(queue)
    queue.put(EVENT, soon=False)
    queue.signal()
    assert readable(queue)
    assert queue.take() == [EVENT]
    assert not queue.waiting
    queue.close()


def test_a_full_queue_counts_what_it_loses() -> None:
    queue = EventQueue()
    for _ in range(MAX_EVENTS + 3):
        queue.put(EVENT)
    events = queue.take()
    assert len(events) == MAX_EVENTS + 1
    assert events[-1] == EventsDropped(count=3)
    queue.close()
