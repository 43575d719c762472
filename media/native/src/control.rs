//! What each command does once it has been checked: objects made, linked and taken apart.

use std::cell::RefCell;
use std::rc::Rc;

use crate::addresses::RawAddress;
use crate::commands::{Draft, Made};
use crate::keys::{SinkKey, SourceKey, TransportKey};
use crate::messages::{
    Ack, AddBudget, AddInjection, AddSink, AddSource, AddTransport, Address, Command, Path, SetRoutes,
    Transaction, TransportKind,
};
use crate::pacing::TokenBucket;
use crate::poll::monotonic;
use crate::ports::{Listener, Port, Way, WayKey};
use crate::records::RecordSocket;
use crate::sink::{Output, Sink};
use crate::source::Source;
use crate::spurt::Spurt;
use crate::state::{Budget, Injection, State};
use crate::transport::{MAX_PATHS, Transport};

/// What the worker has to do about sockets after a transaction.
pub enum Socket {
    /// Read this listener.
    Listener(i64),
    /// Read this tap.
    Tap(i64),
    /// Read this injection.
    Injection(i64),
}

/// Sockets that came and went with a transaction.
#[derive(Default)]
pub struct Changes {
    /// They are in the state.
    pub opened: Vec<Socket>,
    /// They are no longer in the state; to be closed.
    pub closing: Vec<Closing>,
}

/// A socket that goes.
pub enum Closing {
    /// Its id and the listener.
    Listener(i64, Listener),
    /// Its id and the socket.
    Tap(i64, RecordSocket),
    /// Its id and the socket.
    Injection(i64, RecordSocket),
}

impl State {
    /// All commands or none.
    pub fn apply(&mut self, transaction: Transaction, changes: &mut Changes) -> Ack {
        let mut draft = Draft::new(self);
        let mut made = Vec::with_capacity(transaction.commands.len());
        for (index, command) in transaction.commands.iter().enumerate() {
            match draft.check(command) {
                Ok(thing) => made.push(thing),
                Err(reason) => {
                    for thing in made {
                        if let Made::Records(socket) = thing {
                            socket.close();
                        }
                    }
                    return Ack::refused(transaction.number, index, reason);
                }
            }
        }
        let mut ports = Vec::new();
        for (command, thing) in transaction.commands.into_iter().zip(made) {
            if let Made::Listener(listener) = &thing {
                ports.push(listener.port());
            }
            self.apply_one(command, thing, changes);
        }
        Ack::applied(transaction.number, ports)
    }

    fn apply_one(&mut self, command: Command, made: Made, changes: &mut Changes) {
        match (command, made) {
            (Command::AddListener(command), Made::Listener(listener)) => {
                self.listeners.insert(command.listener, listener);
                changes.opened.push(Socket::Listener(command.listener));
            }
            (Command::RemoveListener(command), _) => self.remove_listener(command.listener, changes),
            (Command::AddBudget(command), _) => self.add_budget(&command),
            (Command::AddTransport(command), _) => self.add_transport(&command),
            (Command::SetUfrags(command), _) => {
                if let Some(key) = self.transport_ids.get(&command.transport) {
                    self.claim(*key, command.ufrags);
                }
            }
            (Command::ValidatePath(command), _) => {
                if let Some(key) = self.transport_ids.get(&command.transport) {
                    self.use_path(*key, &command.path, command.selected);
                }
            }
            (Command::SetKeys(command), Made::Keys(sender, receiver)) => {
                let Some(key) = self.transport_ids.get(&command.transport).copied() else {
                    return;
                };
                if let Some(transport) = self.transports.get_mut(key) {
                    transport.sender = Some(*sender);
                    transport.receiver = Some(*receiver);
                    if transport.connected() {
                        self.reconsider_all(key);
                    }
                }
            }
            (Command::SendDatagram(command), _) => match self.way(&command.path) {
                Some(way) => {
                    self.send_over(&way, &command.data);
                }
                None => self.counters.add("send_no_path"),
            },
            (Command::RemoveTransport(command), _) => {
                if let Some(key) = self.transport_ids.get(&command.transport) {
                    self.remove_transport(*key);
                }
            }
            (Command::AddSource(command), _) => self.add_source(&command),
            (Command::RemoveSource(command), _) => {
                if let Some(key) = self.source_ids.get(&command.source) {
                    self.drop_source(*key);
                }
            }
            (Command::AddSink(command), _) => self.add_sink(&command),
            (Command::RemoveSink(command), _) => {
                let Some(key) = self.sink_ids.get(&command.sink).copied() else {
                    return;
                };
                if let Some((transport, ssrc)) =
                    self.sinks.get(key).and_then(Sink::peer).map(|p| (p.transport, p.ssrc))
                {
                    self.goodbye(transport, &[ssrc]);
                }
                self.drop_sink(key);
            }
            (Command::SetRoutes(command), _) => self.set_routes(&command),
            (Command::SelectLayer(command), _) => {
                if let Some(key) = self.sink_ids.get(&command.sink) {
                    self.select(*key, command.layer, command.now);
                }
            }
            (Command::SetRate(command), _) => {
                if let Some(key) = self.transport_ids.get(&command.transport) {
                    self.set_rate(*key, command.rate);
                }
            }
            (Command::RequestKeyFrame(command), _) => {
                let source = self.source_ids.get(&command.source).and_then(|key| self.sources.get(*key));
                if let Some(layer) = source.and_then(|source| source.layers.get(command.layer as usize)) {
                    self.ask_key_frame(*layer);
                }
            }
            (Command::AddTap(command), Made::Records(socket)) => {
                self.taps.insert(command.tap, socket);
                changes.opened.push(Socket::Tap(command.tap));
            }
            (Command::RemoveTap(command), _) => self.remove_tap(command.tap, changes),
            (Command::AddInjection(command), Made::Records(socket)) => {
                self.add_injection(&command, socket);
                changes.opened.push(Socket::Injection(command.injection));
            }
            (Command::RemoveInjection(command), _) => {
                if let Some(injection) = self.injections.remove(&command.injection) {
                    changes.closing.push(Closing::Injection(command.injection, injection.socket));
                }
            }
            // What a command needs was made when it was checked.
            (
                Command::AddListener(_) | Command::SetKeys(_) | Command::AddTap(_) | Command::AddInjection(_),
                _,
            ) => {}
        }
    }

