//! An outgoing track on a transport: what it forwards straight, what has to wait, and what is dropped on purpose.

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::bounds::Rate;
use crate::extensions::OutgoingLayout;
use crate::keys::{LayerKey, SinkKey, SourceKey, TransportKey};
use crate::messages::{AddSink, Codec, MediaKind, TransportKind};
use crate::pacing::PacketClass;
use crate::packet::MediaPacket;
use crate::poll::monotonic;
use crate::rewrite::{Stretch, StretchLog};
use crate::rtcp::write_sdes_cname;
use crate::state::State;
use crate::taps::TapOutput;
use crate::train::{Conversion, Form, Run, plan};
use crate::transport::{Queued, Transport};

const MAX_REPAIRED: usize = 512; // packets whose last repair is remembered
/// Bytes counted per packet for headers and tag when it is paced.
pub const OVERHEAD: usize = 60;
const REPLAY_SECONDS: f64 = 0.5; // of the pacing rate that kept packets may take; else a new key frame is sooner
const CODECS: usize = 7;

/// Where a sink leads.
pub enum Output {
    /// To a peer.
    Peer(Box<PeerOutput>),
    /// To a reader on this machine.
    Tap(TapOutput),
}

/// One outgoing track.
///
/// `wanted`: the layer index control asked for; `layer`: the one that feeds it, None before the first key frame;
/// `awaiting`: the one whose key frame it waits for.
pub struct Sink {
    /// Control's id.
    pub number: i64,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// Whether it is a picture.
    pub video: bool,
    /// Whose route lists it.
    pub source: Option<SourceKey>,
    /// What feeds it.
    pub layer: Option<LayerKey>,
    /// Whose key frame it waits for.
    pub awaiting: Option<LayerKey>,
    /// What control asked for.
    pub wanted: usize,
    /// By control.
    pub paused: bool,
    /// The waiting reason last told.
    pub told: &'static str,
    /// Where it leads.
    pub output: Output,
}

/// A track on a transport.
pub struct PeerOutput {
    /// Whose it is.
    pub transport: TransportKey,
    /// Of the stream.
    pub ssrc: u32,
    /// Of its repairs, 0 = none.
    pub rtx_ssrc: u32,
    pub(crate) clock_rate: u32,
    pub(crate) layout: OutgoingLayout,
    pub(crate) command: AddSink,
    pub(crate) forms: [Option<(u32, Form)>; CODECS],
    pub(crate) repair_forms: [Option<Form>; CODECS],
    pub(crate) repair_sequence: i64,
    pub(crate) repaired: FxHashMap<i64, f64>, // outgoing number -> when it was last sent again
    pub(crate) repaired_order: VecDeque<i64>,

    pub(crate) next_out: i64, // extended
    pub(crate) stretch: Option<Rc<Stretch>>,
    pub(crate) log: StretchLog,
    /// Newest packet forwarded.
    pub last: Option<Rc<MediaPacket>>,
    pub(crate) last_layer: Option<LayerKey>,
    pub(crate) first_timestamp: u32,
    pub(crate) last_stretch: Option<Rc<Stretch>>, // of `last`; `stretch` is None when nothing continues it
    pub(crate) life: u32,
    pub(crate) replay: Option<(Vec<u32>, Rc<MediaPacket>)>, // timestamps to squeeze, newest packet
    pub(crate) torn: bool,                                  // the next packet follows dropped ones
    pub(crate) torn_frame: Option<u32>,                     // timestamp of the frame being dropped

    /// Its SDES chunk, as reports carry it.
    pub description: Vec<u8>,
    /// Sent since the start.
    pub packets: u64,
    /// Sent since the start, headers and padding not counted.
    pub octets: u64,
    /// Of these.
    pub rate: Rate,
    /// Sent again since the start.
    pub retransmitted: u64,
    /// Dropped on purpose since the start.
    pub dropped: u64,
    /// As last reported, 0..1.
    pub fraction_lost: f64,
    /// Received since the start.
    pub nacks: u64,
    /// PLI and FIR received since the start.
    pub key_frame_requests: u64,
}

