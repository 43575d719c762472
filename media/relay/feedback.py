"""RTCP both ways: what peers report and ask, and what we report to and ask of them.

Reports are compound (RFC 3550 6.1) about once a second; feedback in between is reduced-size where the peer agreed (RFC
5506). What a peer can make us do is bounded: datagrams read per second, repairs per second and per packet, one
key-frame request a second and layer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import Any, Final

from media.relay.arrivals import is_alone
from media.relay.association import Stream
from media.relay.messages import FeedbackReceived, TransportKind
from media.relay.sink import Sink
from media.relay.source import KEY_FRAME_INTERVAL, SourceLayer
from media.relay.srtp import MAX_TRAILER, OK, PacketBuffer, protect_rtcp
from media.relay.state import RelayState
from media.relay.taps import KEY_FRAME_REQUEST, Record
from media.relay.transport import MAX_SAMPLES, Transport
from media.rtp import ntp
from media.rtp.errors import PacketError
from media.rtp.reception import round_trip_time
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
    SenderReport,
    SourceDescription,
    pack,
    parse_compound,
)
from media.rtp.twcc import TransportFeedback, pack_packet

REPORT_INTERVAL: Final = 1.0  # s, spread by a tenth either way
VIEWER_INTERVAL: Final = 2.0  # s, towards peers that only receive, once they have had their first report
EVENT_INTERVAL: Final = 0.05  # s between two FeedbackReceived of one transport
LINGER: Final = 0.05  # s a report of arrivals waits for the next packet, on which it rides
CALM_INTERVAL: Final = 0.5  # s, when there is only to tell that all is well
MAX_CONTROL_RATE: Final = 200  # RTCP datagrams read per second and transport
MAX_REPAIR_RATE: Final = 1_000  # packets sent again per second and transport
SETTLE: Final = 1.0  # s after a stream's first packet until it is reported although layers are missing
MAX_REPORTS: Final = 31  # blocks in one packet
SINKS_PER_REPORT: Final = 12  # sender reports in one datagram
FIR_AFTER: Final = 2  # unanswered PLIs before FIR goes with them
_CLOCK_SETTLED: Final = 1.0  # s a publisher's clock may seem to move before it is taken anew


_SENDER_REPORT: Final = struct.Struct(">BBHIQIII")


class Feedback:
    """The RTCP of every transport of one engine."""

    def __init__(self, state: RelayState) -> None:
        self._state = state
        self._buffer = PacketBuffer(2048)
        self._handlers: dict[type, Callable[[Transport, Any, float], None]] = {
            SenderReport: self._sender_report,
            ReceiverReport: self._receiver_report,
            Nack: self._nack,
            Pli: self._pli,
            Fir: self._fir,
            Remb: self._remb,
            Bye: self._bye,
            ExtendedReport: self._extended_report,
            TransportFeedback: self._transport_feedback,
        }

    # ------------------------------------------------------------------ arriving

    def received(self, transport: Transport, data: bytes, now: float) -> None:
        """One clear RTCP datagram of a transport."""
        if now - transport.control_since >= 1.0:
            transport.control_since = now
            transport.control_count = transport.repair_count = 0
        transport.control_count += 1
        if transport.control_count > MAX_CONTROL_RATE:
            self._state.counters["rtcp_limited"] += 1
            return
        try:
            if is_alone(data):
                self._fold(transport, data, now)
                return
            packets = parse_compound(data)
        except PacketError:
            self._state.counters["rtcp_malformed"] += 1
            return
        for packet in packets:
            handler = self._handlers.get(type(packet))
            if handler is not None:
                handler(transport, packet, now)

    def _sender_report(self, transport: Transport, report: SenderReport, now: float) -> None:
        stream = transport.streams.streams.get(report.ssrc)
        if stream is not None:
            stream.reception.sender_report(report.ntp_time, now)
            if not stream.repair:
                self._clock(transport, stream.layer, report, now)
        self._blocks(transport, report.reports, now)

    def _clock(self, transport: Transport, layer: SourceLayer, report: SenderReport, now: float) -> None:
        """Place the publisher's clock on ours: the fastest report of all its streams was delayed least."""
        sent = ntp.to_unix(report.ntp_time)
        shift = self._state.wallclock(now) - sent
        known = transport.clock_shift
        if known is None or shift < known or shift - known > _CLOCK_SETTLED:
            transport.clock_shift = known = shift
        layer.report = (sent + known, report.rtp_timestamp)

    def _receiver_report(self, transport: Transport, report: ReceiverReport, now: float) -> None:
        self._blocks(transport, report.reports, now)

    def _blocks(self, transport: Transport, blocks: tuple[ReportBlock, ...], now: float) -> None:
        worst = -1.0
        for block in blocks:
            found = transport.outgoing.get(block.ssrc)
            if found is None or found[1]:
                continue
            sink = found[0]
            sink.fraction_lost = block.fraction_lost / 256
            worst = max(worst, sink.fraction_lost)
            measured = round_trip_time(block, ntp.from_unix(self._state.wallclock(now)))
            if measured is not None:
                transport.rtt = measured
        if worst >= 0:
            transport.told_loss = worst
            transport.told_rtt = transport.rtt
            self._tell(transport, now, EVENT_INTERVAL if worst else CALM_INTERVAL)

    def _nack(self, transport: Transport, nack: Nack, now: float) -> None:
        found = transport.outgoing.get(nack.media_ssrc)
        if found is None or found[1]:
            return
        sink = found[0]
        sink.nacks += 1
        missed = False
        for sequence in nack.lost:
            if transport.repair_count >= MAX_REPAIR_RATE:
                self._state.counters["repair_limited"] += 1
                break
            transport.repair_count += 1
            missed = not sink.repair(sequence, now) or missed
        if missed and sink.video:
            self._key_frame_wanted(sink)

    def _pli(self, transport: Transport, pli: Pli, now: float) -> None:
        found = transport.outgoing.get(pli.media_ssrc)
        if found is not None:
            self._key_frame_wanted(found[0])

    def _fir(self, transport: Transport, fir: Fir, now: float) -> None:
        for ssrc, _ in fir.requests:
            found = transport.outgoing.get(ssrc)
            if found is not None:
                self._key_frame_wanted(found[0])

    def _key_frame_wanted(self, sink: Sink) -> None:
        sink.key_frame_requests += 1
        layer = sink.layer or sink.awaiting
        if layer is not None:
            layer.ask_key_frame()

    def _remb(self, transport: Transport, remb: Remb, now: float) -> None:
        transport.told_remb = remb.bitrate_bps
        self._tell(transport, now)

    def _bye(self, transport: Transport, bye: Bye, now: float) -> None:
        for ssrc in bye.ssrcs:
            stream = transport.streams.streams.get(ssrc)
            if stream is not None and not stream.repair and stream.layer.ssrc == ssrc:
                stream.layer.ended()

    def _extended_report(self, transport: Transport, report: ExtendedReport, now: float) -> None:
        if report.reference_time is not None:
            transport.reference = (report.ssrc, ntp.middle32(report.reference_time), now)

    def _transport_feedback(self, transport: Transport, feedback: TransportFeedback, now: float) -> None:
        """Feedback that came in a compound: rare, so it may take the long way."""
        try:
            self._fold(transport, feedback.to_bytes(), now)
        except PacketError:
            self._state.counters["rtcp_malformed"] += 1

    def _fold(self, transport: Transport, data: bytes, now: float) -> None:
        """Raises PacketError."""
        samples = transport.samples
        samples += transport.folder.fold(data, transport.sequence, transport.trains)
        if len(samples) > MAX_SAMPLES:
            self._state.counters["samples_dropped"] += len(samples) - MAX_SAMPLES
            del samples[:-MAX_SAMPLES]
        transport.carried(self._state)
        self._tell(transport, now, CALM_INTERVAL if transport.folder.calm else EVENT_INTERVAL)

    def _tell(self, transport: Transport, now: float, interval: float = EVENT_INTERVAL) -> None:
        """Hand up what has been collected, now or when the interval has passed."""
        if now - transport.told_at < interval:
            transport.untold = True
            if interval == EVENT_INTERVAL and transport not in self._state.telling:
                self._state.telling.add(transport)
                self._state.hurry = True
            return
        transport.told_at = now
        transport.untold = False
        self._state.telling.discard(transport)
        self._state.events.put(
            FeedbackReceived(
                transport=transport.number,
                samples=tuple(transport.samples),
                fraction_lost=transport.told_loss,
                rtt=transport.told_rtt,
                remb=transport.told_remb,
            ),
            soon=interval == EVENT_INTERVAL,
        )
        transport.samples = []
        transport.told_loss = transport.told_rtt = -1.0
        transport.told_remb = 0

    # ------------------------------------------------------------------ leaving

    def urgent(self, now: float) -> float | None:
        """What cannot wait: losses, key frames, arrivals, collected events. The next deadline, None without one."""
        state = self._state
        deadline = math.inf
        for layer in list(state.repairing):
            deadline = min(deadline, self._repair(layer, now))
        for layer in list(state.asking):
            deadline = min(deadline, self._ask(layer, now))
        for transport in list(state.reporting):
            deadline = min(deadline, self._report_arrivals(transport, now))
        for transport in list(state.telling):
            if now - transport.told_at >= EVENT_INTERVAL:
                self._tell(transport, now)
            else:
                deadline = min(deadline, transport.told_at + EVENT_INTERVAL)
        return None if deadline == math.inf else deadline

    def _repair(self, layer: SourceLayer, now: float) -> float:
        transport = self._state.transports.get(layer.source.transport)
        if transport is None:
            self._state.repairing.discard(layer)
            return math.inf
        repair = layer.losses.poll(now, max(transport.rtt, 0.0))
        if repair.lost and transport.kind is not TransportKind.PLAIN:
            self._send(
                transport, Nack(sender_ssrc=transport.feedback_ssrc, media_ssrc=layer.ssrc, lost=repair.lost)
            )
        if repair.give_up:
            layer.ask_key_frame()
        deadline = layer.losses.next_deadline
        if deadline is None:
            self._state.repairing.discard(layer)
            return math.inf
        return deadline

    def _ask(self, layer: SourceLayer, now: float) -> float:
        """A key frame is due: ask when the last request is a second old."""
        state = self._state
        if not layer.ask_due and not layer.awaited:
            state.asking.discard(layer)
            return math.inf
        transport = state.transports.get(layer.source.transport)
        if transport is None:
            if not self._ask_writer(layer, now):
                return max(now, layer.asked_at + KEY_FRAME_INTERVAL)
            state.asking.discard(layer)
            return math.inf
        if not layer.ssrc or not transport.connected:
            return now + KEY_FRAME_INTERVAL  # its first packet asks sooner
        if now - layer.asked_at >= KEY_FRAME_INTERVAL:
            layer.asked_at = now
            layer.ask_due = False
            layer.key_frame_requests += 1
            requests: list[RtcpPacket] = [Pli(sender_ssrc=transport.feedback_ssrc, media_ssrc=layer.ssrc)]
            if layer.asked_unanswered >= FIR_AFTER:
                number = layer.asked_unanswered & 0xFF
                requests.append(Fir(sender_ssrc=transport.feedback_ssrc, requests=((layer.ssrc, number),)))
            layer.asked_unanswered += 1
            self._send(transport, *requests)
        return layer.asked_at + KEY_FRAME_INTERVAL

    def report_due(self, now: float) -> None:
        """Report arrivals to publishers of which some just came: they are awake, and so are we."""
        due = self._state.due
        while due:
            self._report_arrivals(due.pop(), now)

    def _report_arrivals(self, transport: Transport, now: float) -> float:
        """Report what is due; when to look again if nothing more arrives, which usually makes that needless."""
        arrivals = transport.arrivals
        if arrivals is None:
            return math.inf
        while (body := arrivals.feedback(now)) is not None:
            self._send_bytes(transport, pack_packet(transport.feedback_ssrc, transport.media_ssrc, body))
        transport.arrivals_due = arrivals.interval_ends
        deadline = arrivals.next_deadline
        if deadline is None:
            self._state.reporting.discard(transport)
            return math.inf
        return deadline + LINGER

    def _ask_writer(self, layer: SourceLayer, now: float) -> bool:
        """The same for a source that an injection feeds; False when it is too soon."""
        if now - layer.asked_at < KEY_FRAME_INTERVAL:
            return False
        layer.asked_at = now
        layer.ask_due = False
        layer.key_frame_requests += 1
        request = Record(kind=KEY_FRAME_REQUEST, source=layer.source.number, layer=layer.index).to_bytes()
        for injection in self._state.injections.values():
            if layer.source.number in injection.sources:
                injection.send(request)
        return True

    def regular(self, now: float) -> None:
        """A few times a second: reports that are due, rates, stalls."""
        for transport in self._state.transports.values():
            transport.receive_rate.update(transport.bytes_received, now)
            transport.send_rate.update(transport.bytes_sent, now)
            if transport.untold:
                self._tell(transport, now, CALM_INTERVAL)
            for sink in transport.sinks.values():
                sink.rate.update(sink.octets, now)
            if now >= transport.report_at and transport.connected:
                spread = 0.9 + 0.2 * ((transport.number * 0.618 + now) % 1.0)
                interval = (
                    REPORT_INTERVAL if transport.sources or not transport.compound_sent else VIEWER_INTERVAL
                )
                transport.report_at = now + interval * spread
                self._report(transport, now)
        for source in self._state.sources.values():
            for layer in source.layers:
                layer.tick(now)

    def _report(self, transport: Transport, now: float) -> None:
        """SR or RR, SDES, and what rides along (RFC 3550 6.1)."""
        blocks = self._report_blocks(transport, now)[:MAX_REPORTS]
        senders = [sink for sink in transport.sinks.values() if sink.packets and sink.last is not None]
        if not senders and not blocks:
            return
        extra = self._extra(transport, blocks, now)
        if not senders:
            self._send_bytes(transport, pack(*self._compound_start(transport, tuple(blocks)), *extra))
            return
        for start in range(0, len(senders), SINKS_PER_REPORT):
            group = senders[start : start + SINKS_PER_REPORT]
            reports = [self._sender_info(group[0], blocks, now)]
            reports += [self._sender_info(sink, [], now) for sink in group[1:]]
            names = [sink.description for sink in group]
            self._send_bytes(transport, b"".join([*reports, *names, pack(*extra)]))
            blocks, extra = [], []

    def _report_blocks(self, transport: Transport, now: float) -> list[ReportBlock]:
        streams = transport.streams.streams
        blocks = []
        for stream in streams.values():
            if now - stream.started >= SETTLE or _all_seen(stream, streams):
                block = stream.reception.report_block(stream.ssrc, now)
                if block is not None:
                    blocks.append(block)
        return blocks

    def _extra(self, transport: Transport, blocks: list[ReportBlock], now: float) -> list[RtcpPacket]:
        extra: list[RtcpPacket] = []
        if transport.reference is not None:
            ssrc, middle, at = transport.reference
            item = DlrrItem(ssrc=ssrc, last_rr=middle, delay=round((now - at) * 65_536) & 0xFFFFFFFF)
            extra.append(ExtendedReport(ssrc=transport.feedback_ssrc, dlrr=(item,)))
            transport.reference = None
        if transport.remb and blocks:
            fraction = max(block.fraction_lost for block in blocks) / 256
            rate = transport.allowed.update(transport.receive_rate.bits, fraction)
            ssrcs = tuple(block.ssrc for block in blocks)
            extra.append(Remb(sender_ssrc=transport.feedback_ssrc, bitrate_bps=rate, ssrcs=ssrcs))
        return extra

    def _sender_info(self, sink: Sink, blocks: list[ReportBlock], now: float) -> bytes:
        """An SR, built without objects because every viewer gets one."""
        wallclock = self._state.wallclock(now)
        head = _SENDER_REPORT.pack(
            0x80 | len(blocks),
            200,
            6 + 6 * len(blocks),
            sink.ssrc,
            ntp.from_unix(wallclock),
            sink.timestamp_at(wallclock, now),
            sink.packets & 0xFFFFFFFF,
            sink.octets & 0xFFFFFFFF,
        )
        return head + b"".join([block.to_bytes() for block in blocks])

    def goodbye(self, transport: Transport, ssrcs: list[int]) -> None:
        """BYE for sinks that go, when their peer can be told."""
        if transport.connected and ssrcs:
            for start in range(0, len(ssrcs), MAX_REPORTS):
                packets = [
                    *self._compound_start(transport, ()),
                    Bye(ssrcs=tuple(ssrcs[start : start + MAX_REPORTS])),
                ]
                self._send_bytes(transport, pack(*packets))

    def _compound_start(self, transport: Transport, blocks: tuple[ReportBlock, ...]) -> list[RtcpPacket]:
        return [
            ReceiverReport(ssrc=transport.feedback_ssrc, reports=blocks),
            SourceDescription.of_cname(transport.feedback_ssrc, transport.cname),
        ]

    def _send(self, transport: Transport, *packets: RtcpPacket) -> None:
        self._send_bytes(transport, pack(*packets))

    def _send_bytes(self, transport: Transport, data: bytes) -> None:
        """Protect and send; feedback gets a report in front of it where the peer has seen none or wants it always."""
        way = transport.selected
        if way is None:
            return
        if data[1] > 203 and not (transport.reduced_size and transport.compound_sent):
            data = pack(*self._compound_start(transport, ())) + data
        if data[1] <= 203:
            transport.compound_sent = True
        size = len(data)
        buffer = self._buffer
        if size + MAX_TRAILER > len(buffer.data):
            self._state.counters["rtcp_too_long"] += 1
            return
        buffer.data[:size] = data
        if transport.protected:
            if transport.sender is None:
                return
            buffer.length[0] = size
            if protect_rtcp(transport.sender.handle, buffer.base, buffer.length) != OK:
                self._state.counters["protect_failed"] += 1
                return
            size = buffer.length[0]
        way.port.send(buffer.view[:size], way.to)


def _all_seen(stream: Stream, streams: dict[int, Stream]) -> bool:
    """Whether every layer of this stream's source is known by SSRC (and reports can no longer lose us names)."""
    source = stream.layer.source
    seen = {
        other.layer.index for other in streams.values() if other.layer.source is source and not other.repair
    }
    return len(seen) == len(source.layers)
