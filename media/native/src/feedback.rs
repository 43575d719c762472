//! RTCP both ways: what peers report and ask, and what we report to and ask of them.
//!
//! Reports are compound (RFC 3550 6.1) about once a second; feedback in between is reduced-size where the peer agreed
//! (RFC 5506). What a peer can make us do is bounded: datagrams read per second, repairs per second and per packet.

use crate::keys::{LayerKey, SinkKey, TransportKey};
use crate::messages::{Event, TransportKind};
use crate::ntp;
use crate::reception::round_trip_time;
use crate::rtcp::{
    DlrrItem, MAX_COUNT, Packet, ReportBlock, is_transport_feedback, parse_compound, write_bye, write_dlrr,
    write_nack, write_receiver_report, write_remb, write_sdes_cname, write_sender_report,
    write_transport_feedback,
};
use crate::sink::Sink;
use crate::srtp::MAX_TRAILER;
use crate::state::State;
use crate::transport::MAX_SAMPLES;

const REPORT_INTERVAL: f64 = 1.0; // s, spread by a tenth either way
const VIEWER_INTERVAL: f64 = 2.0; // s, towards peers that only receive, once they have had their first report
const EVENT_INTERVAL: f64 = 0.05; // s between two FeedbackReceived of one transport
const LINGER: f64 = 0.05; // s a report of arrivals waits for the next packet, on which it rides
const CALM_INTERVAL: f64 = 0.5; // s, when there is only to tell that all is well
const MAX_CONTROL_RATE: u32 = 200; // RTCP datagrams read per second and transport
const MAX_REPAIR_RATE: u32 = 1_000; // packets sent again per second and transport
const SETTLE: f64 = 1.0; // s after a stream's first packet until it is reported although layers are missing
const SINKS_PER_REPORT: usize = 12; // sender reports in one datagram
const CLOCK_SETTLED: f64 = 1.0; // s a publisher's clock may seem to move before it is taken anew
const MAX_LENGTH: usize = 2048; // bytes of one datagram, protected

// --------------------------------------------------------------------------- arriving