impl Sink {
    fn new(command: &AddSink, output: Output) -> Sink {
        Sink {
            number: command.sink,
            kind: command.kind,
            video: command.kind == MediaKind::Video,
            source: None,
            layer: None,
            awaiting: None,
            wanted: 0,
            paused: false,
            told: "",
            output,
        }
    }

    /// A track on a tap.
    pub fn on_tap(command: &AddSink) -> Sink {
        Sink::new(command, Output::Tap(TapOutput::new(command.tap)))
    }

    /// A track on a transport; `State::shape` must follow.
    pub fn on_transport(command: &AddSink, key: TransportKey, transport: &Transport) -> Sink {
        let ids = &transport.extensions;
        let video = command.kind == MediaKind::Video;
        let slot = if video { ids.orientation } else { ids.audio_level };
        let layout = OutgoingLayout::new(ids.mid, &command.mid, ids.transport_cc, ids.abs_send_time, slot);
        let ssrc = command.ssrc as u32;
        let mut description = Vec::new();
        write_sdes_cname(&mut description, ssrc, &transport.cname);
        let peer = PeerOutput {
            transport: key,
            ssrc,
            rtx_ssrc: command.rtx_ssrc as u32,
            clock_rate: command.codecs.first().map_or(90_000, |codec| codec.clock_rate as u32),
            layout,
            command: command.clone(),
            forms: [None; CODECS],
            repair_forms: [None; CODECS],
            repair_sequence: 0,
            repaired: FxHashMap::default(),
            repaired_order: VecDeque::new(),
            next_out: command.first_sequence,
            stretch: None,
            log: StretchLog::new(),
            last: None,
            last_layer: None,
            first_timestamp: command.first_timestamp as u32,
            last_stretch: None,
            life: 0,
            replay: None,
            torn: false,
            torn_frame: None,
            description,
            packets: 0,
            octets: 0,
            rate: Rate::new(),
            retransmitted: 0,
            dropped: 0,
            fraction_lost: 0.0,
            nacks: 0,
            key_frame_requests: 0,
        };
        Sink::new(command, Output::Peer(Box::new(peer)))
    }

    /// The track on a transport, if it is one.
    pub fn peer(&self) -> Option<&PeerOutput> {
        match &self.output {
            Output::Peer(peer) => Some(peer),
            Output::Tap(_) => None,
        }
    }

    /// The track on a transport, if it is one.
    pub fn peer_mut(&mut self) -> Option<&mut PeerOutput> {
        match &mut self.output {
            Output::Peer(peer) => Some(peer),
            Output::Tap(_) => None,
        }
    }
}

impl PeerOutput {
    /// How packets of a codec leave, with the number of that form.
    pub fn form(&self, codec: Codec) -> Option<&(u32, Form)> {
        self.forms[codec as usize].as_ref()
    }

    /// What comes next does not continue what was forwarded.
    pub fn forget(&mut self) {
        self.stretch = None;
        self.replay = None;
        self.torn = false;
        self.torn_frame = None;
        self.life = self.life.wrapping_add(1);
    }

    pub(crate) fn remember_repair(&mut self, out: i64, now: f64) {
        if self.repaired.insert(out, now).is_none() {
            self.repaired_order.push_back(out);
            if self.repaired_order.len() > MAX_REPAIRED
                && let Some(oldest) = self.repaired_order.pop_front()
            {
                self.repaired.remove(&oldest);
            }
        }
    }

    pub(crate) fn begins(&mut self, stretch: Rc<Stretch>) {
        self.log.append(stretch.clone());
        self.last_stretch = Some(stretch.clone());
        self.stretch = Some(stretch);
    }
}

