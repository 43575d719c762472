//! Everything the engine holds, in one place: tables by id, the event queue, counters, the send buffer.

use std::rc::Rc;

use rustc_hash::{FxHashMap, FxHashSet};
use slotmap::SlotMap;

use crate::bounds::RateTable;
use crate::counters::Counters;
use crate::events::EventQueue;
use crate::keys::{LayerKey, SinkKey, SourceKey, TransportKey};
use crate::layer::Layer;
use crate::messages::Event;
use crate::pacing::SharedBudget;
use crate::poll::{monotonic, wallclock};
use crate::ports::{Listener, Way, WayKey};
use crate::records::RecordSocket;
use crate::sink::{PeerOutput, Sink};
use crate::source::Source;
use crate::train::Form;
use crate::transport::Transport;
use crate::udp::Outbox;

const STUN_LIMIT: u32 = 50; // per second and remote address
const STUN_ADDRESSES: usize = 20_000; // remote addresses counted per second
const STRANGER_LIMIT: u32 = 20; // tries per second and transport for SRTP from an unknown address

/// A writer that feeds some sources, by their ids.
pub struct Injection {
    /// Its socket.
    pub socket: RecordSocket,
    /// The sources it may write to.
    pub sources: Vec<i64>,
}

/// A link's shared rate.
pub struct Budget {
    /// The bucket all its transports draw on.
    pub bucket: SharedBudget,
    /// bit/s, 0 = unlimited.
    pub rate: i64,
}

/// The tables. One thread uses them; a command changes them between two packets.
pub struct State {
    /// What control is told.
    pub events: EventQueue,
    /// Every drop and error by name.
    pub counters: Counters,
    /// The memory that packets leave from.
    pub out: Outbox,
    /// Sockets by listener id.
    pub listeners: FxHashMap<i64, Listener>,
    /// Peers.
    pub transports: SlotMap<TransportKey, Transport>,
    /// Incoming tracks.
    pub sources: SlotMap<SourceKey, Source>,
    /// Layers of incoming tracks.
    pub layers: SlotMap<LayerKey, Layer>,
    /// Outgoing tracks.
    pub sinks: SlotMap<SinkKey, Sink>,
    /// Transports by control's id.
    pub transport_ids: FxHashMap<i64, TransportKey>,
    /// Sources by control's id.
    pub source_ids: FxHashMap<i64, SourceKey>,
    /// Sinks by control's id.
    pub sink_ids: FxHashMap<i64, SinkKey>,
    /// Links by id.
    pub budgets: FxHashMap<i64, Budget>,
    /// Readers by id.
    pub taps: FxHashMap<i64, RecordSocket>,
    /// Writers by id.
    pub injections: FxHashMap<i64, Injection>,
    /// Our ICE user fragments.
    pub ufrags: FxHashMap<String, TransportKey>,
    /// Validated paths.
    pub ways: FxHashMap<WayKey, (TransportKey, Rc<Way>)>,
    /// SSRC of a peer -> its transport, for peers whose address changed.
    pub owners: FxHashMap<u32, TransportKey>,
    /// TCP connections that were written to, by listener and number.
    pub touched: Vec<(i64, u32)>,
    /// Layers with packets to flush.
    pub dirty: Vec<LayerKey>,
    /// Layers with packets missing.
    pub repairing: FxHashSet<LayerKey>,
    /// Transports with arrivals to report.
    pub reporting: FxHashSet<TransportKey>,
    /// Of these, whose report is due while packets of theirs arrive.
    pub due: Vec<TransportKey>,
    /// Transports with feedback to hand up.
    pub telling: FxHashSet<TransportKey>,
    /// Something was added to these that may be due before their next deadline.
    pub hurry: bool,
    /// Transports with packets that wait for their turn.
    pub pacing: FxHashSet<TransportKey>,
    /// Layers whose held packets are being replayed.
    pub dripping: FxHashSet<LayerKey>,
    /// Voice sources in a spurt.
    pub speaking: FxHashSet<SourceKey>,
    /// Layers that owe somebody a key frame.
    pub asking: FxHashSet<LayerKey>,
    /// Checks taken per remote address.
    pub stun_rate: RateTable<WayKey>,
    /// Tries of strangers per transport.
    pub stranger_rate: RateTable<TransportKey>,
    forms: FxHashMap<Form, u32>,
    identities: u64,
    clock_shift: f64,
}

impl State {
    /// Empty tables; events go to `events`.
    pub fn new(events: EventQueue) -> State {
        State {
            events,
            counters: Counters::default(),
            out: Outbox::new(),
            listeners: FxHashMap::default(),
            transports: SlotMap::with_key(),
            sources: SlotMap::with_key(),
            layers: SlotMap::with_key(),
            sinks: SlotMap::with_key(),
            transport_ids: FxHashMap::default(),
            source_ids: FxHashMap::default(),
            sink_ids: FxHashMap::default(),
            budgets: FxHashMap::default(),
            taps: FxHashMap::default(),
            injections: FxHashMap::default(),
            ufrags: FxHashMap::default(),
            ways: FxHashMap::default(),
            owners: FxHashMap::default(),
            touched: Vec::new(),
            dirty: Vec::new(),
            repairing: FxHashSet::default(),
            reporting: FxHashSet::default(),
            due: Vec::new(),
            telling: FxHashSet::default(),
            hurry: false,
            pacing: FxHashSet::default(),
            dripping: FxHashSet::default(),
            speaking: FxHashSet::default(),
            asking: FxHashSet::default(),
            stun_rate: RateTable::new(STUN_LIMIT, STUN_ADDRESSES),
            stranger_rate: RateTable::new(STRANGER_LIMIT, STUN_ADDRESSES),
            forms: FxHashMap::default(),
            identities: 0,
            clock_shift: wallclock() - monotonic(),
        }
    }

    /// Seconds since 1970 of a monotonic time; never steps, so that reports stay consistent.
    pub fn wallclock(&self, now: f64) -> f64 {
        now + self.clock_shift
    }

    /// A small number for a form, the same for equal ones.
    pub fn form_number(&mut self, form: &Form) -> u32 {
        let next = self.forms.len() as u32;
        *self.forms.entry(*form).or_insert(next)
    }

    /// A number nobody had before, for a layer or its next life.
    pub fn identity(&mut self) -> u64 {
        self.identities += 1;
        self.identities
    }

    /// Tell control, at once.
    pub fn tell(&self, event: Event) {
        self.events.put(event, true);
    }

    /// The track of a sink on a transport, if it is one.
    #[inline]
    pub(crate) fn peer(&self, key: SinkKey) -> Option<&PeerOutput> {
        self.sinks.get(key).and_then(Sink::peer)
    }

    /// The track of a sink on a transport, if it is one.
    #[inline]
    pub(crate) fn peer_mut(&mut self, key: SinkKey) -> Option<&mut PeerOutput> {
        self.sinks.get_mut(key).and_then(Sink::peer_mut)
    }

    /// Whether media can leave on a transport.
    pub fn connected(&self, transport: TransportKey) -> bool {
        self.transports.get(transport).is_some_and(Transport::connected)
    }
}