impl State {
    /// One clear RTCP datagram of a transport.
    pub fn control_received(&mut self, key: TransportKey, data: &[u8], now: f64) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if now - transport.control_since >= 1.0 {
            transport.control_since = now;
            transport.control_count = 0;
            transport.repair_count = 0;
        }
        transport.control_count += 1;
        if transport.control_count > MAX_CONTROL_RATE {
            self.counters.add("rtcp_limited");
            return;
        }
        if is_transport_feedback(data) {
            self.fold(key, data, now);
            return;
        }
        let Ok(packets) = parse_compound(data) else {
            self.counters.add("rtcp_malformed");
            return;
        };
        for packet in packets {
            self.control_packet(key, packet, now);
        }
    }

    fn control_packet(&mut self, key: TransportKey, packet: Packet, now: f64) {
        match packet {
            Packet::SenderReport { ssrc, ntp_time, rtp_timestamp, reports, .. } => {
                self.sender_report(key, ssrc, ntp_time, rtp_timestamp, now);
                self.blocks(key, &reports, now);
            }
            Packet::ReceiverReport { reports, .. } => self.blocks(key, &reports, now),
            Packet::Nack { media_ssrc, lost, .. } => self.nack(key, media_ssrc, &lost, now),
            Packet::Pli { media_ssrc, .. } => self.pli(key, media_ssrc),
            Packet::Fir { requests, .. } => {
                for (ssrc, _) in requests {
                    self.pli(key, ssrc);
                }
            }
            Packet::Remb { bitrate, .. } => {
                if let Some(transport) = self.transports.get_mut(key) {
                    transport.told_remb = bitrate;
                }
                self.hand_up(key, now, EVENT_INTERVAL);
            }
            Packet::Bye { ssrcs } => {
                for ssrc in ssrcs {
                    let stream = self.transports.get(key).and_then(|transport| transport.streams.get(&ssrc));
                    if let Some(layer) = stream.filter(|stream| !stream.repair).map(|stream| stream.layer)
                        && self.layers.get(layer).is_some_and(|layer| layer.ssrc == ssrc)
                    {
                        self.ended(layer);
                    }
                }
            }
            Packet::ExtendedReport { ssrc, reference_time: Some(reference), .. } => {
                if let Some(transport) = self.transports.get_mut(key) {
                    transport.reference = Some((ssrc, ntp::middle32(reference), now));
                }
            }
            // Feedback that came in a compound is rare.
            Packet::TransportFeedback(bytes) => self.fold(key, &bytes, now),
            Packet::ExtendedReport { .. } | Packet::Other => {}
        }
    }

    fn sender_report(&mut self, key: TransportKey, ssrc: u32, ntp_time: u64, rtp_timestamp: u32, now: f64) {
        let wallclock = self.wallclock(now);
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let Some(stream) = transport.streams.get_mut(&ssrc) else {
            return;
        };
        stream.reception.sender_report(ntp_time, now);
        if stream.repair {
            return;
        }
        // Place the publisher's clock on ours: the fastest report of all its streams was delayed least.
        let layer = stream.layer;
        let sent = ntp::to_unix(ntp_time);
        let shift = wallclock - sent;
        let known = match transport.clock_shift {
            Some(known) if known <= shift && shift - known <= CLOCK_SETTLED => known,
            _ => shift,
        };
        transport.clock_shift = Some(known);
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.report = Some((sent + known, rtp_timestamp));
        }
    }

    fn blocks(&mut self, key: TransportKey, blocks: &[ReportBlock], now: f64) {
        let ntp_now = ntp::from_unix(self.wallclock(now));
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let mut worst = -1.0f64;
        for block in blocks {
            let Some((sink, false)) = transport.outgoing.get(&block.ssrc) else {
                continue;
            };
            let Some(peer) = self.sinks.get_mut(*sink).and_then(Sink::peer_mut) else {
                continue;
            };
            peer.fraction_lost = f64::from(block.fraction_lost) / 256.0;
            worst = worst.max(peer.fraction_lost);
            if let Some(measured) = round_trip_time(block.last_sr, block.delay_since_last_sr, ntp_now) {
                transport.rtt = measured;
            }
        }
        if worst >= 0.0 {
            transport.told_loss = worst;
            transport.told_rtt = transport.rtt;
            self.hand_up(key, now, if worst > 0.0 { EVENT_INTERVAL } else { CALM_INTERVAL });
        }
    }

    fn nack(&mut self, key: TransportKey, media_ssrc: u32, lost: &[u16], now: f64) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let Some((sink, false)) = transport.outgoing.get(&media_ssrc).copied() else {
            return;
        };
        if let Some(peer) = self.sinks.get_mut(sink).and_then(Sink::peer_mut) {
            peer.nacks += 1;
        }
        let mut missed = false;
        for sequence in lost {
            let Some(transport) = self.transports.get_mut(key) else {
                return;
            };
            if transport.repair_count >= MAX_REPAIR_RATE {
                self.counters.add("repair_limited");
                break;
            }
            transport.repair_count += 1;
            missed = !self.repair(sink, *sequence, now) || missed;
        }
        if missed && self.sinks.get(sink).is_some_and(|sink| sink.video) {
            self.key_frame_wanted(sink);
        }
    }

    fn fold(&mut self, key: TransportKey, data: &[u8], now: f64) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        let (sequence, trains, samples) = (transport.sequence, &mut transport.trains, &mut transport.samples);
        if transport.folder.fold(data, sequence, trains, samples).is_err() {
            self.counters.add("rtcp_malformed");
            return;
        }
        if samples.len() > MAX_SAMPLES {
            let excess = samples.len() - MAX_SAMPLES;
            self.counters.add_many("samples_dropped", excess as u64);
            samples.drain(..excess);
        }
        let calm = transport.folder.calm;
        self.carried(key);
        self.hand_up(key, now, if calm { CALM_INTERVAL } else { EVENT_INTERVAL });
    }

    /// Hand up what has been collected, now or when the interval has passed.
    fn hand_up(&mut self, key: TransportKey, now: f64, interval: f64) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if now - transport.told_at < interval {
            transport.untold = true;
            if interval == EVENT_INTERVAL && self.telling.insert(key) {
                self.hurry = true;
            }
            return;
        }
        transport.told_at = now;
        transport.untold = false;
        self.telling.remove(&key);
        let event = Event::FeedbackReceived {
            transport: transport.number,
            samples: std::mem::take(&mut transport.samples),
            fraction_lost: std::mem::replace(&mut transport.told_loss, -1.0),
            rtt: std::mem::replace(&mut transport.told_rtt, -1.0),
            remb: std::mem::take(&mut transport.told_remb) as i64,
        };
        self.events.put(event, interval == EVENT_INTERVAL);
    }
}

