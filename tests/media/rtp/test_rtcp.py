import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.rtp.errors import BadField, BadPadding, BadVersion, PacketError, Truncated
from media.rtp.rtcp import (
    Bye,
    DlrrItem,
    ExtendedReport,
    Fir,
    Nack,
    Pli,
    ReceiverReport,
    Remb,
    ReportBlock,
    RtcpPacket,
    SdesChunk,
    SenderReport,
    SourceDescription,
    pack,
    parse_compound,
)
from media.rtp.twcc import TransportFeedback
from support.timing import quickest

BLOCK = ReportBlock(
    ssrc=0xDEADBEEF,
    fraction_lost=25,
    cumulative_lost=3,
    highest_sequence=0x0001ABCD,
    jitter=90,
    last_sr=0x12345678,
    delay_since_last_sr=0x10000,
)

VECTORS: list[tuple[str, RtcpPacket]] = [
    (
        "81 CD 00 03 11 11 11 11 DE AD BE EF 00 64 80 05",
        Nack(sender_ssrc=0x11111111, media_ssrc=0xDEADBEEF, lost=(100, 101, 103, 116)),
    ),
    ("81 CE 00 02 11 11 11 11 DE AD BE EF", Pli(sender_ssrc=0x11111111, media_ssrc=0xDEADBEEF)),
    (
        "84 CE 00 04 11 11 11 11 00 00 00 00 DE AD BE EF 07 00 00 00",
        Fir(sender_ssrc=0x11111111, requests=((0xDEADBEEF, 7),)),
    ),
    (
        "8F CE 00 05 11 11 11 11 00 00 00 00 52 45 4D 42 01 0E DC 6C DE AD BE EF",
        Remb(sender_ssrc=0x11111111, bitrate_bps=1_500_000, ssrcs=(0xDEADBEEF,)),
    ),
    (
        "81 C9 00 07 11 11 11 11 DE AD BE EF 19 00 00 03 00 01 AB CD 00 00 00 5A 12 34 56 78 00 01 00 00",
        ReceiverReport(ssrc=0x11111111, reports=(BLOCK,)),
    ),
    (
        "80 C8 00 06 11 11 11 11 E9 00 00 00 80 00 00 00 00 01 5F 90 00 00 00 0A 00 00 04 00",
        SenderReport(
            ssrc=0x11111111,
            ntp_time=0xE900000080000000,
            rtp_timestamp=90_000,
            packet_count=10,
            octet_count=1024,
        ),
    ),
    ("81 CA 00 03 11 11 11 11 01 02 61 62 00 00 00 00", SourceDescription.of_cname(0x11111111, "ab")),
    ("81 CA 00 02 11 11 11 11 01 00 00 00", SourceDescription.of_cname(0x11111111, "")),
    ("82 CB 00 02 00 00 00 01 00 00 00 02", Bye(ssrcs=(1, 2))),
    ("81 CB 00 03 00 00 00 01 05 67 6F 6E 65 21 00 00", Bye(ssrcs=(1,), reason=b"gone!")),
    (
        "80 CF 00 04 11 11 11 11 04 00 00 02 E9 00 00 00 80 00 00 00",
        ExtendedReport(ssrc=0x11111111, reference_time=0xE900000080000000),
    ),
    (
        "80 CF 00 05 11 11 11 11 05 00 00 03 DE AD BE EF 00 00 80 00 00 00 40 00",
        ExtendedReport(ssrc=0x11111111, dlrr=(DlrrItem(ssrc=0xDEADBEEF, last_rr=0x8000, delay=0x4000),)),
    ),
]


@pytest.mark.parametrize(("data", "packet"), VECTORS)
def test_vectors_both_ways(data: str, packet: RtcpPacket) -> None:
    assert parse_compound(bytes.fromhex(data)) == [packet]
    assert packet.to_bytes() == bytes.fromhex(data)


def test_transport_feedback_comes_out_of_a_compound() -> None:
    data = bytes.fromhex("80C9000111111111AFCD000711111111DEADBEEF03E8000700012309D45928503C14019004000003")
    report, feedback = parse_compound(data)
    assert report == ReceiverReport(ssrc=0x11111111)
    assert isinstance(feedback, TransportFeedback)
    assert [sequence for sequence, _ in feedback.arrivals] == [1000, 1001, 1003, 1004, 1005, 1006]
    assert pack(report, feedback) == data


def test_a_compound_keeps_its_order() -> None:
    packets: list[RtcpPacket] = [packet for _, packet in VECTORS]
    assert parse_compound(pack(*packets)) == packets
    assert parse_compound(b"") == []


def test_unknown_types_forms_and_blocks_are_skipped() -> None:
    unknown_type = bytes.fromhex("80CC000111111111")  # APP
    unknown_form = bytes.fromhex("83CD00021111111122222222")  # TMMBR
    other_layer_feedback = bytes.fromhex("8FCE000311111111000000004142434400000000"[:32])
    unknown_block = bytes.fromhex("80CF00031111111101000001AAAAAAAA")
    pli = VECTORS[1][1]
    data = unknown_type + unknown_form + other_layer_feedback + unknown_block + pli.to_bytes()
    assert parse_compound(data) == [ExtendedReport(ssrc=0x11111111), pli]


