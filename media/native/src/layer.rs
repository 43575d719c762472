//! A layer of an incoming track: packets in, runs out to the sinks it feeds, and what is kept for those that come late.

use std::rc::Rc;

use crate::bounds::Rate;
use crate::drip::Drip;
use crate::error::Malformed;
use crate::h264::{KeyFrameDetector, KeyFrameStart};
use crate::h264_syntax::parse_sps;
use crate::history::History;
use crate::keys::{LayerKey, SinkKey, SourceKey};
use crate::messages::{Codec, Event, MediaKind};
use crate::nack::LossTracker;
use crate::packet::MediaPacket;
use crate::reception::Report;
use crate::rewrite::NumberLine;
use crate::sequence::difference32;
use crate::source::SourceCodec;
use crate::state::State;
use crate::train::Run;
use crate::vp8::{Picture, vp8_picture};

const KEPT_SECONDS: f64 = 4.0; // of packets since the last key frame
const KEPT_BYTES: usize = 4 * 1024 * 1024;
const HISTORY_SECONDS: f64 = 1.0;
const HISTORY_PACKETS: usize = 1_000;
const STALL_AFTER: f64 = 1.0; // s without a packet
const GATHER_LIMIT: usize = 64; // packets of a layer that wait for the end of a batch
/// Seconds that the beginning of a frame waits for its end, so that it leaves as one train.
pub const GATHER: f64 = 0.001;
const GATHER_FOR: usize = 4; // sinks from which on that is worth it
const MAX_JUMP: i64 = 3_000; // packets forward or back beyond which a layer begins a new life
const RESTART_STRAYS: u32 = 4; // late beyond that in a row
const NEVER: f64 = f64::NEG_INFINITY;

/// One layer: packets in, runs out to the sinks it feeds.
///
/// `feeding`: sinks that get every packet. `awaited`: sinks that switch to this layer at its next key frame.
pub struct Layer {
    /// Whose layer it is.
    pub source: SourceKey,
    /// Its place in rising quality.
    pub index: usize,
    /// "" without simulcast.
    pub rid: String,
    /// By SDP, 0 = not.
    pub signalled_ssrc: u32,
    /// By SDP, 0 = not.
    pub signalled_rtx_ssrc: u32,
    /// As seen, 0 = not yet; 1 = injected.
    pub ssrc: u32,
    /// Sinks that get every packet.
    pub feeding: Vec<SinkKey>,
    /// Sinks that wait for its key frame.
    pub awaited: Vec<SinkKey>,
    /// Changes with each life.
    pub identity: u64,
    /// Whether it is a picture.
    pub video: bool,

    line: NumberLine,
    pending: Vec<Rc<MediaPacket>>,
    history: History<Rc<MediaPacket>>,
    /// What is missing.
    pub losses: LossTracker,
    /// The replay of held packets.
    pub drip: Option<Drip>,
    /// Since the last key frame.
    pub kept: Option<Vec<Rc<MediaPacket>>>,
    /// Of these.
    pub kept_bytes: usize,
    last_audio: Option<(u32, Rc<[u8]>)>,
    h264: Option<KeyFrameDetector>,
    frame_start: (u32, i64), // (timestamp, number) of the frame being received
    strays: u32,
    pub(crate) newest: i64, // highest number

    /// What arrives.
    pub codec: Option<Codec>,
    /// Ticks a second.
    pub clock_rate: u32,
    /// Whether packets arrive.
    pub live: bool,
    /// Monotonic seconds, -1 = never.
    pub last_arrival: f64,
    last_timestamp: u32,
    /// The sender's last report.
    pub report: Option<Report>,

    /// Since the start.
    pub packets: u64,
    /// Since the start.
    pub bytes: u64,
    frames: u64,
    /// Since the start.
    pub key_frames: u64,
    /// Of the first packet of the last key frame.
    pub key_number: i64,
    /// Pixels, 0 = not known.
    pub width: u16,
    /// Pixels, 0 = not known.
    pub height: u16,
    /// Of the payload.
    pub rate: Rate,
    /// Frames a second.
    pub frame_rate: f64,
    frames_before: (u64, f64),
    /// Asked upstream since the start.
    pub key_frame_requests: u64,
    /// Last request upstream.
    pub asked_at: f64,
    /// Requests since the last key frame.
    pub asked_unanswered: u32,
    /// Somebody needs one.
    pub ask_due: bool,
    pub(crate) told_key_frame: f64,
}

