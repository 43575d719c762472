"""How long recordings stay, that the disk has room, and how one is erased with proof."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
import structlog

from server.auth.audit import Audit
from server.model.clock import Clock
from server.model.errors import Conflict
from server.model.ids import SpurtId
from server.recordings import files
from server.recordings.acts import act
from server.recordings.index import SpurtIndex
from server.recordings.recorder import SpurtRecorder
from server.recordings.spurts import Spurt, SpurtState
from server.storage.engine import StorageAway

FIRST: Final = 5.0  # s after the start, which has enough to do, and what an earlier run left comes first
EVERY: Final = 30.0  # s between two sweeps
SOON: Final = 2.0  # s, when there was not enough room
BATCH: Final = 50  # recordings erased before room is measured again
DAY: Final = 86_400.0

log = structlog.get_logger("server.recordings")


class Retention:
    """`run` it. `keep_days`: older recordings are erased; `min_free`: bytes for which the oldest go. Held ones stay."""

    def __init__(
        self,
        recorder: SpurtRecorder,
        index: SpurtIndex,
        audit: Audit,
        clock: Clock,
        *,
        keep_days: float,
        min_free: int,
    ) -> None:
        self._recorder = recorder
        self._index = index
        self._audit = audit
        self._clock = clock
        self._keep_days = keep_days
        self._min_free = min_free
        self._erased = {"age": 0, "space": 0, "asked": 0}
        self._failed = 0

    async def run(self) -> None:
        """Until cancelled."""
        if self._recorder.folder is None:
            await asyncio.Event().wait()
        await asyncio.sleep(FIRST)
        while True:
            try:
                enough = await self.sweep()
            except (StorageAway, OSError) as error:
                self._failed += 1
                enough = True
                log.warning("old recordings stay for now", error=str(error))
            await asyncio.sleep(EVERY if enough else SOON)

    async def sweep(self) -> bool:
        """Erase what is due. False = there is still not enough room. Raises StorageAway, OSError."""
        folder = self._recorder.folder
        if folder is None:
            return True
        while old := await self._index.erasable(self._clock.wallclock() - self._keep_days * DAY, BATCH):
            await self._erase_all(old, "age")
        while (await asyncio.to_thread(files.room, folder))[0] < self._min_free:
            oldest = await self._index.erasable(None, BATCH)
            if not oldest:
                return False
            for spurt in oldest:
                await self._erase_all([spurt], "space")
                if (await asyncio.to_thread(files.room, folder))[0] >= self._min_free:
                    break
        return True

    async def erase(self, spurt_id: SpurtId, *, actor: str, address: str, reason: str) -> Spurt:
        """Remove one recording for ever; its row stays as the proof.

        Raises NotFound, Conflict, StorageAway, OSError.
        """

        def erased(spurt: Spurt) -> Spurt:
            if spurt.hold:
                raise Conflict("it is held as evidence")
            return self._marked(spurt, actor, reason)

        gone = await act(
            self._index,
            self._audit,
            spurt_id,
            erased,
            action="recording.erase",
            actor=actor,
            address=address,
            detail=lambda gone: f"{reason} (sha256 {gone.sha256}, {gone.bytes} bytes)",
        )
        await self._remove([gone], "asked")
        return gone

    def statistics(self) -> dict[str, object]:
        erased = {f"erased_{why}_total": count for why, count in self._erased.items()}
        return {**erased, "sweeps_failed_total": self._failed}

    async def _erase_all(self, old: Sequence[Spurt], why: str) -> None:
        """One transaction and one entry of the audit log for a batch; the rows say what went."""
        gone = await self._index.change(
            [spurt.id for spurt in old],
            lambda spurt: None if spurt.hold else self._marked(spurt, "retention", why),
            lambda connection, gone: self._audit.append_in(
                connection,
                actor="retention",
                action="recording.erase",
                object=gone[0].id if len(gone) == 1 else f"{len(gone)} recordings",
                detail=f"{why}: {gone[0].id} to {gone[-1].id}",
            ),
        )
        await self._remove(gone, why)

    def _marked(self, spurt: Spurt, who: str, why: str) -> Spurt:
        return msgspec.structs.replace(
            spurt, state=SpurtState.ERASED, erased=self._clock.wallclock(), erased_by=who, erased_why=why
        )

    async def _remove(self, gone: Sequence[Spurt], why: str) -> None:
        """After the rows say so: a file that is left over is found at the next start."""
        folder = self._recorder.folder
        for spurt in gone:
            if folder is not None and spurt.path:
                await asyncio.to_thread(files.remove, folder, spurt.path)
            self._erased[why] += 1
            self._recorder.changed(spurt)
