"""Notices that wait for a slow reader: of each thing only the newest state is kept.

A reader that stops for a minute finds where everything is now, not everything that happened; so memory is
bounded by the number of things and nothing has to be thrown away.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from media.protocol import (
    Done,
    LayerState,
    Notice,
    PullState,
    Ready,
    RecordingState,
    SinkState,
    Statistics,
    TransportLost,
    TransportStep,
    VoiceState,
)

CAPACITY = 50_000

# Type of notice -> what it is about. Of two notices about the same thing the later one replaces the earlier.
SUBJECTS: dict[type[Notice], Callable[[Any], Hashable]] = {
    Ready: lambda notice: 0,
    Done: lambda notice: notice.number,
    TransportStep: lambda notice: (notice.transport, notice.step),
    TransportLost: lambda notice: notice.transport,
    LayerState: lambda notice: (notice.source, notice.layer),
    SinkState: lambda notice: notice.sink,
    VoiceState: lambda notice: notice.source,
    PullState: lambda notice: notice.pull,
    RecordingState: lambda notice: (notice.recording, notice.state),
    Statistics: lambda notice: notice.number,
}


class Outbox:
    """A queue of notices, first in first out; a replaced notice takes the later place. No answer is ever lost.

    `dropped` counts notices about new things that came when `capacity` things were waiting already.
    `replaced` counts states that nobody read before they changed again.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.dropped = 0
        self.replaced = 0
        self._capacity = capacity
        self._waiting: dict[Hashable, Notice] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, notice: Notice) -> None:
        kind = type(notice)
        subject = (kind, SUBJECTS[kind](notice))
        if self._waiting.pop(subject, None) is not None:
            self.replaced += 1
        elif len(self._waiting) >= self._capacity and kind is not Done:
            self.dropped += 1
            return
        self._waiting[subject] = notice

    def pop(self) -> Notice | None:
        """The notice that waits longest, None when there is none."""
        for subject in self._waiting:
            return self._waiting.pop(subject)
        return None
