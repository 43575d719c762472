"""A WHIP client (RFC 9725) around one aiortc peer connection."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urljoin

import aiohttp
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcconfiguration import RTCBundlePolicy

from media.agent.tracks import Tracks

TIMEOUT = aiohttp.ClientTimeout(total=15, connect=5)


class WhipError(Exception):
    """The server refused or could not be reached. `status` is the HTTP status, 0 = no answer.

    `final` says that trying again with the same settings cannot help soon (wrong token, codec refused).
    `retry_after` is what the server asked for, s.
    """

    def __init__(self, status: int, detail: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status}: {detail}" if status else detail)
        self.status = status
        self.detail = detail
        self.retry_after = retry_after

    @property
    def final(self) -> bool:
        return self.status in (400, 401, 403, 404, 405, 406, 413, 415, 422)


class WhipSession:
    """One publication: `open`, then `wait_lost`, then `close`. Not reusable."""

    def __init__(
        self, http: aiohttp.ClientSession, endpoint: str, token: str, tls: ssl.SSLContext | None
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._headers = {"Authorization": f"Bearer {token}"}
        self._tls: ssl.SSLContext | bool = tls if tls is not None else True
        self._peer = RTCPeerConnection(
            RTCConfiguration(iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_BUNDLE)
        )
        self._address = ""
        self._lost = asyncio.Event()

    async def open(self, tracks: Tracks, codec: str) -> None:
        """Offer the tracks; returns when ICE and DTLS are done.

        `codec`: preferred video codec, "h264" or "vp8".

        Raises:
            WhipError: refused, unreachable, or no connection within 15 s.
        """
        for track in (tracks.audio, tracks.video):
            if track is not None:
                self._peer.addTransceiver(track, direction="sendonly")
        preferred = [
            c for c in RTCRtpSender.getCapabilities("video").codecs if c.mimeType.lower() == f"video/{codec}"
        ]
        for transceiver in self._peer.getTransceivers():
            if transceiver.kind == "video":
                rest = [c for c in RTCRtpSender.getCapabilities("video").codecs if c not in preferred]
                transceiver.setCodecPreferences(preferred + rest)
        connected = asyncio.get_running_loop().create_future()

        @self._peer.on("connectionstatechange")
        def changed() -> None:
            if self._peer.connectionState == "connected" and not connected.done():
                connected.set_result(None)
            elif self._peer.connectionState in ("failed", "closed"):
                self._lost.set()

        await self._peer.setLocalDescription(await self._peer.createOffer())
        answer = await self._post(self._peer.localDescription.sdp)
        try:
            await self._peer.setRemoteDescription(RTCSessionDescription(sdp=answer, type="answer"))
            await asyncio.wait_for(connected, 15)
        except TimeoutError as error:
            raise WhipError(
                0, "no media path to the server within 15 s (is its UDP port reachable?)"
            ) from error
        except ValueError as error:
            raise WhipError(422, f"the server's answer cannot be used: {error}") from error

    async def _post(self, offer: str) -> str:
        try:
            async with self._http.post(
                self._endpoint,
                data=offer.encode(),
                headers=self._headers | {"Content-Type": "application/sdp"},
                ssl=self._tls,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as response:
                if response.status in (307, 308):
                    raise WhipError(0, f"the server moved us to {response.headers.get('Location', '?')}")
                body = await response.text()
                if response.status != 201:
                    raise WhipError(
                        response.status, _problem(body), _seconds(response.headers.get("Retry-After", ""))
                    )
                self._address = urljoin(str(response.url), response.headers["Location"])
                return body
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise WhipError(0, f"server not reachable: {str(error) or type(error).__name__}") from error

    async def wait_lost(self, check_every: float = 3.0) -> str:
        """Returns why it ended: the peer connection failed, or the server no longer knows the session."""
        while True:
            try:
                await asyncio.wait_for(self._lost.wait(), check_every)
                return "the media connection was lost"
            except TimeoutError:
                pass
            try:
                async with self._http.head(
                    self._address,
                    headers=self._headers,
                    ssl=self._tls,
                    timeout=TIMEOUT,
                    allow_redirects=False,
                ) as response:
                    if response.status == 404:
                        return "the server ended the session"
            except (aiohttp.ClientError, TimeoutError, OSError):
                continue  # media may go on while HTTP is away; a lost path is told by the peer connection

    async def close(self) -> None:
        """Tell the server (best effort) and close the peer connection."""
        if self._address:
            try:
                await self._http.delete(
                    self._address,
                    headers=self._headers,
                    ssl=self._tls,
                    timeout=aiohttp.ClientTimeout(total=2),
                )
            except (aiohttp.ClientError, TimeoutError, OSError):
                self._address = ""  # it will notice by itself
        await self._peer.close()


def _problem(body: str) -> str:
    line = body.strip().splitlines()[0] if body.strip() else "no reason given"
    return line[:300]


def _seconds(text: str) -> float:
    return min(float(text), 300.0) if text.isdigit() else 0.0
