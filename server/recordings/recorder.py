"""`SpurtRecorder`: where talk groups say that a spurt begins and ends. Nothing here waits; PTT depends on no disk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from server.model.clock import Clock
from server.model.ids import SpurtId
from server.model.ports import RecordingReport
from server.recordings import files
from server.recordings.index import SpurtIndex
from server.recordings.recovery import recover, settled
from server.recordings.spurts import OVER, Spurt, SpurtQuery, SpurtState
from server.storage.engine import StorageAway

SETTLE: Final = 1.5  # s that a recorder whose media process died may still need for its last page
UNTOLD: Final = 10.0  # s after the release in which media must have told of the file
TICK: Final = 0.25
RECOVER_AGAIN: Final = 1.0  # s
LOOK_FOR_ROOM: Final = 1.0  # s, while the disk is full
# Bytes above the reserve from which recordings go on: about a minute of 50 voices.
SPARE: Final = 4 * 1024 * 1024

Listener = Callable[[Spurt], None]

log = structlog.get_logger("server.recordings")


class SpurtRecorder:
    """Told of grants and releases by talk groups, of files by media; asked for what was said.

    At a grant: `path = begin(spurt)`, then `Routing.start_recording(spurt.id, source, path)` beside the transaction
    that routes the source's `recorder_sink`; at the release `end(spurt.id, now)`, then `stop_recording`. `folder` None:
    nothing is recorded; `reserve`: bytes of its disk that media leaves to others. `run` it, and the index.
    """

    def __init__(self, index: SpurtIndex, clock: Clock, folder: Path | None, reserve: int = 0) -> None:
        self.folder = folder
        self.full = False  # a recording ended for want of room, and there is none yet
        self._reserve = reserve
        self._look_for_room = float("-inf")
        self._index = index
        self._clock = clock
        self._active: dict[SpurtId, Spurt] = {}  # media has not told the end of
        self._look_at: dict[SpurtId, float] = {}  # their files, and when (monotonic)
        self._listeners: list[Listener] = []
        self._recovered = 0
        self._begun = 0
        self._cut = 0
        self._lost = 0
        self._disk_full_at = float("-inf")

    def begin(self, spurt: Spurt) -> str:
        """Index a spurt that was granted now. The path for its file, "" = nothing is recorded here."""
        if self.folder is None:
            return ""
        path = files.new_path(spurt.started)
        self._begun += 1
        self._changed(msgspec.structs.replace(spurt, path=path, state=SpurtState.RECORDING))
        return path

    def end(self, spurt_id: SpurtId, ended: float) -> None:
        """It was released; its file is over when media says so. Unknown ids are ignored."""
        spurt = self._active.get(spurt_id)
        if spurt is not None and spurt.ended is None:
            self._look_at.setdefault(spurt_id, self._clock.now() + UNTOLD)
            self._changed(msgspec.structs.replace(spurt, ended=ended))

    def state(self, report: RecordingReport) -> None:
        """What media tells; subscribe it to `MediaEvents.on_recording_state`."""
        spurt = self._active.get(SpurtId(report.recording))
        if spurt is None or report.state == "started":
            return
        if report.detail == "disk_full":
            self._disk_full_at = self._clock.now()
            self._look_for_room = self._clock.now() + LOOK_FOR_ROOM
            self.full = True
        if not report.sha256:
            self._look_at[spurt.id] = self._clock.now() + SETTLE
            self._active[spurt.id] = msgspec.structs.replace(spurt, detail=report.detail)
            return
        state = SpurtState.READY if report.state == "ended" else SpurtState.CUT
        self._over(
            msgspec.structs.replace(
                spurt,
                state=state if report.duration else SpurtState.LOST,
                began=report.began,
                duration=report.duration,
                bytes=report.bytes,
                sha256=report.sha256,
                detail=report.detail or ("" if report.duration else "no_packets"),
            )
        )

    def changed(self, spurt: Spurt) -> None:
        """Tell listeners of a spurt that somebody else changed (it was erased, held)."""
        for listener in self._listeners:
            try:
                listener(spurt)
            except Exception:
                log.exception("a listener of spurts failed")

    def on_changed(self, listener: Listener) -> None:
        """Told of every spurt that began or is different now; must not block."""
        self._listeners.append(listener)

    async def latest(self, group: str, before: SpurtId | None = None) -> Spurt | None:
        """Instant recall: the newest spurt of a group that is over and can be played, or the newest before another.

        Raises StorageAway.
        """
        return await self._index.latest(group, before)

    async def search(self, query: SpurtQuery) -> tuple[Spurt, ...]:
        """Newest first. Raises StorageAway, BadRequest."""
        return await self._index.search(query)

    async def get(self, spurt: SpurtId) -> Spurt | None:
        """Raises StorageAway."""
        return await self._index.get(spurt)

    @property
    def disk_full(self) -> bool:
        """Whether there is no room, or was none for a recording in the last minute."""
        return self.full or self._clock.now() - self._disk_full_at < 60.0

    async def run(self) -> None:
        """First what an earlier run left; then look at files that media cannot tell of. Until cancelled."""
        if self.folder is None:
            await asyncio.Event().wait()
            return
        while not self._recovered:
            try:
                for spurt in await recover(self._index, self.folder, frozenset(self._active), self._clock):
                    self.changed(spurt)
                self._recovered = 1
            except (StorageAway, OSError) as error:
                log.warning("recordings of the last run wait to be looked at", error=str(error))
                await asyncio.sleep(RECOVER_AGAIN)
        while True:
            await asyncio.sleep(TICK)
            now = self._clock.now()
            if self.full and now >= self._look_for_room:
                self._look_for_room = now + LOOK_FOR_ROOM
                await self._find_room(self.folder)
            for spurt_id in [each for each, at in self._look_at.items() if at <= now]:
                spurt = self._active[spurt_id]
                found = await asyncio.to_thread(files.look, self.folder, spurt.path)
                if spurt_id in self._active:  # media told meanwhile
                    self._over(settled(self._active[spurt_id], found, self._clock.wallclock()))

    async def _find_room(self, folder: Path) -> None:
        with contextlib.suppress(OSError):
            free, _ = await asyncio.to_thread(files.room, folder)
            self.full = free < self._reserve + SPARE
            if not self.full:
                log.info("there is room for recordings again")

    def statistics(self) -> dict[str, object]:
        return {
            "active": len(self._active),
            "begun_total": self._begun,
            "cut_total": self._cut,
            "lost_total": self._lost,
            **self._index.statistics(),
        }

    def _over(self, spurt: Spurt) -> None:
        self._cut += spurt.state is SpurtState.CUT
        self._lost += spurt.state is SpurtState.LOST
        if spurt.state is not SpurtState.READY:
            log.warning(
                "a recording is not whole", spurt=spurt.id, state=spurt.state.value, detail=spurt.detail
            )
        if spurt.ended is None:
            # Still talking, or the release will not be told: the file ends here in any case.
            spurt = msgspec.structs.replace(spurt, ended=self._clock.wallclock())
        self._changed(spurt)

    def _changed(self, spurt: Spurt) -> None:
        if spurt.state in OVER:
            self._active.pop(spurt.id, None)
            self._look_at.pop(spurt.id, None)
        else:
            self._active[spurt.id] = spurt
        self._index.put(spurt)
        self.changed(spurt)
