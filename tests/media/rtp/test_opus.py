import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import BadPayload, PacketError, Truncated
from media.rtp.opus import OpusBandwidth, OpusMode, OpusPacket, parse


def test_twenty_milliseconds_as_browsers_send() -> None:
    assert parse(b"\x78" + b"x" * 60) == OpusPacket(
        mode=OpusMode.HYBRID,
        bandwidth=OpusBandwidth.FULL,
        stereo=False,
        frames=1,
        samples=960,
        likely_dtx=False,
    )


@pytest.mark.parametrize(
    ("configuration", "mode", "bandwidth", "samples"),
    [
        (0, OpusMode.SILK, OpusBandwidth.NARROW, 480),
        (3, OpusMode.SILK, OpusBandwidth.NARROW, 2880),
        (5, OpusMode.SILK, OpusBandwidth.MEDIUM, 960),
        (11, OpusMode.SILK, OpusBandwidth.WIDE, 2880),
        (12, OpusMode.HYBRID, OpusBandwidth.SUPER_WIDE, 480),
        (15, OpusMode.HYBRID, OpusBandwidth.FULL, 960),
        (16, OpusMode.CELT, OpusBandwidth.NARROW, 120),
        (23, OpusMode.CELT, OpusBandwidth.WIDE, 960),
        (26, OpusMode.CELT, OpusBandwidth.SUPER_WIDE, 480),
        (31, OpusMode.CELT, OpusBandwidth.FULL, 960),
    ],
)
def test_configurations(configuration: int, mode: OpusMode, bandwidth: OpusBandwidth, samples: int) -> None:
    packet = parse(bytes((configuration << 3, 1, 2)))
    assert (packet.mode, packet.bandwidth, packet.samples) == (mode, bandwidth, samples)


def test_frame_counts() -> None:
    assert parse(bytes.fromhex("F9000000")).frames == 2
    assert parse(bytes.fromhex("FA000000")).samples == 1920
    three = parse(bytes.fromhex("FF03000000"))
    assert (three.frames, three.samples, three.stereo) == (3, 2880, True)
    assert parse(bytes.fromhex("833000")).samples == 5760  # 48 frames of 2.5 ms


def test_dtx_is_guessed_from_the_size() -> None:
    assert parse(b"\x78").likely_dtx
    assert parse(b"\x78\x00").likely_dtx
    assert not parse(b"\x78\x00\x00").likely_dtx


@pytest.mark.parametrize(
    ("payload", "error"), [("", Truncated), ("FB", Truncated), ("FB00", BadPayload), ("FB07", BadPayload)]
)
def test_broken_packets(payload: str, error: type[PacketError]) -> None:
    with pytest.raises(error):
        parse(bytes.fromhex(payload))


@given(st.binary(max_size=10))
def test_any_bytes(payload: bytes) -> None:
    try:
        packet = parse(payload)
    except PacketError:
        return
    assert 120 <= packet.samples <= 5760
