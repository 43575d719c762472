"""Records to and from other processes."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from media.relay import taps
from media.relay.messages import (
    AddInjection,
    AddSink,
    AddSource,
    AddTap,
    Codec,
    MediaKind,
    RemoveInjection,
    RemoveTap,
    SinkWaiting,
)
from media.relay.taps import Record, parse_batch
from media.rtp import ntp
from media.rtp.rtcp import SenderReport
from support.relay import VP8, Bench, Vp8Stream, route, video_sink
from support.waiting import until


def connect(path: Path) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connected.connect(str(path))
    connected.setblocking(False)
    return connected


def read(connected: socket.socket) -> list[Record]:
    records: list[Record] = []
    while True:
        try:
            batch = connected.recv(65_536)
        except BlockingIOError:
            return records
        if not batch:
            return records
        records += parse_batch(batch)


async def test_a_tap_gets_every_packet_with_its_own_numbers_from_the_key_frame_on(
    bench: Bench, tmp_path: Path
) -> None:
    publisher = bench.peer(1)
    bench.apply(
        AddSource(source=10, transport=1, kind=MediaKind.VIDEO, mid="0", codecs=(VP8,)),
        AddTap(tap=5, path=str(tmp_path / "tap")),
        AddSink(sink=20, kind=MediaKind.VIDEO, tap=5),
        route(10, 20),
    )
    assert (await bench.event(SinkWaiting)).reason == "not_connected"
    reader = connect(tmp_path / "tap")
    stream = Vp8Stream(publisher, 555, sequence=65_535)
    records: list[Record] = []
    stream.frame()
    stream.frame(key=True, packets=3)
    publisher.send_rtcp(
        SenderReport(
            ssrc=555, ntp_time=ntp.from_unix(time.time()), rtp_timestamp=96_000, packet_count=1, octet_count=1
        )
    )
    stream.frame()

    def arrived() -> bool:
        records.extend(read(reader))
        return sum(record.kind == taps.PACKET for record in records) == 4

    await until(arrived)
    packets = [record for record in records if record.kind == taps.PACKET]
    assert [record.payload for record in packets] == [packet.payload for packet in stream.sent[1:]]
    assert [record.sequence for record in packets] == [65_536, 65_537, 65_538, 65_539]
    assert [record.timestamp for record in packets] == [93_000, 93_000, 93_000, 96_000]
    assert [record.flags for record in packets] == [taps.KEY_FRAME, 0, taps.MARKER, taps.MARKER]
    assert {(record.source, record.layer, record.codec) for record in packets} == {(10, 0, Codec.VP8)}
    assert all(abs(record.time_ns * 1e-9 - time.time()) < 5 for record in packets)
    (mapping,) = [record for record in records if record.kind == taps.MAPPING]
    assert mapping.timestamp == 96_000
    assert abs(mapping.time_ns * 1e-9 - time.time()) < 5
    bench.apply(RemoveTap(tap=5))
    assert bench.engine.statistics().sinks == ()
    assert not (tmp_path / "tap").exists()


async def test_a_reader_that_does_not_read_loses_and_nobody_else(bench: Bench, tmp_path: Path) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(
        AddSource(source=10, transport=1, kind=MediaKind.VIDEO, mid="0", codecs=(VP8,)),
        AddTap(tap=5, path=str(tmp_path / "tap")),
        AddSink(sink=21, kind=MediaKind.VIDEO, tap=5),
        video_sink(20, 2),
        route(10, 20, 21),
    )
    reader = connect(tmp_path / "tap")
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)

    def lost() -> bool:
        stream.frame(packets=40, length=1100)
        return bench.counter("tap_dropped") > 0

    await until(lost)
    read(reader)
    stream.frame()
    last: list[Record] = []

    def told() -> bool:
        last.extend(read(reader))
        return bool(last) and last[-1].payload == stream.sent[-1].payload

    await until(told)
    assert any(record.flags & taps.LOST_BEFORE for record in last)
    await until(lambda: len(viewer.rtp) == len(stream.sent))
    assert [packet.sequence for packet in viewer.rtp] == [1000 + index for index in range(len(stream.sent))]


async def test_an_injection_feeds_its_sources_and_hears_of_key_frame_requests(
    bench: Bench, tmp_path: Path
) -> None:
    viewer = bench.peer(2)
    bench.apply(
        AddSource(source=10, transport=0, kind=MediaKind.VIDEO, mid="", codecs=(VP8,)),
        AddSource(source=11, transport=0, kind=MediaKind.VIDEO, mid="", codecs=(VP8,)),
        AddInjection(injection=3, path=str(tmp_path / "in"), sources=(10,)),
        video_sink(20, 2),
        route(10, 20),
    )
    writer = connect(tmp_path / "in")
    made = Vp8Stream(viewer, 0)
    frames = [made.make(key=index == 1, packets=3) for index in range(4)]

    def batch(index: int, source: int = 10) -> bytes:
        return b"".join(
            Record(
                kind=taps.PACKET,
                flags=taps.MARKER if packet.marker else 0,
                codec=Codec.VP8,
                source=source,
                sequence=packet.sequence,
                timestamp=packet.timestamp,
                payload=packet.payload,
            ).to_bytes()
            for packet in frames[index]
        )

    writer.send(batch(0))
    requests: list[Record] = []

    def asked() -> bool:
        requests.extend(read(writer))
        return bool(requests)

    await until(asked)
    assert (requests[0].kind, requests[0].source, requests[0].layer) == (taps.KEY_FRAME_REQUEST, 10, 0)
    writer.send(batch(1))
    writer.send(batch(2, source=11))  # not its source
    writer.send(b"nonsense")
    writer.send(batch(3))
    await until(lambda: len(viewer.rtp) == 6)
    expected = [packet.payload for index in (1, 3) for packet in frames[index]]
    assert [packet.payload for packet in viewer.rtp] == expected
    assert bench.counter("record_unknown") == 3
    assert bench.counter("record_malformed") == 1
    bench.apply(RemoveInjection(injection=3))
    assert writer.recv(10) == b""
