"""What the benchmark sends is what its description says, and its marks are read back; the bare loop's trains."""

from __future__ import annotations

import itertools

from bench.bare_loop import trains
from bench.load import Feed, MarkReader, make_pictures
from media.rtp.packet import RtpPacket


def feed(*, extended: bool = True) -> Feed:
    ticks = itertools.count(1_000)
    return Feed(make_pictures(), lambda: next(ticks), video_ssrc=7, audio_ssrc=8, extended=extended)


def test_two_seconds_of_picture_have_the_promised_rate_and_sizes() -> None:
    source = feed(extended=False)
    pictures = [list(source.picture()) for _ in range(60)]
    assert len(pictures[0]) == 24
    assert {len(picture) for picture in pictures[1:]} <= {3, 4, 5}
    sizes = [[len(packet) for packet in picture] for picture in pictures]
    assert all(1_050 <= size <= 1_150 for picture in sizes for size in picture)
    assert all(max(picture) - min(picture) <= 1 for picture in sizes)
    assert 980_000 <= source.video_octets * 8 / 2 <= 1_040_000


def test_the_second_key_frame_of_a_feed_comes_at_its_own_time() -> None:
    source = feed()
    source.begin(0.25)
    assert [len(list(source.picture())) == 24 for _ in range(80)] == [
        place in {0, 16, 76} for place in range(80)
    ]


def test_packets_of_whip_carry_mid_and_transport_sequence() -> None:
    source = feed()
    first, second = itertools.islice(source.picture(), 2)
    sound = RtpPacket.parse(source.sound())
    assert RtpPacket.parse(first).extensions == {3: b"\x00\x01", 4: b"1"}
    assert RtpPacket.parse(second).extensions == {3: b"\x00\x02", 4: b"1"}
    assert sound.extensions == {3: b"\x00\x03", 4: b"0"}
    assert (sound.ssrc, sound.payload_type, sound.sequence) == (8, 111, 0)
    last = list(feed().picture())[-1]
    assert (RtpPacket.parse(first).marker, RtpPacket.parse(last).marker) == (False, True)


def test_marks_come_back_through_padding_and_without_extensions() -> None:
    source, reader = feed(), MarkReader()
    packets = list(source.picture())
    first, rest = reader.read(packets[0]), [reader.read(packet) for packet in packets[1:]]
    assert first is not None
    assert (first.sent_ns, first.video, first.key_start, first.key) == (1_000, True, True, True)
    assert all(one is not None and one.key and not one.key_start for one in rest)
    padded = bytes((packets[3][0] | 0x20,)) + packets[3][1:] + b"\x00\x00\x03"
    marked = reader.read(padded)
    assert marked is not None
    assert marked.sent_ns == 1_003
    later = reader.read(next(source.picture()))
    assert later is not None
    assert (later.key, later.key_start) == (False, False)
    sound = reader.read(source.sound())
    assert sound is not None
    assert (sound.video, sound.key) == (False, False)
    assert reader.read(b"\x80" + bytes(40)) is None
    assert reader.unmarked == 1


def test_a_key_frame_comes_when_it_is_asked_for() -> None:
    source = feed()
    list(source.picture())
    assert len(list(source.picture())) < 24
    source.request_key_frame()
    assert len(list(source.picture())) == 24
    assert source.key_frames == 2


def test_the_bare_loop_sends_a_picture_as_one_train() -> None:
    packets = list(feed(extended=False).picture())
    sound = feed(extended=False).sound()
    picture, voice = trains([*packets, sound])
    assert len(picture.packets) == 24
    assert {len(packet) for packet in picture.packets[:-1]} == {picture.size - 16}
    assert len(picture.packets[-1]) <= picture.size - 16
    assert [RtpPacket.parse(packet).payload for packet in picture.packets] == [
        RtpPacket.parse(packet).payload for packet in packets
    ]
    assert voice.packets == (sound,)
    assert trains([]) == []
