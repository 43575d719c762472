"""Marks of voice packets, alone and inside RED."""

from __future__ import annotations

from media.rtp.packet import RtpPacket
from media.rtp.red import RedBlock, wrap
from support.counting_peer import OPUS
from support.sound_path import VoiceFeed, VoiceMark, mark_of, payload_of

MARK = VoiceMark(press=70_001, index=3, pressed_ns=5_000_000_000, sent_ns=5_060_000_000)


def test_a_mark_comes_back_as_it_went() -> None:
    packet = RtpPacket.parse(VoiceFeed(7).packet(MARK))
    assert mark_of(packet.payload) == MARK
    assert (packet.ssrc, packet.payload_type, packet.marker) == (7, OPUS, False)
    assert packet.payload[0] >> 3 == 31  # 20 ms of full-band CELT


def test_redundancy_before_it_does_not_hide_it() -> None:
    earlier = payload_of(VoiceMark(press=1, index=2, pressed_ns=1, sent_ns=2), b"x" * 40)
    red = wrap(
        RedBlock(payload_type=OPUS, payload=payload_of(MARK, b"y" * 40)),
        [RedBlock(payload_type=OPUS, payload=earlier, timestamp_offset=960)],
    )
    assert mark_of(red) == MARK


def test_what_is_not_marked_is_said_to_be_so() -> None:
    assert mark_of(b"") is None
    assert mark_of(b"\xf8" + bytes(60)) is None


def test_packets_of_a_press_follow_each_other() -> None:
    feed = VoiceFeed(7)
    marks = [VoiceMark(press=1, index=n, pressed_ns=10**9, sent_ns=10**9 + n * 20_000_000) for n in range(3)]
    packets = [RtpPacket.parse(feed.packet(mark)) for mark in marks]
    assert [packet.sequence for packet in packets] == [0, 1, 2]
    assert [packet.timestamp - packets[0].timestamp for packet in packets] == [0, 960, 1920]
    assert [packet.marker for packet in packets] == [True, False, False]
