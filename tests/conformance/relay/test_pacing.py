"""Rates, budgets and TCP: what waits, what goes first, what is dropped, and that nothing tears."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

import pytest

from media.relay.messages import (
    AddBudget,
    AddListener,
    Address,
    AddTransport,
    ConnectionClosed,
    ListenerKind,
    Path,
    SendDatagram,
    SetKeys,
    SetRate,
    StunReceived,
    TransportKind,
    ValidatePath,
)
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import Pli
from media.rtp.twcc import pack_body, pack_packet
from support.relay import (
    Bench,
    Peer,
    Vp8Stream,
    audio_sink,
    audio_source,
    mark_of,
    route,
    video_sink,
    video_source,
)
from support.waiting import until


async def test_a_rate_spreads_a_key_frame_and_voice_overtakes_it(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(
        video_source(10, 1),
        audio_source(11, 1),
        video_sink(20, 2),
        audio_sink(21, 2),
        SetRate(transport=2, rate=2_000_000),
        route(10, 20),
        route(11, 21),
    )
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=50, length=1000)
    await until(lambda: len(viewer.of(2020)) >= 3)
    publisher.send(
        RtpPacket(payload_type=111, sequence=1, timestamp=0, ssrc=600, extensions={4: b"1"}, payload=b"voice")
    )
    await until(lambda: len(viewer.rtp) == 51)
    kinds = [packet.ssrc for packet in viewer.rtp]
    assert kinds.index(2021) < 40
    assert [packet.sequence for packet in viewer.of(2020)] == list(range(1000, 1050))
    spent = viewer.times[-1] - viewer.times[0]
    assert 0.15 < spent < 0.35  # 53 kB at 2 Mbit/s are 212 ms
    assert [int.from_bytes(packet.extensions[3], "big") for packet in viewer.rtp] == list(range(51))


@pytest.mark.parametrize(("apart", "least", "most"), [(0, 0.0, 0.05), (4_400, 0.08, 0.3)])
async def test_a_key_frame_leaves_at_once_where_trains_arrive_as_they_left(
    bench: Bench, apart: int, least: float, most: float
) -> None:
    """`apart`: us between the packets of a train at the viewer, who is behind a fast link or one of 2 Mbit/s."""
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), SetRate(transport=2, rate=2_000_000), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    for number in range(8):
        stream.frame(key=number == 0, packets=2, length=1000)
        await until(lambda sent=2 * number + 2: len(viewer.rtp) == sent)  # type: ignore[misc]
        at = 1_000_000 + 50_000 * number
        body = pack_body(2 * number, [(2 * number, at), (2 * number + 1, at + apart)], feedback_count=number)
        viewer.send_raw(viewer._out.protect_rtcp(pack_packet(1, 2020, body)))
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)
    stream.frame(key=True, packets=25, length=1000)
    await until(lambda: len(viewer.rtp) == 16 + 25)
    spent = viewer.times[-1] - viewer.times[16]
    assert least <= spent < most  # 26 kB at 2 Mbit/s are 104 ms
    assert [packet.sequence for packet in viewer.rtp] == list(range(1000, 1041))


async def test_what_finds_no_room_is_dropped_in_whole_frames_without_a_gap_in_numbers(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), SetRate(transport=2, rate=400_000), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    for frame in range(120):
        stream.frame(key=frame == 0, packets=10, length=1000)
        await asyncio.sleep(0.001)
    await until(lambda: bench.engine.statistics().sinks[0].dropped > 0)
    assert bench.engine.statistics().transports[1].queue > 40_000
    bench.apply(SetRate(transport=2, rate=0))
    stream.frame()
    await until(lambda: viewer.rtp and viewer.rtp[-1].payload == stream.sent[-1].payload)
    got = viewer.of(2020)
    assert [packet.sequence for packet in got] == list(range(1000, 1000 + len(got)))
    statistics = bench.engine.statistics()
    assert statistics.sinks[0].dropped == 1201 - len(got)
    frames: dict[int, list[int]] = {}
    for packet in got:
        frames.setdefault(packet.timestamp, []).append(mark_of(packet)[1] if packet.payload[0] & 0x10 else -1)
    whole = [stamps for stamps in frames.values() if len(stamps) == 10]
    torn = [stamps for stamps in list(frames.values())[:-1] if len(stamps) != 10]
    assert len(whole) >= 8
    assert len(torn) <= 1  # the frame in which the room ended
    await until(lambda: publisher.control(Pli))


async def test_voice_that_makes_way_for_newer_voice_is_counted(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(11, 1), audio_sink(21, 2), SetRate(transport=2, rate=100_000), route(11, 21))
    for number in range(200):
        publisher.send(
            RtpPacket(
                payload_type=111,
                sequence=number,
                timestamp=960 * number,
                ssrc=600,
                extensions={4: b"1"},
                payload=number.to_bytes(2, "big") + bytes(500),
            )
        )
    await until(lambda: bench.engine.statistics().transports[0].packets_received == 200)
    bench.apply(SetRate(transport=2, rate=0))
    await until(lambda: any(packet.payload[:2] == b"\x00\xc7" for packet in viewer.rtp))
    dropped = bench.engine.statistics().transports[1].dropped
    assert dropped > 100
    assert len(viewer.rtp) + dropped == 200


async def test_transports_behind_one_link_share_its_budget(bench: Bench) -> None:
    bench.apply(AddBudget(budget=7, rate=1_600_000))
    publisher = bench.peer(1)
    viewers = [bench.peer(2, connect=False), bench.peer(3, connect=False)]
    bench.apply(video_source(10, 1))
    for number, viewer in enumerate(viewers):
        transport = 30 + number
        bench.apply(
            AddTransport(transport=transport, kind=TransportKind.WEBRTC, budget=7),
            ValidatePath(transport=transport, path=viewer.path, selected=True),
            SetKeys(
                transport=transport,
                profile=viewer.profile,
                send_key=viewer.engine_key,
                receive_key=viewer.key,
            ),
            video_sink(20 + number, transport),
        )
    bench.apply(route(10, 20, 21))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=20, length=1000)
    await until(lambda: all(len(viewer.rtp) == 20 for viewer in viewers))
    spent = max(viewer.times[-1] for viewer in viewers) - min(viewer.times[0] for viewer in viewers)
    assert 0.13 < spent < 0.35  # 42 kB together at 1.6 Mbit/s are 210 ms
    bench.apply(AddBudget(budget=7, rate=0))
    for _ in range(10):
        stream.frame(packets=20, length=1000)
    before = time.monotonic()
    await until(lambda: all(len(viewer.rtp) == 220 for viewer in viewers))
    assert time.monotonic() - before < 0.5


class TcpPeer(Peer):
    """A WebRTC peer behind one TCP connection to listener 2, which it may leave unread."""

    def dial(self, port: int, *, receive_buffer: int = 0) -> None:
        self.tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.tcp.connect(("127.0.0.1", port))
        self.tcp.setblocking(False)
        self.input = bytearray()

    def send_raw(self, data: bytes) -> None:
        self.tcp.sendall(struct.pack(">H", len(data)) + data)

    def read(self) -> None:
        while True:
            try:
                data = self.tcp.recv(65_536)
            except BlockingIOError:
                return
            if not data:
                return
            self.input += data
            while len(self.input) >= 2:
                (size,) = struct.unpack_from(">H", self.input)
                if len(self.input) < 2 + size:
                    break
                self.accept(bytes(self.input[2 : 2 + size]))
                del self.input[: 2 + size]


def check(ufrag: bytes) -> bytes:
    name = ufrag + b":x"
    attribute = struct.pack(">HH", 6, len(name)) + name + bytes(-len(name) % 4)
    return struct.pack(">HHI", 1, len(attribute), 0x2112A442) + bytes(12) + attribute


async def tcp_viewer(bench: Bench, *, receive_buffer: int = 0) -> TcpPeer:
    port = bench.apply(AddListener(listener=2, kind=ListenerKind.TCP_MUX)).ports[0]
    viewer = TcpPeer(bench, 2, connect=False)
    bench.peers.append(viewer)
    viewer.dial(port, receive_buffer=receive_buffer)
    message = check(b"ufrag2")
    framed = struct.pack(">H", len(message)) + message
    for part in (framed[:1], framed[1:9], framed[9:]):
        viewer.tcp.sendall(part)
        await asyncio.sleep(0.01)
    asked = await bench.event(StunReceived)
    assert (asked.transport, asked.data) == (2, message)
    assert asked.path == Path(
        2,
        Address("127.0.0.1", port),
        Address("127.0.0.1", viewer.tcp.getsockname()[1]),
        asked.path.connection,
    )
    assert asked.path.connection > 0
    bench.apply(SendDatagram(path=asked.path, data=b"\x01\x01answer"))
    bench.apply(ValidatePath(transport=2, path=asked.path, selected=True))
    viewer.set_keys()
    return viewer


async def test_media_over_tcp_is_framed_and_its_end_is_told(bench: Bench) -> None:
    publisher = bench.peer(1)
    viewer = await tcp_viewer(bench)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    for frame in range(20):
        stream.frame(key=frame == 0, packets=5, length=900)

    def arrived() -> bool:
        viewer.read()
        return len(viewer.rtp) == 100

    await until(arrived)
    assert viewer.other == [b"\x01\x01answer"]
    assert [packet.payload for packet in viewer.rtp] == [packet.payload for packet in stream.sent]
    viewer.send_rtcp(Pli(sender_ssrc=1, media_ssrc=2020))
    await until(lambda: publisher.control(Pli))
    viewer.tcp.close()
    closed = await bench.event(ConnectionClosed)
    assert closed.transport == 2


async def test_a_slow_connection_drops_whole_frames_and_comes_back_with_continuous_numbers(
    bench: Bench,
) -> None:
    publisher = bench.peer(1)
    viewer = await tcp_viewer(bench, receive_buffer=8192)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)

    def stuck() -> bool:
        stream.frame(packets=10, length=1000)
        return bench.engine.statistics().sinks[0].dropped >= 50

    await until(stuck)
    assert bench.engine.statistics().transports[1].queue < 2_000_000
    count = 0

    def drained() -> bool:
        nonlocal count
        viewer.read()
        count += 1
        if count % 20 == 0:
            stream.frame()
        return bool(viewer.rtp) and viewer.rtp[-1].payload == stream.sent[-1].payload

    await until(drained)
    assert [packet.sequence for packet in viewer.rtp] == [1000 + index for index in range(len(viewer.rtp))]
    assert len(viewer.rtp) < len(stream.sent)
    assert viewer.damaged == 0
    viewer.tcp.close()


async def test_a_frame_longer_than_any_packet_ends_the_connection(bench: Bench) -> None:
    port = bench.apply(AddListener(listener=2, kind=ListenerKind.TCP_MUX)).ports[0]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(struct.pack(">H", 60_000) + bytes(100))
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    assert bench.counter("frame_too_long") == 1
