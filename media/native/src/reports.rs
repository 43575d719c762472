//! Our RTCP on its way out: sender and receiver reports, compound and about once a second (RFC 3550 6.1); feedback in
//! between is reduced-size where the peer agreed (RFC 5506).

use crate::feedback::CALM_INTERVAL;
use crate::keys::{LayerKey, SinkKey, TransportKey};
use crate::ntp;
use crate::rtcp::{
    DlrrItem, MAX_COUNT, ReportBlock, write_bye, write_dlrr, write_receiver_report, write_remb,
    write_sdes_cname, write_sender_report,
};
use crate::sink::Sink;
use crate::srtp::MAX_TRAILER;
use crate::state::State;

const REPORT_INTERVAL: f64 = 1.0; // s, spread by a tenth either way
const VIEWER_INTERVAL: f64 = 2.0; // s, towards peers that only receive, once they have had their first report
const SETTLE: f64 = 1.0; // s after a stream's first packet until it is reported although layers are missing
const SINKS_PER_REPORT: usize = 12; // sender reports in one datagram
const MAX_LENGTH: usize = 2048; // bytes of one datagram, protected

impl State {
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
