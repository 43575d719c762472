"""Transports without ICE: clear RTP locked to an address, and links between nodes."""

from __future__ import annotations

import os
import socket

from media.relay.messages import (
    AddListener,
    Address,
    AddTransport,
    ExtensionIds,
    ListenerKind,
    SetKeys,
    SrtpProfile,
    TransportKind,
)
from media.rtp.packet import RtpPacket
from support.relay import TO_VP8, Bench, Vp8Stream, route, video_sink, video_source
from support.waiting import until


async def test_plain_rtp_is_locked_to_its_address_and_stream(bench: Bench) -> None:
    viewer = bench.peer(2)
    port = bench.apply(AddListener(listener=2, kind=ListenerKind.UDP_PLAIN)).ports[0]
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as camera,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger,
    ):
        camera.bind(("127.0.0.1", 0))
        camera.setblocking(False)
        bench.apply(
            AddTransport(
                transport=7,
                kind=TransportKind.PLAIN,
                listener=2,
                remote=Address("127.0.0.1", camera.getsockname()[1]),
                cname="gate",
            ),
            video_source(10, 7, mid=""),
            video_sink(20, 2),
            video_sink(21, 7, codecs=(TO_VP8,), rtx=False),
            route(10, 20, 21),
        )
        stream = Vp8Stream(viewer, 555, names=False)
        made = [stream.make(key=index == 0, packets=2)[:] for index in range(5)]
        for frame in made:
            for packet in frame:
                clear = RtpPacket(
                    payload_type=96,
                    sequence=packet.sequence,
                    timestamp=packet.timestamp,
                    ssrc=555,
                    marker=packet.marker,
                    payload=packet.payload,
                ).to_bytes()
                stranger.sendto(clear, ("127.0.0.1", port))
                camera.sendto(
                    clear[:8] + b"\0\0\2\x2c" + clear[12:] if packet is made[2][0] else clear,
                    ("127.0.0.1", port),
                )
        await until(lambda: len(viewer.rtp) == 9)
        assert bench.counter("unknown_path") == 10
        assert bench.counter("stream_unknown") == 1
        returned: list[RtpPacket] = []

        def back() -> bool:
            try:
                while True:
                    data = camera.recv(2048)
                    if not 192 <= data[1] <= 223:
                        returned.append(RtpPacket.parse(data))
            except BlockingIOError:
                return len(returned) == 9

        await until(back)
        assert {packet.ssrc for packet in returned} == {2021}
        assert returned[0].extensions == {}
        assert returned[0].payload == made[0][0].payload
        assert all(packet.padding_size == 0 for packet in returned)


async def test_a_node_link_is_srtp_with_given_keys_and_no_ice(bench: Bench) -> None:
    publisher = bench.peer(1)
    node = bench.peer(9, connect=False)
    key = os.urandom(28)
    bench.apply(
        AddTransport(
            transport=7,
            kind=TransportKind.NODE,
            listener=1,
            remote=Address("127.0.0.1", node.socket.getsockname()[1]),
            extensions=ExtensionIds(mid=4),
        ),
        SetKeys(transport=7, profile=SrtpProfile.AEAD_AES_128_GCM, send_key=node.engine_key, receive_key=key),
        video_source(10, 1),
        video_sink(20, 7, mid="camera-1"),
        route(10, 20),
    )
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=3)
    await until(lambda: len(node.rtp) == 3)
    assert {packet.extensions[4] for packet in node.rtp} == {b"camera-1"}
    assert [packet.payload for packet in node.rtp] == [packet.payload for packet in stream.sent]
