"""Cameras that are to be pulled, and where they may be connected to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from media.protocol import StartPull
from media.relay.messages import MediaKind
from server.routing.tables import Publication
from server.video.admission import CameraPolicy, admitted, camera_address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


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
