"""Held voice leaves at 1.25 times its pace and catches up."""

from __future__ import annotations

from media.relay.drip import Drip
from media.relay.messages import Codec
from media.relay.payloads import NO_PICTURE
from media.relay.train import MediaPacket


def voice(number: int, timestamp: int) -> MediaPacket:
    return MediaPacket(number, timestamp, False, Codec.OPUS, b"o", 0.0, NO_PICTURE)


def test_pace_and_order() -> None:
    drip = Drip(
        [voice(number, 0xFFFFFFFF - 960 + 960 * number & 0xFFFFFFFF) for number in range(4)], 48_000, 10.0
    )
    assert [packet.number for packet in drip.take(10.0)] == [0]
    assert drip.take(10.015) == []
    assert [packet.number for packet in drip.take(10.0161)] == [1]
    drip.add([voice(4, 960 * 4 - 961)])
    assert [packet.number for packet in drip.take(10.0481)] == [2, 3]
    assert not drip.done(10.0481)
    assert [packet.number for packet in drip.take(10.0641)] == [4]
    assert drip.done(10.0641)


def test_a_pause_in_the_timestamps_holds_nothing_up_for_long() -> None:
    drip = Drip([voice(0, 0), voice(1, 48_000 * 60)], 48_000, 0.0)
    drip.take(0.0)
    assert [packet.number for packet in drip.take(0.2001)] == [1]
