"""`Routing`: turns offers, wishes and the relay's reports into transactions."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from media.client import MediaAway, MediaClient, MediaProcess
from media.protocol import (
    Demand,
    LayerState,
    Notice,
    PullState,
    RecordingState,
    SetDemands,
    SinkState,
    Statistics,
    TransportLost,
    TransportStep,
    VoiceState,
)
from media.relay.messages import Codec, Command, MediaKind, RemoveSink
from media.sdp.answer import LocalTransport, answer
from media.sdp.errors import WrongSections
from media.sdp.fragment import build_fragment, parse_fragment
from media.sdp.offer import CONSOLE_LIMITS, HTTP_LIMITS, VOICE_LIMITS, parse_offer
from media.sdp.plan import Plan, plan_console, plan_play, plan_publish, plan_voice
from server.model.clock import Clock
from server.model.errors import (
    BadRequest,
    Conflict,
    FengsuiError,
    NotAcceptable,
    NotFound,
    Overloaded,
    StreamNotLive,
)
from server.model.ids import MediaSessionId, StreamId
from server.model.ports import (
    Answer,
    MediaListener,
    RestartAnswer,
    SectionInfo,
    SlotWish,
    StreamView,
    VoiceRoute,
)
from server.routing import reports
from server.routing.allotment import Allotment
from server.routing.cameras import Camera, Resolve, resolve_host
from server.routing.joining import (
    add_sink,
    add_source,
    add_transport,
    make_outlet,
    make_pulled,
    make_slots,
    make_track,
    make_voice,
    sent_streams,
)
from server.routing.lifetimes import Lifetimes
from server.routing.link import Link, MediaLink
from server.routing.load import Load
from server.routing.recordings import Recorded
from server.routing.reports import Effects
from server.routing.settings import RoutingSettings
from server.routing.tables import Publication, Role, Session, Slot, Tables
from server.routing.telling import Telling
from server.routing.views import stream_view
from server.routing.voice import Voices

NOT_LIVE_RETRY: Final = 2.0  # s a WHEP player is asked to wait
SILENCE_TICK: Final = 0.5
SILENT_TICKS: Final = 8  # without statistics, then the media process hangs
RESOLVE_AGAIN: Final = 30.0  # s until a camera's name is looked up again after a failure

log = structlog.get_logger("server.routing")


class Routing:
    """Fulfils `MediaNode`. Run it with `run`, once for each life of a media process.

    `listener` is told what happens; it must not block. `addresses`: this machine's, asked again for every answer.
    """

    def __init__(
        self,
        settings: RoutingSettings,
        listener: MediaListener,
        clock: Clock,
        addresses: Callable[[], Iterable[str]],
        resolve: Resolve = resolve_host,
    ) -> None:
        self.up = asyncio.Event()
        self._settings = settings
        self._clock = clock
        self._addresses = addresses
        self._resolve = resolve
        self._ports = (settings.udp_port, settings.tcp_port)
        self._allot = Allotment()
        self._tables = Tables()
        self._cameras: dict[StreamId, Camera] = {}
        self._measured: Statistics | None = None
        self._load = Load(settings.full_load)
        self._counters = Counter[str]()
        self._telling = Telling(self._tables, listener, self._counters)
        self._lifetimes = Lifetimes(settings, self._tables, self._allot, self._telling, self._counters)
        self._changing = self._lifetimes.changing
        self._recorded = Recorded(self._lifetimes, self._telling, self._counters)
        self._voices = Voices(self._tables, self._lifetimes, self._recorded, self._telling)

    # ------------------------------------------------------------------ a media process's life

    async def run(self, process: MediaProcess) -> int:
        """Start a media process and serve it until it dies; returns its exit code.

        Raises PortUnavailable, MediaAway (it did not get ready).
        """
        try:
            async with asyncio.TaskGroup() as tasks:

                def started(client: MediaClient) -> None:
                    tasks.create_task(self.serve(client))

                return await process.run(started)
        except ExceptionGroup as group:
            if len(group.exceptions) == 1:
                raise group.exceptions[0] from None
            raise

    async def serve(self, client: MediaLink) -> None:
        """Bind the ports, pull the cameras, follow the process's reports until it is gone. Raises PortUnavailable."""
        link = await Link.open(client, self._settings.host, *self._ports)
        self._ports = (link.udp_port, link.tcp_port)  # whatever was free: clients find us there again
        log.info("media is up", engine=client.ready.engine, udp=link.udp_port, tcp=link.tcp_port)
        hung = False
        try:
            async with asyncio.TaskGroup() as tasks:
                self._lifetimes.attached(link, tasks)
                self.up.set()
                tasks.create_task(self._watch_silence())
                for stream, camera in list(self._cameras.items()):
                    tasks.create_task(self._pull_again(stream, camera))
                async for notice in client.notices():
                    await self._take(notice)
                raise _Gone
        except* _Gone:
            log.warning("the media process is gone")
        except* _Hung:
            hung = True
        finally:
            self.up.clear()
            self._measured = None
            self._load.forget()
            self._lifetimes.detached()
            self._recorded.detached()
        if hung:
            raise MediaHung("the media process is there but says nothing; it is ended and started again")

    async def _watch_silence(self) -> None:
        """Statistics come every second. Ticks are counted, not time: when this process was held up, too, the media
        process is not to blame. Raises _Hung."""
        silent = 0
        while True:
            before = self._measured
            await asyncio.sleep(SILENCE_TICK)
            silent = 0 if self._measured is not before else silent + 1
            if silent >= SILENT_TICKS:
                raise _Hung

    @property
    def ports(self) -> tuple[int, int]:
        """UDP and TCP port of media; 0 until bound."""
        return self._ports

    @property
    def media_pid(self) -> int | None:
        """The media process, None when there is none."""
        return self._lifetimes.link.client.ready.pid if self._lifetimes.up else None

    # ------------------------------------------------------------------ publishers

    async def publish(self, stream: StreamId, offer: str, via: str) -> Answer:
        plan = plan_publish(parse_offer(offer, HTTP_LIMITS))
        link = self._lifetimes.link
        async with self._changing:
            row = self._tables.stream(stream)
            if row.publication is not None and row.publication.pull:
                raise Conflict("this stream is pulled from a camera")
            if row.publication is None and self._tables.count(Role.PUBLISHER) >= self._settings.publishers:
                raise Overloaded("as many publishers as this server takes", retry_after=5.0)
            if row.publication is None and not row.outlets:  # one that is waited for comes back
                self._check_load()
            session = self._lifetimes.make_session(Role.PUBLISHER, stream, plan)
            publication = Publication(stream=stream, via=via, session=session, since=self._clock.wallclock())
            session.publication = publication
            commands: list[Command] = [add_transport(session)]
            for reception in plan.receptions:
                track = make_track(reception, self._allot)
                publication.tracks[reception.kind] = track
                commands.append(add_source(track, reception, session.transport))
            commands += await self._lifetimes.put_in_place(publication)
            await self._lifetimes.join(session, commands)
        return self._answer(link, session)

    async def offer_again(self, session: MediaSessionId, offer: str) -> Answer:
        plan = plan_publish(parse_offer(offer, HTTP_LIMITS), idle=True)
        link = self._lifetimes.link
        async with self._changing:
            found = self._session(session, Role.PUBLISHER)
            self._check_again(found, plan)
            await self._restarted(found, plan)
        return self._answer(link, found)

    # ------------------------------------------------------------------ viewers

    async def play(self, stream: StreamId, offer: str) -> Answer:
        parsed = parse_offer(offer, HTTP_LIMITS)
        link = self._lifetimes.link
        async with self._changing:
            row = self._tables.streams.get(stream)
            publication = row.publication if row else None
            if publication is None or not publication.connected or not publication.seen:
                raise StreamNotLive("nobody is publishing this stream now", retry_after=NOT_LIVE_RETRY)
            plan = plan_play(parsed, publication.tracks)
            _check_codecs(plan, publication)
            self._check_viewers()
            self._check_load()
            session = self._lifetimes.make_session(Role.VIEWER, stream, plan)
            active = [each for each in plan.transmissions if each.active]
            session.outlets = [make_outlet(each, session, self._allot) for each in active]
            commands: list[Command] = [
                add_transport(session),
                *(add_sink(outlet, each) for outlet, each in zip(session.outlets, active, strict=True)),
            ]
            self._tables.add_session(session)
            changed = set()
            for outlet in session.outlets:
                changed |= self._tables.want(outlet, stream)
            await self._lifetimes.join(session, [*commands, *self._tables.routes(changed)])
        return self._answer(link, session)

    async def open_console(self, offer: str, session: MediaSessionId | None) -> Answer:
        plan = plan_console(parse_offer(offer, CONSOLE_LIMITS))
        link = self._lifetimes.link
        async with self._changing:
            if session is not None:
                found = self._session(session, Role.CONSOLE)
                self._check_again(found, plan)
                await self._grow(link, found, plan)
                return self._answer(link, found)
            self._check_viewers()
            made = self._lifetimes.make_session(Role.CONSOLE, None, plan)
            made.slots = make_slots(made, plan.transmissions, self._allot)
            made.outlets = [outlet for slot in made.slots for outlet in (slot.audio, slot.video)]
            sinks = [
                add_sink(outlet, each) for outlet, each in zip(made.outlets, plan.transmissions, strict=True)
            ]
            self._tables.add_session(made)
            await self._lifetimes.join(made, [add_transport(made), *sinks])
        return self._answer(link, made)

    async def _grow(self, link: Link, session: Session, plan: Plan) -> None:
        """A console's further offer: more slots at the end, new ICE credentials, or both."""
        further = plan.transmissions[len(session.outlets) :]
        slots = make_slots(session, further, self._allot)
        outlets = [outlet for slot in slots for outlet in (slot.audio, slot.video)]
        try:
            await link.apply([add_sink(outlet, each) for outlet, each in zip(outlets, further, strict=True)])
            if plan.offer.ufrag != session.remote_ufrag:
                await self._lifetimes.restart_ice(session, plan.offer.ufrag)
        except BaseException:
            self._lifetimes.release(outlets)
            await self._lifetimes.dismiss([RemoveSink(sink=outlet.sink) for outlet in outlets])
            raise
        session.slots += slots
        session.outlets += outlets
        self._tables.add_outlets(outlets)
        session.plan = plan
        session.version += 1

    async def set_slots(self, session: MediaSessionId, wishes: Sequence[SlotWish]) -> None:
        link = self._lifetimes.link
        async with self._changing:
            found = self._session(session, Role.CONSOLE)
            for wish in wishes:
                if not 0 <= wish.slot < len(found.slots):
                    raise BadRequest(f"there is no slot {wish.slot}", field="slot")
            before = [(slot, slot.wish, slot.shed) for slot in found.slots]
            changed = set()
            for wish in wishes:
                changed |= self._wish(found.slots[wish.slot], wish)
            demands = tuple(
                Demand(
                    sink=found.slots[wish.slot].video.sink,
                    height=wish.height if wish.stream is not None else 0,
                    priority=wish.priority,
                )
                for wish in wishes
            )
            try:
                if demands:
                    await link.ask(SetDemands(number=0, demands=demands))
                await link.apply(self._tables.routes(changed))
            except BaseException:
                for slot, wish_before, shed_before in before:
                    slot.shed = shed_before
                    self._show(slot, wish_before)
                raise
        self._telling.slots(found)
        for stream in {stream for stream, _ in changed}:
            self._telling.stream_changed(stream)

    def _wish(self, slot: Slot, wish: SlotWish) -> set[tuple[StreamId, MediaKind]]:
        """A further picture waits while media is crowded; another one in the place of one that is shown does not."""
        further = wish.stream is not None and slot.video.wanted is None
        slot.shed = further and (slot.shed or self._load.crowded)
        return self._show(slot, wish)

    def _show(self, slot: Slot, wish: SlotWish | None) -> set[tuple[StreamId, MediaKind]]:
        slot.wish = wish
        stream = wish.stream if wish else None
        return self._tables.want(slot.video, None if slot.shed else stream) | self._tables.want(
            slot.audio, stream if wish and wish.audio else None
        )

    # ------------------------------------------------------------------ overload

    def _check_load(self) -> None:
        if self._load.crowded:
            self._counters["refused_overloaded_total"] += 1
            raise Overloaded("the server is too busy for further pictures; talk goes on", retry_after=10.0)

    async def _follow_load(self, measured: Statistics) -> None:
        """Spectators go first, the latest of them; then the pictures of consoles that matter least (P14)."""
        now, sessions = measured.time, self._tables.sessions
        self._load.measured(measured.busiest_seconds, measured.loop_lag_ms / 1000, now)
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
            async with self._changing:
                for session in spectators[-leaving:]:
                    if session.id in sessions:
                        await self._lifetimes.end(session, "closed", "overloaded")
                if not spectators:
                    await self._shed(shown[:leaving], True)
        elif waiting and self._load.may_return(now):
            async with self._changing:
                await self._shed(waiting[-1:], False)

    async def _shed(self, slots: Sequence[Slot], shed: bool) -> None:
        """Locked. Take the pictures of these slots away, or give them back."""
        changed = set()
        for slot in slots:
            if slot.video.session.id in self._tables.sessions:
                slot.shed = shed
                changed |= self._show(slot, slot.wish)
        await self._lifetimes.dismiss(self._tables.routes(changed))
        for session in {id(slot.video.session): slot.video.session for slot in slots}.values():
            self._telling.slots(session)
        for stream in {stream for stream, _ in changed}:
            self._telling.stream_changed(stream)

    def _check_viewers(self) -> None:
        if self._tables.count(Role.VIEWER, Role.CONSOLE) >= self._settings.viewers:
            raise Overloaded("as many viewers as this server takes", retry_after=5.0)

    # ------------------------------------------------------------------ voices

    async def open_voice(self, offer: str, session: MediaSessionId | None) -> Answer:
        plan = plan_voice(parse_offer(offer, VOICE_LIMITS))
        link = self._lifetimes.link
        async with self._changing:
            if session is not None:
                found = self._session(session, Role.VOICE)
                self._check_again(found, plan)
                await self._restarted(found, plan)
                return self._answer(link, found)
            if self._tables.count(Role.VOICE) >= self._settings.sound_paths:
                raise Overloaded("as many sound paths as this server takes", retry_after=5.0)
            made = self._lifetimes.make_session(Role.VOICE, None, plan)
            commands = make_voice(made, self._allot, recorded=self._settings.recorded)
            self._tables.add_session(made)
            await self._lifetimes.join(made, commands)
        return self._answer(link, made)

    async def route_voice(self, routes: Sequence[VoiceRoute]) -> None:
        await self._voices.route(routes)

    async def _restarted(self, session: Session, plan: Plan) -> None:
        """Locked. A further offer that changes nothing but perhaps the ICE credentials."""
        if plan.offer.ufrag != session.remote_ufrag:
            await self._lifetimes.restart_ice(session, plan.offer.ufrag)
        session.plan = plan
        session.version += 1

    # ------------------------------------------------------------------ sessions

    async def restart_ice(self, session: MediaSessionId, ufrag: str, password: str) -> RestartAnswer:
        """`password` of the peer is of no use to an ICE-lite agent."""
        link = self._lifetimes.link
        async with self._changing:
            found = self._session(session)
            await self._lifetimes.restart_ice(found, ufrag)
        first = next(each.section for each in found.plan.sections if each)
        fragment = build_fragment(
            found.ice.ufrag, found.ice.password, first.mid, first.kind, link.candidates(self._hosts())
        )
        return RestartAnswer(fragment=fragment, etag=found.etag)

    async def trickle(self, session: MediaSessionId, fragment: str) -> RestartAnswer | None:
        said = parse_fragment(fragment)
        known = self._session(session).remote_ufrag
        if not said.ufrag or said.ufrag == known:
            return None
        return await self.restart_ice(session, said.ufrag, said.password)

    async def close(self, session: MediaSessionId, reason: str) -> None:
        async with self._changing:
            found = self._tables.sessions.get(session)
            if found is not None:
                await self._lifetimes.end(found, "closed", reason)

    async def close_stream(self, stream: StreamId, reason: str) -> None:
        self._cameras.pop(stream, None)
        async with self._changing:
            await self._lifetimes.end_stream(stream, reason)

    def session_stream(self, session: MediaSessionId) -> StreamId | None:
        found = self._tables.sessions.get(session)
        return found.stream if found else None

    def _session(self, session: MediaSessionId, role: Role | None = None) -> Session:
        found = self._tables.sessions.get(session)
        if found is None or role not in (None, found.role):
            raise NotFound("there is no such media session")
        return found

    def _check_again(self, session: Session, plan: Plan) -> None:
        """What may not change in a further offer of a session."""
        if session.plan.offer.fingerprints != plan.offer.fingerprints:
            raise Conflict("a session keeps its certificate; open a new one")
        mids = tuple(section.mid for section in plan.offer.sections)
        known = session.mids
        if mids[: len(known)] != known or (session.role is not Role.CONSOLE and len(mids) != len(known)):
            raise WrongSections("a further offer keeps the m-sections of the one before it")

    def _answer(self, link: Link, session: Session) -> Answer:
        local = LocalTransport(
            ufrag=session.ice.ufrag,
            password=session.ice.password,
            fingerprint=link.fingerprint,
            candidates=link.candidates(self._hosts()),
            cname=session.cname,
            session=session.number,
            version=session.version,
        )
        return Answer(
            session=session.id,
            sdp=answer(session.plan, local, sent_streams(session)),
            etag=session.etag,
            slots=tuple(
                SectionInfo(slot=slot.number, audio_mid=slot.audio.mid, video_mid=slot.video.mid)
                for slot in session.slots
            )
            if session.role is not Role.VOICE
            else tuple(
                SectionInfo(slot=outlet.slot, audio_mid=outlet.mid, video_mid="")
                for outlet in session.outlets
            ),
        )

    def _hosts(self) -> list[str]:
        public = [self._settings.public_address] if self._settings.public_address else []
        return [*self._addresses(), *public]

    # ------------------------------------------------------------------ cameras

    async def pull(self, stream: StreamId, url: str, username: str, password: str, transport: str) -> None:
        camera = Camera(url=url, username=username, password=password, transport=transport)
        addresses = await camera.addresses(self._settings.cameras, self._resolve)
        self._cameras[stream] = camera
        if self._lifetimes.up:
            await self._start_pull(stream, camera, addresses)

    async def _pull_again(self, stream: StreamId, camera: Camera) -> None:
        """After a restart of media; a name that cannot be resolved now is tried again."""
        while self._cameras.get(stream) is camera:
            try:
                addresses = await camera.addresses(self._settings.cameras, self._resolve)
                return await self._start_pull(stream, camera, addresses)
            except FengsuiError as error:
                log.warning("a camera cannot be pulled", stream=stream, error=str(error))
                await asyncio.sleep(RESOLVE_AGAIN)

    async def _start_pull(self, stream: StreamId, camera: Camera, addresses: tuple[str, ...]) -> None:
        link = self._lifetimes.link
        async with self._changing:
            row = self._tables.stream(stream)
            if row.publication is not None:
                await self._lifetimes.end_publication(row.publication, "replaced")
            publication = Publication(
                stream=stream,
                via="rtsp",
                pull=self._allot.identity(),
                step="connecting",
                since=self._clock.wallclock(),
            )
            commands = make_pulled(publication, self._allot)
            routes = await self._lifetimes.put_in_place(publication)
            try:
                await link.apply([*commands, *routes])
                await link.ask(camera.start(publication, addresses))
            except BaseException:
                await self._lifetimes.end_publication(publication, "broken")
                raise
        self._telling.stream_changed(stream)

    # ------------------------------------------------------------------ recordings

    async def start_recording(self, recording: str, source: int, path: str) -> str:
        """See `server.routing.recordings.Recorded.start`."""
        return await self._recorded.start(recording, source, path)

    async def stop_recording(self, recording: str) -> None:
        """See `server.routing.recordings.Recorded.stop`."""
        await self._recorded.stop(recording)

    # ------------------------------------------------------------------ reports

    async def _take(self, notice: Notice) -> None:
        """One notice of the media process."""
        wallclock = self._clock.wallclock()
        match notice:
            case TransportStep():
                effects = reports.transport_step(self._tables, notice, wallclock)
            case TransportLost():
                effects = reports.transport_lost(self._tables, notice)
            case LayerState():
                effects = reports.layer_state(self._tables, notice, wallclock)
            case SinkState():
                effects = reports.sink_state(self._tables, notice)
            case PullState():
                effects = reports.pull_state(self._tables, notice, wallclock)
            case VoiceState():
                return self._voices.spoke(notice)
            case RecordingState():
                return self._recorded.report(notice)
            case Statistics():
                self._measured = notice
                await self._follow_load(notice)
                effects = reports.statistics(self._tables, notice)
            case _:  # Ready and Done are the client's business
                return
        await self._follow(effects)

    async def _follow(self, effects: Effects) -> None:
        for session, step in effects.steps:
            self._telling.step(session, step, "")
        for session in effects.connected:
            await self._lifetimes.take_over(session)
        for session, cause, detail in effects.lost:
            async with self._changing:
                if session.id in self._tables.sessions:
                    await self._lifetimes.end(session, "lost", cause, detail)
        for stream in effects.flows:
            self._telling.viewers(stream)
        for session in effects.sessions:
            self._telling.slots(session)
        for stream in effects.views:
            self._telling.stream_changed(stream)

    # ------------------------------------------------------------------ what is known

    def stream(self, stream: StreamId) -> StreamView | None:
        row = self._tables.streams.get(stream)
        return stream_view(row) if row else None

    def streams(self) -> Sequence[StreamView]:
        views = (stream_view(row) for row in self._tables.streams.values())
        return tuple(view for view in views if view is not None)

    def statistics(self) -> dict[str, object]:
        tables = self._tables
        numbers: dict[str, object] = {
            "up": int(self._lifetimes.up),
            "publishers": tables.count(Role.PUBLISHER),
            "viewers": tables.count(Role.VIEWER),
            "consoles": tables.count(Role.CONSOLE),
            "sound_paths": tables.count(Role.VOICE),
            "streams": len(self.streams()),
            "cameras": len(self._cameras),
            "recordings": len(self._recorded),
            "ssrcs": len(self._allot),
            "media_load": round(self._load.share, 3),
            **self._counters,
        }
        if (measured := self._measured) is not None:
            numbers |= {
                "media_cpu_seconds_total": measured.cpu_seconds,
                "media_resident_bytes": measured.resident_bytes,
                "media_loop_lag_ms": measured.loop_lag_ms,
                **{f"media_{name}_total": count for name, count in measured.counters.items()},
                **{f"engine_{name}_total": count for name, count in measured.engine.counters.items()},
            }
        return numbers


class MediaHung(MediaAway):
    """The media process lives but does nothing: what it sends last looks live and is not."""


class _Gone(Exception):
    """The media process is gone: ends the task group of its life."""


class _Hung(Exception):
    """The media process hangs: ends the task group of its life."""


def _check_codecs(plan: Plan, publication: Publication) -> None:
    """Something the viewer asks for must be something it can show. Raises NotAcceptable."""
    missing = []
    for transmission in plan.transmissions:
        track = publication.tracks.get(transmission.kind)
        if track is None or not transmission.active:
            continue
        sent = {layer.codec for layer in track.layers if layer.codec is not None} or track.codecs
        if Codec.RED in sent:
            sent |= {Codec.OPUS}  # unwrapped on the way
        if sent & {codec.codec for codec in transmission.codecs}:
            return
        missing += [codec.name for codec in sent]
    raise NotAcceptable(f"the stream has {', '.join(sorted(missing))}, which the offer does not ask for")