    // ------------------------------------------------------------------ listeners and paths

    fn remove_listener(&mut self, listener: i64, changes: &mut Changes) {
        let ways: Vec<WayKey> = self
            .ways
            .iter()
            .filter(|(_, (_, way))| i64::from(way.path.listener) == listener)
            .map(|(key, _)| *key)
            .collect();
        self.flush_out();
        for key in ways {
            self.forget_way(&key);
        }
        if let Some(gone) = self.listeners.remove(&listener) {
            changes.closing.push(Closing::Listener(listener, gone));
        }
    }

    /// A path is no longer its transport's.
    pub fn forget_way(&mut self, key: &WayKey) {
        let Some((owner, way)) = self.ways.remove(key) else {
            return;
        };
        let Some(transport) = self.transports.get_mut(owner) else {
            return;
        };
        transport.ways.retain(|other| !Rc::ptr_eq(other, &way));
        if transport.selected.take_if(|selected| Rc::ptr_eq(selected, &way)).is_some() {
            self.reconsider_all(owner);
        }
    }

    /// A way of nobody over a path; None when its listener or connection is gone.
    fn way(&mut self, path: &Path) -> Option<Way> {
        let listener = i64::from(path.listener);
        match self.listeners.get_mut(&listener)? {
            Listener::Tcp(tcp) => {
                let connection = tcp.connections.get_mut(&path.connection)?;
                connection.proven = true;
                let key = WayKey::Tcp(listener, path.connection);
                Some(Way { path: path.clone(), key, port: Port::Tcp(listener, path.connection) })
            }
            Listener::Udp(socket) => {
                let remote = RawAddress::from_message(&path.remote, socket.family).ok()?;
                let (local, to) = socket.destination(remote, &path.local.host).ok()?;
                let key = WayKey::Udp(listener, remote, local);
                Some(Way { path: path.clone(), key, port: Port::Udp(socket.clone(), to) })
            }
        }
    }

