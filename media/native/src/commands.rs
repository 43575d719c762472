//! Transactions: every command is checked against the state that the ones before it would leave, then all are applied.
//!
//! What can fail only by trying (binding a socket, deriving keys) is tried while checking and given back when a later
//! command is refused. Applying cannot fail.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::addresses::{Family, Local, RawAddress};
use crate::messages::{
    AddInjection, AddListener, AddSink, AddSource, AddTransport, Command, ListenerKind, MediaKind, Path,
    SetKeys, SetRoutes, TransportKind,
};
use crate::ports::Listener;
use crate::records::RecordSocket;
use crate::sink::{Output, Sink};
use crate::srtp::{Protector, Unprotector, key_length};
use crate::state::State;
use crate::tcp::TcpListener;
use crate::udp::UdpSocket;

const MAX_LAYERS: i64 = 8;
const MAX_PAYLOAD: usize = 65_507; // bytes of a UDP datagram
const MAX_SEQUENCE_START: i64 = 1 << 15;
const MAX_SSRC: i64 = 1 << 32;

/// Why a command cannot be applied.
pub type Refused = String;

/// What checking made, for applying.
pub enum Made {
    /// Nothing was needed.
    Nothing,
    /// A bound socket.
    Listener(Listener),
    /// Keys both ways.
    Keys(Box<Protector>, Box<Unprotector>),
    /// A socket for records.
    Records(RecordSocket),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Noun {
    Listener,
    Transport,
    Source,
    Sink,
    Budget,
    Tap,
    Injection,
}

impl Noun {
    fn name(self) -> &'static str {
        match self {
            Noun::Listener => "listener",
            Noun::Transport => "transport",
            Noun::Source => "source",
            Noun::Sink => "sink",
            Noun::Budget => "budget",
            Noun::Tap => "tap",
            Noun::Injection => "injection",
        }
    }
}

/// What later commands of a transaction ask of one that was added before them.
#[derive(Clone, Copy)]
struct Added {
    transport: i64,
    tap: i64,
    listener_kind: ListenerKind,
    transport_kind: TransportKind,
    media: MediaKind,
    layers: usize,
}

const PLAIN: Added = Added {
    transport: 0,
    tap: 0,
    listener_kind: ListenerKind::UdpMux,
    transport_kind: TransportKind::Webrtc,
    media: MediaKind::Video,
    layers: 0,
};

/// What would exist after the commands checked so far, without touching what does.
pub struct Draft<'a> {
    state: &'a State,
    added: FxHashMap<(Noun, i64), Added>,
    removed: FxHashSet<(Noun, i64)>,
    ssrcs: FxHashSet<(i64, i64)>, // (transport, SSRC) of new sinks
    ufrags: FxHashMap<String, i64>,
    revisions: FxHashMap<i64, i64>,
    keyed: FxHashSet<i64>,
}