def test_negative_cumulative_loss() -> None:
    block = ReportBlock(ssrc=1, cumulative_lost=-2)
    assert block.to_bytes().hex() == "0000000100fffffe" + "00000000" * 4
    (report,) = parse_compound(pack(ReceiverReport(ssrc=9, reports=(block,))))
    assert report == ReceiverReport(ssrc=9, reports=(block,))


def test_several_chunks_each_padded() -> None:
    packet = SourceDescription(
        chunks=(
            SdesChunk(ssrc=1, items=((1, b"abc"), (15, b"0"))),
            SdesChunk(ssrc=2),
            SdesChunk(ssrc=3, items=((1, b"xy"),)),
        )
    )
    data = packet.to_bytes()
    assert data.hex() == ("83ca00090000000101036162630f0130000000000000000200000000000000030102787900000000")
    assert parse_compound(data) == [packet]


def test_nack_folds_across_the_wrap_and_drops_doubles() -> None:
    nack = Nack(sender_ssrc=1, media_ssrc=2, lost=(2, 65534, 65535, 2, 15, 40))
    assert nack.to_bytes().hex() == "81cd00050000000100000002fffe0009000f000000280000"
    (parsed,) = parse_compound(nack.to_bytes())
    assert isinstance(parsed, Nack)
    assert parsed.lost == (65534, 65535, 2, 15, 40)


def test_remb_is_rounded_down_to_eighteen_bits() -> None:
    (parsed,) = parse_compound(Remb(sender_ssrc=1, bitrate_bps=1_234_567, ssrcs=()).to_bytes())
    assert parsed == Remb(sender_ssrc=1, bitrate_bps=1_234_560, ssrcs=())
    (parsed,) = parse_compound(Remb(sender_ssrc=1, bitrate_bps=262_143, ssrcs=()).to_bytes())
    assert parsed == Remb(sender_ssrc=1, bitrate_bps=262_143, ssrcs=())


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("80", Truncated),
        ("80C900", Truncated),
        ("40C9000100000001", BadVersion),
        ("80C90001000000", Truncated),
        ("80C900010000000180", Truncated),  # rest too short for a header
        ("80C9FFFF00000001", Truncated),
        ("80C90000", Truncated),  # no SSRC
        ("81C9000100000001", Truncated),  # one block announced
        ("9FC8000600000001" + "00" * 20, Truncated),
        ("80C8000100000001", Truncated),
        ("A0C90000", BadPadding),
        ("A0C9000100000000", BadPadding),
        ("A0C9000100000005", BadPadding),  # padding > body
        ("81CA0000", Truncated),
        ("81CA000100000001", Truncated),  # no end of items
        ("81CA00020000000101FF6162", Truncated),
        ("81CA00020000000101026162", Truncated),
        ("9FCB000100000001", Truncated),
        ("81CB000200000001FF616263", Truncated),
        ("80CF0000", Truncated),
        ("80CF00020000000104000002", Truncated),
        ("80CF0003000000010400000100000000", BadField),
        ("80CF0003000000010500000100000000", BadField),
        ("81CD000100000001", Truncated),
        ("81CD00020000000100000002", BadField),  # NACK of nothing
        ("84CE00020000000100000000", BadField),
        ("84CE000300000001000000000000000A", BadField),  # half a FIR entry
        ("8FCE0003000000010000000052454D42", Truncated),
        ("8FCE0004000000010000000052454D42FF000001", Truncated),  # 255 targets announced
        ("8FCD00020000000100000002", Truncated),
        ("8FCD000400000001000000020001000000000000", BadField),
    ],
)
def test_broken_datagrams(data: str, error: type[PacketError]) -> None:
    with pytest.raises(error):
        parse_compound(bytes.fromhex(data))


@pytest.mark.parametrize(
    "packet",
    [
        ReceiverReport(ssrc=2**32),
        ReceiverReport(ssrc=1, reports=(ReportBlock(ssrc=1),) * 32),
        ReceiverReport(ssrc=1, reports=(ReportBlock(ssrc=1, fraction_lost=256),)),
        ReceiverReport(ssrc=1, reports=(ReportBlock(ssrc=1, cumulative_lost=2**23),)),
        ReceiverReport(ssrc=1, reports=(ReportBlock(ssrc=1, jitter=-1),)),
        SenderReport(ssrc=1, ntp_time=2**64, rtp_timestamp=0, packet_count=0, octet_count=0),
        SourceDescription.of_cname(1, "x" * 256),
        SourceDescription(chunks=(SdesChunk(ssrc=1, items=((0, b""),)),)),
        Bye(ssrcs=(1,), reason=bytes(256)),
        Bye(ssrcs=(1,) * 32),
        Nack(sender_ssrc=1, media_ssrc=1, lost=()),
        Nack(sender_ssrc=1, media_ssrc=1, lost=(65536,)),
        Pli(sender_ssrc=-1, media_ssrc=0),
        Fir(sender_ssrc=1, requests=((1, 256),)),
        Remb(sender_ssrc=1, bitrate_bps=-1, ssrcs=()),
        Remb(sender_ssrc=1, bitrate_bps=2**82, ssrcs=()),
        Remb(sender_ssrc=1, bitrate_bps=1, ssrcs=(1,) * 256),
        ExtendedReport(ssrc=1, reference_time=2**64),
        ExtendedReport(ssrc=1, dlrr=(DlrrItem(ssrc=1, last_rr=2**32, delay=0),)),
        ExtendedReport(ssrc=1, dlrr=(DlrrItem(ssrc=1, last_rr=0, delay=0),) * 21_846),
    ],
)
def test_values_that_do_not_fit_are_refused(packet: RtcpPacket) -> None:
    with pytest.raises(BadField):
        packet.to_bytes()


