"""Control's part by hand, towards a real media process: transports, sources, sinks, and who sends into them."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import struct
from collections.abc import AsyncIterator, Callable

from media.client import MediaClient, spawn_media
from media.protocol import (
    Apply,
    Demand,
    LayerState,
    Notice,
    OpenIce,
    SetDemands,
    SinkState,
    TransportLost,
    TransportStep,
)
from media.relay.messages import (
    AddListener,
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    Command,
    ExtensionIds,
    Layer,
    ListenerKind,
    MediaKind,
    SetRoutes,
    SinkCodec,
    SourceCodec,
    TransportKind,
)
from media.settings import MediaSettings
from media.transport import stun
from media.transport.dtls import DtlsAssociation, DtlsRole, Handshaken, Transmit
from support.counting_peer import CountingPeer, shared_identity

PASSWORD = "serverpassword0123456789"
LAYERS = ((320, 180), (640, 360), (1280, 720))
MID, RID = 4, 10


class Relay:
    """Control's part, by hand."""

    def __init__(self, media: MediaClient, port: int) -> None:
        self.media = media
        self.port = port
        self.notices: list[Notice] = []
        self._changed = asyncio.Event()
        self._revision = 0

    async def listen(self) -> None:
        async for notice in self.media.notices():
            self.notices.append(notice)
            self._changed.set()

    async def until(self, condition: Callable[[], bool], timeout: float = 8.0) -> None:
        async with asyncio.timeout(timeout):
            while not condition():
                self._changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.02)

    async def apply(self, *commands: Command) -> None:
        assert (await self.media.request(Apply(number=0, commands=commands))).error == ""

    async def open(
        self,
        transport: int,
        peer: CountingPeer | None,
        *,
        setup: str = "passive",
        fingerprint: str = "",
        **settings: float,
    ) -> None:
        extensions = ExtensionIds(mid=MID, rid=RID, transport_cc=3)
        await self.apply(
            AddTransport(
                transport=transport,
                kind=TransportKind.WEBRTC,
                ufrags=(f"srv{transport}",),
                extensions=extensions,
                transport_cc=True,
            )
        )
        request = OpenIce(
            number=0,
            transport=transport,
            local_ufrag=f"srv{transport}",
            local_password=PASSWORD,
            remote_ufrag="",
            setup=setup,
            fingerprints=(("sha-256", fingerprint or shared_identity()[0].fingerprint),),
            **settings,
        )
        assert (await self.media.request(request)).error == ""
        if peer is not None:
            peer.apply(self.answer(f"srv{transport}", PASSWORD, setup))

    def answer(self, ufrag: str, password: str, setup: str = "passive") -> str:
        return "\r\n".join(
            [
                f"a=ice-ufrag:{ufrag}",
                f"a=ice-pwd:{password}",
                f"a=fingerprint:sha-256 {self.media.ready.fingerprint}",
                f"a=setup:{setup}",
                f"a=candidate:1 1 udp 2130706431 127.0.0.1 {self.port} typ host",
                "a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
                "",
            ]
        )

    async def publish(self, source: int, transport: int, layers: tuple[Layer, ...]) -> None:
        codec = SourceCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000)
        await self.apply(
            AddSource(
                source=source,
                transport=transport,
                kind=MediaKind.VIDEO,
                mid="1",
                codecs=(codec,),
                layers=layers,
            )
        )

    async def view(self, sink: int, transport: int) -> int:
        ssrc = secrets.randbits(31) | 1
        await self.apply(
            AddSink(
                sink=sink,
                kind=MediaKind.VIDEO,
                transport=transport,
                mid="1",
                ssrc=ssrc,
                codecs=(SinkCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000),),
            )
        )
        return ssrc

    async def route(self, source: int, *sinks: int) -> None:
        self._revision += 1
        await self.apply(SetRoutes(source=source, revision=self._revision, sinks=sinks))

    async def demand(self, sink: int, height: int) -> None:
        request = SetDemands(number=0, demands=(Demand(sink=sink, height=height),))
        assert (await self.media.request(request)).error == ""

    def steps(self, transport: int) -> list[str]:
        return [
            notice.step
            for notice in self.notices
            if isinstance(notice, TransportStep) and notice.transport == transport
        ]

    def lost(self, transport: int) -> TransportLost | None:
        found = [
            notice
            for notice in self.notices
            if isinstance(notice, TransportLost) and notice.transport == transport
        ]
        return found[0] if found else None

    def sink(self, number: int) -> SinkState | None:
        found = [notice for notice in self.notices if isinstance(notice, SinkState) and notice.sink == number]
        return found[-1] if found else None

    async def counter(self, name: str) -> int:
        return (await self.media.statistics()).counters.get(name, 0)


@contextlib.asynccontextmanager
async def spawned_relay(settings: MediaSettings) -> AsyncIterator[Relay]:
    """A media process with one port on loopback, and its notices heard."""
    async with spawn_media(settings) as media:
        listener = AddListener(listener=1, kind=ListenerKind.UDP_MUX, host="127.0.0.1")
        done = await media.request(Apply(number=0, commands=(listener,)))
        relay = Relay(media, done.ports[0])
        listening = asyncio.create_task(relay.listen())
        yield relay
        listening.cancel()