impl Layer {
    /// Nothing arrived yet.
    pub fn new(source: SourceKey, kind: MediaKind, rid: &str, identity: u64) -> Layer {
        let video = kind == MediaKind::Video;
        Layer {
            source,
            index: 0,
            rid: rid.to_owned(),
            signalled_ssrc: 0,
            signalled_rtx_ssrc: 0,
            ssrc: 0,
            feeding: Vec::new(),
            awaited: Vec::new(),
            identity,
            video,
            line: NumberLine::new(),
            pending: Vec::new(),
            history: History::new(HISTORY_PACKETS, HISTORY_SECONDS),
            losses: LossTracker::new(),
            drip: None,
            kept: None,
            kept_bytes: 0,
            last_audio: None,
            h264: None,
            frame_start: (0, 0),
            strays: 0,
            newest: -1,
            codec: None,
            clock_rate: if video { 90_000 } else { 48_000 },
            live: false,
            last_arrival: -1.0,
            last_timestamp: 0,
            report: None,
            packets: 0,
            bytes: 0,
            frames: 0,
            key_frames: 0,
            key_number: -1,
            width: 0,
            height: 0,
            rate: Rate::new(),
            frame_rate: 0.0,
            frames_before: (0, -1.0),
            key_frame_requests: 0,
            asked_at: NEVER,
            asked_unanswered: 0,
            ask_due: false,
            told_key_frame: NEVER,
        }
    }

    /// The packet with this number, while it is remembered.
    pub fn remembered(&self, number: i64, now: f64) -> Option<Rc<MediaPacket>> {
        self.history.get(number, now).cloned()
    }

    /// Our wallclock at the capture of a timestamp, by the sender's last report; None without one.
    pub fn captured(&self, timestamp: u32) -> Option<f64> {
        let (wallclock, reported) = self.report?;
        Some(wallclock + f64::from(difference32(timestamp, reported)) / f64::from(self.clock_rate))
    }

    /// Whether what is pending should leave now rather than wait a moment for the rest of its frame.
    pub fn whole(&self, now: f64) -> bool {
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else {
            return true;
        };
        !self.video || self.feeding.len() < GATHER_FOR || last.marker || now - first.arrival >= GATHER
    }

    /// The number at which the key frame that shows itself with this packet starts, if one does.
    fn key_frame_start(&mut self, packet: &MediaPacket) -> Result<Option<i64>, Malformed> {
        Ok(match packet.codec {
            Codec::Vp8 if packet.picture.key => {
                self.sized(packet.picture.width, packet.picture.height);
                Some(packet.number)
            }
            Codec::H264 => {
                let detector = self.h264.get_or_insert_with(KeyFrameDetector::new);
                match detector.update(packet.timestamp, &packet.payload)? {
                    Some(KeyFrameStart::Here) => {
                        // A size we cannot read is no reason to withhold the picture.
                        let size = detector.sps.as_deref().map(parse_sps);
                        if let Some(Ok(parameters)) = size {
                            self.sized(parameters.width as u16, parameters.height as u16);
                        }
                        Some(packet.number)
                    }
                    Some(KeyFrameStart::Earlier) if self.frame_start.0 == packet.timestamp => {
                        Some(self.frame_start.1)
                    }
                    _ => None,
                }
            }
            _ => None,
        })
    }

    fn sized(&mut self, width: u16, height: u16) {
        if width != 0 && (width, height) != (self.width, self.height) {
            (self.width, self.height) = (width, height);
            self.told_key_frame = NEVER;
        }
    }
}

/// One authenticated packet of a layer, padding and RTX wrapping removed.
pub struct Arrived<'a> {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// What it carries.
    pub codec: Codec,
    /// What it carries.
    pub payload: &'a [u8],
    /// Monotonic seconds.
    pub arrival: f64,
    /// Byte or -1.
    pub level: i16,
    /// Byte or -1.
    pub orientation: i16,
}

// --------------------------------------------------------------------------- layers: arriving

impl State {
    /// Packets of this SSRC are this layer's from now on; 1 stands for an injection, which has none.
    pub fn begin(&mut self, key: LayerKey, ssrc: u32, codec: SourceCodec) {
        let Some(layer) = self.layers.get(key) else { return };
        if layer.ssrc != 0 && layer.ssrc != ssrc {
            self.restart(key);
        }
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.ssrc = ssrc;
        layer.codec = Some(codec.codec);
        layer.clock_rate = codec.clock_rate;
        let (index, source, asked) = (layer.index, layer.source, !layer.awaited.is_empty());
        let number = self.source_number(source);
        self.tell(Event::LayerSeen { source: number, layer: index as i64, ssrc, codec: codec.codec });
        if asked {
            self.ask_key_frame(key);
        }
    }