impl State {
    pub(crate) fn peer(&self, key: SinkKey) -> Option<&PeerOutput> {
        self.sinks.get(key).and_then(Sink::peer)
    }

    pub(crate) fn peer_mut(&mut self, key: SinkKey) -> Option<&mut PeerOutput> {
        self.sinks.get_mut(key).and_then(Sink::peer_mut)
    }

    /// Make the forms of a track on a transport; the tag is known when the transport has keys.
    pub fn shape(&mut self, key: SinkKey) {
        let Some(peer) = self.peer(key) else { return };
        let Some(transport) = self.transports.get(peer.transport) else {
            return;
        };
        let forms = forms(&peer.command, transport, &peer.layout);
        let mut numbered = [None; CODECS];
        let mut repairs = [None; CODECS];
        let repaired = peer.command.rtx_ssrc != 0;
        let types = peer.command.codecs.clone();
        for (place, form) in forms.iter().enumerate() {
            let Some(form) = form else { continue };
            numbered[place] = Some((self.form_number(form), *form));
            let first = types.iter().find(|codec| codec.codec as usize == place);
            if let Some(codec) = first.filter(|codec| repaired && codec.rtx_payload_type != 0)
                && form.conversion == Conversion::None
            {
                repairs[place] = Some(Form { payload_type: codec.rtx_payload_type as u8, ..*form });
            }
        }
        if let Some(peer) = self.peer_mut(key) {
            peer.forms = numbered;
            peer.repair_forms = repairs;
        }
    }

    // ------------------------------------------------------------------ as a feed

    /// Whether to start from the kept packets; then their timestamps will be squeezed into the present.
    pub fn peer_replays(&mut self, key: SinkKey, layer: LayerKey) -> bool {
        let (Some(source), Some(peer)) = (self.layers.get(layer), self.peer(key)) else {
            return false;
        };
        let Some(kept) = source.kept.as_ref().filter(|kept| !kept.is_empty()) else {
            return false;
        };
        if peer.form(kept[0].codec).is_none() {
            return false;
        }
        let transport = peer.transport;
        let rate = self.transports.get(transport).map_or(0, |transport| transport.least);
        if rate != 0 && 8.0 * source.kept_bytes as f64 > rate as f64 * REPLAY_SECONDS {
            return false;
        }
        let mut sorted: Vec<&Rc<MediaPacket>> = kept.iter().collect();
        sorted.sort_by_key(|packet| packet.number);
        let newest = sorted[sorted.len() - 1].clone();
        let mut stamps: Vec<u32> = Vec::new();
        for packet in sorted {
            if stamps.last() != Some(&packet.timestamp) && !stamps.contains(&packet.timestamp) {
                stamps.push(packet.timestamp);
            }
        }
        if let Some(peer) = self.peer_mut(key) {
            peer.forget();
            peer.replay = Some((stamps, newest));
        }
        self.pace_replay(transport);
        true
    }

    /// Take a run of rising packets of the layer that feeds it.
    pub fn forward_to_peer(&mut self, key: SinkKey, layer: LayerKey, run: &Run) {
        let Some(identity) = self.layers.get(layer).map(|layer| layer.identity) else {
            return;
        };
        let Some(peer) = self.sinks.get(key).and_then(Sink::peer) else {
            return;
        };
        let Some(transport) = self.transports.get(peer.transport) else {
            return;
        };
        let straight = transport.pacer.is_none() && !peer.torn;
        if let (Some((number, form)), Some(stretch), Some(way), true) =
            (peer.form(run.codec), &peer.stretch, &transport.selected, straight)
            && stretch.layer == identity
            && !self.congested(way)
        {
            let (stretch, way) = (stretch.clone(), way.clone());
            let (trains, ssrc, form) = (run.trains(*number, form), peer.ssrc, *form);
            self.send(key, &trains, &form, &stretch, ssrc, &way);
            self.went(key, layer, &run.packets, &stretch);
            return;
        }
        self.forward_with_care(key, layer, identity, run);
    }

