"""Reports and feedback, both ways."""

from __future__ import annotations

import asyncio
import struct

import pytest

from media.relay.messages import FeedbackReceived, RemoveSink, RemoveTransport, StunReceived
from media.rtp import ntp
from media.rtp.packet import RtpPacket
from media.rtp.rtcp import (
    Bye,
    ExtendedReport,
    ReceiverReport,
    Remb,
    ReportBlock,
    SenderReport,
    SourceDescription,
)
from media.rtp.twcc import TransportFeedback, pack_body, pack_packet
from support.relay import Bench, Vp8Stream, audio_sink, audio_source, route, video_sink, video_source
from support.waiting import until


async def test_arrivals_are_reported_to_a_publisher_with_transport_wide_feedback(bench: Bench) -> None:
    publisher = bench.peer(1, transport_cc=True)
    bench.apply(video_source(10, 1))
    stream = Vp8Stream(publisher, 555)
    sent = 0

    def told() -> dict[int, int]:
        return {
            number: time
            for feedback in publisher.control(TransportFeedback)
            for number, time in feedback.arrivals
        }

    for _ in range(30):
        made = stream.make(packets=4)
        for index, packet in enumerate(made):
            if (sent + index) % 10 != 7:
                publisher.send(packet)
        sent += 4
        await asyncio.sleep(0.01)
    expected = {number for number in range(120) if number % 10 != 7}
    await until(lambda: set(told()) == expected)
    times = told()
    assert all(
        times[later] >= times[earlier]
        for earlier, later in zip(sorted(times), sorted(times)[1:], strict=False)
    )
    assert 250_000 < times[119] - times[0] < 2_000_000  # us
    feedbacks = publisher.control(TransportFeedback)
    assert {(feedback.sender_ssrc, feedback.media_ssrc) for feedback in feedbacks} == {(1001, 555)}
    assert [feedback.feedback_count for feedback in feedbacks] == list(range(len(feedbacks)))
    assert 3 <= len(feedbacks) <= 12


async def test_a_publisher_without_it_gets_remb(bench: Bench) -> None:
    publisher = bench.peer(1, remb=True)
    bench.apply(video_source(10, 1))
    stream = Vp8Stream(publisher, 555)

    def reported() -> bool:
        stream.frame(length=1000)
        return len(publisher.control(Remb)) >= 2

    await until(reported)
    remb = publisher.control(Remb)[1]
    assert remb.ssrcs == (555,)
    assert 300_000 <= remb.bitrate_bps <= 4_000_000
    assert publisher.control(TransportFeedback) == []


async def test_reports_name_every_stream_only_once_its_layers_are_known(bench: Bench) -> None:
    publisher = bench.peer(1)
    bench.apply(video_source(10, 1, rids=("q", "h")))
    low, high = Vp8Stream(publisher, 501, rid="q"), Vp8Stream(publisher, 502, rid="h")
    publisher.send_rtcp(
        SenderReport(ssrc=501, ntp_time=ntp.from_unix(1.8e9), rtp_timestamp=0, packet_count=0, octet_count=0)
    )
    low.frame()
    await asyncio.sleep(0.6)
    low.frame()
    await asyncio.sleep(0.1)  # in all less than the second after which it would be named alone
    assert all(not report.reports for report in publisher.control(ReceiverReport))
    high.frame()
    low.sequence += 1
    low.frame()
    publisher.send_rtcp(
        SenderReport(ssrc=501, ntp_time=ntp.from_unix(1.8e9), rtp_timestamp=0, packet_count=3, octet_count=0)
    )
    await until(lambda: any(len(report.reports) == 2 for report in publisher.control(ReceiverReport)))
    report = next(report for report in publisher.control(ReceiverReport) if len(report.reports) == 2)
    blocks = {block.ssrc: block for block in report.reports}
    assert set(blocks) == {501, 502}
    assert blocks[501].cumulative_lost == 1
    assert blocks[501].highest_sequence == 103
    assert blocks[501].last_sr == ntp.middle32(ntp.from_unix(1.8e9))
    assert report.ssrc == 1001
    assert publisher.control(SourceDescription)[0].chunks[0].items == ((1, b"cname1"),)


