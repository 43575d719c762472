//! One peer: its paths, keys, streams and what was sent to it.

use std::collections::VecDeque;
use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::arrivals::{ArrivalFolder, Sample, SentTrain};
use crate::bounds::{AllowedRate, Rate};
use crate::keys::{LayerKey, SinkKey, SourceKey};
use crate::messages::{AddTransport, Codec, ExtensionIds, TransportKind};
use crate::pacing::Pacer;
use crate::packet::MediaPacket;
use crate::ports::Way;
use crate::srtp::{Protector, Unprotector};
use crate::stream::Stream;
use crate::twcc::TwccReceiver;

/// Paths kept per transport.
pub const MAX_PATHS: usize = 8;
/// Trains remembered for feedback.
pub const MAX_TRAINS: usize = 600;
/// Samples collected between two events.
pub const MAX_SAMPLES: usize = 500;

/// A packet that waits for its turn. It gets its numbers when it leaves.
///
/// `life`: void when the sink has begun another one. `identity`: of the layer when the packet came. `torn`: packets
/// before it were dropped. `repair`: the outgoing number it repairs, -1 = it is no repair.
#[derive(Clone)]
pub struct Queued {
    /// Who sends it.
    pub sink: SinkKey,
    /// Of the sink.
    pub life: u32,
    /// Where it came from.
    pub layer: LayerKey,
    /// Of the layer.
    pub identity: u64,
    /// The packet.
    pub packet: Rc<MediaPacket>,
    /// Packets before it were dropped.
    pub torn: bool,
    /// Outgoing number, or -1.
    pub repair: i64,
}

impl Queued {
    /// What packets that leave as one run have in common.
    pub(crate) fn kind(&self) -> (SinkKey, u32, u64, Codec, bool) {
        (self.sink, self.life, self.identity, self.packet.codec, self.repair >= 0)
    }
}

/// State of one transport.
pub struct Transport {
    /// Control's id.
    pub number: i64,
    /// How packets are protected and the remote is learnt.
    pub kind: TransportKind,
    /// Negotiated header extensions.
    pub extensions: ExtensionIds,
    /// Of every sink on it.
    pub cname: String,
    /// Sender SSRC of our RTCP.
    pub feedback_ssrc: u32,
    /// Link, 0 = none.
    pub budget: i64,
    /// Whether RTCP need not be compound.
    pub reduced_size: bool,
    /// Whether the peer adapts to REMB.
    pub remb: bool,
    /// Whether it has keys.
    pub protected: bool,
    /// Our user fragments of it.
    pub ufrags: Vec<String>,

    /// Validated paths, the oldest first.
    pub ways: Vec<Rc<Way>>,
    /// Where we send.
    pub selected: Option<Rc<Way>>,
    /// Keys of what leaves.
    pub sender: Option<Protector>,
    /// Keys of what arrives.
    pub receiver: Option<Unprotector>,
    /// The peer's streams by SSRC.
    pub streams: FxHashMap<u32, Stream>,
    /// SSRCs that authenticated.
    pub admitted: FxHashSet<u32>,
    /// PLAIN: the first packet's SSRC.
    pub locked_ssrc: Option<u32>,
    /// Its incoming tracks in the order they were added.
    pub sources: Vec<SourceKey>,
    /// Its outgoing tracks in the order they were added.
    pub sinks: Vec<SinkKey>,
    /// SSRCs of sinks that are gone: one (SSRC, index) is protected once.
    pub used_ssrcs: FxHashSet<u32>,
    /// SSRC -> (sink, whether it is the RTX SSRC).
    pub outgoing: FxHashMap<u32, (SinkKey, bool)>,

    /// Next transport-wide sequence, extended.
    pub sequence: i64,
    /// Sent and not yet reported.
    pub trains: VecDeque<SentTrain>,
    /// Collected for the next event.
    pub samples: Vec<Sample>,
    /// What arrived, when the peer wants to know.
    pub arrivals: Option<TwccReceiver>,
    /// When the next of them may be reported.
    pub arrivals_due: f64,
    /// Any SSRC of the peer, for feedback about the whole transport.
    pub media_ssrc: u32,