    /// The same when something is new, limited or in the way.
    fn forward_with_care(&mut self, key: SinkKey, layer: LayerKey, identity: u64, run: &Run) {
        let Some(sink) = self.sinks.get(key) else { return };
        let (video, Some(peer)) = (sink.video, sink.peer()) else {
            return;
        };
        let transport_key = peer.transport;
        let torn_frame = peer.torn_frame;
        let Some((number, form)) = peer.form(run.codec).copied() else {
            self.tell_waiting(key, "codec");
            if let Some(peer) = self.peer_mut(key) {
                peer.stretch = None;
            }
            return;
        };
        let Some(way) = self.transports.get(transport_key).and_then(|transport| transport.selected.clone())
        else {
            return;
        };
        let congested = self.congested(&way);
        let thinned;
        let mut run = run;
        if torn_frame.is_some() || congested {
            let packets = self.thin(key, layer, &run.packets, congested);
            if packets.is_empty() {
                return;
            }
            thinned = Run::new(packets);
            run = &thinned;
        }
        let mut was_paced = false;
        let mut least = 0;
        if let Some(transport) = self.transports.get_mut(transport_key)
            && let Some(pacer) = transport.pacer.as_mut()
        {
            let class = if video { PacketClass::Video } else { PacketClass::Voice };
            let size = run.size + OVERHEAD * run.packets.len();
            if size > transport.longest || !pacer.try_spend(size, monotonic(), class) {
                self.wait(key, layer, identity, &run.packets, class);
                return;
            }
            was_paced = true;
            least = transport.least;
        }
        let trains = run.trains(number, &form);
        let torn = self.peer_mut(key).is_some_and(|peer| std::mem::take(&mut peer.torn));
        self.transmit(key, layer, identity, &run.packets, &trains, &form, torn);
        if was_paced && least == 0 {
            self.release(transport_key); // it was there for kept packets only
        }
    }

    /// Take one packet that others overtook.
    pub fn late_to_peer(&mut self, key: SinkKey, layer: LayerKey, packet: &Rc<MediaPacket>) {
        let Some(identity) = self.layers.get(layer).map(|layer| layer.identity) else {
            return;
        };
        let Some(peer) = self.peer(key) else { return };
        let way = self.transports.get(peer.transport).and_then(|transport| transport.selected.clone());
        let (Some((_, form)), Some(way)) = (peer.form(packet.codec).copied(), way) else {
            return;
        };
        let ssrc = peer.ssrc;
        match peer.log.by_number(identity, packet.number) {
            Some(stretch) if packet.number + stretch.offset < peer.next_out => {
                let trains = plan(std::slice::from_ref(packet), &form);
                self.send(key, &trains, &form, &stretch, ssrc, &way);
            }
            _ => self.counters.add("late_dropped"),
        }
    }

    // ------------------------------------------------------------------ waiting and dropping