// --------------------------------------------------------------------------- leaving

impl State {
    /// What cannot wait: losses, key frames, arrivals, collected events. The next deadline, None without one.
    pub fn urgent(&mut self, now: f64) -> Option<f64> {
        let mut deadline = f64::INFINITY;
        for layer in self.repairing.iter().copied().collect::<Vec<_>>() {
            deadline = deadline.min(self.repair_layer(layer, now));
        }
        for layer in self.asking.iter().copied().collect::<Vec<_>>() {
            deadline = deadline.min(self.ask(layer, now));
        }
        for transport in self.reporting.iter().copied().collect::<Vec<_>>() {
            deadline = deadline.min(self.report_arrivals(transport, now));
        }
        for key in self.telling.iter().copied().collect::<Vec<_>>() {
            let told_at = self.transports.get(key).map_or(f64::NEG_INFINITY, |transport| transport.told_at);
            if now - told_at >= EVENT_INTERVAL {
                self.telling.remove(&key);
                self.hand_up(key, now, EVENT_INTERVAL);
            } else {
                deadline = deadline.min(told_at + EVENT_INTERVAL);
            }
        }
        deadline.is_finite().then_some(deadline)
    }

    /// The transport that a layer arrives on.
    pub(crate) fn publisher_of(&self, layer: LayerKey) -> Option<TransportKey> {
        let source = self.sources.get(self.layers.get(layer)?.source)?;
        self.transport_ids.get(&source.transport).copied()
    }

    fn repair_layer(&mut self, key: LayerKey, now: f64) -> f64 {
        let publisher = self.publisher_of(key);
        let transport = publisher.and_then(|publisher| self.transports.get(publisher));
        let (Some(publisher), Some(transport), Some(layer)) =
            (publisher, transport, self.layers.get_mut(key))
        else {
            self.repairing.remove(&key);
            return f64::INFINITY;
        };
        let repair = layer.losses.poll(now, transport.rtt.max(0.0));
        let media_ssrc = layer.ssrc;
        let deadline = layer.losses.next_deadline();
        if !repair.lost.is_empty() && transport.kind != TransportKind::Plain {
            let mut data = Vec::new();
            write_nack(&mut data, transport.feedback_ssrc, media_ssrc, &repair.lost);
            self.send_control(publisher, data);
        }
        if repair.give_up {
            self.ask_key_frame(key);
        }
        match deadline {
            Some(deadline) => deadline,
            None => {
                self.repairing.remove(&key);
                f64::INFINITY
            }
        }
    }

    /// Report arrivals to publishers of which some just came: they are awake, and so are we.
    pub fn report_due(&mut self, now: f64) {
        for key in std::mem::take(&mut self.due) {
            self.report_arrivals(key, now);
        }
    }