async def test_picture_and_sound_of_a_publisher_share_our_clock(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(
        video_source(10, 1),
        audio_source(11, 1),
        video_sink(20, 2),
        audio_sink(21, 2),
        route(10, 20),
        route(11, 21),
    )
    stream = Vp8Stream(publisher, 555, timestamp=1_000_000)
    for number in range(3):
        stream.frame(key=number == 0)
        publisher.send(
            RtpPacket(
                payload_type=111,
                sequence=number,
                timestamp=777 + 960 * number,
                ssrc=600,
                extensions={4: b"1"},
                payload=b"o",
            )
        )
    # The same instant on the publisher's clock, an hour off ours: frame 0 and sound 0.
    for ssrc, timestamp in ((555, 1_000_000), (600, 777)):
        publisher.send_rtcp(
            SenderReport(
                ssrc=ssrc,
                ntp_time=ntp.from_unix(1_700_000_000.0),
                rtp_timestamp=timestamp,
                packet_count=1,
                octet_count=1,
            )
        )
    await until(lambda: {report.ssrc for report in viewer.control(SenderReport)} >= {2020, 2021})
    picture = next(report for report in reversed(viewer.control(SenderReport)) if report.ssrc == 2020)
    sound = next(report for report in reversed(viewer.control(SenderReport)) if report.ssrc == 2021)
    assert picture.packet_count == 3
    assert sound.packet_count == 3
    assert picture.octet_count == sum(len(packet.payload) for packet in viewer.of(2020))
    first_picture, first_sound = viewer.of(2020)[0].timestamp, viewer.of(2021)[0].timestamp
    captured = [
        ntp.to_unix(report.ntp_time) - (report.rtp_timestamp - first) / rate
        for report, first, rate in ((picture, first_picture, 90_000), (sound, first_sound, 48_000))
    ]
    assert captured[0] == pytest.approx(captured[1], abs=0.002)
    names = {chunk.ssrc: chunk.items for entry in viewer.control(SourceDescription) for chunk in entry.chunks}
    assert names[2020] == names[2021] == ((1, b"cname2"),)


async def test_what_a_viewer_reports_is_handed_up_folded_and_limited(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    for frame in range(10):
        stream.frame(key=frame == 0, packets=4, length=500)
    await until(lambda: len(viewer.rtp) == 40)
    arrivals = [(number, 5_000_000 + 1000 * number) for number in range(40) if number not in (17, 18)]
    body = pack_body(0, arrivals, feedback_count=0)
    viewer.send_raw(viewer._out.protect_rtcp(pack_packet(1, 2020, body)))
    await until(lambda: sum(len(event.samples) for event in bench.all(FeedbackReceived)) >= 11)
    samples = [sample for event in bench.all(FeedbackReceived) for sample in event.samples]
    lost = [sample for sample in samples if sample[1] < 0]
    got = [sample for sample in samples if sample[1] >= 0]
    assert (
        sum(size for _, _, size in samples)
        == sum(len(packet.payload) + 12 + 4 + 8 + 2 + 16 for packet in viewer.rtp) - 40 * 2
    )
    assert sum(size for _, _, size in lost) == 2 * (500 + 12 + 12 + 16)
    assert max(arrival for _, arrival, _ in got) == pytest.approx(5.039)
    assert [sent for sent, _, _ in got] == sorted(sent for sent, _, _ in got)

    viewer.send_rtcp(ReceiverReport(ssrc=1, reports=(ReportBlock(ssrc=2020, fraction_lost=64),)))
    event = await bench.event(FeedbackReceived, lambda event: event.fraction_lost >= 0)
    assert event.fraction_lost == 0.25
    viewer.send_rtcp(Remb(sender_ssrc=1, bitrate_bps=750_000, ssrcs=(2020,)))
    assert (await bench.event(FeedbackReceived, lambda event: event.remb > 0)).remb == 750_000
    before, began = len(bench.all(FeedbackReceived)), asyncio.get_running_loop().time()
    for _ in range(180):
        viewer.send_rtcp(ReceiverReport(ssrc=1, reports=(ReportBlock(ssrc=2020, fraction_lost=1),)))
        await asyncio.sleep(0.003)
    took = asyncio.get_running_loop().time() - began
    assert len(bench.all(FeedbackReceived)) - before <= 20 * took + 1


async def test_round_trips_are_measured_from_our_reports(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: viewer.control(SenderReport))
    report = viewer.control(SenderReport)[0]
    await asyncio.sleep(0.1)  # of which the viewer will say that 0.06 s were its own
    block = ReportBlock(
        ssrc=2020, last_sr=ntp.middle32(report.ntp_time), delay_since_last_sr=round(0.06 * 65_536)
    )
    viewer.send_rtcp(ReceiverReport(ssrc=1, reports=(block,)))
    event = await bench.event(FeedbackReceived, lambda event: event.rtt >= 0)
    assert 0.03 < event.rtt < 0.2
    assert bench.engine.statistics().transports[1].rtt == event.rtt


async def test_a_receivers_clock_is_answered(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    viewer.send_rtcp(ExtendedReport(ssrc=77, reference_time=0x1122334455667788))

    def answered() -> bool:
        return any(report.dlrr for report in viewer.control(ExtendedReport))

    await until(answered)
    item = next(report for report in viewer.control(ExtendedReport) if report.dlrr).dlrr[0]
    assert (item.ssrc, item.last_rr) == (77, 0x33445566)


async def test_goodbyes(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), video_sink(21, 2), route(10, 20, 21))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 2)
    bench.apply(RemoveSink(sink=20))
    await until(lambda: any(bye.ssrcs == (2020,) for bye in viewer.control(Bye)))
    bench.apply(RemoveTransport(transport=2))
    await until(lambda: any(bye.ssrcs == (2021,) for bye in viewer.control(Bye)))
    stream.frame()
    viewer.send_raw(struct.pack(">HHI", 1, 0, 0x2112A442) + bytes(12))
    await until(lambda: bench.engine.statistics().sources[0].layers[0].packets == 2)
    assert len(viewer.rtp) == 2
    assert bench.engine.statistics().sinks == ()
    assert bench.all(StunReceived) == []


async def test_a_storm_of_feedback_is_bounded(bench: Bench) -> None:
    publisher, viewer = bench.peer(1), bench.peer(2)
    bench.apply(video_source(10, 1), video_sink(20, 2), route(10, 20))
    stream = Vp8Stream(publisher, 555)
    stream.frame(key=True)
    await until(lambda: len(viewer.rtp) == 1)
    for _ in range(1000):
        viewer.send_rtcp(ReceiverReport(ssrc=1))
    for _ in range(10):
        stream.frame()
    await until(lambda: len(viewer.rtp) == 11)
    assert bench.counter("rtcp_limited") >= 600
