"""All streams as clients see them, the pulls of cameras, and the end of what may not go on.

It puts together what is registered (`Roster`), what media says (`MediaNode`, by `stream_changed` and `session_step`)
and what viewers see (`shown`).
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
import structlog

from server.auth.sealing import Sealer
from server.model.clock import Clock
from server.model.errors import FengsuiError, NotFound, StreamNotLive
from server.model.ids import DeviceId, MediaSessionId, StreamId
from server.model.ports import MediaNode
from server.signalling.entities import Stream, StreamLayer
from server.state import EntityStore
from server.units.directory import CameraRecord, StreamRecord
from server.units.presence import Presence
from server.units.roster import Roster
from server.video.ladder import Ladder, Standing

TICK: Final = 0.1  # s
LOOK: Final = 0.5  # s between looks at all streams that are not offline
STATISTICS: Final = 1.0  # s between two changes of a stream that are only numbers
PULL_AGAIN: Final = 60.0  # s until a camera is tried again that media refused or an officer ended

# Why a stream may be without a picture: `server/signalling/PROTOCOL.md`, Causes.
CAUSES: Final = frozenset(
    {
        "never_connected",
        "no_packets",
        "no_key_frame",
        "ice_timeout",
        "dtls_failed",
        "consent_lost",
        "closed",
        "replaced",
        "ended_by_officer",
        "revoked",
        "expired",
        "codec",
        "stalled",
        "not_connected",
        "bandwidth",
        "overloaded",
        "source",
        "paused",
        "media_restarted",
        "disabled",
        "refused",
        "timeout",
        "unauthorized",
        "not_found",
        "not_admitted",
        "b_frames",
        "broken",
        "ended",
    }
)
# An error of `MediaNode.pull` -> the cause that the console has words for.
PULL_CAUSES: Final = {"address_not_admitted": "not_admitted", "seal_broken": "unauthorized"}

PUBLISHING: Final = frozenset({"ice", "dtls", "packets", "key_frame"})  # steps at which somebody is there

log = structlog.get_logger("server.video")


class Catalogue:
    """`run` it; give it what a `MediaListener` is told."""

    def __init__(
        self,
        roster: Roster,
        presence: Presence,
        store: EntityStore,
        node: MediaNode,
        sealer: Sealer,
        clock: Clock,
        *,
        rtsp_enabled: bool,
    ) -> None:
        self._roster = roster
        self._presence = presence
        self._store = store
        self._node = node
        self._sealer = sealer
        self._clock = clock
        self._rtsp_enabled = rtsp_enabled
        self._ladders: dict[StreamId, Ladder] = {}
        self._of_session: dict[MediaSessionId, StreamId] = {}
        self._dirty: set[StreamId] = set()
        self._put_at: dict[StreamId, float] = {}
        self._stood: dict[StreamId, Standing] = {}  # as worked out last
        self._later: dict[StreamId, float] = {}  # streams whose numbers wait until then
        self._closing: dict[StreamId, str] = {}
        self._pulls: dict[StreamId, CameraRecord] = {}  # asked of media
        self._withheld: dict[StreamId, tuple[CameraRecord, float]] = {}  # not this one before then
        self._close_now = asyncio.Event()
        self._pull_now = asyncio.Event()
        self._frozen = 0
        self._closed = 0
        self._pull_failures = 0
        roster.on_reload(self._reloaded)
        roster.on_device_gone(self._device_gone)
        self._reloaded()

    # ------------------------------------------------------------------ told by others

    def stream_changed(self, stream: StreamId) -> None:
        """Media knows something else of it."""
        ladder = self._ladders.get(stream)
        if ladder is None:
            return
        self._see(stream, ladder)
        self._dirty.add(stream)

    def _see(self, stream: StreamId, ladder: Ladder) -> None:
        view = self._node.stream(stream)
        ladder.see(view, self._clock.now(), self._clock.wallclock())
        if view is not None and view.session is not None:
            self._of_session[view.session] = stream
        self._note_presence(stream)

    def session_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        """A media session's step; only its end matters here."""
        if step not in ("lost", "closed"):
            return
        stream = self._of_session.pop(session, None)
        ladder = self._ladders.get(stream) if stream is not None else None
        if stream is None or ladder is None:
            return
        known = detail in CAUSES
        ladder.ended(session, detail if known else "closed", "" if known else detail)
        self._dirty.add(stream)

    def shown(self, stream: str, state: str) -> None:
        """A viewer sees it ("shown"), or saw it stop ("frozen")."""
        if state == "frozen":
            self._frozen += 1
            return
        ladder = self._ladders.get(StreamId(stream))
        if ladder is not None:
            ladder.shown(self._clock.wallclock())
            self._dirty.add(StreamId(stream))

    def record(self, stream: str) -> StreamRecord:
        """Raises NotFound."""
        record = self._roster.directory.streams.get(StreamId(stream))
        if record is None:
            raise NotFound("there is no such stream", field="stream")
        return record

    async def close(self, stream: StreamId) -> None:
        """An officer ends its publisher. Raises StreamNotLive, Unavailable."""
        if self._node.stream(stream) is None:
            raise StreamNotLive("nobody publishes this stream now", field="stream")
        camera = self._pulls.pop(stream, None)
        if camera is not None:
            self._withhold(stream, camera, "ended_by_officer", "")
        await self._node.close_stream(stream, "ended_by_officer")

    def _reloaded(self) -> None:
        """What is registered changed."""
        directory = self._roster.directory
        for stream in [stream for stream in self._ladders if stream not in directory.streams]:
            del self._ladders[stream]
            self._put_at.pop(stream, None)
            self._stood.pop(stream, None)
            self._withheld.pop(stream, None)
            self._store.remove("stream", stream)
            if self._node.stream(stream) is not None:
                self._close_later(stream, "revoked")
        for record in directory.streams.values():
            if record.id not in self._ladders:
                device = directory.devices[record.device]
                self._ladders[record.id] = Ladder(device.created, pulled=device.kind == "rtsp")
                self.stream_changed(record.id)
            self._dirty.add(record.id)
        self._of_session = {
            session: stream for session, stream in self._of_session.items() if stream in self._ladders
        }
        self._pull_now.set()
        self.refresh()

    def _device_gone(self, device: DeviceId, reason: str) -> None:
        for record in self._roster.directory.streams_of(device):
            self._ladders[record.id].withheld(reason, "")
            self._dirty.add(record.id)
            if self._node.stream(record.id) is not None or record.id in self._pulls:
                self._close_later(record.id, reason)

    def _close_later(self, stream: StreamId, reason: str) -> None:
        self._closing[stream] = reason
        self._close_now.set()

    def _note_presence(self, stream: StreamId) -> None:
        directory = self._roster.directory
        device = directory.streams[stream].device
        views = (self._node.stream(record.id) for record in directory.streams_of(device))
        here = any(view is not None and view.step in PUBLISHING for view in views)
        if self._presence.publishing(device, here, self._clock.wallclock()):
            self._roster.show_device(device)

    # ------------------------------------------------------------------ what clients see

    def refresh(self) -> None:
        """Show what changed. Numbers alone wait until a second has passed."""
        now, wallclock = self._clock.now(), self._clock.wallclock()
        for stream in [stream for stream, due in self._later.items() if due <= now]:
            del self._later[stream]
            self._dirty.add(stream)
        for stream in list(self._dirty):
            self._dirty.discard(stream)
            ladder = self._ladders.get(stream)
            if ladder is None:
                continue
            standing = self._stood[stream] = ladder.standing(now, wallclock)
            entity = self._entity(stream, standing)
            shown = self._store.get("stream", stream)
            due = self._put_at.get(stream, now) + STATISTICS
            if (
                isinstance(shown, Stream)
                and now < due
                and _without_numbers(shown) == _without_numbers(entity)
            ):
                self._later[stream] = due
                continue
            if self._store.put(entity):
                self._put_at[stream] = now

    def _entity(self, stream: StreamId, standing: Standing) -> Stream:
        record = self._roster.directory.streams[stream]
        view = self._node.stream(stream)
        entity = Stream(
            id=stream,
            device=record.device,
            unit=self._roster.directory.devices[record.device].unit,
            channel=record.channel,
            name=record.name,
            state=standing.state,
            since=standing.since,
            steps=standing.steps,
            cause=standing.cause,
            detail=standing.detail,
        )
        if view is None:
            return entity
        return msgspec.structs.replace(
            entity,
            via=view.via,
            layers=tuple(
                StreamLayer(
                    rid=layer.rid,
                    codec=layer.codec,
                    width=layer.width,
                    height=layer.height,
                    live=layer.live,
                    bitrate=layer.bitrate,
                    frames_per_second=round(layer.frames_per_second, 1),
                    loss=round(layer.fraction_lost, 4),
                )
                for layer in view.layers
            ),
            audio=view.audio,
            audio_live=view.audio_live,
            viewers=view.viewers,
            remote=view.remote,
            tcp=view.tcp,
        )

    # ------------------------------------------------------------------ the service

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_shown(), name="catalogue-show")
            tasks.create_task(self._keep_closing(), name="catalogue-close")
            tasks.create_task(self._keep_pulling(), name="catalogue-pull")

    async def _keep_shown(self) -> None:
        looked = 0.0
        while True:
            if self._clock.now() - looked >= LOOK:
                looked = self._clock.now()
                self.look()
            self.refresh()
            await asyncio.sleep(TICK)

    def look(self) -> None:
        """Compare all streams with what media knows; time alone changes how some of them are, and nothing else."""
        now, wallclock = self._clock.now(), self._clock.wallclock()
        for stream, ladder in self._ladders.items():
            if ladder.view is None and self._node.stream(stream) is None:
                continue
            self._see(stream, ladder)
            if ladder.standing(now, wallclock) != self._stood.get(stream):
                self._dirty.add(stream)

    async def _keep_closing(self) -> None:
        while True:
            await self._close_now.wait()
            self._close_now.clear()
            while self._closing:
                stream, reason = self._closing.popitem()
                self._pulls.pop(stream, None)
                try:
                    await self._node.close_stream(stream, reason)
                    self._closed += 1
                except FengsuiError as error:
                    log.warning("a stream was not closed", stream=stream, reason=reason, error=str(error))

    async def _keep_pulling(self) -> None:
        while True:
            await self._update_pulls()
            self._pull_now.clear()
            try:
                async with asyncio.timeout(PULL_AGAIN / 10):
                    await self._pull_now.wait()
            except TimeoutError:
                continue

    async def _update_pulls(self) -> None:
        """Ask media for the cameras that are registered, once each; take back those that changed."""
        directory = self._roster.directory
        for record in list(directory.streams.values()):
            device = directory.devices[record.device]
            camera = device.camera
            if camera is None or self._roster.is_gone(device.id):
                continue
            withheld, until = self._withheld.get(record.id, (None, 0.0))
            waits = withheld == camera and self._clock.now() < until
            if waits or self._pulls.get(record.id) == camera:
                continue
            if not self._rtsp_enabled:
                self._withhold(record.id, camera, "disabled", "set enabled = true in [ingest.rtsp]")
                continue
            try:
                if record.id in self._pulls:
                    await self._node.close_stream(record.id, "replaced")
                password = self._sealer.open(camera.sealed, device.id) if camera.sealed else ""
                await self._node.pull(record.id, camera.url, camera.username, password, camera.transport)
                self._pulls[record.id] = camera
            except FengsuiError as error:
                self._pull_failures += 1
                self._pulls.pop(record.id, None)
                self._withhold(record.id, camera, PULL_CAUSES.get(error.code, "broken"), str(error))

    def _withhold(self, stream: StreamId, camera: CameraRecord, cause: str, detail: str) -> None:
        """Leave the camera alone for a while."""
        self._withheld[stream] = (camera, self._clock.now() + PULL_AGAIN)
        ladder = self._ladders.get(stream)
        if ladder is not None:
            ladder.withheld(cause, detail)
            self._dirty.add(stream)

    def statistics(self) -> dict[str, object]:
        views = self._node.streams()
        return {
            "streams": len(self._ladders),
            "published": len(views),
            "live": sum(1 for view in views if view.live),
            "pulls": len(self._pulls),
            "pull_failures_total": self._pull_failures,
            "closed_total": self._closed,
            "frozen_total": self._frozen,
        }


def _without_numbers(stream: Stream) -> Stream:
    """What of a stream must be told at once."""
    return msgspec.structs.replace(
        stream,
        viewers=0,
        layers=tuple(
            msgspec.structs.replace(layer, bitrate=0, frames_per_second=0.0, loss=0.0)
            for layer in stream.layers
        ),
    )