    /// The sender begins anew: nothing kept is related to what follows; sinks wait for a key frame.
    pub fn restart(&mut self, key: LayerKey) {
        self.flush_layer(key);
        let identity = self.identity();
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.identity = identity;
        layer.line = NumberLine::new();
        layer.history = History::new(HISTORY_PACKETS, HISTORY_SECONDS);
        layer.losses = LossTracker::new();
        layer.kept = None;
        layer.h264 = None;
        layer.report = None;
        layer.strays = 0;
        for sink in layer.feeding.clone() {
            self.interrupted(sink);
        }
    }

    /// One authenticated packet of a layer.
    pub fn receive(&mut self, key: LayerKey, arrived: &Arrived<'_>) {
        let Some(mut layer) = self.layers.get_mut(key) else {
            return;
        };
        let mut raw = layer.line.extend(arrived.sequence);
        let mut highest = layer.line.highest;
        if highest.is_some_and(|highest| !(-MAX_JUMP < raw - highest && raw - highest < MAX_JUMP)) {
            layer.strays += 1;
            if layer.strays < RESTART_STRAYS {
                self.counters.add("sequence_jump");
                return;
            }
            self.restart(key);
            highest = None;
            raw = i64::from(arrived.sequence);
            let Some(again) = self.layers.get_mut(key) else {
                return;
            };
            layer = again;
        }
        layer.strays = 0;
        let newest = highest.is_none_or(|highest| raw > highest);
        let arrival = arrived.arrival;
        if layer.video {
            layer.losses.received(arrived.sequence, arrival);
            if highest.is_some_and(|highest| raw > highest + 1) {
                self.repairing.insert(key);
                self.hurry = true;
            }
        }
        if arrived.payload.is_empty() && newest {
            layer.line.close(raw);
            return;
        }
        let number = layer.line.number(raw);
        if !newest && layer.history.get(number, arrival).is_some() {
            self.counters.add("duplicate");
            return;
        }
        let picture = if arrived.codec == Codec::Vp8 { vp8_picture(arrived.payload) } else { Picture::NONE };
        let packet = Rc::new(MediaPacket {
            number,
            timestamp: arrived.timestamp,
            marker: arrived.marker,
            codec: arrived.codec,
            payload: Rc::from(arrived.payload),
            arrival,
            picture,
            level: arrived.level,
            orientation: arrived.orientation,
            before: layer.last_audio.clone(),
        });
        if layer.codec != Some(arrived.codec) {
            self.flush_layer(key);
        }
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.codec = Some(arrived.codec);
        layer.history.add(number, packet.clone(), arrival);
        layer.packets += 1;
        layer.bytes += packet.payload.len() as u64;
        layer.last_arrival = arrival;
        if !layer.live {
            self.alive(key);
        }
        if !newest {
            self.late_arrival(key, &packet);
            return;
        }
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        if layer.video {
            if packet.timestamp != layer.last_timestamp || highest.is_none() {
                layer.frames += 1;
                layer.frame_start = (packet.timestamp, number);
            }
            let start = layer.key_frame_start(&packet);
            if start.is_err() {
                self.counters.add("payload_malformed");
            }
            if let Ok(Some(start)) = start {
                self.key_frame(key, start, Some(&packet), Some(arrived.sequence));
            } else {
                self.keep(key, &packet);
            }
        } else {
            layer.frames += 1;
            if packet.codec == Codec::Opus {
                layer.last_audio = Some((packet.timestamp, packet.payload.clone()));
            }
            let (source, clock_rate) = (layer.source, layer.clock_rate);
            self.spoken(source, &packet, clock_rate);
        }
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.last_timestamp = packet.timestamp;
        layer.newest = number;
        if !layer.feeding.is_empty() || !layer.awaited.is_empty() {
            if layer.pending.is_empty() {
                self.dirty.push(key);
            }
            layer.pending.push(packet);
            if layer.pending.len() >= GATHER_LIMIT {
                self.flush_layer(key);
            }
        }
    }

    fn late_arrival(&mut self, key: LayerKey, packet: &Rc<MediaPacket>) {
        self.keep(key, packet);
        if self.layers.get(key).is_some_and(|layer| !layer.feeding.is_empty()) {
            self.flush_layer(key);
            let mut place = 0;
            while let Some(sink) = self.layers.get(key).and_then(|layer| layer.feeding.get(place).copied()) {
                self.late(sink, key, packet);
                place += 1;
            }
        }
        if packet.picture.key {
            // The first packet of a key frame was overtaken by the next ones.
            self.key_frame(key, packet.number, None, None);
        }
    }

    /// Give a sink that just joined what was kept since the last key frame.
    pub fn replay_to(&mut self, key: LayerKey, sink: SinkKey) {
        let kept = self.layers.get(key).and_then(|layer| layer.kept.clone()).unwrap_or_default();
        self.run(key, kept, &[sink]);
    }

