"""What makes accounts and devices into a dispatch desk: media, the catalogue of streams, and the clients told of it.

Made and run by `server.app`. Knows media only as a `MediaNode`.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from server.alarms.urgent import UrgentStreams
from server.api.media_sessions import MediaSessions
from server.api.origins import Origins
from server.api.recordings import RecordingsApi
from server.api.stream_tokens import StreamTokenApi
from server.api.table import Route
from server.api.whep import Whep
from server.api.whip import Whip
from server.auth.access import TokenAccess
from server.auth.sessions import Sessions
from server.auth.tokens import StreamTokens
from server.config import Config, TalkSection
from server.datafolder import MEGABYTE, REFUSE_BELOW
from server.groups.floor import FloorRules
from server.media_events import MediaEvents
from server.metrics import Statistics
from server.model.ports import DispatchNode
from server.people import People
from server.positions.store import Positions
from server.recordings.evidence import Evidence
from server.recordings.index import SpurtIndex
from server.recordings.recorder import SpurtRecorder
from server.recordings.retention import Retention
from server.recordings.shown import HoldsShown
from server.signalling.clients import Clients
from server.signalling.table import Services
from server.signalling.websocket import WebSockets
from server.state import EntityStore
from server.storage.changes import ChangeWatch
from server.talk import make_talk
from server.units.presence import Presence
from server.units.registration import Registration
from server.units.roster import Roster
from server.version import VERSION
from server.video.catalogue import Catalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatch:
    """`services` are run for as long as the server, `goodbye` before the HTTP server stops, `finish` at the end."""

    store: EntityStore
    recorder: SpurtRecorder
    routes: tuple[Route, ...]
    services: dict[str, Callable[[], Awaitable[None]]]
    statistics: dict[str, Statistics]
    goodbye: Callable[[web.Application], Awaitable[None]]
    finish: Callable[[], Awaitable[None]]


async def make_dispatch(
    config: Config,
    people: People,
    node: DispatchNode,
    events: MediaEvents,
    *,
    media_up: Callable[[], bool],
    sessions: Sessions,
    changes: ChangeWatch,
    origins: Origins,
) -> Dispatch:
    """Raises StorageAway."""
    clock = people.clock
    store = EntityStore(secrets.randbelow(1 << 50))
    presence = Presence()
    registration = Registration(people.database, people.audit, clock)
    roster = Roster(registration, presence, store, clock)
    positions = Positions(people.database, clock)
    await roster.reload()
    for unit, position in (await positions.load()).items():
        roster.set_position(unit, position)
    catalogue = Catalogue(
        roster, presence, store, node, people.sealer, clock, rtsp_enabled=config.ingest.rtsp.enabled
    )
    events.on_stream_changed(catalogue.stream_changed)
    events.on_session_step(catalogue.session_step)
    index = SpurtIndex(people.database)
    recorder = SpurtRecorder(index, clock, config.recordings_folder, REFUSE_BELOW)
    events.on_recording_state(recorder.state)

    async def account_names() -> dict[str, str]:
        return {user.id: user.name for user in await people.users.all()}

    talk = await make_talk(
        people.database,
        people.audit,
        clock,
        node,
        events,
        store,
        roster,
        recorder,
        changes,
        account_names,
        _floor_rules(config.talk),
    )
    urgent = UrgentStreams(talk.alarms, roster, node)
    services = Services(
        node=node,
        clients=Clients(per_credential=config.limits.websockets_per_session),
        store=store,
        roster=roster,
        registration=registration,
        catalogue=catalogue,
        presence=presence,
        positions=positions,
        groups=talk.groups,
        exchange=talk.exchange,
        calls=talk.calls,
        callbacks=talk.callbacks,
        alarms=talk.alarms,
        recorder=recorder,
        evidence=Evidence(index, people.audit, recorder.changed, HoldsShown(store).changed),
        audit=people.audit,
        sessions=sessions,
        clock=clock,
        media_up=media_up,
        join_link_hours=config.auth.join_link_hours,
        max_join_link_hours=config.auth.max_join_link_hours,
        talker_lost_after=config.talk.lost_after,
    )
    retention = Retention(
        recorder,
        index,
        people.audit,
        clock,
        keep_days=config.recordings.keep_days,
        min_free=config.recordings.min_free_mb * MEGABYTE,
    )
    recordings = RecordingsApi(recorder, retention, people.audit, clock)
    sockets = WebSockets(
        services,
        origins,
        events,
        public_url=config.http.public_url,
        name=config.server.name,
        level=config.server.level,
        version=VERSION,
    )
    opened = MediaSessions(node, clock, config.limits.pending_media_per_token)
    events.on_session_step(opened.session_step)
    roster.on_device_gone(opened.device_gone)
    access = TokenAccess(people.devices, StreamTokens(clock), people.database, people.audit, clock)
    changes.subscribe(roster.reload)

    async def finish() -> None:
        await roster.write_used()
        await index.finish()

    return Dispatch(
        store=store,
        recorder=recorder,
        routes=(
            *Whip(node, access, opened).routes(),
            *Whep(node, access, opened).routes(),
            *opened.routes(),
            *StreamTokenApi(access, people.audit).routes(),
            *recordings.routes(),
            *sockets.routes(),
        ),
        services={
            "spurt_index": index.run,
            "recordings": recorder.run,
            "retention": retention.run,
            "roster": roster.run,
            "catalogue": catalogue.run,
            "urgent_streams": urgent.run,
            "websockets": sockets.run,
            "media_sessions": opened.run,
            **talk.services,
        },
        statistics={
            "websockets": sockets.statistics,
            "entities": store.statistics,
            "streams": catalogue.statistics,
            "units": roster.statistics,
            "presence": presence.statistics,
            "positions": positions.statistics,
            "media": node.statistics,
            "recordings": recorder.statistics,
            "retention": retention.statistics,
            "listening": recordings.statistics,
            "media_sessions": opened.statistics,
            **talk.statistics,
        },
        goodbye=sockets.shutdown,
        finish=finish,
    )


def _floor_rules(talk: TalkSection) -> FloorRules:
    return FloorRules(
        talk_limit=talk.talk_limit,
        warn_at=talk.talk_limit - talk.warn_before,
        hang_time=talk.hang_time,
        queueing=talk.queue > 0,
        queue_limit=talk.queue,
        queue_wait=talk.queue_wait,
    )