    /// Report what is due; when to look again if nothing more arrives, which usually makes that needless.
    fn report_arrivals(&mut self, key: TransportKey, now: f64) -> f64 {
        loop {
            let Some(transport) = self.transports.get_mut(key) else {
                self.reporting.remove(&key);
                return f64::INFINITY;
            };
            let Some(arrivals) = transport.arrivals.as_mut() else {
                return f64::INFINITY;
            };
            let Some(body) = arrivals.feedback(now) else {
                transport.arrivals_due = arrivals.interval_ends();
                return match arrivals.next_deadline() {
                    Some(deadline) => deadline + LINGER,
                    None => {
                        self.reporting.remove(&key);
                        f64::INFINITY
                    }
                };
            };
            let mut data = Vec::new();
            write_transport_feedback(&mut data, transport.feedback_ssrc, transport.media_ssrc, &body);
            self.send_control(key, data);
        }
    }

    /// A few times a second: reports that are due, rates, stalls.
    pub fn regular(&mut self, now: f64) {
        for key in self.transports.keys().collect::<Vec<_>>() {
            let Some(transport) = self.transports.get_mut(key) else {
                continue;
            };
            transport.receive_rate.update(transport.bytes_received, now);
            transport.send_rate.update(transport.bytes_sent, now);
            for sink in &transport.sinks {
                if let Some(peer) = self.sinks.get_mut(*sink).and_then(Sink::peer_mut) {
                    peer.rate.update(peer.octets, now);
                }
            }
            let due = now >= transport.report_at && transport.connected();
            if due {
                let spread = 0.9 + 0.2 * ((transport.number as f64 * 0.618 + now) % 1.0);
                let publishes = !transport.sources.is_empty() || !transport.compound_sent;
                let interval = if publishes { REPORT_INTERVAL } else { VIEWER_INTERVAL };
                transport.report_at = now + interval * spread;
            }
            if transport.untold {
                self.hand_up(key, now, CALM_INTERVAL);
            }
            if due {
                self.report(key, now);
            }
        }
        for key in self.layers.keys().collect::<Vec<_>>() {
            self.tick_layer(key, now);
        }
    }

    /// SR or RR, SDES, and what rides along (RFC 3550 6.1).
    fn report(&mut self, key: TransportKey, now: f64) {
        let mut blocks = self.report_blocks(key, now);
        blocks.truncate(MAX_COUNT);
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let sends = |sink: &&SinkKey| {
            let peer = self.sinks.get(**sink).and_then(Sink::peer);
            peer.is_some_and(|peer| peer.packets > 0 && peer.last.is_some())
        };
        let senders: Vec<SinkKey> = transport.sinks.iter().filter(sends).copied().collect();
        if senders.is_empty() && blocks.is_empty() {
            return;
        }
        let mut extra = self.extra(key, &blocks, now);
        if senders.is_empty() {
            let mut data = self.compound_start(key, &blocks);
            data.append(&mut extra);
            self.send_control(key, data);
            return;
        }
        let wallclock = self.wallclock(now);
        for group in senders.chunks(SINKS_PER_REPORT) {
            let mut data = Vec::new();
            for sink in group {
                let timestamp = self.timestamp_at(*sink, wallclock, now);
                let Some(peer) = self.sinks.get(*sink).and_then(Sink::peer) else {
                    continue;
                };
                let (packets, octets) = (peer.packets, peer.octets);
                let ntp_time = ntp::from_unix(wallclock);
                write_sender_report(&mut data, peer.ssrc, ntp_time, timestamp, packets, octets, &blocks);
                blocks.clear();
            }
            for peer in group.iter().filter_map(|sink| self.sinks.get(*sink).and_then(Sink::peer)) {
                data.extend_from_slice(&peer.description);
            }
            data.append(&mut extra);
            self.send_control(key, data);
        }
    }