    /// Datagrams over `path` are this transport's; `selected`: and ours to it leave there.
    fn use_path(&mut self, key: TransportKey, path: &Path, selected: bool) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let known = transport.ways.iter().find(|way| way.path == *path).cloned();
        let way = match known {
            Some(way) => way,
            None => {
                let Some(made) = self.way(path).map(Rc::new) else {
                    return;
                };
                self.forget_way(&made.key);
                self.ways.insert(made.key, (key, made.clone()));
                let Some(transport) = self.transports.get_mut(key) else {
                    return;
                };
                transport.ways.push(made.clone());
                if transport.ways.len() > MAX_PATHS {
                    let spare =
                        |way: &&Rc<Way>| transport.selected.as_ref().is_none_or(|s| !Rc::ptr_eq(s, way));
                    if let Some(oldest) = transport.ways.iter().find(spare).map(|way| way.key) {
                        self.forget_way(&oldest);
                    }
                }
                made
            }
        };
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        if selected && transport.selected.as_ref().is_none_or(|before| !Rc::ptr_eq(before, &way)) {
            let connected = transport.connected();
            transport.selected = Some(way);
            if !connected && transport.connected() {
                self.reconsider_all(key);
            }
        }
    }

    fn reconsider_all(&mut self, key: TransportKey) {
        for sink in self.transports.get(key).map_or_else(Vec::new, |transport| transport.sinks.clone()) {
            self.reconsider(sink);
        }
    }

    // ------------------------------------------------------------------ transports

    fn add_budget(&mut self, command: &AddBudget) {
        let now = monotonic();
        match self.budgets.get_mut(&command.budget) {
            Some(budget) => {
                budget.bucket.borrow_mut().set_rate(command.rate as f64, now);
                budget.rate = command.rate;
            }
            None => {
                let bucket = Rc::new(RefCell::new(TokenBucket::new(command.rate as f64, now)));
                self.budgets.insert(command.budget, Budget { bucket, rate: command.rate });
            }
        }
        let behind = self.transports.iter().filter(|(_, transport)| transport.budget == command.budget);
        let behind: Vec<(TransportKey, i64)> = behind.map(|(key, transport)| (key, transport.rate)).collect();
        for (key, rate) in behind {
            self.set_rate(key, rate);
        }
    }

    fn add_transport(&mut self, command: &AddTransport) {
        let extensions = command.extensions.checked().unwrap_or_default();
        let key = self.transports.insert(Transport::new(command, extensions));
        self.transport_ids.insert(command.transport, key);
        self.claim(key, command.ufrags.clone());
        self.set_rate(key, 0);
        if let (true, Some(remote), Some(Listener::Udp(socket))) =
            (command.kind != TransportKind::Webrtc, &command.remote, self.listeners.get(&command.listener))
            && let Ok(raw) = RawAddress::from_message(remote, socket.family)
        {
            // The kernel chooses the local address of a peer that was signalled, not validated.
            let local = Address { host: socket.local_towards(raw), port: socket.port.into() };
            let path =
                Path { listener: command.listener as u32, local, remote: raw.to_message(), connection: 0 };
            self.use_path(key, &path, true);
        }
    }

    fn claim(&mut self, key: TransportKey, ufrags: Vec<String>) {
        let Some(transport) = self.transports.get_mut(key) else {
            return;
        };
        for ufrag in std::mem::take(&mut transport.ufrags) {
            if self.ufrags.get(&ufrag) == Some(&key) {
                self.ufrags.remove(&ufrag);
            }
        }
        for ufrag in &ufrags {
            self.ufrags.insert(ufrag.clone(), key);
        }
        transport.ufrags = ufrags;
    }

    fn remove_transport(&mut self, key: TransportKey) {
        let Some(transport) = self.transports.get(key) else {
            return;
        };
        let sinks = transport.sinks.clone();
        let sources = transport.sources.clone();
        let ssrcs: Vec<u32> = sinks
            .iter()
            .filter_map(|sink| self.sinks.get(*sink).and_then(Sink::peer))
            .map(|p| p.ssrc)
            .collect();
        self.goodbye(key, &ssrcs);
        for sink in sinks {
            self.drop_sink(sink);
        }
        for source in sources {
            self.drop_source(source);
        }
        self.claim(key, Vec::new());
        let Some(transport) = self.transports.remove(key) else {
            return;
        };
        for way in &transport.ways {
            self.ways.remove(&way.key);
        }
        for ssrc in transport.streams.keys() {
            if self.owners.get(ssrc) == Some(&key) {
                self.owners.remove(ssrc);
            }
        }
        self.reporting.remove(&key);
        self.telling.remove(&key);
        self.pacing.remove(&key);
        self.transport_ids.remove(&transport.number);
    }

    // ------------------------------------------------------------------ sources

    fn add_source(&mut self, command: &AddSource) {
        if let Some(key) = self.source_ids.get(&command.source).copied() {
            self.update_source(key, command);
            for sink in self.sources.get(key).map_or_else(Vec::new, |source| source.route.clone()) {
                self.reconsider(sink);
            }
            return;
        }
        let key = self.sources.insert(Source {
            number: command.source,
            transport: command.transport,
            kind: command.kind,
            mid: String::new(),
            spurt: (command.hold > 0.0).then(|| Spurt::new(command.hold)),
            codecs: Vec::new(),
            layers: Vec::new(),
            route: Vec::new(),
            revision: -1,
        });
        self.source_ids.insert(command.source, key);
        self.update_source(key, command);
        if let Some(owner) = self.transport_ids.get(&command.transport)
            && let Some(transport) = self.transports.get_mut(*owner)
        {
            transport.sources.push(key);
        }
    }

    fn drop_source(&mut self, key: SourceKey) {
        let Some(source) = self.sources.get_mut(key) else {
            return;
        };
        let (number, owner) = (source.number, source.transport);
        for sink in std::mem::take(&mut source.route) {
            self.detach(sink);
        }
        self.speaking.remove(&key);
        let layers =
            self.sources.get_mut(key).map(|source| std::mem::take(&mut source.layers)).unwrap_or_default();
        for layer in &layers {
            self.close_layer(*layer);
        }
        if let Some(owner) = self.transport_ids.get(&owner)
            && let Some(transport) = self.transports.get_mut(*owner)
        {
            transport.streams.retain(|_, stream| !layers.contains(&stream.layer));
            transport.sources.retain(|source| *source != key);
        }
        self.sources.remove(key);
        self.source_ids.remove(&number);
    }

    fn set_routes(&mut self, command: &SetRoutes) {
        let Some(key) = self.source_ids.get(&command.source).copied() else {
            return;
        };
        let listed: Vec<SinkKey> =
            command.sinks.iter().filter_map(|number| self.sink_ids.get(number).copied()).collect();
        let Some(source) = self.sources.get_mut(key) else {
            return;
        };
        source.revision = command.revision;
        let before = std::mem::replace(&mut source.route, listed.clone());
        for sink in before {
            if !listed.contains(&sink) {
                self.detach(sink);
            }
        }
        for sink in listed {
            let fed_by = self.sinks.get(sink).and_then(|sink| sink.source);
            if fed_by == Some(key) {
                continue;
            }
            if let Some(other) = fed_by {
                if let Some(other) = self.sources.get_mut(other) {
                    other.route.retain(|listed| *listed != sink);
                }
                self.detach(sink);
            }
            self.attach(sink, key);
        }
        self.routed(key, monotonic());
    }

    // ------------------------------------------------------------------ sinks

    fn add_sink(&mut self, command: &AddSink) {
        if command.tap != 0 {
            let key = self.sinks.insert(Sink::on_tap(command));
            self.sink_ids.insert(command.sink, key);
            return;
        }
        let Some(owner) = self.transport_ids.get(&command.transport).copied() else {
            return;
        };
        let Some(transport) = self.transports.get_mut(owner) else {
            return;
        };
        let key = self.sinks.insert(Sink::on_transport(command, owner, transport));
        self.sink_ids.insert(command.sink, key);
        transport.sinks.push(key);
        transport.outgoing.insert(command.ssrc as u32, (key, false));
        if command.rtx_ssrc != 0 {
            transport.outgoing.insert(command.rtx_ssrc as u32, (key, true));
        }
        self.shape(key);
    }

    fn drop_sink(&mut self, key: SinkKey) {
        let Some(source) = self.sinks.get(key).map(|sink| sink.source) else {
            return;
        };
        if let Some(source) = source {
            if let Some(source) = self.sources.get_mut(source) {
                source.route.retain(|listed| *listed != key);
            }
            self.detach(key);
        }
        let Some(sink) = self.sinks.remove(key) else {
            return;
        };
        self.sink_ids.remove(&sink.number);
        let Output::Peer(peer) = &sink.output else { return };
        let Some(transport) = self.transports.get_mut(peer.transport) else {
            return;
        };
        for ssrc in [peer.ssrc, peer.rtx_ssrc] {
            if transport.outgoing.remove(&ssrc).is_some() {
                transport.used_ssrcs.insert(ssrc);
            }
        }
        transport.sinks.retain(|other| *other != key);
        if let Some(pacer) = transport.pacer.as_mut() {
            pacer.drop_flow_state(sink.number as u32);
        }
    }

    // ------------------------------------------------------------------ taps

    fn remove_tap(&mut self, number: i64, changes: &mut Changes) {
        for sink in self.sinks_on_tap(number) {
            self.drop_sink(sink);
        }
        if let Some(socket) = self.taps.remove(&number) {
            changes.closing.push(Closing::Tap(number, socket));
        }
    }

    fn add_injection(&mut self, command: &AddInjection, socket: RecordSocket) {
        self.injections.insert(command.injection, Injection { socket, sources: command.sources.clone() });
        for number in &command.sources {
            // A new writer: what an earlier one left is not continued.
            let source = self.source_ids.get(number).and_then(|key| self.sources.get(*key));
            for layer in source.map_or_else(Vec::new, |source| source.layers.clone()) {
                if self.layers.get(layer).is_some_and(|layer| layer.ssrc != 0) {
                    self.restart(layer);
                }
            }
        }
    }
}