class Camera:
    """Sends VP8 frames of every layer over a connected peer: a key frame each half second, 25 a second."""

    def __init__(self, peer: CountingPeer, rids: tuple[str, ...], bytes_a_frame: tuple[int, ...]) -> None:
        self._peer = peer
        self._layers = [
            (rid, size, peer.video_ssrc + index)
            for index, (rid, size) in enumerate(zip(rids, bytes_a_frame, strict=True))
        ]

    async def run(self) -> None:
        frame = 0
        sequences = [100] * len(self._layers)
        while True:
            for index, (rid, size, ssrc) in enumerate(self._layers):
                payload = _vp8(frame % 12 == 0, *LAYERS[index], size)
                pieces = [payload[at : at + 1000] for at in range(0, len(payload), 1000)]
                for number, piece in enumerate(pieces):
                    descriptor = b"\x10" if number == 0 else b"\x00"
                    self._peer.send_rtp(
                        _rtp(
                            sequences[index],
                            frame * 3600,
                            ssrc,
                            rid,
                            number == len(pieces) - 1,
                            descriptor + piece,
                        )
                    )
                    sequences[index] += 1
            frame += 1
            await asyncio.sleep(0.04)


def _vp8(key: bool, width: int, height: int, size: int) -> bytes:
    """The start of a VP8 frame (RFC 6386 9.1); the rest is of no interest to a relay."""
    if key:
        return b"\x10\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height) + bytes(size)
    return b"\x11\x00\x00" + bytes(size)


def _rtp(sequence: int, timestamp: int, ssrc: int, rid: str, marker: bool, payload: bytes) -> bytes:
    elements = bytes([MID << 4]) + b"1"
    if rid:
        elements += bytes([RID << 4 | len(rid) - 1]) + rid.encode()
    elements += bytes(-len(elements) % 4)
    header = struct.pack(
        "!BBHII", 0x90, 96 | (0x80 if marker else 0), sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc
    )
    return header + b"\xbe\xde" + (len(elements) // 4).to_bytes(2, "big") + elements + payload


@contextlib.asynccontextmanager
async def filming(relay: Relay, peer: CountingPeer, sizes: tuple[int, ...] = (400,)) -> AsyncIterator[None]:
    """Source 1 on transport 1, live: one layer, or three with rids q, h, f."""
    rids = ("q", "h", "f") if len(sizes) == 3 else ("",)
    await relay.open(1, peer)
    await relay.publish(1, 1, tuple(Layer(rid=rid) for rid in rids))
    await asyncio.wait_for(peer.connected.wait(), 8)
    running = asyncio.create_task(Camera(peer, rids, sizes).run())
    try:
        wanted = len(rids)
        await relay.until(
            lambda: (
                len(
                    {
                        notice.layer
                        for notice in relay.notices
                        if isinstance(notice, LayerState) and notice.key_frame
                    }
                )
                == wanted
            )
        )
        yield
    finally:
        running.cancel()


class TcpPeer:
    """ICE-TCP active (RFC 6544) with RFC 4571 framing: one connection at a time, one DTLS association."""

    def __init__(self, fingerprint: str) -> None:
        self.dtls = DtlsAssociation(
            shared_identity()[1], role=DtlsRole.CLIENT, fingerprints=(("sha-256", fingerprint),)
        )
        self.keys: Handshaken | None = None
        self.writer: asyncio.StreamWriter
        self._reader: asyncio.StreamReader

    async def connect(self, port: int) -> None:
        """Connect, check with nomination, and wait for the answer."""
        self._reader, self.writer = await asyncio.open_connection("127.0.0.1", port)
        self.send(
            stun.binding_request(
                secrets.token_bytes(12),
                username="srv1:peer",
                password=PASSWORD.encode(),
                priority=1,
                role=stun.IceRole.CONTROLLING,
                tie_breaker=1,
                use_candidate=True,
            )
        )
        answer = stun.parse_response(await self.receive(), PASSWORD.encode())
        assert isinstance(answer, stun.BindingSuccess)
        assert (answer.host, answer.port) == self.writer.get_extra_info("sockname")[:2]

    async def handshake(self) -> None:
        loop = asyncio.get_running_loop()
        events = self.dtls.start(loop.time())
        while self.keys is None:
            for event in events:
                if isinstance(event, Transmit):
                    self.send(event.data)
                elif isinstance(event, Handshaken):
                    self.keys = event
            if self.keys is None:
                events = self.dtls.receive(await self.receive(), loop.time())

    def send(self, data: bytes) -> None:
        self.writer.write(len(data).to_bytes(2, "big") + data)

    async def receive(self) -> bytes:
        size = int.from_bytes(await self._reader.readexactly(2), "big")
        return await self._reader.readexactly(size)
