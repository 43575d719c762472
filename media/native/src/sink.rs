//! An outgoing track: where it leads, and where it stands there.

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::bounds::Rate;
use crate::extensions::OutgoingLayout;
use crate::keys::{LayerKey, SourceKey, TransportKey};
use crate::messages::{AddSink, Codec, MediaKind};
use crate::packet::MediaPacket;
use crate::reception::Report;
use crate::rewrite::{Stretch, StretchLog};
use crate::rtcp::write_sdes_cname;
use crate::train::Form;
use crate::transport::Transport;

const MAX_REPAIRED: usize = 512; // packets whose last repair is remembered
/// Bytes counted per packet for headers and tag when it is paced.
pub const OVERHEAD: usize = 60;
/// Places for a thing of each codec, by its number.
pub const CODECS: usize = 7;

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

/// Where a tap's track stands: the source's own numbers, nothing rewritten.
#[derive(Default)]
pub struct TapOutput {
    /// Control's id of the tap.
    pub tap: i64,
    /// Delivered since the start.
    pub packets: u64,
    /// Delivered since the start, headers included.
    pub octets: u64,
    /// Lost to a slow reader.
    pub dropped: u64,
    pub(crate) identity: u64, // of the layer told last
    pub(crate) report: Option<Report>,
    pub(crate) lost: bool,
}

impl TapOutput {
    /// Nothing was delivered yet.
    pub fn new(tap: i64) -> TapOutput {
        TapOutput { tap, ..TapOutput::default() }
    }

    /// What comes next does not continue what was forwarded.
    pub fn forget(&mut self) {
        self.identity = 0;
        self.report = None;
    }
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
