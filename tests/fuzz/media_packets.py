"""Fuzz targets of the media packet parsers: each takes any bytes and raises only if a parser breaks its word.

A target lets the documented errors pass, and asserts what must hold of whatever was read. TARGETS names them all, each
with a few well-formed inputs to start from; any fuzzer can drive them.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from media.egress.timeline import Timeline
from media.relay.messages import Codec
from media.relay.taps import PACKET, Record, RecordError, parse_batch
from media.rtp import h264, h264_syntax, opus, red, rtx, vp8
from media.rtp.errors import PacketError
from media.rtp.nack import LossTracker
from media.rtp.packet import RtpPacket, parse_extensions
from media.rtp.reception import ReceptionStatistics
from media.rtp.rtcp import parse_compound
from media.rtp.twcc import TransportFeedback, TwccReceiver
from media.transport import stun
from media.transport.stun import StunError


def record_batch(data: bytes) -> None:
    with suppress(RecordError):
        records = parse_batch(data)
        assert parse_batch(b"".join(record.to_bytes() for record in records)) == records


def recorded(data: bytes) -> None:
    """A batch as the recorder takes it: no bytes of a peer may make it fail, or a file without end."""
    timeline = Timeline(Counter())
    for at in range(0, len(data), 20):
        piece = data[at : at + 20]
        codec = Codec.RED if piece[0] & 1 else Codec.OPUS
        timestamp = int.from_bytes(piece[1:5].ljust(4, b"\0"), "big")
        for frame in timeline.take(codec, timestamp, piece[5:], at * 0.001):
            assert opus.parse(frame.payload).samples == frame.samples
    assert sum(frame.samples for frame in timeline.rest()) < 48_000 * 60


def rtp(data: bytes) -> None:
    with suppress(PacketError):
        packet = RtpPacket.parse(data)
        assert RtpPacket.parse(packet.to_bytes()) == packet


def rtp_extensions(data: bytes) -> None:
    for profile in (0xBEDE, 0x1000, 0x100F, 0x1234):
        with suppress(PacketError):
            elements = parse_extensions(profile, data)
            assert sum(len(value) for value in elements.values()) <= len(data)


def rtcp(data: bytes) -> None:
    with suppress(PacketError):
        packets = parse_compound(data)
        assert len(packets) <= len(data) // 4
        for packet in packets:
            parse_compound(packet.to_bytes())


def twcc(data: bytes) -> None:
    with suppress(PacketError):
        feedback = TransportFeedback.parse_body(1, 2, data)
        assert len(feedback.arrivals) <= len(data)
        again = parse_compound(feedback.to_bytes())[0]
        assert isinstance(again, TransportFeedback)
        assert again.arrivals == feedback.arrivals


def twcc_receiver(data: bytes) -> None:
    receiver = TwccReceiver(capacity=200)
    for at in range(0, len(data) - 3, 4):
        number = int.from_bytes(data[at : at + 4], "big")
        receiver.record(number >> 16, at * 1_000 + (number & 0xFFFF))
        body = receiver.feedback(at / 1_000)
        if body is not None:
            assert len(body) <= 1_150
            TransportFeedback.parse_body(1, 2, body)
    assert receiver.statistics().waiting <= 200


def losses(data: bytes) -> None:
    tracker = LossTracker()
    statistics = ReceptionStatistics(90_000)
    for at in range(0, len(data) - 1, 2):
        sequence = int.from_bytes(data[at : at + 2], "big")
        now = at / 200
        tracker.received(sequence, now)
        statistics.received(sequence, 3 * sequence, now)
        assert len(tracker.poll(now, 0.05).lost) <= 500
        block = statistics.report_block(1, now)
        assert block is not None
        block.to_bytes()


def vp8_payload(data: bytes) -> None:
    with suppress(PacketError):
        descriptor = vp8.parse_descriptor(data)
        vp8.frame_size(data, descriptor)
        moved = vp8.rewrite(data, descriptor, picture_id_offset=1, tl0_offset=1)
        assert vp8.parse_descriptor(moved).size == descriptor.size


def h264_payload(data: bytes) -> None:
    detector = h264.KeyFrameDetector()
    with suppress(PacketError):
        detector.update(0, data)
        for piece in h264.pieces(data):
            if piece.first:
                with suppress(PacketError):
                    h264_syntax.slice_type(piece.unit())
    assert sum(len(unit) for unit in detector.parameter_sets) <= len(data)


def h264_access_unit(data: bytes) -> None:
    for split in (h264.annexb_units, h264.avcc_units):
        with suppress(PacketError):
            for payload in h264.packetize(split(data), 100):
                assert len(payload) <= 100
                h264.pieces(payload)


def h264_sps(data: bytes) -> None:
    for unit in (data, b"\x67" + data, b"\x67\x64\x00\x1f" + data):
        with suppress(PacketError):
            assert h264_syntax.parse_sps(unit).width > 0


def opus_packet(data: bytes) -> None:
    with suppress(PacketError):
        assert 120 <= opus.parse(data).samples <= 5_760


def red_payload(data: bytes) -> None:
    with suppress(PacketError):
        blocks = red.unwrap(data)
        assert red.wrap(blocks[-1], blocks[:-1]) == data


def rtx_packet(data: bytes) -> None:
    with suppress(PacketError):
        original = rtx.unwrap(RtpPacket.parse(data), payload_type=96, ssrc=1)
        if original is not None:
            rtx.wrap(original, payload_type=97, ssrc=2, sequence=3).to_bytes()


def stun_message(data: bytes) -> None:
    for read in (
        lambda: stun.parse_binding_request(data).authenticate(b"password"),
        lambda: stun.parse_response(data, b"password"),
    ):
        with suppress(StunError):
            read()


_CHECK = stun.binding_request(
    bytes(12), username="a:b", password=b"password", priority=1, role=stun.IceRole.CONTROLLING, tie_breaker=1
)
_RTP = bytes.fromhex("90EF1234000003C0DEADBEEFBEDE0003109422123456310102403000") + b"OPUS"
_RECORD = Record(
    kind=PACKET, source=7, codec=Codec.OPUS, sequence=9, timestamp=960, payload=b"\xf8abc"
).to_bytes()
_TWCC = bytes.fromhex("03E8000700012309D45928503C14019004")
_SPS = bytes.fromhex("6764001facd9405005ba1000000300100000030320f1831960")

Target = Callable[[bytes], None]

TARGETS: dict[str, tuple[Target, tuple[bytes, ...]]] = {
    "rtp": (rtp, (_RTP, bytes.fromhex("906F0001000003C000000001100000031403616263010194050000005800"))),
    "rtp_extensions": (rtp_extensions, (_RTP[16:28], bytes.fromhex("140361626301019405000000"))),
    "rtcp": (
        rtcp,
        (
            bytes.fromhex("81C9000711111111DEADBEEF190000030001ABCD0000005A1234567800010000"),
            bytes.fromhex("81CA000311111111010261620000000081CD000311111111DEADBEEF00648005"),
            bytes.fromhex("8FCE0005111111110000000052454D42010EDC6CDEADBEEF"),
            bytes.fromhex("80CF00051111111105000003DEADBEEF0000800000004000"),
            bytes.fromhex("AFCD000711111111DEADBEEF") + _TWCC + b"\0\0\3",
        ),
    ),
    "twcc": (twcc, (_TWCC, bytes.fromhex("07D000140001240A2014") + b"\x14" * 20)),
    "twcc_receiver": (twcc_receiver, (bytes.fromhex("000100000002000000040010FFFF0000"),)),
    "losses": (losses, (bytes.fromhex("0001000200050003FFFF0000"),)),
    "record_batch": (record_batch, (_RECORD, _RECORD + _RECORD)),
    "recorded": (recorded, (b"\0\0\0\0\0\xf8" + bytes(14) + b"\0\0\0\x03\xc0\xf8" + bytes(9),)),
    "vp8_payload": (vp8_payload, (bytes.fromhex("90E09234566550180A9D012A0005D002"),)),
    "h264_payload": (
        h264_payload,
        (
            _SPS,
            b"\x78\0\x19" + _SPS + b"\0\4\x68\xce\x3c\x80",
            bytes.fromhex("7C85888400CF"),
            b"\x41\x9a\x23",
        ),
    ),
    "h264_access_unit": (
        h264_access_unit,
        (b"\0\0\0\1" + _SPS + b"\0\0\1\x65" + b"x" * 300, b"\0\0\0\x19" + _SPS),
    ),
    "h264_sps": (h264_sps, (_SPS, _SPS[4:])),
    "opus_packet": (opus_packet, (b"\x78", b"\xff\x03\0\0")),
    "red_payload": (red_payload, (bytes.fromhex("EF0F00036F6F6C646E6577"),)),
    "rtx_packet": (rtx_packet, (bytes.fromhex("80E1000500002328CAFEBABE0011010203"),)),
    "stun_message": (stun_message, (_CHECK, stun.success_response(bytes(12), b"password", "192.0.2.1", 1))),
}
