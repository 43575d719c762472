"""Recordings asked of media, and what becomes of them. A voice that cannot be recorded is heard all the same."""

from __future__ import annotations

from collections import Counter
from typing import Final

import structlog

from media.protocol import RecordingState, StartRecording, StopRecording
from server.model.errors import FengsuiError
from server.model.ports import RecordingReport
from server.routing.lifetimes import Lifetimes
from server.routing.telling import Telling

OVER: Final = frozenset({"ended", "failed"})

log = structlog.get_logger("server.routing")


class Recorded:
    """Every recording that was asked for is told of as "ended" or "failed" once, whatever dies meanwhile."""

    def __init__(self, lifetimes: Lifetimes, telling: Telling, counters: Counter[str]) -> None:
        self._lifetimes = lifetimes
        self._telling = telling
        self._counters = counters
        self._running: set[str] = set()

    async def start(self, recording: str, source: int, path: str) -> str:
        """Record what `source` sends to its `recorder_sink` into `path`; what is wrong, "" = media took it.

        The request is written before this first waits: gather it with the transaction that routes the sink, in this
        order, and no packet is missed. Raises nothing.
        """
        self._running.add(recording)
        try:
            await self._lifetimes.link.ask(
                StartRecording(number=0, recording=recording, source=source, path=path)
            )
        except FengsuiError as error:
            self._counters["recordings_refused_total"] += 1
            self._over(RecordingReport(recording=recording, state="failed", detail=str(error)))
            return str(error)
        self._counters["recordings_total"] += 1
        return ""

    async def stop(self, recording: str) -> None:
        """Its report follows. Nothing happens when it is not running. Raises nothing."""
        if recording not in self._running:
            return
        try:
            await self._lifetimes.link.ask(StopRecording(number=0, recording=recording))
        except FengsuiError as error:
            log.warning("a recording cannot be stopped", recording=recording, error=str(error))
            self._over(RecordingReport(recording=recording, state="failed", detail=str(error)))

    def report(self, notice: RecordingState) -> None:
        report = RecordingReport(
            recording=notice.recording,
            state=notice.state,
            began=notice.began,
            duration=notice.duration,
            bytes=notice.bytes,
            sha256=notice.sha256,
            detail=notice.detail,
        )
        if notice.state in OVER:
            self._over(report)
        elif notice.recording in self._running:
            self._telling.recording(report)

    def detached(self) -> None:
        """Media is gone, and with it whoever could tell."""
        for recording in tuple(self._running):
            self._over(RecordingReport(recording=recording, state="failed", detail="media_restarted"))

    def __len__(self) -> int:
        return len(self._running)

    def _over(self, report: RecordingReport) -> None:
        if report.recording not in self._running:
            return
        self._running.discard(report.recording)
        if report.state == "failed":
            self._counters["recordings_failed_total"] += 1
        self._telling.recording(report)
