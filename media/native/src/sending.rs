//! Packets on their way to a peer: their numbers, repairs, the loop that sends, and the paths it sends over.
//!
//! `State::send` is where the time of the whole relay goes: per packet and viewer a header, one copy into the send
//! buffer, one protect in place; per train one message of the turn's `sendmmsg`.

use std::rc::Rc;

use crate::arrivals::SentTrain;
use crate::extensions::absolute_send_time;
use crate::keys::{LayerKey, SinkKey};
use crate::pacing::PacketClass;
use crate::packet::MediaPacket;
use crate::poll::monotonic;
use crate::ports::{Exit, Listener, Port, Way};
use crate::rewrite::{Stretch, extended_out, squeeze, timestamp_step};
use crate::sink::{OVERHEAD, PeerOutput, Sink};
use crate::state::State;
use crate::tcp::TcpConnection;
use crate::train::{Form, Placement, Train, plan};
use crate::transport::Queued;
use crate::vp8::{Picture, move_picture};

const MIN_REPAIR_INTERVAL: f64 = 0.010; // s between two repairs of one packet
const SQUEEZE_STEP: u32 = 135; // ticks between replayed frames: 1.5 ms at 90 kHz

impl State {
    // ------------------------------------------------------------------ numbering

    /// Give packets their numbers and send them now.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn transmit(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        identity: u64,
        packets: &[Rc<MediaPacket>],
        trains: &[Train],
        form: &Form,
        torn: bool,
    ) {
        let (Some(peer), Some(first)) = (self.peer_mut(key), packets.first()) else {
            return;
        };
        let current = peer.stretch.clone().filter(|stretch| stretch.layer == identity);
        let stretch = match current {
            None => self.start(key, layer, identity, first),
            Some(stretch) if torn => {
                let moved = Rc::new(stretch.after_drop(first.number, peer.next_out));
                peer.begins(moved.clone());
                moved
            }
            Some(stretch) => stretch,
        };
        let Some(peer) = self.peer(key) else { return };
        let (ssrc, transport) = (peer.ssrc, peer.transport);
        if let Some(way) = self.transports.get(transport).and_then(|transport| transport.selected.clone()) {
            self.send(key, trains, form, &stretch, ssrc, &way);
        }
        self.went(key, layer, packets, &stretch);
    }

    pub(crate) fn went(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        packets: &[Rc<MediaPacket>],
        stretch: &Stretch,
    ) {
        if let (Some(peer), Some(newest)) = (self.peer_mut(key), packets.last()) {
            peer.last = Some(newest.clone());
            peer.last_layer = Some(layer);
            peer.next_out = newest.number + stretch.offset + 1;
        }
    }

    /// A new stretch at `first`: numbers, time and pictures go on from what was sent before.
    pub(crate) fn start(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        identity: u64,
        first: &Rc<MediaPacket>,
    ) -> Rc<Stretch> {
        let replay = self.peer_mut(key).and_then(|peer| peer.replay.take());
        let (stamps, newest) = replay.unwrap_or_else(|| (vec![first.timestamp], first.clone()));
        let room = (stamps.len() as u32 - 1) * SQUEEZE_STEP; // ticks the frames before the newest need
        let mut made = Stretch::new(identity, first.number, 0, 0);
        if let Some(peer) = self.peer(key) {
            let at = match (&peer.last, &peer.last_stretch) {
                (Some(last), Some(before)) => {
                    let arrivals = newest.arrival - last.arrival;
                    let captured = self.capture_delta(peer.last_layer, last, layer, &newest);
                    let step = timestamp_step(peer.clock_rate, arrivals, captured);
                    let step = step.max(i64::from(room) + 1) as u32;
                    if last.picture.bits != 0 && first.picture.bits != 0 {
                        let (was, is) = (&last.picture, &first.picture);
                        made.picture_delta =
                            i64::from(was.number) + before.picture_delta + 1 - i64::from(is.number);
                        made.tl0_delta = i64::from(was.tl0) + before.tl0_delta + 1 - i64::from(is.tl0);
                    }
                    before.timestamp(last.timestamp).wrapping_add(step)
                }
                _ => peer.first_timestamp.wrapping_add(room),
            };
            made = Stretch {
                first_out: peer.next_out,
                offset: peer.next_out - first.number,
                timestamp_offset: at.wrapping_sub(newest.timestamp),
                squeezed: (room != 0).then(|| squeeze(&stamps, at, SQUEEZE_STEP)),
                ..made
            };
        }
        let stretch = Rc::new(made);
        if let Some(peer) = self.peer_mut(key) {
            peer.begins(stretch.clone());
        }
        self.tell_started(key, layer);
        stretch
    }

    /// Seconds between the capture of the last packet forwarded and of `first`, by the senders' reports.
    fn capture_delta(
        &self,
        before: Option<LayerKey>,
        last: &MediaPacket,
        layer: LayerKey,
        first: &MediaPacket,
    ) -> Option<f64> {
        let earlier = self.layers.get(before?)?.captured(last.timestamp)?;
        let later = self.layers.get(layer)?.captured(first.timestamp)?;
        Some(later - earlier)
    }

    /// The outgoing RTP timestamp of this instant, for sender reports.
    pub fn timestamp_at(&self, key: SinkKey, wallclock: f64, now: f64) -> u32 {
        let Some(peer) = self.peer(key) else { return 0 };
        let (Some(last), Some(stretch)) = (&peer.last, &peer.last_stretch) else {
            return peer.first_timestamp;
        };
        let layer = peer.last_layer.and_then(|layer| self.layers.get(layer));
        if let Some(layer) = layer.filter(|layer| layer.identity == stretch.layer)
            && let Some((reported_at, reported)) = layer.report
        {
            let moved = ((wallclock - reported_at) * f64::from(layer.clock_rate)).round() as i64;
            return (i64::from(reported) + moved + i64::from(stretch.timestamp_offset)) as u32;
        }
        let moved = ((now - last.arrival) * f64::from(peer.clock_rate)).round() as i64;
        (i64::from(stretch.timestamp(last.timestamp)) + moved) as u32
    }

    // ------------------------------------------------------------------ repair

    /// Answer a NACK for one 16-bit number by RTX; false when it cannot be, and a key frame is needed.
    ///
    /// A packet is sent again at most once per round trip.
    pub fn repair(&mut self, key: SinkKey, sequence: u16, now: f64) -> bool {
        let Some(sink) = self.sinks.get(key) else {
            return false;
        };
        let (number, Some(peer)) = (sink.number, sink.peer()) else {
            return false;
        };
        let out = extended_out(sequence, peer.next_out - 1);
        let Some(found) = self.sent(peer, out, now) else {
            return false;
        };
        if peer.repair_forms[found.codec as usize].is_none() {
            return false;
        }
        let (transport_key, last_layer, life) = (peer.transport, peer.last_layer, peer.life);
        let rtt = self.transports.get(transport_key).map_or(-1.0, |transport| transport.rtt);
        if peer.repaired.get(&out).is_some_and(|asked| now - asked < rtt.max(MIN_REPAIR_INTERVAL)) {
            return true;
        }
        if let Some(peer) = self.peer_mut(key) {
            peer.remember_repair(out, now);
        }
        let size = found.payload.len() + OVERHEAD;
        let pacer = self.transports.get_mut(transport_key).and_then(|transport| transport.pacer.as_mut());
        let Some(pacer) = pacer else {
            self.send_repair(key, &found, out);
            return true;
        };
        if pacer.try_spend(size, now, PacketClass::Repair) {
            self.send_repair(key, &found, out);
        } else if let Some(layer) = last_layer
            && let Some(identity) = self.layers.get(layer).map(|layer| layer.identity)
        {
            let item = Queued { sink: key, life, layer, identity, packet: found, torn: false, repair: out };
            pacer.enqueue(PacketClass::Repair, size, item, true, number as u32);
            self.release(transport_key);
        }
        true
    }

    /// The source packet that left under an extended number, while it is remembered.
    fn sent(&self, peer: &PeerOutput, out: i64, now: f64) -> Option<Rc<MediaPacket>> {
        let stretch = peer.log.by_out(out)?;
        let layer = self.layers.get(peer.last_layer?)?;
        if layer.identity != stretch.layer || out >= peer.next_out {
            return None;
        }
        layer.remembered(out - stretch.offset, now)
    }

    pub(crate) fn send_repair(&mut self, key: SinkKey, packet: &Rc<MediaPacket>, out: i64) {
        let Some(peer) = self.sinks.get_mut(key).and_then(Sink::peer_mut) else {
            return;
        };
        let (Some(stretch), Some(form)) = (peer.log.by_out(out), peer.repair_forms[packet.codec as usize])
        else {
            return;
        };
        let Some(way) = self.transports.get(peer.transport).and_then(|transport| transport.selected.clone())
        else {
            return;
        };
        let mut body = Vec::with_capacity(packet.payload.len() + 2);
        body.extend_from_slice(&(out as u16).to_be_bytes());
        body.extend_from_slice(&packet.payload);
        move_picture(&mut body[2..], &packet.picture, stretch.picture_delta as i32, stretch.tl0_delta as i32);
        let repair = Rc::new(MediaPacket {
            number: peer.repair_sequence,
            timestamp: packet.timestamp,
            marker: packet.marker,
            codec: packet.codec,
            payload: body.into(),
            arrival: packet.arrival,
            picture: Picture::NONE,
            level: packet.level,
            orientation: packet.orientation,
            before: None,
        });
        peer.repair_sequence += 1;
        peer.retransmitted += 1;
        let own = Stretch {
            timestamp_offset: stretch.timestamp_offset,
            squeezed: stretch.squeezed.clone(),
            ..Stretch::new(stretch.layer, 0, 0, 0)
        };
        let (packets, octets, ssrc) = (peer.packets, peer.octets, peer.rtx_ssrc);
        self.send(key, &plan(&[repair], &form), &form, &own, ssrc, &way);
        if let Some(peer) = self.peer_mut(key) {
            (peer.packets, peer.octets) = (packets, octets); // reports count the media stream only
        }
    }

    // ------------------------------------------------------------------ the loop

    /// Write each train into the send buffer in one go, protect its packets in place, let it go as one message.
    pub(crate) fn send(
        &mut self,
        key: SinkKey,
        trains: &[Train],
        form: &Form,
        stretch: &Stretch,
        ssrc: u32,
        way: &Way,
    ) {
        let Some(peer) = self.sinks.get_mut(key).and_then(Sink::peer_mut) else {
            return;
        };
        let Some(transport) = self.transports.get_mut(peer.transport) else {
            return;
        };
        let now = monotonic();
        let counted = peer.layout.transport_sequence;
        if let Some(at) = peer.layout.send_time_at {
            peer.layout.prefix[at..at + 3].copy_from_slice(&absolute_send_time(now));
        }
        let mut exit = Exit {
            out: &mut self.out,
            listeners: &mut self.listeners,
            touched: &mut self.touched,
            counters: &mut self.counters,
        };
        for train in trains {
            let place = exit.out.room(train.total, exit.counters);
            let memory = exit.out.memory(place, train.total);
            train.write(
                memory,
                &Placement {
                    offset: stretch.offset,
                    timestamp: stretch.timestamp(train.timestamp),
                    ssrc,
                    prefix: &peer.layout.prefix,
                    transport_sequence: counted.then_some(transport.sequence as u16),
                    picture_delta: stretch.picture_delta as i32,
                    tl0_delta: stretch.tl0_delta as i32,
                    form,
                },
            );
            if let Some(sender) = transport.sender.as_mut() {
                let count = train.count();
                let failed = memory
                    .chunks_mut(train.segment)
                    .zip(0..count)
                    .any(|(datagram, index)| sender.protect_rtp(datagram, train.member_len(index)).is_err());
                if failed {
                    // Never let clear bytes out: the whole train stays here.
                    exit.counters.add("protect_failed");
                    continue;
                }
            }
            exit.send_train(&way.port, place, train.total, train.segment);
            let count = train.count();
            if counted {
                transport.sent(SentTrain {
                    first: transport.sequence,
                    count: count as u32,
                    at: now,
                    segment: train.segment as u32,
                    last: train.last as u32,
                });
                transport.sequence += count as i64;
            }
            peer.packets += count as u64;
            peer.octets += train.octets as u64;
            transport.packets_sent += count as u64;
            transport.bytes_sent += train.total as u64;
        }
    }

    // ------------------------------------------------------------------ paths

    /// One packet over a path, at once; false when it was not sent (counted).
    pub fn send_over(&mut self, way: &Way, data: &[u8]) -> bool {
        Exit {
            out: &mut self.out,
            listeners: &mut self.listeners,
            touched: &mut self.touched,
            counters: &mut self.counters,
        }
        .send(&way.port, data)
    }

    /// Whether whoever sends over this path shall drop whole frames for now.
    #[inline]
    pub fn congested(&self, way: &Way) -> bool {
        match &way.port {
            Port::Udp(..) => false, // a full socket drops and counts; only TCP holds back
            Port::Tcp(listener, connection) => {
                self.connection(*listener, *connection).is_some_and(|c| c.congested)
            }
        }
    }

    /// Bytes that wait in front of the socket of a path.
    pub fn backlog(&self, way: &Way) -> usize {
        match &way.port {
            Port::Udp(..) => 0,
            Port::Tcp(listener, connection) => {
                self.connection(*listener, *connection).map_or(0, |c| c.backlog)
            }
        }
    }

    fn connection(&self, listener: i64, connection: u32) -> Option<&TcpConnection> {
        match self.listeners.get(&listener) {
            Some(Listener::Tcp(tcp)) => tcp.connections.get(&connection),
            _ => None,
        }
    }

    /// Let everything in the send buffer leave.
    pub fn flush_out(&mut self) {
        self.out.flush(&mut self.counters);
    }
}