word = st.integers(0, 2**32 - 1)
blocks = st.builds(
    ReportBlock,
    ssrc=word,
    fraction_lost=st.integers(0, 255),
    cumulative_lost=st.integers(-(2**23), 2**23 - 1),
    highest_sequence=word,
    jitter=word,
    last_sr=word,
    delay_since_last_sr=word,
)
block_lists = st.lists(blocks, max_size=4).map(tuple)
ssrc_lists = st.lists(word, max_size=5).map(tuple)
items = st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=30)), max_size=4).map(tuple)
packets = st.one_of(
    st.builds(
        SenderReport,
        ssrc=word,
        ntp_time=st.integers(0, 2**64 - 1),
        rtp_timestamp=word,
        packet_count=word,
        octet_count=word,
        reports=block_lists,
    ),
    st.builds(ReceiverReport, ssrc=word, reports=block_lists),
    st.builds(
        SourceDescription,
        chunks=st.lists(st.builds(SdesChunk, ssrc=word, items=items), max_size=4).map(tuple),
    ),
    st.builds(Bye, ssrcs=ssrc_lists, reason=st.binary(max_size=255)),
    st.builds(Pli, sender_ssrc=word, media_ssrc=word),
    st.builds(
        Fir,
        sender_ssrc=word,
        requests=st.lists(st.tuples(word, st.integers(0, 255)), min_size=1, max_size=3).map(tuple),
    ),
    st.builds(Remb, sender_ssrc=word, bitrate_bps=st.integers(0, 2**18 - 1), ssrcs=ssrc_lists),
    st.builds(
        ExtendedReport,
        ssrc=word,
        reference_time=st.none() | st.integers(0, 2**64 - 1),
        dlrr=st.lists(st.builds(DlrrItem, ssrc=word, last_rr=word, delay=word), max_size=3).map(tuple),
    ),
)


@given(st.lists(packets, max_size=5))
def test_roundtrip(compound: list[RtcpPacket]) -> None:
    assert parse_compound(pack(*compound)) == compound


@given(st.integers(0, 65535), st.lists(st.integers(0, 3000), min_size=1, max_size=60))
def test_nack_roundtrip(start: int, offsets: list[int]) -> None:
    lost = tuple((start + offset) & 0xFFFF for offset in offsets)
    (parsed,) = parse_compound(Nack(sender_ssrc=1, media_ssrc=2, lost=lost).to_bytes())
    assert isinstance(parsed, Nack)
    assert set(parsed.lost) == set(lost)
    assert len(parsed.lost) == len(set(lost))


headers = st.tuples(st.integers(0x80, 0xBF), st.integers(200, 207), st.just(0), st.integers(0, 12)).map(bytes)


@given(st.lists(headers | st.binary(max_size=40), max_size=6).map(b"".join))
def test_any_bytes_give_packets_or_a_packet_error(data: bytes) -> None:
    try:
        compound = parse_compound(data)
    except PacketError:
        return
    assert len(compound) <= len(data) // 4
    for packet in compound:
        if not (isinstance(packet, Remb) and packet.bitrate_bps.bit_length() > 18):
            assert parse_compound(packet.to_bytes()) == [packet] or isinstance(packet, Nack)


@pytest.mark.parametrize(
    "data",
    [
        bytes.fromhex("81CD3FFF") + b"\xff" * 65_532,
        bytes.fromhex("80CC0000") * 16_384,
        bytes.fromhex("80C9000100000001") * 8_192,
        bytes.fromhex("81CD0003000000010000000200640000") * 4_096,
        bytes.fromhex("80CF3FFF00000001") + bytes.fromhex("01000000") * 16_382,
        bytes.fromhex("8FCD0005000000010000000200010FFF000000001FFF1FFF") * 2_730,
        bytes.fromhex("9FCA3EC0") + bytes.fromhex("00000001" + "0100" * 1_000 + "00000000") * 32,
    ],
)
def test_the_largest_datagrams_are_read_quickly(data: bytes) -> None:
    assert quickest(lambda: parse_compound(data)) < 0.2  # 4 x the promise of 50 ms
