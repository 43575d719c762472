"""Sound: extensions that travel, RED both ways."""

from __future__ import annotations

from collections.abc import Callable

from media.relay.engine import RelayEngine
from media.relay.messages import Codec, SinkCodec, SourceCodec
from media.rtp import red
from media.rtp.packet import RtpPacket
from support.relay import (
    OPUS,
    TO_OPUS,
    Bench,
    Vp8Stream,
    audio_sink,
    audio_source,
    route,
    video_sink,
    video_source,
)
from support.waiting import until

RED = SourceCodec(codec=Codec.RED, payload_type=63, clock_rate=48_000)
TO_RED = SinkCodec(codec=Codec.RED, payload_type=50, clock_rate=48_000)


def opus(number: int, payload: bytes, payload_type: int = 111, level: int = 20) -> RtpPacket:
    return RtpPacket(
        payload_type=payload_type,
        sequence=number,
        timestamp=960 * number,
        ssrc=600,
        marker=number == 0,
        extensions={4: b"1", 1: bytes([0x80 | level])},
        payload=payload,
    )


async def test_level_and_marker_travel_with_the_viewers_ids(bench: Bench) -> None:
    publisher, listener = bench.peer(1), bench.peer(2)
    bench.apply(audio_source(10, 1), audio_sink(20, 2), route(10, 20))
    for number in range(3):
        publisher.send(opus(number, bytes([number]) * 50, level=20 + number))
    await until(lambda: len(listener.rtp) == 3)
    assert [packet.extensions[1] for packet in listener.rtp] == [b"\x94", b"\x95", b"\x96"]
    assert [packet.extensions[4] for packet in listener.rtp] == [b"a"] * 3
    assert [packet.marker for packet in listener.rtp] == [True, False, False]
    assert [packet.payload_type for packet in listener.rtp] == [110] * 3


async def test_voice_that_came_behind_a_picture_leaves_before_it(factory: Callable[[], RelayEngine]) -> None:
    bench = Bench(factory(), start=False)
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(
        video_source(10, 1),
        audio_source(11, 1),
        video_sink(20, 2),
        audio_sink(21, 2),
        route(10, 20),
        route(11, 21),
    )
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True, packets=20, length=1000)
    publisher.send(opus(0, b"voice"))
    bench.engine.start()  # both have come
    await until(lambda: len(viewer.rtp) == 21)
    assert [packet.ssrc for packet in viewer.rtp] == [2021, *[2020] * 20]
    bench.close()


async def test_opus_leaves_as_red_for_a_listener_that_lists_red_first(bench: Bench) -> None:
    publisher, listener, plain = bench.peer(1), bench.peer(2), bench.peer(3)
    bench.apply(
        audio_source(10, 1),
        audio_sink(20, 2, codecs=(TO_RED, TO_OPUS)),
        audio_sink(21, 3, codecs=(TO_OPUS, TO_RED)),
        route(10, 20, 21),
    )
    for number in range(3):
        publisher.send(opus(number, bytes([number]) * 50))
    await until(lambda: len(listener.rtp) == 3 and len(plain.rtp) == 3)
    blocks = [red.unwrap(packet.payload) for packet in listener.rtp]
    assert [[block.payload[0] for block in entry] for entry in blocks] == [[0], [0, 1], [1, 2]]
    assert {block.payload_type for entry in blocks for block in entry} == {110}
    assert blocks[2][0].timestamp_offset == 960
    assert {packet.payload_type for packet in listener.rtp} == {50}
    assert [packet.payload for packet in plain.rtp] == [bytes([number]) * 50 for number in range(3)]
    assert {packet.payload_type for packet in plain.rtp} == {110}


async def test_red_is_retyped_or_unwrapped(bench: Bench) -> None:
    publisher, listener, plain = bench.peer(1), bench.peer(2), bench.peer(3)
    bench.apply(
        audio_source(10, 1, codecs=(RED, OPUS)),
        audio_sink(20, 2, codecs=(TO_OPUS, TO_RED)),
        audio_sink(21, 3, codecs=(TO_OPUS,)),
        route(10, 20, 21),
    )
    payload = red.wrap(
        red.RedBlock(payload_type=111, payload=b"new"),
        [red.RedBlock(payload_type=111, payload=b"older", timestamp_offset=960)],
    )
    publisher.send(opus(0, payload, payload_type=63))
    publisher.send(opus(1, b"\xff\xff", payload_type=63))  # no RED at all
    publisher.send(opus(2, payload, payload_type=63))
    await until(lambda: len(listener.rtp) == 2 and len(plain.rtp) == 2)
    blocks = red.unwrap(listener.rtp[0].payload)
    assert [(block.payload_type, block.payload, block.timestamp_offset) for block in blocks] == [
        (110, b"older", 960),
        (110, b"new", 0),
    ]
    assert listener.rtp[0].payload_type == 50
    assert [packet.payload for packet in plain.rtp] == [b"new", b"new"]
    assert {packet.payload_type for packet in plain.rtp} == {110}


async def test_a_route_change_goes_on_in_number_and_time(bench: Bench) -> None:
    first, second, listener = bench.peer(1), bench.peer(3), bench.peer(2)
    bench.apply(audio_source(10, 1), audio_source(11, 3), audio_sink(20, 2), route(10, 20))
    for number in range(3):
        first.send(opus(number, b"one"))
    await until(lambda: len(listener.rtp) == 3)
    bench.apply(route(11, 20))
    for number in range(40_000, 40_003):
        second.send(opus(number, b"two"))
    first.send(opus(3, b"one"))
    await until(lambda: len(listener.rtp) == 6)
    assert [packet.payload for packet in listener.rtp] == [b"one"] * 3 + [b"two"] * 3
    assert [packet.sequence for packet in listener.rtp] == list(range(1000, 1006))
    steps = [
        later.timestamp - earlier.timestamp
        for earlier, later in zip(listener.rtp, listener.rtp[1:], strict=False)
    ]
    assert steps[:2] == [960, 960]
    assert 0 < steps[2] < 48_000
    assert steps[3:] == [960, 960]
