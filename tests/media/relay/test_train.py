"""How runs become trains, checked on the bytes they pack to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from media.relay.messages import Codec
from media.relay.payloads import NO_PICTURE
from media.relay.srtp import PacketBuffer
from media.relay.train import Conversion, Form, MediaPacket, plan
from media.relay.udp import MAX_SEGMENTS, MAX_TRAIN
from media.rtp.packet import RtpPacket

OUT = PacketBuffer(72_000)
FORM = Form(
    payload_type=120,
    conversion=Conversion.NONE,
    inner=0,
    levelled=True,
    slot=13,
    prefix=7,
    counted=True,
    padding=1,
    tag=16,
)
PREFIX = b"\xbe\xde\0\2\x40v\x31"


def packet(
    number: int, size: int, timestamp: int = 9, marker: bool = False, orientation: int = -1
) -> MediaPacket:
    body = bytes([number & 0xFF]) * size
    return MediaPacket(number, timestamp, marker, Codec.VP8, body, 0.0, NO_PICTURE, -1, orientation)


def packed(packets: list[MediaPacket], form: Form = FORM) -> list[list[RtpPacket]]:
    """What the trains of a run would send before protection."""
    trains = []
    for train in plan(packets, form):
        for index in range(train.count):
            base = index * train.stride
            train.values[base + 1] = train.numbers[index] & 0xFFFF
            train.values[base + 2] = train.timestamp << 32 | 77
            train.values[base + 3] = PREFIX
            train.values[base + 4] = 500 + index
        train.pack(OUT.data, 0, *train.values)
        sent = []
        at = 0
        for index, (start, length) in enumerate(zip(train.starts, train.lengths, strict=True)):
            at = index * train.segment
            assert start == at + 12 + 12
            sent.append(RtpPacket.parse(bytes(OUT.data[at : at + length])))
        assert train.total == at + train.lengths[-1] + form.tag
        assert train.octets == sum(len(entry.payload) for entry in sent)
        trains.append(sent)
    return trains


def test_packets_that_differ_by_a_byte_are_one_train() -> None:
    run = [packet(index, 1100 + (index < 2)) for index in range(6)]
    (train,) = packed(run)
    assert [entry.payload for entry in train] == [entry.payload for entry in run]
    assert [entry.padding_size for entry in train] == [0, 0, 1, 1, 1, 0]
    assert [entry.sequence for entry in train] == list(range(6))
    assert [entry.extensions[3] for entry in train] == [
        (500 + index).to_bytes(2, "big") for index in range(6)
    ]
    assert {entry.extensions[4] for entry in train} == {b"v"}
    assert {(entry.ssrc, entry.timestamp, entry.payload_type) for entry in train} == {(77, 9, 120)}


def test_a_short_last_packet_ends_the_train_and_a_longer_one_begins_another() -> None:
    trains = packed(
        [packet(0, 1000), packet(1, 1000), packet(2, 300, marker=True), packet(3, 900), packet(4, 1000)]
    )
    assert [len(train) for train in trains] == [3, 1, 1]
    assert trains[0][2].marker
    assert all(entry.padding_size == 0 for train in trains for entry in train)


def test_frames_do_not_share_a_train() -> None:
    trains = packed([packet(0, 1000, 1), packet(1, 1000, 2), packet(2, 1000, 2)])
    assert [[entry.timestamp for entry in train] for train in trains] == [[1], [2, 2]]


def test_orientation_travels_and_its_place_is_kept_free() -> None:
    (train,) = packed([packet(0, 1000), packet(1, 1000, orientation=3)])
    assert [entry.extensions.get(13) for entry in train] == [None, b"\x03"]


@given(st.lists(st.integers(1, 1_400), min_size=1, max_size=200), st.booleans())
def test_every_packet_leaves_once_and_whole_within_the_limits(sizes: list[int], levelled: bool) -> None:
    run = [packet(index, size) for index, size in enumerate(sizes)]
    trains = packed(run, FORM._replace(levelled=levelled))
    flat = [entry for train in trains for entry in train]
    assert [entry.payload for entry in flat] == [entry.payload for entry in run]
    if not levelled:
        assert all(entry.padding_size == 0 for entry in flat)
    for train in plan(run, FORM._replace(levelled=levelled)):
        assert train.count <= MAX_SEGMENTS
        assert train.total <= MAX_TRAIN
        assert train.last <= train.segment
