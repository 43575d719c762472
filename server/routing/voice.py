"""Sound paths: microphones with voice slots, and which microphone goes where.

Who may hear whom is decided by `server.groups`; here a decision becomes one transaction. Routes are not put behind
`changing`: a key press must not wait for somebody's offer, and voices share no table entry with pictures.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from media.protocol import VoiceState
from media.relay.messages import Command, SetRoutes
from server.model.ids import MediaSessionId
from server.model.ports import VoiceRoute
from server.routing.lifetimes import Lifetimes
from server.routing.recordings import Recorded
from server.routing.tables import Microphone, Tables
from server.routing.telling import Telling


class Voices:
    """Routes of microphones; sessions are opened and ended by `Routing` like all others."""

    def __init__(self, tables: Tables, lifetimes: Lifetimes, recorded: Recorded, telling: Telling) -> None:
        self._tables = tables
        self._lifetimes = lifetimes
        self._recorded = recorded
        self._telling = telling
        self._recordings: dict[MediaSessionId, str] = {}  # what of whom is being recorded

    async def route(self, routes: Sequence[VoiceRoute]) -> None:
        """See `server.model.ports.VoiceNode`. A recording is asked for before the route that feeds it."""
        starting, stopping = [], []
        commands: list[Command] = []
        for route in routes:
            session = self._tables.sessions.get(route.talker)
            microphone = session.microphone if session else None
            recording = route.recording if microphone else ""
            running = self._recordings.get(route.talker, "")
            if running and running != recording:
                stopping.append(running)
                del self._recordings[route.talker]
            if microphone is None:
                continue
            if recording and recording != running:
                starting.append((recording, microphone.source, route.path))
                self._recordings[route.talker] = recording
            commands.append(self._set_routes(microphone, route))
        done = await asyncio.gather(
            *(self._recorded.start(*each) for each in starting), self._apply(commands), return_exceptions=True
        )
        for recording in stopping:
            await self._recorded.stop(recording)
        if isinstance(done[-1], BaseException):
            raise done[-1]

    async def _apply(self, commands: Sequence[Command]) -> None:
        if commands:
            await self._lifetimes.link.apply(commands)

    def _set_routes(self, microphone: Microphone, route: VoiceRoute) -> SetRoutes:
        microphone.revision += 1
        sinks = []
        for listener in route.listeners:
            session = self._tables.sessions.get(listener.session)
            if session and session.microphone and 0 <= listener.slot < len(session.outlets):
                sinks.append(session.outlets[listener.slot].sink)
        if route.recording and microphone.tap:
            sinks.append(microphone.tap)
        return SetRoutes(source=microphone.source, revision=microphone.revision, sinks=tuple(sinks))

    def spoke(self, notice: VoiceState) -> None:
        """Media says that somebody began or ended."""
        session = self._tables.microphones.get(notice.source)
        if session is not None:
            self._telling.voice(session, notice.active, notice.clipped)
