//! What peers report and ask by RTCP, and what we ask of them and tell control at once: losses, arrivals, measurements.
//!
//! What a peer can make us do is bounded: datagrams read per second, repairs per second and per packet.

use crate::keys::{LayerKey, TransportKey};
use crate::messages::{Event, TransportKind};
use crate::ntp;
use crate::reception::round_trip_time;
use crate::rtcp::{
    Packet, ReportBlock, is_transport_feedback, parse_compound, write_nack, write_transport_feedback,
};
use crate::sink::Sink;
use crate::state::State;
use crate::transport::MAX_SAMPLES;

/// Seconds between two FeedbackReceived of one transport when there is only to tell that all is well.
pub const CALM_INTERVAL: f64 = 0.5;
const EVENT_INTERVAL: f64 = 0.05; // s, when there is more to tell
const LINGER: f64 = 0.05; // s a report of arrivals waits for the next packet, on which it rides
const MAX_CONTROL_RATE: u32 = 200; // RTCP datagrams read per second and transport
const MAX_REPAIR_RATE: u32 = 1_000; // packets sent again per second and transport
const CLOCK_SETTLED: f64 = 1.0; // s a publisher's clock may seem to move before it is taken anew

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
    pub(crate) fn hand_up(&mut self, key: TransportKey, now: f64, interval: f64) {
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
}
