"""Beginnings and ends: the only place where sessions and publications enter the tables and leave them.

Everything that changes the tables happens under `changing`, in the order in which the media process is told. A session
is in the tables before its transaction is sent; when that is refused, or whoever asked has gone, it never was.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import structlog

from media.protocol import RestartIce, StopPull
from media.relay.messages import Command, RemoveSink, RemoveSource, RemoveTransport, SetRoutes
from media.sdp.plan import Plan
from server.model.errors import FengsuiError, Unavailable
from server.model.ids import StreamId
from server.routing.allotment import Allotment, ice_credentials, session_secret
from server.routing.joining import open_ice
from server.routing.link import Link
from server.routing.settings import RoutingSettings
from server.routing.tables import Outlet, Publication, Role, Session, Stream, Tables
from server.routing.telling import Telling

AWAY_RETRY: Final = 1.0  # s a client is asked to wait while the media process starts

log = structlog.get_logger("server.routing")


class Lifetimes:
    """`attached` and `detached` frame a media process's life. Methods marked "locked" need `changing` held."""

    def __init__(
        self,
        settings: RoutingSettings,
        tables: Tables,
        allot: Allotment,
        telling: Telling,
        counters: Counter[str],
    ) -> None:
        self.changing = asyncio.Lock()
        self._settings = settings
        self._tables = tables
        self._allot = allot
        self._telling = telling
        self._counters = counters
        self._link: Link | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def attached(self, link: Link, tasks: asyncio.TaskGroup) -> None:
        self._link, self._tasks = link, tasks

    def detached(self) -> None:
        """The process died with every key and counter: all clients join again."""
        self._link = self._tasks = None
        for session in list(self._tables.sessions.values()):
            self._telling.step(session, "lost", "media_restarted")
            self._counters["sessions_media_restarted_total"] += 1
        self._tables.clear()
        self._allot.forget_ssrcs()
        for stream in self._tables.streams:
            self._telling.stream_changed(stream)

    @property
    def up(self) -> bool:
        return self._link is not None

    @property
    def link(self) -> Link:
        """Raises Unavailable (media_away)."""
        if self._link is None:
            raise Unavailable("the media process is starting", code="media_away", retry_after=AWAY_RETRY)
        return self._link

    # ------------------------------------------------------------------ beginnings

    def make_session(self, role: Role, stream: StreamId | None, plan: Plan) -> Session:
        return Session(
            id=session_secret(),
            role=role,
            stream=stream,
            transport=self._allot.identity(),
            ice=ice_credentials(),
            remote_ufrag=plan.offer.ufrag,
            plan=plan,
            cname=secrets.token_urlsafe(12),
            number=secrets.randbits(62),
            feedback_ssrc=self._allot.ssrc(),
        )

    async def put_in_place(self, publication: Publication) -> list[SetRoutes]:
        """Locked. Make it the stream's publication, or where one is at work the next one, for when it is connected."""
        row = self._tables.stream(publication.stream)
        if row.next is not None:
            await self.end_publication(row.next, "replaced")
        if row.publication is not None and not row.publication.connected:
            await self.end_publication(row.publication, "replaced")
        if publication.session is not None:
            self._tables.add_session(publication.session)
        self._tables.add_publication(publication)
        if row.publication is not None:
            row.next = publication
            return []
        row.publication = publication
        return self._tables.all_routes(row.id)

    async def join(self, session: Session, commands: Sequence[Command]) -> None:
        """Locked. Make the transport of a session that is in the tables, and open its ICE. Raises as `Link.ask`."""
        settings = self._settings
        try:
            await self.link.apply(commands)
            await self.link.ask(open_ice(session, settings.connect_timeout, settings.consent_timeout))
        except BaseException:
            self._erase(session)
            await self.dismiss(_removal(session))
            raise
        self._counters["sessions_total"] += 1
        self._telling.step(session, "signalled", "")
        if session.stream is not None:
            self._telling.stream_changed(session.stream)
            self._telling.viewers(session.stream)

    async def restart_ice(self, session: Session, ufrag: str) -> None:
        """Locked. New credentials for both ends; keys, SSRCs and the old path live on. Raises as `Link.ask`."""
        ice = ice_credentials()
        await self.link.ask(
            RestartIce(
                number=0,
                transport=session.transport,
                local_ufrag=ice.ufrag,
                local_password=ice.password,
                remote_ufrag=ufrag,
            )
        )
        session.ice, session.remote_ufrag = ice, ufrag
        session.generation += 1

    async def take_over(self, session: Session) -> None:
        """A publisher that waited behind another is connected: viewers move, the other one goes."""
        publication = session.publication
        if publication is None:
            return
        async with self.changing:
            row = self._tables.streams[publication.stream]
            if row.next is not publication:
                return
            old, row.publication, row.next = row.publication, publication, None
            await self.dismiss(self._tables.all_routes(row.id))
            if old is not None:
                await self.end_publication(old, "replaced")

    # ------------------------------------------------------------------ ends

    async def end(self, session: Session, step: str, reason: str, detail: str = "") -> None:
        """Locked. A session is over; if it published, its viewers wait for it to come back."""
        log.info(
            "media session over",
            role=session.role.value,
            stream=session.stream,
            reason=reason,
            detail=detail,
            remote=session.remote,
        )
        self._telling.step(session, step, reason)
        self._counters[f"sessions_{reason}_total"] += 1
        self._erase(session)
        routes: list[SetRoutes] = []
        if session.publication is not None:
            routes = self._departed(session.publication.stream, reason)
        elif session.stream is not None:
            self._telling.stream_changed(session.stream)
        await self.dismiss([*_removal(session), *routes])

    async def end_publication(self, publication: Publication, reason: str) -> None:
        """Locked. A publisher's session is closed; a camera is no longer pulled."""
        if publication.session is not None:
            await self.end(publication.session, "closed", reason)
            return
        self._tables.remove_publication(publication)
        if self._link is not None and not publication.paused:
            with contextlib.suppress(FengsuiError):
                await self._link.ask(StopPull(number=0, pull=publication.pull))
        routes = self._departed(publication.stream, reason)
        gone = [RemoveSource(source=track.source) for track in publication.tracks.values()]
        await self.dismiss([*gone, *routes])

    async def end_stream(self, stream: StreamId, reason: str) -> None:
        """Locked. Its publishers and every WHEP viewer of it."""
        row = self._tables.streams.get(stream)
        if row is None:
            return
        for session in self._watchers(row):
            await self.end(session, "closed", reason)
        for publication in (row.next, row.publication):
            if publication is not None:
                await self.end_publication(publication, reason)

    async def dismiss(self, commands: Sequence[Command]) -> None:
        """Tell media what must not fail for us; when it is away it has forgotten all of it."""
        if self._link is not None:
            with contextlib.suppress(FengsuiError):
                await self._link.apply(commands)

    def release(self, outlets: Iterable[Outlet]) -> None:
        """Their SSRCs may be given to others."""
        for outlet in outlets:
            self._allot.release(outlet.ssrc)
            self._allot.release(outlet.rtx_ssrc)

    def _erase(self, session: Session) -> None:
        self._tables.remove_session(session)
        if session.publication is not None:
            self._tables.remove_publication(session.publication)
        self._allot.release(session.feedback_ssrc)
        self.release(session.outlets)
        session.outlets.clear()  # each names its session: all would wait for the garbage collector
        session.slots.clear()

    def _departed(self, stream: StreamId, reason: str) -> list[SetRoutes]:
        """A publication ended: the one that waits behind it takes over, else viewers wait for its return."""
        row = self._tables.streams[stream]
        row.ended = reason
        routes = []
        if row.publication is None and row.next is not None:
            row.publication, row.next = row.next, None
            routes = self._tables.all_routes(stream)
        elif row.publication is None and self._tasks is not None and self._watchers(row):
            row.departures += 1
            self._tasks.create_task(self._wait_for_return(row, row.departures))
        self._telling.stream_changed(stream)
        self._telling.viewers(stream)
        return routes

    async def _wait_for_return(self, row: Stream, departure: int) -> None:
        """After the grace, WHEP viewers of a stream that stayed away are let go."""
        await asyncio.sleep(self._settings.grace)
        async with self.changing:
            if row.publication is None and row.departures == departure:
                for session in self._watchers(row):
                    await self.end(session, "closed", "closed")

    def _watchers(self, row: Stream) -> list[Session]:
        """WHEP viewers of a stream."""
        sessions = dict.fromkeys(outlet.session for outlet in row.outlets.values())
        return [session for session in sessions if session.role is Role.VIEWER]


def _removal(session: Session) -> list[Command]:
    """What takes a session out of the relay: its transport takes its sources and sinks with it, but no tap's sink."""
    commands: list[Command] = [RemoveTransport(transport=session.transport)]
    if session.microphone is not None and session.microphone.tap:
        commands.append(RemoveSink(sink=session.microphone.tap))
    return commands
