"""What follows from how busy media is (P14): which pictures are refused, which go, and which come back.

`server.routing.load` says how many and when; here they are chosen and the routes changed. Voice is never touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import structlog

from media.protocol import Statistics
from media.relay.messages import MediaKind
from server.model.errors import Overloaded
from server.model.ids import StreamId
from server.model.ports import SlotWish
from server.routing.lifetimes import Lifetimes
from server.routing.load import Load
from server.routing.tables import Role, Slot, Tables
from server.routing.telling import Telling

log = structlog.get_logger("server.routing")


class Overload:
    """Methods marked "locked" need `Lifetimes.changing` held; they change the tables and leave the routes to send."""

    def __init__(
        self, load: Load, tables: Tables, lifetimes: Lifetimes, telling: Telling, counters: Counter[str]
    ) -> None:
        self._load = load
        self._tables = tables
        self._lifetimes = lifetimes
        self._telling = telling
        self._counters = counters

    @property
    def share(self) -> float:
        """Of a core that media uses."""
        return self._load.share

    def forget(self) -> None:
        """The media process is gone."""
        self._load.forget()

    def check_picture(self) -> None:
        """Whether a further picture may begin. Raises Overloaded."""
        if self._load.crowded:
            self._counters["refused_overloaded_total"] += 1
            raise Overloaded("the server is too busy for further pictures; talk goes on", retry_after=10.0)

    # ------------------------------------------------------------------ slots of consoles

    def wish(self, slot: Slot, wish: SlotWish) -> set[tuple[StreamId, MediaKind]]:
        """Locked. A further picture waits while media is crowded; one in the place of one that is shown does not.

        Returns the streams and kinds whose routes changed.
        """
        further = wish.stream is not None and slot.video.wanted is None
        slot.shed = further and (slot.shed or self._load.crowded)
        return self.show(slot, wish)

    def show(self, slot: Slot, wish: SlotWish | None) -> set[tuple[StreamId, MediaKind]]:
        """Locked. As `wish`, with `slot.shed` as it is."""
        slot.wish = wish
        stream = wish.stream if wish else None
        return self._tables.want(slot.video, None if slot.shed else stream) | self._tables.want(
            slot.audio, stream if wish and wish.audio else None
        )

    # ------------------------------------------------------------------ what goes and comes back

    async def follow(self, measured: Statistics) -> None:
        """Spectators go first, the latest of them; then the pictures of consoles that matter least."""
        now, sessions = measured.time, self._tables.sessions
        self._load.measured(measured.cpu_seconds, measured.loop_lag_ms / 1000, now)
        spectators = [session for session in sessions.values() if session.role is Role.VIEWER]
        slots = [(slot.wish.priority, slot) for each in sessions.values() for slot in each.slots if slot.wish]
        slots.sort(key=lambda row: row[0])
        shown = [slot for _, slot in slots if slot.video.wanted is not None]
        waiting = [slot for _, slot in slots if slot.shed]
        if leaving := self._load.to_shed(len(spectators) or len(shown), now):
            self._counters["shed_total"] += leaving
            log.warning(
                "too busy: pictures are taken away", load=round(self._load.share, 2), pictures=leaving
            )
            async with self._lifetimes.changing:
                for session in spectators[-leaving:]:
                    if session.id in sessions:
                        await self._lifetimes.end(session, "closed", "overloaded")
                if not spectators:
                    await self._shed(shown[:leaving], True)
        elif waiting and self._load.may_return(now):
            async with self._lifetimes.changing:
                await self._shed(waiting[-1:], False)

    async def _shed(self, slots: Sequence[Slot], shed: bool) -> None:
        """Locked. Take the pictures of these slots away, or give them back."""
        changed = set()
        for slot in slots:
            if slot.video.session.id in self._tables.sessions:
                slot.shed = shed
                changed |= self.show(slot, slot.wish)
        await self._lifetimes.dismiss(self._tables.routes(changed))
        for session in {id(slot.video.session): slot.video.session for slot in slots}.values():
            self._telling.slots(session)
        for stream in {stream for stream, _ in changed}:
            self._telling.stream_changed(stream)
