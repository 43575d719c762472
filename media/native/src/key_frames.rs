//! Key frames: who waits for one joins where it starts, and who needs one has the publisher asked, by PLI (RFC 4585
//! 6.3.1), by FIR as well when that brings none (RFC 5104 4.3.1), or by a record; once a second and layer.

use std::rc::Rc;

use crate::keys::{LayerKey, SinkKey, TransportKey};
use crate::messages::Event;
use crate::packet::MediaPacket;
use crate::records::{KEY_FRAME_REQUEST, RecordHead, write_record};
use crate::rtcp::{write_fir, write_pli};
use crate::state::State;

const INTERVAL: f64 = 1.0; // s between two requests to one layer
const FIR_AFTER: u32 = 2; // unanswered PLIs before FIR goes with them

// --------------------------------------------------------------------------- arriving

impl State {
    /// A key frame starts at `start`; `newest` is the packet that showed it and is not yet kept or pending.
    pub(crate) fn key_frame(
        &mut self,
        key: LayerKey,
        start: i64,
        newest: Option<&Rc<MediaPacket>>,
        sequence: Option<u16>,
    ) {
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        let now = layer.last_arrival;
        layer.key_frames += 1;
        layer.key_number = start;
        layer.ask_due = false;
        layer.asked_unanswered = 0;
        if let Some(sequence) = sequence {
            layer.losses.key_frame(sequence);
        }
        let mut older: Vec<Rc<MediaPacket>> = layer.kept.take().unwrap_or_default();
        older.retain(|packet| packet.number >= start);
        let end = newest.map_or(layer.newest + 1, |packet| packet.number);
        if older.is_empty() {
            older = (start..end).filter_map(|number| layer.remembered(number, now)).collect();
        }
        layer.kept_bytes = older.iter().map(|packet| packet.payload.len()).sum();
        layer.kept = Some(older.clone());
        if let Some(packet) = newest {
            self.keep(key, packet);
        }
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        if now - layer.told_key_frame >= 1.0 {
            layer.told_key_frame = now;
            let (index, width, height) = (layer.index as i64, layer.width, layer.height);
            let source = self.source_number(self.layers[key].source);
            self.tell(Event::KeyFrameSeen {
                source,
                layer: index,
                width: width.into(),
                height: height.into(),
            });
        }
        if self.layers.get(key).is_some_and(|layer| !layer.awaited.is_empty()) {
            self.flush_layer(key);
            let waiting = self.layers.get(key).map_or_else(Vec::new, |layer| layer.awaited.clone());
            for sink in &waiting {
                self.join(*sink, key);
            }
            if !older.is_empty() {
                self.run(key, older, &waiting);
            }
        }
    }
}

// --------------------------------------------------------------------------- asking

impl State {
    /// A peer lost a picture of one of our streams.
    pub(crate) fn pli(&mut self, key: TransportKey, media_ssrc: u32) {
        let found = self.transports.get(key).and_then(|transport| transport.outgoing.get(&media_ssrc));
        if let Some((sink, _)) = found.copied() {
            self.key_frame_wanted(sink);
        }
    }

    /// Who is behind a track needs a key frame.
    pub(crate) fn key_frame_wanted(&mut self, key: SinkKey) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        let layer = sink.layer.or(sink.awaiting);
        if let Some(peer) = sink.peer_mut() {
            peer.key_frame_requests += 1;
        }
        if let Some(layer) = layer {
            self.ask_key_frame(layer);
        }
    }

    /// Somebody needs a key frame: asked for at once, or as soon as the last request is a second old.
    pub fn ask_key_frame(&mut self, key: LayerKey) {
        if let Some(layer) = self.layers.get_mut(key)
            && layer.video
        {
            layer.ask_due = true;
            self.asking.insert(key);
            self.hurry = true;
        }
    }

    /// A key frame is due: ask when the last request is a second old.
    pub(crate) fn ask(&mut self, key: LayerKey, now: f64) -> f64 {
        let publisher = self.publisher_of(key);
        let Some(layer) = self.layers.get_mut(key) else {
            self.asking.remove(&key);
            return f64::INFINITY;
        };
        if !layer.ask_due && layer.awaited.is_empty() {
            self.asking.remove(&key);
            return f64::INFINITY;
        }
        let ready = now - layer.asked_at >= INTERVAL;
        let next = layer.asked_at + INTERVAL;
        let Some((publisher, transport)) =
            publisher.and_then(|key| self.transports.get(key).map(|transport| (key, transport)))
        else {
            if !ready {
                return next.max(now);
            }
            layer.asked_at = now;
            layer.ask_due = false;
            layer.key_frame_requests += 1;
            self.ask_writer(key);
            self.asking.remove(&key);
            return f64::INFINITY;
        };
        if layer.ssrc == 0 || !transport.connected() {
            return now + INTERVAL; // its first packet asks sooner
        }
        if !ready {
            return next;
        }
        layer.asked_at = now;
        layer.ask_due = false;
        layer.key_frame_requests += 1;
        let mut data = Vec::new();
        write_pli(&mut data, transport.feedback_ssrc, layer.ssrc);
        if layer.asked_unanswered >= FIR_AFTER {
            write_fir(&mut data, transport.feedback_ssrc, &[(layer.ssrc, layer.asked_unanswered as u8)]);
        }
        layer.asked_unanswered += 1;
        self.send_control(publisher, data);
        now + INTERVAL
    }

    /// The same for a source that an injection feeds.
    fn ask_writer(&mut self, key: LayerKey) {
        let Some(layer) = self.layers.get(key) else { return };
        let source = self.source_number(layer.source);
        let head = RecordHead {
            kind: KEY_FRAME_REQUEST,
            source: source as u32,
            layer: layer.index as u8,
            ..RecordHead::default()
        };
        let mut request = Vec::new();
        write_record(&mut request, &head, &[]);
        for injection in self.injections.values_mut().filter(|injection| injection.sources.contains(&source))
        {
            injection.socket.send(&request);
        }
    }
}