    /// Since the start.
    pub packets_received: u64,
    /// Since the start, tags removed.
    pub bytes_received: u64,
    /// Since the start.
    pub packets_sent: u64,
    /// Since the start.
    pub bytes_sent: u64,
    /// Packets that did not authenticate.
    pub unauthenticated: u64,
    /// Packets that came again.
    pub replayed: u64,
    /// Packets dropped on purpose.
    pub dropped: u64,
    /// Of what arrives.
    pub receive_rate: Rate,
    /// Of what leaves.
    pub send_rate: Rate,
    /// s, -1 = not known.
    pub rtt: f64,

    /// s to add to the peer's NTP time to get ours.
    pub clock_shift: Option<f64>,
    /// Of the peer's transport feedback.
    pub folder: ArrivalFolder,
    /// RRTR to answer: (SSRC, middle NTP, arrival).
    pub reference: Option<(u32, u32, f64)>,
    /// When the next report is due.
    pub report_at: f64,
    /// Whether the peer has had a compound packet.
    pub compound_sent: bool,
    /// Start of the second in which RTCP is counted.
    pub control_since: f64,
    /// RTCP datagrams in it.
    pub control_count: u32,
    /// Repairs in it.
    pub repair_count: u32,
    /// Last FeedbackReceived.
    pub told_at: f64,
    /// There is more since then.
    pub untold: bool,
    /// For the next event, -1 = nothing.
    pub told_loss: f64,
    /// For the next event, -1 = nothing.
    pub told_rtt: f64,
    /// For the next event, 0 = nothing.
    pub told_remb: u64,
    /// What a publisher without transport-wide feedback may send.
    pub allowed: AllowedRate,

    /// Pacing, bit/s, 0 = unpaced.
    pub rate: i64,
    /// What waits.
    pub pacer: Option<Pacer<Queued>>,
    /// Bytes that the path was seen to carry at once, as the pacer knows it.
    pub burst: usize,
    /// Bytes of a run that may leave in one go.
    pub longest: usize,
    /// bit/s: the lower of its own rate and its budget's, 0 = unlimited.
    pub least: i64,
    /// Bytes that may wait before video is dropped.
    pub room: usize,
}

impl Transport {
    /// As the command says; nothing is known of its paths and keys yet.
    pub fn new(command: &AddTransport, extensions: ExtensionIds) -> Transport {
        let ceiling = command.max_receive_rate;
        Transport {
            number: command.transport,
            kind: command.kind,
            extensions,
            cname: command.cname.clone(),
            feedback_ssrc: command.feedback_ssrc as u32,
            budget: command.budget,
            reduced_size: command.reduced_size_rtcp,
            remb: command.remb && !command.transport_cc,
            protected: command.kind != TransportKind::Plain,
            ufrags: Vec::new(),
            ways: Vec::new(),
            selected: None,
            sender: None,
            receiver: None,
            streams: FxHashMap::default(),
            admitted: FxHashSet::default(),
            locked_ssrc: None,
            sources: Vec::new(),
            sinks: Vec::new(),
            used_ssrcs: FxHashSet::default(),
            outgoing: FxHashMap::default(),
            sequence: 0,
            trains: VecDeque::new(),
            samples: Vec::new(),
            arrivals: command.transport_cc.then(TwccReceiver::new),
            arrivals_due: 0.0,
            media_ssrc: 0,
            packets_received: 0,
            bytes_received: 0,
            packets_sent: 0,
            bytes_sent: 0,
            unauthenticated: 0,
            replayed: 0,
            dropped: 0,
            receive_rate: Rate::new(),
            send_rate: Rate::new(),
            rtt: -1.0,
            clock_shift: None,
            folder: ArrivalFolder::new(),
            reference: None,
            report_at: 0.0,
            compound_sent: false,
            control_since: 0.0,
            control_count: 0,
            repair_count: 0,
            told_at: 0.0,
            untold: false,
            told_loss: -1.0,
            told_rtt: -1.0,
            told_remb: 0,
            allowed: AllowedRate::new(ceiling),
            rate: 0,
            pacer: None,
            burst: 0,
            longest: 0,
            least: 0,
            room: 0,
        }
    }

    /// Whether media can leave.
    pub fn connected(&self) -> bool {
        self.selected.is_some() && (self.sender.is_some() || !self.protected)
    }

    /// Remember a train for the peer's feedback.
    pub fn sent(&mut self, train: SentTrain) {
        if self.trains.len() >= MAX_TRAINS {
            self.trains.pop_front();
        }
        self.trains.push_back(train);
    }
}
