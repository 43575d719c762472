"""WHIP and WHEP over plain HTTP with a real media process behind them, without accounts and consoles.

async with media_site() as site:
    await agent.open(site.url("/whip"), token="fsd_1_good") ...
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import cast

import aiohttp
import numpy as np
from aiohttp import web
from aiohttp.test_utils import BaseTestServer, TestServer
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtcconfiguration import RTCBundlePolicy
from av import AudioFrame, VideoFrame
from numpy.typing import NDArray

from media.agent import colour_code
from media.agent.scene import Scene
from media.agent.tracks import Tracks, open_scene
from media.agent.whip import WhipSession
from media.client import MediaAway, MediaProcess
from media.settings import MediaSettings
from server.addresses import interface_addresses
from server.api.media_sessions import MediaSessions
from server.api.middleware import Gate
from server.api.origins import Origins
from server.api.table import Table
from server.api.whep import Whep
from server.api.whip import Whip
from server.auth.sessions import Sessions
from server.clock import SystemClock
from server.media_events import MediaEvents
from server.model.clock import Clock
from server.model.errors import NotFound, NotLoggedIn, Refused
from server.model.ids import DeviceId, StreamId
from server.routing.node import Routing
from server.routing.settings import RoutingSettings
from support.ports import lasting_port
from support.waiting import until


class Tokens:
    """Fulfils Access: `fsd_N_good` is device N with the channels main and thermal; everybody may watch device 1."""

    async def publisher(self, token: str, address: str, channel: str) -> tuple[DeviceId, StreamId]:
        device = self._device(token)
        if channel not in ("main", "thermal"):
            raise NotFound("there is no such channel")
        return DeviceId(device), StreamId(f"{device}-{channel}")

    async def viewer(self, token: str, stream: StreamId, address: str) -> None:
        self._device(token)
        if not stream.startswith("1-"):
            raise Refused("not for you")

    def _device(self, token: str) -> str:
        if token == "fsd_1_revoked":
            raise Refused("this device was revoked", code="revoked")
        kind, _, rest = token.partition("_")
        device, _, secret = rest.partition("_")
        if kind != "fsd" or secret != "good":
            raise NotLoggedIn("this device token is not known")
        return device


def media_app(routing: Routing, events: MediaEvents, clock: Clock) -> web.Application:
    """The media routes behind the real gate, as `server.app` puts them together."""
    sessions = MediaSessions(routing, clock, pending_per_token=4)
    events.on_session_step(sessions.session_step)
    access = Tokens()
    table = Table(
        [
            *Whip(routing, access, sessions).routes(),
            *Whep(routing, access, sessions).routes(),
            *sessions.routes(),
        ]
    )
    app = web.Application()
    table.install(app)
    Gate(
        table,
        cast(Sessions, None),  # no row of this table looks at cookies
        Origins(""),
        clock,
        set_up=lambda: False,  # provisioned devices may come before there is an administrator
        requests_per_minute=100_000,
        body_timeout=5.0,
    ).install(app)
    return app


@dataclass(slots=True, kw_only=True)
class MediaSite:
    """`steps`: what was told of sessions, as (step, detail)."""

    routing: Routing
    server: BaseTestServer
    http: aiohttp.ClientSession
    steps: list[tuple[str, str]]

    def url(self, path: str) -> str:
        return str(self.server.make_url(path))

    @contextlib.asynccontextmanager
    async def publishing(
        self, number: int, *, codec: str = "vp8", token: str = "fsd_1_good", path: str = "/whip"
    ) -> AsyncIterator[WhipSession]:
        """A real agent with a simulated scene whose colour code says `number`."""
        tracks: Tracks = open_scene(Scene(name=f"unit {number}", number=number, width=320, height=180))
        session = WhipSession(self.http, self.url(path), token, None)
        try:
            await session.open(tracks, codec)
            yield session
        finally:
            await session.close()
            tracks.close()

    async def until_live(self, stream: str = "1-main") -> None:
        await until(lambda: (view := self.routing.stream(StreamId(stream))) is not None and view.live, 15.0)


@contextlib.asynccontextmanager
async def media_site(
    settings: RoutingSettings | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[MediaSite]:
    """Control in this process, media in a real one of its own. When that dies it is started again."""
    events, clock, steps = MediaEvents(), SystemClock(), list[tuple[str, str]]()
    events.on_session_step(lambda session, step, detail: steps.append((step, detail)))
    settings = dataclasses.replace(
        settings or RoutingSettings(), udp_port=lasting_port(), tcp_port=lasting_port()
    )
    routing = Routing(settings, events, clock, interface_addresses)

    async def supervise() -> None:
        while True:
            with contextlib.suppress(MediaAway):
                await routing.run(MediaProcess(MediaSettings(log_level="warning")))

    running = asyncio.create_task(supervise())
    try:
        up = asyncio.create_task(routing.up.wait())
        await asyncio.wait((running, up), timeout=20, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        async with (
            TestServer(media_app(routing, events, clock), host=host) as server,
            aiohttp.ClientSession() as http,
        ):
            yield MediaSite(
                routing=routing,
                server=server,
                http=http,
                steps=steps,
            )
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class Player:
    """A WHEP player by aiortc that decodes what it gets."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str) -> None:
        self.peer = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self.session = ""
        self._http = http
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tracks: dict[str, MediaStreamTrack] = {}

    async def __aenter__(self) -> Player:
        @self.peer.on("track")
        def arrived(track: MediaStreamTrack) -> None:
            self._tracks[track.kind] = track

        self.peer.addTransceiver("audio", direction="recvonly")
        self.peer.addTransceiver("video", direction="recvonly")
        await self.peer.setLocalDescription(await self.peer.createOffer())
        headers = self._headers | {"Content-Type": "application/sdp"}
        async with self._http.post(
            self._url, data=self.peer.localDescription.sdp.encode(), headers=headers
        ) as answer:
            body = await answer.text()
            assert answer.status == 201, body
            self.session = answer.headers["Location"]
        await self.peer.setRemoteDescription(RTCSessionDescription(sdp=body, type="answer"))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.peer.close()

    async def picture(self, within: float = 10.0) -> NDArray[np.uint8]:
        """The luma of the next picture."""
        frame = await asyncio.wait_for(self._tracks["video"].recv(), within)
        assert isinstance(frame, VideoFrame)
        return np.asarray(frame.to_ndarray(format="gray"), dtype=np.uint8)

    async def code(self, within: float = 10.0) -> tuple[int, float]:
        """Number and time of the next picture with a readable colour code."""
        async with asyncio.timeout(within):
            while True:
                if (found := colour_code.read(await self.picture(within))) is not None:
                    return found

    async def until_shows(self, number: int, within: float = 10.0) -> None:
        async with asyncio.timeout(within):
            while (await self.code(within))[0] != number:
                pass

    async def samples(self, within: float = 10.0) -> int:
        """The loudest sample of the next audio frame."""
        frame = await asyncio.wait_for(self._tracks["audio"].recv(), within)
        assert isinstance(frame, AudioFrame)
        return int(np.abs(frame.to_ndarray().astype(np.int32)).max())