    /// Hand packets to some sinks in the order of their numbers, one run for each codec.
    pub(crate) fn run(&mut self, key: LayerKey, mut packets: Vec<Rc<MediaPacket>>, sinks: &[SinkKey]) {
        packets.sort_by_key(|packet| packet.number);
        for group in packets.chunk_by(|one, next| one.codec == next.codec) {
            let run = Run::new(group.to_vec());
            for sink in sinks {
                if self.sinks.get(*sink).is_some_and(|sink| sink.layer == Some(key)) {
                    self.forward(*sink, key, &run);
                }
            }
        }
    }

    pub(crate) fn keep(&mut self, key: LayerKey, packet: &Rc<MediaPacket>) {
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        let Some(kept) = layer.kept.as_mut() else { return };
        kept.push(packet.clone());
        layer.kept_bytes += packet.payload.len();
        if layer.kept_bytes > KEPT_BYTES || packet.arrival - kept[0].arrival > KEPT_SECONDS {
            layer.kept = None;
            layer.kept_bytes = 0;
            self.counters.add("kept_discarded");
        }
    }

    /// Send what of the held packets is due.
    pub fn trickle(&mut self, key: LayerKey, now: f64) {
        let Some(layer) = self.layers.get_mut(key) else {
            self.dripping.remove(&key);
            return;
        };
        let Some(drip) = layer.drip.as_mut() else {
            self.dripping.remove(&key);
            return;
        };
        let due = drip.take(now);
        if !due.is_empty() {
            let feeding = layer.feeding.clone();
            self.run(key, due, &feeding);
        }
        if let Some(layer) = self.layers.get_mut(key)
            && layer.drip.as_ref().is_some_and(|drip| drip.done())
        {
            layer.drip = None;
            self.dripping.remove(&key);
        }
    }

    /// Send what is pending to every sink this layer feeds.
    pub fn flush_layer(&mut self, key: LayerKey) {
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        if layer.pending.is_empty() {
            return;
        }
        let packets = std::mem::take(&mut layer.pending);
        if let Some(drip) = layer.drip.as_mut() {
            drip.add(packets);
            return;
        }
        if layer.feeding.is_empty() {
            return;
        }
        let run = Run::new(packets);
        let mut place = 0;
        while let Some(sink) = self.layers.get(key).and_then(|layer| layer.feeding.get(place).copied()) {
            self.forward(sink, key, &run);
            place += 1;
        }
    }
}

// --------------------------------------------------------------------------- layers: life

impl State {
    fn alive(&mut self, key: LayerKey) {
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.live = true;
        if layer.packets > 1 {
            self.tell_stalled(key, false);
            for sink in self.route_of(key) {
                self.layer_returned(sink, key);
            }
        }
    }

    fn route_of(&self, key: LayerKey) -> Vec<SinkKey> {
        let source = self.layers.get(key).and_then(|layer| self.sources.get(layer.source));
        source.map_or_else(Vec::new, |source| source.route.clone())
    }

    fn tell_stalled(&self, key: LayerKey, stalled: bool) {
        if let Some(layer) = self.layers.get(key) {
            let source = self.source_number(layer.source);
            self.tell(Event::LayerStalled { source, layer: layer.index as i64, stalled });
        }
    }

    /// The sender said BYE: nothing more of this SSRC is expected.
    pub fn ended(&mut self, key: LayerKey) {
        self.flush_layer(key);
        if self.layers.get(key).is_some_and(|layer| layer.live) {
            self.stalled(key);
        }
    }

    /// A few times a second: rates and stalls.
    pub fn tick_layer(&mut self, key: LayerKey, now: f64) {
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.rate.update(layer.bytes, now);
        let (frames, since) = layer.frames_before;
        if since < 0.0 {
            layer.frames_before = (layer.frames, now);
        } else if now - since >= 1.0 {
            layer.frame_rate = (layer.frames - frames) as f64 / (now - since);
            layer.frames_before = (layer.frames, now);
        }
        if layer.live && now - layer.last_arrival > STALL_AFTER {
            self.stalled(key);
        }
    }

    fn stalled(&mut self, key: LayerKey) {
        let Some(layer) = self.layers.get_mut(key) else {
            return;
        };
        layer.live = false;
        let video = layer.video;
        self.tell_stalled(key, true);
        if video {
            for sink in self.route_of(key) {
                self.layer_stalled(sink, key);
            }
        }
    }

    /// The layer goes: its sinks look for another one.
    pub fn close_layer(&mut self, key: LayerKey) {
        self.flush_layer(key);
        self.repairing.remove(&key);
        self.asking.remove(&key);
        self.dripping.remove(&key);
        let Some(layer) = self.layers.remove(key) else {
            return;
        };
        for sink in layer.feeding.iter().chain(&layer.awaited) {
            self.layer_gone(*sink, key);
        }
    }
}