    fn report_blocks(&mut self, key: TransportKey, now: f64) -> Vec<ReportBlock> {
        let Some(transport) = self.transports.get(key) else {
            return Vec::new();
        };
        let settled: Vec<u32> = transport
            .streams
            .iter()
            .filter(|(_, stream)| now - stream.started >= SETTLE || self.all_seen(key, stream.layer))
            .map(|(ssrc, _)| *ssrc)
            .collect();
        let Some(transport) = self.transports.get_mut(key) else {
            return Vec::new();
        };
        let block = |ssrc| transport.streams.get_mut(&ssrc)?.reception.report_block(ssrc, now);
        settled.into_iter().filter_map(block).collect()
    }

    /// Whether every layer of this layer's source is known by SSRC (and reports can no longer lose us names).
    fn all_seen(&self, key: TransportKey, layer: LayerKey) -> bool {
        let source = self.layers.get(layer).and_then(|layer| self.sources.get(layer.source));
        let (Some(source), Some(transport)) = (source, self.transports.get(key)) else {
            return false;
        };
        let seen = |layer: &LayerKey| {
            transport.streams.values().any(|stream| stream.layer == *layer && !stream.repair)
        };
        source.layers.iter().all(seen)
    }

    fn extra(&mut self, key: TransportKey, blocks: &[ReportBlock], now: f64) -> Vec<u8> {
        let mut extra = Vec::new();
        let Some(transport) = self.transports.get_mut(key) else {
            return extra;
        };
        if let Some((ssrc, middle, at)) = transport.reference.take() {
            let delay = ((now - at) * 65_536.0).round() as i64 as u32;
            write_dlrr(&mut extra, transport.feedback_ssrc, &[DlrrItem { ssrc, last_rr: middle, delay }]);
        }
        if let Some(worst) = blocks.iter().map(|block| block.fraction_lost).max().filter(|_| transport.remb) {
            let received = transport.receive_rate.bits;
            let rate = transport.allowed.update(received, f64::from(worst) / 256.0);
            let ssrcs: Vec<u32> = blocks.iter().map(|block| block.ssrc).collect();
            write_remb(&mut extra, transport.feedback_ssrc, rate as u64, &ssrcs);
        }
        extra
    }

    /// BYE for sinks that go, when their peer can be told.
    pub fn goodbye(&mut self, key: TransportKey, ssrcs: &[u32]) {
        if !self.connected(key) {
            return;
        }
        for group in ssrcs.chunks(MAX_COUNT) {
            let mut data = self.compound_start(key, &[]);
            write_bye(&mut data, group);
            self.send_control(key, data);
        }
    }

    fn compound_start(&self, key: TransportKey, blocks: &[ReportBlock]) -> Vec<u8> {
        let mut data = Vec::new();
        if let Some(transport) = self.transports.get(key) {
            write_receiver_report(&mut data, transport.feedback_ssrc, blocks);
            write_sdes_cname(&mut data, transport.feedback_ssrc, &transport.cname);
        }
        data
    }

    /// Protect and send; feedback gets a report in front of it where the peer has seen none or wants it always.
    pub(crate) fn send_control(&mut self, key: TransportKey, mut data: Vec<u8>) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let Some(way) = transport.selected.clone() else {
            return;
        };
        let Some(kind) = data.get(1).copied() else { return };
        if kind > 203 && !(transport.reduced_size && transport.compound_sent) {
            let mut whole = self.compound_start(key, &[]);
            whole.append(&mut data);
            data = whole;
        }
        let size = data.len();
        if size + MAX_TRAILER > MAX_LENGTH {
            self.counters.add("rtcp_too_long");
            return;
        }
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if data[1] <= 203 {
            transport.compound_sent = true;
        }
        if transport.protected {
            let Some(sender) = transport.sender.as_mut() else {
                return;
            };
            data.resize(size + MAX_TRAILER, 0);
            match sender.protect_rtcp(&mut data, size) {
                Ok(size) => data.truncate(size),
                Err(_) => {
                    self.counters.add("protect_failed");
                    return;
                }
            }
        }
        self.send_over(&way, &data);
    }
}
