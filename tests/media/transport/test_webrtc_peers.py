"""The transport against real WebRTC stacks over loopback: aiortc, and Chromium for another DTLS and ICE.

The shell here is the least that carries datagrams: no relay engine, so that a failure points at ICE or DTLS.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import cast

import pylibsrtp
import pytest
from aiohttp import web
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack
from playwright.async_api import Page, async_playwright

from media.protocol import Notice, OpenIce, RestartIce, TransportLost, TransportStep
from media.relay.messages import Address, CloseReason, Path, SendDatagram, SetKeys, SrtpProfile
from media.transport.certificate import make_identity
from media.transport.dtls import DtlsFactory
from media.transport.webrtc import Steps, WebRtcTransport

CHROMIUM = FilePath("/usr/bin/chromium")
CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    SrtpProfile.AES128_CM_SHA1_80: pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
}


class Endpoint(asyncio.DatagramProtocol):
    """One UDP socket for one transport; unprotects and counts the RTP it gets."""

    transport: asyncio.DatagramTransport
    peer: WebRtcTransport
    ufrag = "srvU"
    password = "serverpassword0123456789"

    def __init__(self) -> None:
        self.identity = make_identity(datetime.now(UTC))
        self.notices: list[Notice] = []
        self.packets: Counter[tuple[str, int]] = Counter()  # by remote address
        self.unauthentic = 0
        self.changed = asyncio.Event()
        self.keys: SetKeys | None = None
        self._session: pylibsrtp.Session | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.transport.get_extra_info("sockname")[:2]
        return host, port

    def open(self, *, setup: str, fingerprint: str) -> None:
        request = OpenIce(
            number=1,
            transport=1,
            local_ufrag=self.ufrag,
            local_password=self.password,
            remote_ufrag="",
            setup=setup,
            fingerprints=(("sha-256", fingerprint),),
        )
        factory = DtlsFactory(self.identity)
        self.peer = WebRtcTransport(request, factory, lambda now: True, Counter(), self._loop.time())

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        path = Path(listener=1, local=Address(*self.address), remote=Address(*address[:2]))
        now = self._loop.time()
        if data[0] <= 3:
            self.follow(self.peer.stun_received(path, data, now))
        elif 20 <= data[0] <= 63:
            self.follow(self.peer.dtls_received(path, data, now))
        elif self._session is not None and not 192 <= data[1] <= 223:
            try:
                self._session.unprotect(data)
                self.packets[address[:2]] += 1
            except pylibsrtp.Error:
                self.unauthentic += 1
        self.changed.set()

    def follow(self, steps: Steps) -> None:
        self.notices += steps.notices
        for command in steps.commands:
            match command:
                case SendDatagram():
                    self.transport.sendto(command.data, (command.path.remote.host, command.path.remote.port))
                case SetKeys():
                    self.keys = command
                    self._session = pylibsrtp.Session(
                        pylibsrtp.Policy(
                            key=command.receive_key,
                            ssrc_type=pylibsrtp.Policy.SSRC_ANY_INBOUND,
                            srtp_profile=PROFILES[command.profile],
                        )
                    )
                case _:
                    pass
        self.changed.set()

    def steps(self) -> list[str]:
        return [notice.step for notice in self.notices if isinstance(notice, TransportStep)]

    async def until(self, condition: Callable[[], bool], timeout: float = 10.0) -> None:
        """Wait for a condition, running out the transport's timers."""
        async with asyncio.timeout(timeout):
            while not condition():
                self.changed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.02):
                        await self.changed.wait()
                self.follow(self.peer.handle_timeout(self._loop.time()))

    def restart(self) -> None:
        self.ufrag, self.password = "newU", "anotherpassword0123456789"
        self.peer.restart(
            RestartIce(
                number=2,
                transport=1,
                local_ufrag=self.ufrag,
                local_password=self.password,
                remote_ufrag="",
            )
        )

    def answer(self, offer: str, setup: str) -> str:
        """The smallest answer that lets the offerer send its one audio section (RFC 8829)."""
        host, port = self.address
        lines = offer.splitlines()
        media = next(line for line in lines if line.startswith("m=audio"))
        formats = media.split()[3:]
        kept = ("a=mid:", "a=rtpmap:", "a=fmtp:")
        return "\r\n".join(
            [
                "v=0",
                f"o=- 1 1 IN IP4 {host}",
                "s=-",
                "t=0 0",
                "a=ice-lite",
                "a=group:BUNDLE 0",
                f"m=audio {port} UDP/TLS/RTP/SAVPF {' '.join(formats)}",
                f"c=IN IP4 {host}",
                "a=recvonly",
                "a=rtcp-mux",
                f"a=ice-ufrag:{self.ufrag}",
                f"a=ice-pwd:{self.password}",
                f"a=candidate:1 1 udp 2130706431 {host} {port} typ host",
                "a=end-of-candidates",
                f"a=fingerprint:sha-256 {self.identity.fingerprint}",
                f"a=setup:{setup}",
                *(line for line in lines if line.startswith(kept)),
                "",
            ]
        )


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    transport, endpoint = await asyncio.get_running_loop().create_datagram_endpoint(
        Endpoint, local_addr=("127.0.0.1", 0)
    )
    yield endpoint
    transport.close()


