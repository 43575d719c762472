"""What media tells, passed on to whoever asked: the `MediaListener` that a `MediaNode` is given."""

from __future__ import annotations

from collections.abc import Callable

from server.model.ids import MediaSessionId, StreamId
from server.model.ports import RecordingReport, SlotState


class MediaEvents:
    """Fulfils `server.model.ports.MediaListener`. Subscribe before media starts; no subscriber may block or raise."""

    def __init__(self) -> None:
        self._session_step: list[Callable[[MediaSessionId, str, str], None]] = []
        self._stream_changed: list[Callable[[StreamId], None]] = []
        self._voice_activity: list[Callable[[MediaSessionId, bool, float], None]] = []
        self._slot_changed: list[Callable[[MediaSessionId, int, SlotState], None]] = []
        self._recording_state: list[Callable[[RecordingReport], None]] = []

    def on_session_step(self, subscriber: Callable[[MediaSessionId, str, str], None]) -> None:
        self._session_step.append(subscriber)

    def on_stream_changed(self, subscriber: Callable[[StreamId], None]) -> None:
        self._stream_changed.append(subscriber)

    def on_slot_changed(self, subscriber: Callable[[MediaSessionId, int, SlotState], None]) -> None:
        self._slot_changed.append(subscriber)

    def on_recording_state(self, subscriber: Callable[[RecordingReport], None]) -> None:
        self._recording_state.append(subscriber)

    def on_voice_activity(self, subscriber: Callable[[MediaSessionId, bool, float], None]) -> None:
        self._voice_activity.append(subscriber)

    def voice_activity(self, session: MediaSessionId, active: bool, clipped: float) -> None:
        for subscriber in self._voice_activity:
            subscriber(session, active, clipped)

    def session_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        for subscriber in self._session_step:
            subscriber(session, step, detail)

    def stream_changed(self, stream: StreamId) -> None:
        for subscriber in self._stream_changed:
            subscriber(stream)

    def slot_changed(self, session: MediaSessionId, slot: int, state: SlotState) -> None:
        for subscriber in self._slot_changed:
            subscriber(session, slot, state)

    def recording_state(self, report: RecordingReport) -> None:
        for subscriber in self._recording_state:
            subscriber(report)
