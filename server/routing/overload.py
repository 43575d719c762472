"""What follows from how busy media is (P14): which pictures are refused, which go, and which come back.

`server.routing.load` says how many and when; here they are chosen and the routes changed. Voice is never touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TypeAlias

import structlog

from media.protocol import Statistics
from media.relay.messages import MediaKind
from server.model.errors import Overloaded
from server.model.ids import StreamId
from server.model.ports import SlotWish
from server.routing.cameras import Cameras
from server.routing.lifetimes import Lifetimes
from server.routing.load import Load
from server.routing.tables import Publication, Role, Session, Slot, Tables
from server.routing.telling import Telling

# What can be taken away: a camera is no longer pulled, a spectator's session ends, a slot keeps its sound only.
Picture: TypeAlias = Publication | Session | Slot

log = structlog.get_logger("server.routing")


class Overload:
    """Methods marked "locked" need `Lifetimes.changing` held; they change the tables and leave the routes to send.

    Urgent streams, those of units in distress, are never refused and go last of all.
    """

    def __init__(
        self,
        load: Load,
        tables: Tables,
        lifetimes: Lifetimes,
        telling: Telling,
        cameras: Cameras,
        counters: Counter[str],
    ) -> None:
        self._load = load
        self._tables = tables
        self._lifetimes = lifetimes
        self._telling = telling
        self._cameras = cameras
        self._counters = counters
        self._urgent: frozenset[StreamId] = frozenset()

    @property
    def share(self) -> float:
        """Of a core that media uses."""
        return self._load.share

    def forget(self) -> None:
        """The media process is gone."""
        self._load.forget()

    # ------------------------------------------------------------------ what may begin

    def is_urgent(self, stream: StreamId | None) -> bool:
        return stream in self._urgent

    def admits(self, stream: StreamId) -> bool:
        """Whether somebody may begin to send this stream, or it may be pulled: one that is waited for comes back."""
        return not self._load.crowded or self.is_urgent(stream) or bool(self._tables.audience(stream))

    def check_source(self, stream: StreamId) -> None:
        """As `admits`. Raises Overloaded."""
        if not self.admits(stream):
            raise self.refusal()

    def check_picture(self, stream: StreamId) -> None:
        """Whether somebody may begin to watch this stream. Raises Overloaded."""
        if self._load.crowded and not self.is_urgent(stream):
            raise self.refusal()

    def refusal(self) -> Overloaded:
        """What somebody is told who asks for a picture that there is no room for."""
        self._counters["refused_overloaded_total"] += 1
        return Overloaded("the server is too busy for further pictures; talk goes on", retry_after=10.0)

    # ------------------------------------------------------------------ slots of consoles

    def wish(self, slot: Slot, wish: SlotWish) -> set[tuple[StreamId, MediaKind]]:
        """Locked. A further picture waits while media is crowded; one in the place of one that is shown does not.

        Returns the streams and kinds whose routes changed.
        """
        further = wish.stream is not None and slot.video.wanted is None and not self.is_urgent(wish.stream)
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

    async def set_urgent(self, streams: Collection[StreamId]) -> None:
        """All that are urgent from now on; those that were taken away come back at once."""
        async with self._lifetimes.changing:
            further, self._urgent = frozenset(streams) - self._urgent, frozenset(streams)
            shed = [slot for slot in self._slots() if slot.shed and slot.wish and slot.wish.stream in further]
            if shed:
                await self._shed(shed, False)
        self._resume_awaited()

    async def follow(self, measured: Statistics) -> None:
        """Once a second: a step down where there is too much to do, or a step back."""
        now = measured.time
        self._load.measured(measured.busiest_seconds, measured.loop_lag_ms / 1000, now)
        self._resume_awaited()
        first = next((each for each in self._going() if each), [])
        if leaving := self._load.to_shed(len(first), now):
            self._counters["shed_total"] += leaving
            log.warning(
                "too busy: pictures are taken away", load=round(self._load.share, 2), pictures=leaving
            )
            async with self._lifetimes.changing:
                await self._take_away(first[:leaving])
        else:
            await self._give_back(now)

    def _going(self) -> list[list[Picture]]:
        """What can go, the classes in the order in which they do, and in each class what goes first first."""
        classes: list[list[Picture]] = []
        for urgent in (False, True):
            idle: list[Picture] = [  # nobody misses them
                publication
                for publication in self._tables.pulls.values()
                if not urgent
                and not publication.paused
                and not self.is_urgent(publication.stream)
                and not self._tables.stream(publication.stream).outlets
            ]
            spectators: list[Picture] = [
                session
                for session in reversed(self._tables.sessions.values())
                if session.role is Role.VIEWER and self.is_urgent(session.stream) is urgent
            ]
            shown: list[Picture] = [
                slot
                for slot in self._slots()
                if slot.video.wanted is not None and self.is_urgent(slot.video.wanted) is urgent
            ]
            classes += [idle, spectators, shown]
        return classes

    async def _take_away(self, pictures: Sequence[Picture]) -> None:
        """Locked."""
        slots = []
        for picture in pictures:
            match picture:
                case Publication() if self._tables.pulls.get(picture.pull) is picture:
                    await self._cameras.pause(picture)
                case Session() if picture.id in self._tables.sessions:
                    await self._lifetimes.end(picture, "closed", "overloaded")
                case Slot():
                    slots.append(picture)
                case _:  # gone meanwhile
                    pass
        await self._shed(slots, True)

    async def _give_back(self, now: float) -> None:
        """One picture, the one that matters most; then one camera that nobody looks at."""
        waiting = [slot for slot in self._slots() if slot.shed]
        paused = [each.stream for each in self._tables.pulls.values() if each.paused]
        if not (waiting or paused) or not self._load.may_return(now):
            return
        if waiting:
            async with self._lifetimes.changing:
                await self._shed(waiting[-1:], False)
        else:
            self._cameras.resume(paused[0])

    def _resume_awaited(self) -> None:
        """Paused cameras that somebody is to see now."""
        for publication in self._tables.pulls.values():
            stream = publication.stream
            if publication.paused and (self.is_urgent(stream) or self._tables.stream(stream).outlets):
                self._cameras.resume(stream)

    def _slots(self) -> list[Slot]:
        """Those that show something or would, what matters least first."""
        slots = [
            (self.is_urgent(slot.wish.stream), slot.wish.priority, slot)
            for session in self._tables.consoles.values()
            for slot in session.slots
            if slot.wish is not None
        ]
        slots.sort(key=lambda row: row[:2])
        return [slot for _, _, slot in slots]

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
