"""A relay engine seen from outside: commands in, events out, and peers with real sockets and SRTP of their own.

`Bench` steers one engine as the media node would; `Peer` is a WebRTC peer after ICE and DTLS: it has an address and
keys. Nothing here reads an attribute of an engine.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, TypeVar

from pylibsrtp import Error, Policy, Session

from media.relay.engine import RelayEngine
from media.relay.messages import (
    Ack,
    AddListener,
    Address,
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    Command,
    Event,
    ExtensionIds,
    Layer,
    ListenerKind,
    MediaKind,
    Path,
    SetKeys,
    SetRoutes,
    SinkCodec,
    SourceCodec,
    SrtpProfile,
    Transaction,
    TransportKind,
    ValidatePath,
)
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import RtcpPacket, pack, parse_compound
from support.waiting import until

PROFILES = {
    SrtpProfile.AEAD_AES_128_GCM: (Policy.SRTP_PROFILE_AEAD_AES_128_GCM, 28),
    SrtpProfile.AES128_CM_SHA1_80: (Policy.SRTP_PROFILE_AES128_CM_SHA1_80, 30),
}

EXTENSIONS = ExtensionIds(
    mid=4, rid=10, repaired_rid=11, transport_cc=3, abs_send_time=2, audio_level=1, orientation=13
)
VP8 = SourceCodec(codec=Codec.VP8, payload_type=96, clock_rate=90_000, rtx_payload_type=97)
H264 = SourceCodec(codec=Codec.H264, payload_type=102, clock_rate=90_000, rtx_payload_type=103)
OPUS = SourceCodec(codec=Codec.OPUS, payload_type=111, clock_rate=48_000)
TO_VP8 = SinkCodec(codec=Codec.VP8, payload_type=120, clock_rate=90_000, rtx_payload_type=121)
TO_H264 = SinkCodec(codec=Codec.H264, payload_type=122, clock_rate=90_000, rtx_payload_type=123)
TO_OPUS = SinkCodec(codec=Codec.OPUS, payload_type=110, clock_rate=48_000)

EventType = TypeVar("EventType")


class Bench:
    """One engine with one UDP mux listener (number 1) and everything it said.

    `start` False: what is sent waits in the sockets until `engine.start()`, so that it arrives in one go.
    """

    def __init__(self, engine: RelayEngine, host: str = "", *, start: bool = True) -> None:
        self.engine = engine
        self.seen: list[Event] = []
        self._number = 0
        if start:
            engine.start()
        self.loop = asyncio.get_running_loop()
        self.failures: list[str] = []  # what an engine's callbacks raised into the loop
        self.loop.set_exception_handler(lambda _, context: self.failures.append(repr(context)))
        self.loop.add_reader(engine.event_fd(), self._events)
        self.port = self.apply(AddListener(listener=1, kind=ListenerKind.UDP_MUX, host=host)).ports[0]
        self.peers: list[Peer] = []

    def _events(self) -> None:
        self.seen += self.engine.events()

    def attempt(self, *commands: Command) -> Ack:
        """Apply a transaction that may be refused."""
        self._number += 1
        ack = self.engine.apply(Transaction(number=self._number, commands=commands))
        assert ack.number == self._number
        return ack

    def apply(self, *commands: Command) -> Ack:
        """Apply a transaction that must succeed."""
        ack = self.attempt(*commands)
        assert ack.error == "", f"command {ack.command}: {ack.error}"
        return ack

    def all(self, kind: type[EventType]) -> list[EventType]:
        """Events of one type so far."""
        return [event for event in self.seen if isinstance(event, kind)]

    async def event(
        self, kind: type[EventType], matches: Callable[[EventType], bool] = lambda _: True
    ) -> EventType:
        """The first event of this type that matches, waited for."""
        await until(lambda: any(matches(event) for event in self.all(kind)))
        return next(event for event in self.all(kind) if matches(event))

    def counter(self, name: str) -> int:
        return self.engine.statistics().counters.get(name, 0)

    def peer(self, transport: int, **options: Any) -> Peer:
        """A connected WebRTC peer."""
        peer = Peer(self, transport, **options)
        self.peers.append(peer)
        return peer

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        self.loop.remove_reader(self.engine.event_fd())
        self.engine.close()


class Peer:
    """A WebRTC peer behind one UDP socket."""

    def __init__(
        self,
        bench: Bench,
        transport: int,
        *,
        host: str = "127.0.0.1",
        profile: SrtpProfile = SrtpProfile.AEAD_AES_128_GCM,
        connect: bool = True,
        port: int = 0,
        extensions: ExtensionIds = EXTENSIONS,
        transport_cc: bool = False,
        remb: bool = False,
        reduced_size_rtcp: bool = True,
    ) -> None:
        self.bench = bench
        self.transport = transport
        self.host = host
        self.profile = profile
        self.engine_port = port or bench.port
        _, size = PROFILES[profile]
        self.key = os.urandom(size)
        self.engine_key = os.urandom(size)
        self._out = _session(profile, self.key, Policy.SSRC_ANY_OUTBOUND)
        self._in = _session(profile, self.engine_key, Policy.SSRC_ANY_INBOUND)
        self.rtp: list[RtpPacket] = []
        self.raw: list[bytes] = []  # clear RTP as received
        self.times: list[float] = []  # monotonic arrival of each in `rtp`
        self.rtcp: list[RtcpPacket] = []
        self.other: list[bytes] = []
        self.damaged = 0  # what did not authenticate
        self.transport_sequence = 0
        self.drop: Callable[[RtpPacket], bool] = lambda _: False
        self.socket = self._open()
        bench.apply(
            AddTransport(
                transport=transport,
                kind=TransportKind.WEBRTC,
                ufrags=(f"ufrag{transport}",),
                extensions=extensions,
                cname=f"cname{transport}",
                feedback_ssrc=1000 + transport,
                transport_cc=transport_cc,
                remb=remb,
                reduced_size_rtcp=reduced_size_rtcp,
            )
        )
        if connect:
            self.connect()

    def _open(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        opened = socket.socket(family, socket.SOCK_DGRAM)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        opened.bind((self.host, 0))
        self.bench.loop.add_reader(opened.fileno(), self._readable, opened)
        return opened

    @property
    def path(self) -> Path:
        return Path(
            1,
            Address(self.host, self.engine_port),
            Address(self.host, self.socket.getsockname()[1]),
        )

    def validate(self, selected: bool = True) -> None:
        self.bench.apply(ValidatePath(transport=self.transport, path=self.path, selected=selected))

    def set_keys(self) -> None:
        self.bench.apply(
            SetKeys(
                transport=self.transport, profile=self.profile, send_key=self.engine_key, receive_key=self.key
            )
        )

    def connect(self) -> None:
        self.validate()
        self.set_keys()

    def move(self) -> None:
        """Another address, as after a NAT rebinding."""
        self.bench.loop.remove_reader(self.socket.fileno())
        self.socket.close()
        self.socket = self._open()

    def close(self) -> None:
        if self.socket.fileno() >= 0:
            self.bench.loop.remove_reader(self.socket.fileno())
            self.socket.close()

    # ------------------------------------------------------------------ media

    def protect(self, packet: RtpPacket | bytes) -> bytes:
        return self._out.protect(packet if isinstance(packet, bytes) else packet.to_bytes())

    def send(self, packet: RtpPacket | bytes) -> None:
        self.send_raw(self.protect(packet))

    def send_raw(self, data: bytes) -> None:
        self.socket.sendto(data, (self.host, self.engine_port))

    def send_rtcp(self, *packets: RtcpPacket) -> None:
        self.send_raw(self._out.protect_rtcp(pack(*packets)))

    def _readable(self, opened: socket.socket) -> None:
        while True:
            try:
                data = opened.recv(4096)
            except (BlockingIOError, OSError):
                return
            self.accept(data)

    def accept(self, data: bytes) -> None:
        """One datagram from the engine."""
        if not data or not 128 <= data[0] < 192:
            self.other.append(data)
            return
        try:
            if 192 <= data[1] <= 223:
                self.rtcp += parse_compound(self._in.unprotect_rtcp(data))
                return
            clear = self._in.unprotect(data)
        except Error:
            self.damaged += 1
            return
        packet = RtpPacket.parse(clear)
        if not self.drop(packet):
            self.raw.append(clear)
            self.rtp.append(packet)
            self.times.append(time.monotonic())

    def of(self, ssrc: int) -> list[RtpPacket]:
        """Received packets of one SSRC, in the order of arrival."""
        return [packet for packet in self.rtp if packet.ssrc == ssrc]

    def control(self, kind: type[EventType]) -> list[EventType]:
        """Received RTCP packets of one type."""
        return [packet for packet in self.rtcp if isinstance(packet, kind)]


def _session(profile: SrtpProfile, key: bytes, direction: int) -> Session:
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=PROFILES[profile][0])
    policy.window_size = 1024
    return Session(policy)


class Vp8Stream:
    """A made-up VP8 encoder: frames of packets with picture ids, on one SSRC."""

    def __init__(
        self,
        peer: Peer,
        ssrc: int,
        *,
        mid: str = "0",
        rid: str = "",
        sequence: int = 100,
        timestamp: int = 90_000,
        picture: int = 500,
        tl0: int = 10,
        size: tuple[int, int] = (640, 360),
        names: bool = True,
        payload_type: int = 96,
    ) -> None:
        self.peer = peer
        self.ssrc = ssrc
        self.mid = mid
        self.rid = rid
        self.sequence = sequence
        self.timestamp = timestamp
        self.picture = picture
        self.tl0 = tl0
        self.size = size
        self.names = names
        self.payload_type = payload_type
        self.sent: list[RtpPacket] = []
        self.number = 0

    def make(
        self, *, key: bool = False, packets: int = 1, length: int = 200, step: int = 3000
    ) -> list[RtpPacket]:
        """The packets of the next frame."""
        made = []
        for index in range(packets):
            descriptor = struct.pack(
                ">BBHB", 0x90 if index == 0 else 0x80, 0xC0, 0x8000 | self.picture, self.tl0
            )
            body = b""
            if index == 0:
                body = bytes([0x10 if key else 0x11, 0, 0])
                if key:
                    body += b"\x9d\x01\x2a" + struct.pack("<HH", *self.size)
            mark = struct.pack(">II", self.ssrc, self.number)
            self.number += 1
            payload = descriptor + body + mark
            made.append(
                RtpPacket(
                    payload_type=self.payload_type,
                    sequence=self.sequence,
                    timestamp=self.timestamp,
                    ssrc=self.ssrc,
                    marker=index == packets - 1,
                    extensions=self._extensions(),
                    payload=payload + bytes(max(0, length - len(payload))),
                )
            )
            self.sequence = (self.sequence + 1) & 0xFFFF
        self.timestamp = (self.timestamp + step) & 0xFFFFFFFF
        self.picture = (self.picture + 1) & 0x7FFF
        self.tl0 = (self.tl0 + 1) & 0xFF
        return made

    def _extensions(self) -> dict[int, bytes]:
        extensions: dict[int, bytes] = {}
        if self.names:
            extensions[4] = self.mid.encode()
            if self.rid:
                extensions[10] = self.rid.encode()
        extensions[3] = struct.pack(">H", self.peer_sequence())
        return extensions

    def peer_sequence(self) -> int:
        """The next transport-wide number of the peer."""
        number = self.peer.transport_sequence
        self.peer.transport_sequence = (number + 1) & 0xFFFF
        return number

    def frame(
        self, *, key: bool = False, packets: int = 1, length: int = 200, step: int = 3000
    ) -> list[RtpPacket]:
        """Make and send the next frame."""
        made = self.make(key=key, packets=packets, length=length, step=step)
        for packet in made:
            self.peer.send(packet)
        self.sent += made
        return made


def mark_of(packet: RtpPacket) -> tuple[int, int]:
    """(source SSRC, running number) that `Vp8Stream` wrote into a payload."""
    key = packet.payload[0] & 0x10 and not packet.payload[5] & 1
    at = 5 + (0 if not packet.payload[0] & 0x10 else 10 if key else 3)
    ssrc, number = struct.unpack_from(">II", packet.payload, at)
    return ssrc, number


def picture_of(packet: RtpPacket) -> tuple[int, int]:
    """(picture id, TL0PICIDX) of a packet made by `Vp8Stream`."""
    picture, tl0 = struct.unpack_from(">HB", packet.payload, 2)
    return picture & 0x7FFF, tl0


def video_source(
    source: int,
    transport: int,
    *,
    mid: str = "0",
    rids: tuple[str, ...] = ("",),
    codecs: tuple[SourceCodec, ...] = (VP8,),
) -> AddSource:
    return AddSource(
        source=source,
        transport=transport,
        kind=MediaKind.VIDEO,
        mid=mid,
        codecs=codecs,
        layers=tuple(Layer(rid=rid) for rid in rids),
    )


def audio_source(
    source: int,
    transport: int,
    *,
    mid: str = "1",
    hold: float = 0.0,
    codecs: tuple[SourceCodec, ...] = (OPUS,),
) -> AddSource:
    return AddSource(
        source=source, transport=transport, kind=MediaKind.AUDIO, mid=mid, codecs=codecs, hold=hold
    )


def video_sink(
    sink: int,
    transport: int,
    *,
    rtx: bool = True,
    codecs: tuple[SinkCodec, ...] = (TO_VP8, TO_H264),
    mid: str = "v",
) -> AddSink:
    """SSRC 2000 + sink, RTX 3000 + sink, first sequence 1000, first timestamp 5000."""
    return AddSink(
        sink=sink,
        kind=MediaKind.VIDEO,
        codecs=codecs,
        transport=transport,
        mid=mid,
        ssrc=2000 + sink,
        rtx_ssrc=3000 + sink if rtx else 0,
        first_sequence=1000,
        first_timestamp=5000,
    )


def audio_sink(
    sink: int, transport: int, *, codecs: tuple[SinkCodec, ...] = (TO_OPUS,), mid: str = "a"
) -> AddSink:
    return AddSink(
        sink=sink,
        kind=MediaKind.AUDIO,
        codecs=codecs,
        transport=transport,
        mid=mid,
        ssrc=2000 + sink,
        first_sequence=1000,
        first_timestamp=5000,
    )


def route(source: int, *sinks: int, revision: int = 1) -> SetRoutes:
    return SetRoutes(source=source, revision=revision, sinks=sinks)