def fingerprint_of(description: str) -> str:
    return next(
        line.split()[1] for line in description.splitlines() if line.startswith("a=fingerprint:sha-256")
    )


@contextlib.asynccontextmanager
async def aiortc_publisher(
    endpoint: Endpoint, setup: str = "passive", fingerprint: str = ""
) -> AsyncIterator[RTCPeerConnection]:
    connection = RTCPeerConnection()
    try:
        connection.addTrack(AudioStreamTrack())
        await connection.setLocalDescription(await connection.createOffer())
        offer = connection.localDescription.sdp
        endpoint.open(setup=setup, fingerprint=fingerprint or fingerprint_of(offer))
        answer = RTCSessionDescription(sdp=endpoint.answer(offer, setup), type="answer")
        await connection.setRemoteDescription(answer)
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("setup", ["passive", "active"])
async def test_aiortc_connects_in_both_roles_and_its_packets_open(endpoint: Endpoint, setup: str) -> None:
    async with aiortc_publisher(endpoint, setup) as connection:
        await endpoint.until(lambda: endpoint.packets.total() >= 10)
        assert endpoint.steps() == ["ice", "dtls"]
        assert endpoint.unauthentic == 0
        assert connection.connectionState == "connected"
    await endpoint.until(lambda: endpoint.peer.lost)
    (lost,) = [notice for notice in endpoint.notices if isinstance(notice, TransportLost)]
    assert lost.reason is CloseReason.DTLS_CLOSED


async def test_aiortc_with_another_certificate_than_it_signalled(endpoint: Endpoint) -> None:
    async with aiortc_publisher(endpoint, fingerprint=endpoint.identity.fingerprint):
        await endpoint.until(lambda: endpoint.peer.lost)
    assert endpoint.keys is None
    (lost,) = [notice for notice in endpoint.notices if isinstance(notice, TransportLost)]
    assert lost.reason is CloseReason.DTLS_FAILED


async def test_our_close_notify_is_understood(endpoint: Endpoint) -> None:
    async with aiortc_publisher(endpoint) as connection:
        await endpoint.until(lambda: endpoint.packets.total() >= 1)
        endpoint.follow(Steps(commands=endpoint.peer.close()))
        transport = connection.getSenders()[0].transport
        await endpoint.until(lambda: transport.state == "closed")


@contextlib.asynccontextmanager
async def chromium_page() -> AsyncIterator[Page]:
    """A page on http://127.0.0.1, where a microphone may be had."""

    async def empty(request: web.Request) -> web.Response:
        return web.Response(text="<!doctype html>", content_type="text/html")

    application = web.Application()
    application.router.add_get("/", empty)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=CHROMIUM_FLAGS)
            page = await browser.new_page()
            await page.goto(f"http://{host}:{port}/")
            yield page
            await browser.close()
    finally:
        await runner.cleanup()


OFFER = """async (restart) => {
    if (!restart) {
        window.pc = new RTCPeerConnection();
        const stream = await navigator.mediaDevices.getUserMedia({audio: true});
        pc.addTransceiver(stream.getAudioTracks()[0], {direction: 'sendonly'});
    }
    await pc.setLocalDescription(await pc.createOffer({iceRestart: restart}));
    return pc.localDescription.sdp;
}"""


@pytest.mark.e2e
@pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Chromium")
async def test_chromium_connects_with_gcm_and_an_ice_restart_keeps_the_packets_coming(
    endpoint: Endpoint,
) -> None:
    async with chromium_page() as page:
        offer = await page.evaluate(OFFER, False)
        endpoint.open(setup="passive", fingerprint=fingerprint_of(offer))
        set_answer = "sdp => pc.setRemoteDescription({type: 'answer', sdp})"
        await page.evaluate(set_answer, endpoint.answer(offer, "passive"))
        await endpoint.until(lambda: endpoint.packets.total() >= 20)
        assert endpoint.keys is not None
        assert endpoint.keys.profile is SrtpProfile.AEAD_AES_128_GCM
        assert endpoint.steps()[:2] == ["ice", "dtls"]

        keys, before = endpoint.keys, set(endpoint.packets)
        endpoint.restart()
        offer = await page.evaluate(OFFER, True)
        await page.evaluate(set_answer, endpoint.answer(offer, "passive"))
        await endpoint.until(
            lambda: sum(count for address, count in endpoint.packets.items() if address not in before) >= 50
        )
        # When its new ports are there before the answer, Chromium checks from them with what it knows of us, and stays
        # with the pair that works: both ufrags must stay good then.
        assert endpoint.peer._ice.ufrags in {("newU",), ("srvU", "newU")}
        assert endpoint.keys is keys
        assert endpoint.unauthentic == 0

        await page.evaluate("pc.close()")
        await endpoint.until(lambda: endpoint.peer.lost)