impl<'a> Draft<'a> {
    /// Nothing changed yet.
    pub fn new(state: &'a State) -> Draft<'a> {
        Draft {
            state,
            added: FxHashMap::default(),
            removed: FxHashSet::default(),
            ssrcs: FxHashSet::default(),
            ufrags: FxHashMap::default(),
            revisions: FxHashMap::default(),
            keyed: FxHashSet::default(),
        }
    }

    fn existing(&self, noun: Noun, ident: i64) -> Option<Added> {
        let state = self.state;
        match noun {
            Noun::Listener => {
                state.listeners.get(&ident).map(|known| Added { listener_kind: known.kind(), ..PLAIN })
            }
            Noun::Transport => {
                let known = state.transports.get(*state.transport_ids.get(&ident)?)?;
                Some(Added { transport_kind: known.kind, ..PLAIN })
            }
            Noun::Source => {
                let known = state.sources.get(*state.source_ids.get(&ident)?)?;
                Some(Added {
                    transport: known.transport,
                    media: known.kind,
                    layers: known.layers.len(),
                    ..PLAIN
                })
            }
            Noun::Sink => {
                let known = state.sinks.get(*state.sink_ids.get(&ident)?)?;
                let transport = known.peer().and_then(|peer| state.transports.get(peer.transport));
                let tap = match &known.output {
                    Output::Tap(tap) => tap.tap,
                    Output::Peer(_) => 0,
                };
                Some(Added {
                    transport: transport.map_or(0, |found| found.number),
                    tap,
                    media: known.kind,
                    ..PLAIN
                })
            }
            Noun::Budget => state.budgets.contains_key(&ident).then_some(PLAIN),
            Noun::Tap => state.taps.contains_key(&ident).then_some(PLAIN),
            Noun::Injection => state.injections.contains_key(&ident).then_some(PLAIN),
        }
    }

    fn find(&self, noun: Noun, ident: i64) -> Option<Added> {
        let key = (noun, ident);
        if let Some(added) = self.added.get(&key) {
            return Some(*added);
        }
        if self.removed.contains(&key) { None } else { self.existing(noun, ident) }
    }

    fn get(&self, noun: Noun, ident: i64) -> Result<Added, Refused> {
        self.find(noun, ident).ok_or_else(|| format!("{} {ident} is not known", noun.name()))
    }

    fn add(&mut self, noun: Noun, ident: i64, made: Added) -> Result<(), Refused> {
        if self.find(noun, ident).is_some() {
            return Err(format!("{} {ident} exists", noun.name()));
        }
        self.replace(noun, ident, made)
    }

    fn replace(&mut self, noun: Noun, ident: i64, made: Added) -> Result<(), Refused> {
        if ident <= 0 {
            return Err(format!("{} {ident} is no id", noun.name()));
        }
        self.added.insert((noun, ident), made);
        Ok(())
    }

    fn remove(&mut self, noun: Noun, ident: i64) -> Result<(), Refused> {
        self.get(noun, ident)?;
        self.added.remove(&(noun, ident));
        self.removed.insert((noun, ident));
        Ok(())
    }

    /// Remove the sources or sinks that would belong to a transport or a tap.
    fn remove_all(&mut self, noun: Noun, belongs: impl Fn(&Added) -> bool) {
        let known: Vec<i64> = match noun {
            Noun::Source => self.state.source_ids.keys().copied().collect(),
            _ => self.state.sink_ids.keys().copied().collect(),
        };
        let new = self.added.keys().filter(|(kind, _)| *kind == noun).map(|(_, ident)| *ident);
        for ident in known.into_iter().chain(new.collect::<Vec<_>>()) {
            if self.find(noun, ident).is_some_and(|found| belongs(&found)) {
                self.added.remove(&(noun, ident));
                self.removed.insert((noun, ident));
            }
        }
    }

    /// Check one command; what it made is for applying.
    pub fn check(&mut self, command: &Command) -> Result<Made, Refused> {
        match command {
            Command::AddListener(command) => return self.add_listener(command),
            Command::RemoveListener(command) => self.remove(Noun::Listener, command.listener)?,
            Command::AddBudget(command) => {
                not_negative("rate", command.rate)?;
                self.replace(Noun::Budget, command.budget, PLAIN)?;
            }
            Command::AddTransport(command) => self.add_transport(command)?,
            Command::SetUfrags(command) => {
                self.get(Noun::Transport, command.transport)?;
                self.claim(command.transport, &command.ufrags)?;
            }
            Command::ValidatePath(command) => {
                self.get(Noun::Transport, command.transport)?;
                self.path(&command.path)?;
            }
            Command::SetKeys(command) => return self.set_keys(command),
            Command::SendDatagram(command) => {
                self.path(&command.path)?;
                if command.data.len() > MAX_PAYLOAD {
                    return Err(format!("{} bytes do not fit a datagram", command.data.len()));
                }
            }
            Command::RemoveTransport(command) => {
                let number = command.transport;
                self.get(Noun::Transport, number)?;
                self.remove_all(Noun::Source, |found| found.transport == number);
                self.remove_all(Noun::Sink, |found| found.transport == number);
                self.remove(Noun::Transport, number)?;
            }
            Command::AddSource(command) => self.add_source(command)?,
            Command::RemoveSource(command) => self.remove(Noun::Source, command.source)?,
            Command::AddSink(command) => self.add_sink(command)?,
            Command::RemoveSink(command) => self.remove(Noun::Sink, command.sink)?,
            Command::SetRoutes(command) => self.set_routes(command)?,
            Command::SelectLayer(command) => {
                self.get(Noun::Sink, command.sink)?;
                if !(-1..MAX_LAYERS).contains(&command.layer) {
                    return Err(format!("layer {}", command.layer));
                }
            }
            Command::SetRate(command) => {
                self.get(Noun::Transport, command.transport)?;
                not_negative("rate", command.rate)?;
            }
            Command::RequestKeyFrame(command) => {
                let source = self.get(Noun::Source, command.source)?;
                if !(0..source.layers as i64).contains(&command.layer) {
                    return Err(format!("layer {}", command.layer));
                }
            }
            Command::AddTap(command) => {
                self.add(Noun::Tap, command.tap, PLAIN)?;
                return listening(&command.path);
            }
            Command::RemoveTap(command) => {
                let number = command.tap;
                self.remove(Noun::Tap, number)?;
                self.remove_all(Noun::Sink, |found| found.tap == number);
            }
            Command::AddInjection(command) => return self.add_injection(command),
            Command::RemoveInjection(command) => self.remove(Noun::Injection, command.injection)?,
        }
        Ok(Made::Nothing)
    }

    fn add_listener(&mut self, command: &AddListener) -> Result<Made, Refused> {
        self.add(Noun::Listener, command.listener, Added { listener_kind: command.kind, ..PLAIN })?;
        let port = u16::try_from(command.port).map_err(|_| format!("port {}", command.port))?;
        let bound = match command.kind {
            ListenerKind::TcpMux => TcpListener::bind(&command.host, port).map(Listener::Tcp),
            kind => UdpSocket::bind(kind, &command.host, port).map(|socket| Listener::Udp(socket.into())),
        };
        let host = if command.host.is_empty() { "*" } else { &command.host };
        bound.map(Made::Listener).map_err(|error| format!("cannot bind {host} port {port}: {error}"))
    }

    fn add_transport(&mut self, command: &AddTransport) -> Result<(), Refused> {
        let made = Added { transport_kind: command.kind, ..PLAIN };
        self.add(Noun::Transport, command.transport, made)?;
        if command.budget != 0 {
            self.get(Noun::Budget, command.budget)?;
        }
        self.claim(command.transport, &command.ufrags)?;
        if command.extensions.checked().is_none() {
            return Err("extension ids".into());
        }
        if command.cname.len() > 255 {
            return Err("cname is longer than 255 bytes".into());
        }
        ssrc(command.feedback_ssrc, "feedback_ssrc")?;
        if command.kind == TransportKind::Webrtc {
            return Ok(());
        }
        let Some(remote) = &command.remote else {
            return Err("this kind of transport needs a remote address".into());
        };
        if self.get(Noun::Listener, command.listener)?.listener_kind == ListenerKind::TcpMux {
            return Err("this kind of transport needs a UDP listener".into());
        }
        RawAddress::from_message(remote, Family::Inet6)
            .map_err(|error| format!("remote address: {error}"))?;
        Ok(())
    }

    fn claim(&mut self, transport: i64, ufrags: &[String]) -> Result<(), Refused> {
        for ufrag in ufrags {
            let owner = self.state.ufrags.get(ufrag).and_then(|key| self.state.transports.get(*key));
            let taken = self.ufrags.get(ufrag).copied().or_else(|| owner.map(|owner| owner.number));
            if let Some(taken) = taken.filter(|taken| *taken != transport)
                && self.find(Noun::Transport, taken).is_some()
            {
                return Err(format!("ufrag belongs to transport {taken}"));
            }
            self.ufrags.insert(ufrag.clone(), transport);
        }
        Ok(())
    }

    fn path(&self, path: &Path) -> Result<(), Refused> {
        let ident = i64::from(path.listener);
        let kind = self.get(Noun::Listener, ident)?.listener_kind;
        let known =
            self.state.listeners.get(&ident).filter(|_| !self.added.contains_key(&(Noun::Listener, ident)));
        let family = match known {
            Some(Listener::Udp(socket)) => socket.family,
            Some(Listener::Tcp(tcp)) if !tcp.connections.contains_key(&path.connection) => {
                return Err(format!("connection {} is closed", path.connection));
            }
            Some(Listener::Tcp(_)) => return Ok(()),
            None if kind == ListenerKind::TcpMux => {
                return Err(format!("connection {} is closed", path.connection));
            }
            None => Family::Inet6,
        };
        RawAddress::from_message(&path.remote, family).map_err(|error| format!("path: {error}"))?;
        Local::parse(&path.local.host, family).map_err(|error| format!("path: {error}"))?;
        Ok(())
    }

    fn set_keys(&mut self, command: &SetKeys) -> Result<Made, Refused> {
        let transport = self.get(Noun::Transport, command.transport)?;
        let known =
            self.state.transport_ids.get(&command.transport).and_then(|key| self.state.transports.get(*key));
        let added = self.added.contains_key(&(Noun::Transport, command.transport));
        let keyed = known.is_some_and(|known| known.sender.is_some()) && !added;
        if keyed || self.keyed.contains(&command.transport) {
            return Err("keys are set once per transport".into());
        }
        if transport.transport_kind == TransportKind::Plain {
            return Err("a plain transport has no keys".into());
        }
        let needed = key_length(command.profile);
        if command.send_key.len() != needed || command.receive_key.len() != needed {
            return Err(format!("keys of this profile have {needed} bytes"));
        }
        let sender =
            Protector::new(command.profile, &command.send_key).map_err(|error| format!("{error:?}"))?;
        let receiver =
            Unprotector::new(command.profile, &command.receive_key).map_err(|error| format!("{error:?}"))?;
        self.keyed.insert(command.transport);
        Ok(Made::Keys(Box::new(sender), Box::new(receiver)))
    }

    fn add_source(&mut self, command: &AddSource) -> Result<(), Refused> {
        if command.transport != 0 {
            self.get(Noun::Transport, command.transport)?;
        }
        if command.codecs.is_empty() {
            return Err("a source needs a codec".into());
        }
        let mut types: Vec<i64> = command.codecs.iter().map(|codec| codec.payload_type).collect();
        types.extend(command.codecs.iter().map(|codec| codec.rtx_payload_type).filter(|kind| *kind != 0));
        let distinct: FxHashSet<i64> = types.iter().copied().collect();
        if distinct.len() != types.len()
            || types.iter().any(|kind| !(0..64).contains(kind) && !(96..128).contains(kind))
        {
            return Err("payload types".into());
        }
        if command.codecs.iter().any(|codec| codec.clock_rate <= 0) {
            return Err("clock rate".into());
        }
        let rids: FxHashSet<&str> = command.layers.iter().map(|layer| layer.rid.as_str()).collect();
        let count = command.layers.len();
        if count == 0 || count > MAX_LAYERS as usize || rids.len() != count {
            return Err("layers".into());
        }
        if let Some(known) = self.find(Noun::Source, command.source)
            && (known.transport != command.transport || known.media != command.kind)
        {
            return Err(format!("source {} is another transport's or kind's", command.source));
        }
        let made = Added { transport: command.transport, media: command.kind, layers: count, ..PLAIN };
        self.replace(Noun::Source, command.source, made)
    }

    fn add_sink(&mut self, command: &AddSink) -> Result<(), Refused> {
        let made = Added { transport: command.transport, tap: command.tap, media: command.kind, ..PLAIN };
        self.add(Noun::Sink, command.sink, made)?;
        if (command.transport != 0) == (command.tap != 0) {
            return Err("a sink has a transport or a tap".into());
        }
        if command.tap != 0 {
            self.get(Noun::Tap, command.tap)?;
            return Ok(());
        }
        self.get(Noun::Transport, command.transport)?;
        if command.codecs.is_empty() {
            return Err("a sink needs a codec".into());
        }
        if command.codecs.iter().any(|codec| !(0..128).contains(&codec.payload_type) || codec.clock_rate <= 0)
        {
            return Err("payload types or clock rates".into());
        }
        if !(0..MAX_SEQUENCE_START).contains(&command.first_sequence) {
            return Err("first_sequence is below 2^15 so that no receiver mistakes the rollover".into());
        }
        if !(0..MAX_SSRC).contains(&command.first_timestamp) {
            return Err("first_timestamp".into());
        }
        ssrc(command.ssrc, "ssrc")?;
        let mut mine = vec![command.ssrc];
        if command.rtx_ssrc != 0 {
            ssrc(command.rtx_ssrc, "rtx_ssrc")?;
            mine.push(command.rtx_ssrc);
        }
        let added = self.added.contains_key(&(Noun::Transport, command.transport));
        let key = self.state.transport_ids.get(&command.transport).filter(|_| !added);
        let transport = key.and_then(|key| self.state.transports.get(*key));
        for one in mine {
            let known = transport.and_then(|transport| transport.outgoing.get(&(one as u32)));
            let owner =
                known.and_then(|(sink, _)| self.state.sinks.get(*sink)).map(|sink: &Sink| sink.number);
            let taken = owner.is_some_and(|owner| self.find(Noun::Sink, owner).is_some());
            if taken || self.ssrcs.contains(&(command.transport, one)) {
                return Err(format!("ssrc {one} is another sink's"));
            }
            if transport.is_some_and(|transport| transport.used_ssrcs.contains(&(one as u32))) {
                return Err(format!("ssrc {one} was used before under the same keys"));
            }
            self.ssrcs.insert((command.transport, one));
        }
        Ok(())
    }

    fn set_routes(&mut self, command: &SetRoutes) -> Result<(), Refused> {
        let source = self.get(Noun::Source, command.source)?;
        let added = self.added.contains_key(&(Noun::Source, command.source));
        let key = self.state.source_ids.get(&command.source).filter(|_| !added);
        let applied = key.and_then(|key| self.state.sources.get(*key)).map_or(-1, |source| source.revision);
        let last = self.revisions.get(&command.source).copied().unwrap_or(applied);
        if command.revision < last {
            return Err(format!("revision {} is older than {last}", command.revision));
        }
        self.revisions.insert(command.source, command.revision);
        let distinct: FxHashSet<i64> = command.sinks.iter().copied().collect();
        if distinct.len() != command.sinks.len() {
            return Err("a sink is listed twice".into());
        }
        for ident in &command.sinks {
            if self.get(Noun::Sink, *ident)?.media != source.media {
                return Err(format!("sink {ident} is of the other media kind"));
            }
        }
        Ok(())
    }

    fn add_injection(&mut self, command: &AddInjection) -> Result<Made, Refused> {
        self.add(Noun::Injection, command.injection, PLAIN)?;
        for ident in &command.sources {
            if self.get(Noun::Source, *ident)?.transport != 0 {
                return Err(format!("source {ident} is fed by a transport"));
            }
        }
        listening(&command.path)
    }
}

fn listening(path: &str) -> Result<Made, Refused> {
    RecordSocket::bind(path).map(Made::Records).map_err(|error| format!("cannot listen on {path}: {error}"))
}

fn not_negative(what: &str, value: i64) -> Result<(), Refused> {
    if value < 0 { Err(format!("{what} {value}")) } else { Ok(()) }
}

fn ssrc(value: i64, what: &str) -> Result<(), Refused> {
    if (1..MAX_SSRC).contains(&value) { Ok(()) } else { Err(format!("{what} {value}")) }
}
