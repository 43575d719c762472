"""Tells the listener what happens: sessions at once, streams collected for a moment, slots when they differ."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final, ParamSpec

import structlog

from server.model.ids import StreamId
from server.model.ports import MediaListener, RecordingReport
from server.routing.tables import Session, Tables
from server.routing.views import slot_state, stream_view

COALESCE: Final = 0.05  # s that changes of a stream are collected before they are told

Arguments = ParamSpec("Arguments")

log = structlog.get_logger("server.routing")


class Telling:
    """A listener's fault is counted and logged; it must not end the media of everybody."""

    def __init__(self, tables: Tables, listener: MediaListener, counters: Counter[str]) -> None:
        self._tables = tables
        self._listener = listener
        self._counters = counters
        self._changed: set[StreamId] = set()
        self._flush: asyncio.TimerHandle | None = None

    def step(self, session: Session, step: str, detail: str) -> None:
        self._call(self._listener.session_step, session.id, step, detail)

    def recording(self, report: RecordingReport) -> None:
        self._call(self._listener.recording_state, report)

    def stream_changed(self, stream: StreamId) -> None:
        """Its view may differ; told soon if it does."""
        self._changed.add(stream)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(COALESCE, self._tell_streams)

    def viewers(self, stream: StreamId) -> None:
        """What the stream's viewers see may differ."""
        for session in self._tables.audience(stream):
            self.slots(session)

    def slots(self, session: Session) -> None:
        for slot in session.slots:
            state = slot_state(slot, self._tables)
            if state != slot.told:
                slot.told = state
                self._call(self._listener.slot_changed, session.id, slot.number, state)

    def voice(self, session: Session, active: bool, clipped: float) -> None:
        self._call(self._listener.voice_activity, session.id, active, clipped)

    def _tell_streams(self) -> None:
        self._flush = None
        changed, self._changed = self._changed, set()
        for stream in sorted(changed):
            row = self._tables.streams.get(stream)
            if row is not None and (view := stream_view(row)) != row.told:
                row.told = view
                self._call(self._listener.stream_changed, stream)

    def _call(
        self, call: Callable[Arguments, None], *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> None:
        try:
            call(*args, **kwargs)
        except Exception:
            self._counters["listener_failed_total"] += 1
            log.exception("a listener of media failed")
