"""`SpurtRecorder`: where talk groups say that a spurt begins and ends. Nothing here waits; PTT depends on no disk."""

from __future__ import annotations

from collections.abc import Callable

from server.model.ids import SpurtId
from server.model.ports import RecordingReport
from server.recordings.spurts import Spurt, SpurtQuery

Listener = Callable[[Spurt], None]


class SpurtRecorder:
    """Told of grants and releases by talk groups, of files by media; asked for what was said.

    At a grant: `path = begin(spurt)`, then `Routing.start_recording(spurt.id, source, path)` beside the transaction
    that routes the source's `recorder_sink`; at the release `end(spurt.id, now)`, then `stop_recording`.
    """

    def __init__(self) -> None:
        self._spurts: dict[SpurtId, Spurt] = {}
        self._listeners: list[Listener] = []

    def begin(self, spurt: Spurt) -> str:
        """Index a spurt that was granted now. The path for its file, "" = nothing is recorded here."""
        return ""

    def end(self, spurt_id: SpurtId, ended: float) -> None:
        """It was released; its file is over when media says so. Unknown ids are ignored."""

    def state(self, report: RecordingReport) -> None:
        """What media tells; subscribe it to `MediaEvents.on_recording_state`."""

    def on_changed(self, listener: Listener) -> None:
        """Told of every spurt that began or is different now; must not block."""
        self._listeners.append(listener)

    async def latest(self, group: str, before: SpurtId | None = None) -> Spurt | None:
        """Instant recall: the newest spurt of a group that can be played, or the newest before another.

        Raises StorageAway.
        """
        return None

    async def search(self, query: SpurtQuery) -> tuple[Spurt, ...]:
        """Newest first. Raises StorageAway, BadRequest."""
        return ()