    /// Queue packets for their turn; what finds no room is dropped to the end of its frame.
    fn wait(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        identity: u64,
        packets: &[Rc<MediaPacket>],
        class: PacketClass,
    ) {
        let mut broken = false;
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        let (video, number) = (sink.video, sink.number);
        let Some(peer) = sink.peer_mut() else { return };
        let transport_key = peer.transport;
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return;
        };
        let Some(pacer) = transport.pacer.as_mut() else {
            return;
        };
        for packet in packets {
            let room = if peer.torn { transport.room / 2 } else { transport.room };
            let mut taken = false;
            if !video || pacer.queued_bytes() <= room {
                let item = Queued {
                    sink: key,
                    life: peer.life,
                    layer,
                    identity,
                    packet: packet.clone(),
                    torn: peer.torn,
                    repair: -1,
                };
                let size = packet.payload.len() + OVERHEAD;
                taken = pacer.enqueue(class, size, item, packet.marker, number as u32);
            }
            // Once it drops it waits for real room: into each bit of it only a torn frame would fit.
            if taken {
                peer.torn = false;
            } else {
                peer.torn_frame = video.then_some(packet.timestamp);
                peer.torn = true;
                peer.dropped += 1;
                transport.dropped += 1;
                broken = broken || !packet.picture.discardable;
            }
        }
        if broken && video {
            self.ask_key_frame(layer);
        }
        self.release(transport_key);
    }

    /// What may still leave while the way is congested: nothing new, and no rest of a torn frame.
    fn thin(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        packets: &[Rc<MediaPacket>],
        congested: bool,
    ) -> Vec<Rc<MediaPacket>> {
        let mut left = Vec::new();
        let mut broken = false;
        let Some(sink) = self.sinks.get_mut(key) else {
            return left;
        };
        let video = sink.video;
        let Some(peer) = sink.peer_mut() else { return left };
        for packet in packets {
            if congested || peer.torn_frame == Some(packet.timestamp) {
                peer.torn_frame = Some(packet.timestamp);
                peer.torn = true;
                peer.dropped += 1;
                if let Some(transport) = self.transports.get_mut(peer.transport) {
                    transport.dropped += 1;
                }
                broken = broken || !packet.picture.discardable;
            } else {
                peer.torn_frame = None;
                left.push(packet.clone());
            }
        }
        if broken && video {
            self.ask_key_frame(layer);
        }
        left
    }

    /// Consecutive packets of one sink's queue whose turn has come, of one layer's life.
    pub fn leave_queue(&mut self, items: &[Queued]) {
        let Some(first) = items.first() else { return };
        let Some(peer) = self.peer(first.sink) else { return };
        if first.life != peer.life {
            return;
        }
        if first.repair >= 0 {
            for item in items {
                self.send_repair(first.sink, &item.packet, item.repair);
            }
            return;
        }
        if let Some((_, form)) = peer.form(first.packet.codec).copied() {
            let packets: Vec<Rc<MediaPacket>> = items.iter().map(|item| item.packet.clone()).collect();
            let trains = plan(&packets, &form);
            self.transmit(first.sink, first.layer, first.identity, &packets, &trains, &form, first.torn);
        }
    }
}

/// How each codec that may arrive leaves: the first match of the sink's list, RED converted where that helps.
fn forms(command: &AddSink, transport: &Transport, layout: &OutgoingLayout) -> [Option<Form>; CODECS] {
    let ids = &transport.extensions;
    let slot = if command.kind == MediaKind::Video { ids.orientation } else { ids.audio_level };
    let form = |payload_type: u8, conversion: Conversion, inner: u8| Form {
        payload_type,
        conversion,
        inner,
        levelled: transport.kind != TransportKind::Plain,
        slot: if layout.slot { slot } else { 0 },
        prefix: layout.prefix.len() as u8,
        counted: layout.transport_sequence,
        padding: layout.padding as u8,
        tag: transport.sender.as_ref().map_or(0, |sender| sender.tag() as u8),
    };
    let mut types = [None; CODECS];
    for codec in &command.codecs {
        types[codec.codec as usize].get_or_insert(codec.payload_type as u8);
    }
    let mut forms = types.map(|found| found.map(|payload_type| form(payload_type, Conversion::None, 0)));
    let (opus, redundant) = (types[Codec::Opus as usize], types[Codec::Red as usize]);
    forms[Codec::Red as usize] = match (opus, redundant) {
        (None, _) => None,
        (Some(opus), None) => Some(form(opus, Conversion::RedUnwrapped, 0)),
        (Some(opus), Some(redundant)) => {
            if command.codecs.first().is_some_and(|codec| codec.codec == Codec::Red) {
                forms[Codec::Opus as usize] = Some(form(redundant, Conversion::RedWrapped, opus));
            }
            Some(form(redundant, Conversion::RedRetyped, opus))
        }
    };
    forms
}
