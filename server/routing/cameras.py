"""Cameras that are to be pulled, and where they may be connected to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from media.protocol import StartPull
from media.relay.messages import MediaKind
from server.model.clock import Clock
from server.model.errors import FengsuiError
from server.model.ids import StreamId
from server.routing.allotment import Allotment
from server.routing.joining import make_pulled
from server.routing.lifetimes import Lifetimes
from server.routing.tables import Publication, Tables
from server.routing.telling import Telling
from server.video.admission import CameraPolicy, admitted, camera_address

RESOLVE_AGAIN: Final = 30.0  # s until a camera's name is looked up again after a failure

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

log = structlog.get_logger("server.routing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """What to pull; kept over lives of the media process. `url` has no credentials."""

    url: str
    username: str
    password: str = field(repr=False)
    transport: str

    async def addresses(self, policy: CameraPolicy, resolve: Resolve) -> tuple[str, ...]:
        """Resolve the host once; these and no others may be connected to. Raises AddressNotAdmitted."""
        address = camera_address(self.url, policy)
        resolved = [address.host] if address.literal else await resolve(address.host, address.port)
        return admitted(address, resolved, policy)

    def start(self, publication: Publication, addresses: tuple[str, ...]) -> StartPull:
        return StartPull(
            number=0,
            pull=publication.pull,
            url=self.url,
            username=self.username,
            password=self.password,
            addresses=addresses,
            transport=self.transport,
            video_source=publication.tracks[MediaKind.VIDEO].source,
            audio_source=publication.tracks[MediaKind.AUDIO].source,
        )


async def resolve_host(host: str, port: int) -> Sequence[str]:
    """The host's addresses; none when it has none."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except OSError:
        return ()
    return [str(entry[4][0]) for entry in found]


class Cameras:
    """The cameras that are to be pulled, over lives of the media process; `attached` begins one.

    `admits`: whether this one may begin now; one that may not is paused until `resume`. In its row is then a
    publication without tracks, which says why.
    """

    def __init__(
        self,
        policy: CameraPolicy,
        resolve: Resolve,
        clock: Clock,
        allot: Allotment,
        tables: Tables,
        lifetimes: Lifetimes,
        telling: Telling,
        admits: Callable[[StreamId], bool],
    ) -> None:
        self._policy = policy
        self._resolve = resolve
        self._clock = clock
        self._allot = allot
        self._tables = tables
        self._lifetimes = lifetimes
        self._telling = telling
        self._admits = admits
        self._cameras: dict[StreamId, Camera] = {}
        self._resuming: set[tuple[StreamId, Camera]] = set()
        self._tasks: asyncio.TaskGroup | None = None  # of a life of the media process

    def attached(self, tasks: asyncio.TaskGroup) -> None:
        """A media process is there: pull all of them."""
        self._tasks = tasks
        self._resuming.clear()
        for stream, camera in list(self._cameras.items()):
            tasks.create_task(self._pull_again(stream, camera))

    async def pull(self, stream: StreamId, camera: Camera) -> None:
        """Until `forget`. Raises AddressNotAdmitted."""
        addresses = await camera.addresses(self._policy, self._resolve)
        self._cameras[stream] = camera
        if self._lifetimes.up:
            await self._start(stream, camera, addresses)

    def forget(self, stream: StreamId) -> None:
        """It is not pulled again; its publication is ended by `Lifetimes.end_stream`."""
        self._cameras.pop(stream, None)

    async def pause(self, publication: Publication) -> None:
        """Locked. It is not pulled until `resume`."""
        await self._lifetimes.end_publication(publication, "overloaded")
        await self._wait(publication.stream)

    def resume(self, stream: StreamId) -> None:
        """Pull one that is paused, soon."""
        camera = self._cameras.get(stream)
        if camera is None or self._tasks is None or not self._lifetimes.up:
            return
        if (stream, camera) not in self._resuming:
            self._resuming.add((stream, camera))
            self._tasks.create_task(self._resume(stream, camera))

    async def _resume(self, stream: StreamId, camera: Camera) -> None:
        try:
            await self._pull_again(stream, camera)
        finally:
            self._resuming.discard((stream, camera))

    async def _wait(self, stream: StreamId) -> None:
        """Locked. A publication that says why the camera is not pulled."""
        await self._lifetimes.put_in_place(self._publication(stream, step="retrying", error="overloaded"))
        self._telling.stream_changed(stream)
        self._telling.viewers(stream)

    def _publication(self, stream: StreamId, step: str, error: str = "") -> Publication:
        return Publication(
            stream=stream,
            via="rtsp",
            pull=self._allot.identity(),
            step=step,
            error=error,
            since=self._clock.wallclock(),
        )

    async def _pull_again(self, stream: StreamId, camera: Camera) -> None:
        """After a restart of media or a pause; a name that cannot be resolved now is tried again."""
        while self._cameras.get(stream) is camera:
            try:
                addresses = await camera.addresses(self._policy, self._resolve)
                return await self._start(stream, camera, addresses)
            except FengsuiError as error:
                log.warning("a camera cannot be pulled", stream=stream, error=str(error))
                await asyncio.sleep(RESOLVE_AGAIN)

    async def _start(self, stream: StreamId, camera: Camera, addresses: tuple[str, ...]) -> None:
        link = self._lifetimes.link
        async with self._lifetimes.changing:
            row = self._tables.stream(stream)
            if row.publication is not None:
                await self._lifetimes.end_publication(row.publication, "replaced")
            if not self._admits(stream):
                return await self._wait(stream)
            publication = self._publication(stream, step="connecting")
            commands = make_pulled(publication, self._allot)
            routes = await self._lifetimes.put_in_place(publication)
            try:
                await link.apply([*commands, *routes])
                await link.ask(camera.start(publication, addresses))
            except BaseException:
                await self._lifetimes.end_publication(publication, "broken")
                raise
        self._telling.stream_changed(stream)
        self._telling.viewers(stream)

    def __len__(self) -> int:
        return len(self._cameras)
