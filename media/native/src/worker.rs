//! The engine's thread: sockets and timers on one epoll, and the way of a datagram from the socket to its layer.
//!
//! A socket is drained in a loop on readiness; what a batch brought to a layer leaves as trains when the batch is done,
//! the trains of a turn in as few system calls as they fit in. Whoever steers talks to the thread through `Handle`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustc_hash::FxHashMap;

use crate::addresses::{Family, RawAddress};
use crate::association::Names;
use crate::control::{Changes, Closing, Socket};
use crate::demux::{Kind, stun_ufrag};
use crate::events::EventQueue;
use crate::extensions::{Elements, scan};
use crate::messages::{
    Ack, Address, Event, ListenerKind, Path, TransportKind, decode_transaction, encode_ack, encode_events,
    encode_statistics, transaction_number,
};
use crate::poll::{EventFd, Poll, monotonic};
use crate::ports::{Listener, Way, WayKey};
use crate::records::{Received, RecordSocket};
use crate::source::{Arrived, GATHER};
use crate::srtp::SrtpError;
use crate::state::{State, TransportKey};
use crate::udp::{Datagram, Inbox, RECEIVED_AT_ONCE, UdpSocket};

/// Seconds from one look at the UDP sockets to the next, unless more waits than one look takes: waking up costs more
/// than what is done for a datagram, and hundreds of viewers report ten times a second each.
const LOOK: f64 = 0.001;
const TURN: f64 = 0.002; // s that pictures may keep the thread busy before voice that came meanwhile gets its turn
const PACE: f64 = 0.005; // s between looks at packets that wait for their turn
const URGENT: f64 = 0.005; // s at least between looks at losses, requests and arrivals while there are any
const REGULAR: f64 = 0.25; // s between looks at reports, rates and stalls
const TELL: f64 = 0.025; // s that events wait which nobody needs to know soon
const LISTEN: f64 = 0.05; // s between looks at whether spurts are over, while there are any
const BATCHES: usize = 2; // of the inbox that are read before others get their turn
const MESSAGES_PER_EVENT: usize = 64;
const MAX_ADMITTED: usize = 128; // SSRCs of one transport that get an SRTP stream; each costs memory for ever
const MIN_RTP: usize = 12;
const MIN_RTCP: usize = 8;
const WAKE: u64 = 0;

// --------------------------------------------------------------------------- the handle

enum Request {
    Start,
    Apply(Vec<u8>, SyncSender<Vec<u8>>),
    Statistics(SyncSender<Vec<u8>>),
    Close(SyncSender<()>),
}

/// What whoever steers holds of a running engine. Every method may be called from any thread.
pub struct Handle {
    requests: Mutex<Sender<Request>>,
    wake: Arc<EventFd>,
    events: EventQueue,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Handle {
    /// A thread of its own; nothing is read before `start`.
    pub fn new() -> Result<Handle, String> {
        let failed = |error: std::io::Error| format!("the engine cannot start: {error}");
        let wake = Arc::new(EventFd::new().map_err(failed)?);
        let events = EventQueue::new(EventFd::new().map_err(failed)?);
        let (requests, incoming) = channel();
        let (theirs, mine) = (wake.clone(), events.clone());
        let (up, running) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("relay".into())
            .spawn(move || match Worker::new(theirs, mine) {
                Ok(mut worker) => {
                    let _ = up.send(Ok(()));
                    worker.run(&incoming);
                }
                Err(error) => {
                    let _ = up.send(Err(error));
                }
            })
            .map_err(failed)?;
        running
            .recv()
            .map_err(|_| "the engine's thread ended".to_owned())?
            .map_err(failed)?;
        Ok(Handle {
            requests: Mutex::new(requests),
            wake,
            events,
            thread: Mutex::new(Some(thread)),
        })
    }

    fn ask(&self, request: Request) {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.send(request).is_ok() {
            self.wake.signal();
        }
    }

    /// Begin to read. Listeners may be added before or after.
    pub fn start(&self) {
        self.ask(Request::Start);
    }

    /// A transaction and its answer, both encoded; waits until it took effect.
    pub fn apply(&self, transaction: Vec<u8>) -> Vec<u8> {
        let (answer, answered) = sync_channel(1);
        let number = transaction_number(&transaction);
        self.ask(Request::Apply(transaction, answer));
        answered
            .recv()
            .unwrap_or_else(|_| encode_ack(&Ack::refused(number, 0, "the engine is closed")))
    }

    /// Readable while events wait.
    pub fn event_fd(&self) -> i32 {
        self.events.descriptor()
    }

    /// The waiting events, encoded.
    pub fn events(&self) -> Vec<u8> {
        encode_events(&self.events.take())
    }

    /// A snapshot, encoded; empty when the engine is closed.
    pub fn statistics(&self) -> Vec<u8> {
        let (answer, answered) = sync_channel(1);
        self.ask(Request::Statistics(answer));
        answered.recv().unwrap_or_default()
    }

    /// Close every socket and end the thread. Nothing is sent afterwards.
    pub fn close(&self) {
        let (answer, answered) = sync_channel(1);
        self.ask(Request::Close(answer));
        let _ = answered.recv();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

// --------------------------------------------------------------------------- the thread

/// What a token of the epoll stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Target {
    Udp(i64),
    Tcp(i64),
    Connection(i64, u32),
    TapListening(i64),
    Tap(i64),
    InjectionListening(i64),
    Injection(i64),
}

/// When something is due, by monotonic time.
#[derive(Default)]
struct Timers {
    urgent: Option<f64>,
    gathering: Option<f64>,
    pacing: Option<f64>,
    telling: Option<f64>,
    listening: Option<f64>,
    regular: Option<f64>,
}

impl Timers {
    fn next(&self) -> Option<f64> {
        [
            self.urgent,
            self.gathering,
            self.pacing,
            self.telling,
            self.listening,
            self.regular,
        ]
        .into_iter()
        .flatten()
        .min_by(f64::total_cmp)
    }
}

fn due(timer: &mut Option<f64>, now: f64) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

struct Worker {
    state: State,
    poll: Poll,
    wake: Arc<EventFd>,
    inbox: Inbox,
    targets: FxHashMap<u64, Target>,
    tokens: FxHashMap<Target, u64>,
    next_token: u64,
    timers: Timers,
    look_at: f64, // when the sockets may be drained again
    started: bool,
}

impl Worker {
    fn new(wake: Arc<EventFd>, events: EventQueue) -> std::io::Result<Worker> {
        let poll = Poll::new()?;
        poll.add(&*wake, WAKE)?;
        Ok(Worker {
            state: State::new(events),
            poll,
            wake,
            inbox: Inbox::new(),
            targets: FxHashMap::default(),
            tokens: FxHashMap::default(),
            next_token: WAKE + 1,
            timers: Timers::default(),
            look_at: 0.0,
            started: false,
        })
    }

    fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            let ready = self.poll.wait_until(self.timers.next()).unwrap_or(0);
            let mut woken = false;
            for index in 0..ready {
                let (token, readable, writable) = self.poll.ready(index);
                if token == WAKE {
                    woken = true;
                } else if let Some(target) = self.targets.get(&token).copied() {
                    self.guarded(|worker| worker.happened(target, readable, writable));
                }
            }
            self.guarded(Worker::timed);
            if woken {
                self.wake.drain();
                loop {
                    match requests.try_recv() {
                        Ok(Request::Start) => self.guarded(Worker::start),
                        Ok(Request::Apply(transaction, answer)) => {
                            let mut ack = Ack::refused(-1, 0, "the engine failed; this is a bug");
                            self.guarded(|worker| worker.apply(&transaction, &mut ack));
                            let _ = answer.send(encode_ack(&ack));
                        }
                        Ok(Request::Statistics(answer)) => {
                            let _ = answer.send(encode_statistics(&self.state.snapshot()));
                        }
                        Ok(Request::Close(answer)) => {
                            self.close();
                            let _ = answer.send(());
                            return;
                        }
                        Err(TryRecvError::Empty) => break,
                        Err(TryRecvError::Disconnected) => {
                            self.close();
                            return;
                        }
                    }
                }
            }
        }
    }

    /// A panic is a bug; it is counted, and everybody else goes on.
    fn guarded(&mut self, act: impl FnOnce(&mut Worker)) {
        if catch_unwind(AssertUnwindSafe(|| act(self))).is_err() {
            self.state.counters.add("panicked");
        }
    }

    // ------------------------------------------------------------------ commands

    fn start(&mut self) {
        self.started = true;
        let listeners: Vec<i64> = self.state.listeners.keys().copied().collect();
        let taps: Vec<i64> = self.state.taps.keys().copied().collect();
        let injections: Vec<i64> = self.state.injections.keys().copied().collect();
        listeners
            .into_iter()
            .for_each(|ident| self.opened(&Socket::Listener(ident)));
        taps.into_iter()
            .for_each(|ident| self.opened(&Socket::Tap(ident)));
        injections
            .into_iter()
            .for_each(|ident| self.opened(&Socket::Injection(ident)));
        self.timers.regular = Some(monotonic() + REGULAR);
    }

    /// Its number is in the answer before anything can fail.
    fn apply(&mut self, transaction: &[u8], ack: &mut Ack) {
        let transaction = match decode_transaction(transaction) {
            Ok(decoded) => decoded,
            Err(reason) => {
                *ack = Ack::refused(transaction_number(transaction), 0, reason);
                return;
            }
        };
        ack.number = transaction.number;
        let mut changes = Changes::default();
        *ack = self.state.apply(transaction, &mut changes);
        for closing in changes.closing {
            self.closing(closing);
        }
        if self.started {
            changes.opened.iter().for_each(|socket| self.opened(socket));
        }
        self.after();
    }

    fn close(&mut self) {
        self.state.flush_out();
        let listeners: Vec<i64> = self.state.listeners.keys().copied().collect();
        for ident in listeners {
            if let Some(listener) = self.state.listeners.remove(&ident) {
                self.closing(Closing::Listener(ident, listener));
            }
        }
        for (ident, socket) in std::mem::take(&mut self.state.taps) {
            self.closing(Closing::Tap(ident, socket));
        }
        for (ident, injection) in std::mem::take(&mut self.state.injections) {
            self.closing(Closing::Injection(ident, injection.socket));
        }
    }

    // ------------------------------------------------------------------ sockets

    fn watch(&mut self, target: Target) {
        let token = self.next_token;
        let added = match target {
            Target::Udp(ident) | Target::Tcp(ident) => match self.state.listeners.get(&ident) {
                Some(Listener::Udp(socket)) => self.poll.add(&**socket, token),
                Some(Listener::Tcp(tcp)) => self.poll.add(tcp, token),
                None => return,
            },
            Target::Connection(ident, number) => match self.state.listeners.get(&ident) {
                Some(Listener::Tcp(tcp)) => match tcp.connections.get(&number) {
                    Some(connection) => self.poll.add(connection, token),
                    None => return,
                },
                _ => return,
            },
            Target::TapListening(ident) | Target::InjectionListening(ident) => {
                match record_socket(&self.state, target, ident) {
                    Some(socket) => self.poll.add(socket.listening(), token),
                    None => return,
                }
            }
            Target::Tap(ident) | Target::Injection(ident) => {
                match record_socket(&self.state, target, ident).and_then(RecordSocket::peer) {
                    Some(peer) => self.poll.add(peer, token),
                    None => return,
                }
            }
        };
        if added.is_err() {
            self.state.counters.add("poll_error");
            return;
        }
        self.next_token += 1;
        self.targets.insert(token, target);
        self.tokens.insert(target, token);
    }

    /// Forget a target whose descriptor is about to close, which takes it out of the epoll.
    fn unwatch(&mut self, target: Target) {
        if let Some(token) = self.tokens.remove(&target) {
            self.targets.remove(&token);
        }
    }

    fn opened(&mut self, socket: &Socket) {
        match socket {
            Socket::Listener(ident) => match self.state.listeners.get(ident) {
                Some(Listener::Udp(_)) => self.watch(Target::Udp(*ident)),
                Some(Listener::Tcp(_)) => self.watch(Target::Tcp(*ident)),
                None => {}
            },
            Socket::Tap(ident) => self.watch(Target::TapListening(*ident)),
            Socket::Injection(ident) => self.watch(Target::InjectionListening(*ident)),
        }
    }

    fn closing(&mut self, closing: Closing) {
        match closing {
            Closing::Listener(ident, Listener::Udp(_)) => self.unwatch(Target::Udp(ident)),
            Closing::Listener(ident, Listener::Tcp(tcp)) => {
                for number in tcp.connections.keys() {
                    self.unwatch(Target::Connection(ident, *number));
                    self.connection_gone(ident, *number);
                }
                self.unwatch(Target::Tcp(ident));
            }
            Closing::Tap(ident, socket) => {
                self.unwatch(Target::Tap(ident));
                self.unwatch(Target::TapListening(ident));
                socket.close();
            }
            Closing::Injection(ident, socket) => {
                self.unwatch(Target::Injection(ident));
                self.unwatch(Target::InjectionListening(ident));
                socket.close();
            }
        }
    }

    fn happened(&mut self, target: Target, readable: bool, writable: bool) {
        match target {
            Target::Udp(ident) => self.udp_readable(ident),
            Target::Tcp(ident) => self.acceptable(ident),
            Target::Connection(ident, number) => {
                if writable {
                    self.connection_writable(ident, number);
                }
                if readable {
                    self.connection_readable(ident, number);
                }
            }
            Target::TapListening(ident) => self.peer_waits(Target::Tap(ident), ident),
            Target::InjectionListening(ident) => self.peer_waits(Target::Injection(ident), ident),
            Target::Tap(ident) | Target::Injection(ident) => self.records_readable(target, ident),
        }
        self.after();
    }

    fn peer_waits(&mut self, target: Target, ident: i64) {
        self.hang_up(target, ident);
        if let Some(socket) = record_socket_mut(&mut self.state, target, ident)
            && socket.accept().is_some()
        {
            self.watch(target);
            self.tap_changed(target);
        }
    }

    fn records_readable(&mut self, target: Target, ident: i64) {
        let now = monotonic();
        let mut message = Vec::new();
        for _ in 0..MESSAGES_PER_EVENT {
            let Some(socket) = record_socket_mut(&mut self.state, target, ident) else {
                return;
            };
            match socket.receive(&mut message) {
                Received::Message => {
                    if let Target::Injection(ident) = target {
                        self.state.inject(ident, &message, now);
                    }
                }
                Received::Nothing => break,
                Received::Gone => {
                    self.hang_up(target, ident);
                    self.tap_changed(target);
                    break;
                }
            }
        }
    }

    fn hang_up(&mut self, target: Target, ident: i64) {
        self.unwatch(target);
        if let Some(socket) = record_socket_mut(&mut self.state, target, ident) {
            socket.hang_up();
        }
    }

    fn tap_changed(&mut self, target: Target) {
        let Target::Tap(ident) = target else { return };
        let on_it = |sink: &crate::sink::Sink| matches!(&sink.output, crate::sink::Output::Tap(tap) if tap.tap == ident);
        let sinks: Vec<_> = self
            .state
            .sinks
            .iter()
            .filter(|(_, sink)| on_it(sink))
            .map(|(key, _)| key)
            .collect();
        for sink in sinks {
            self.state.reconsider(sink);
        }
    }

    // ------------------------------------------------------------------ TCP

    fn acceptable(&mut self, ident: i64) {
        let now = monotonic();
        let Some(Listener::Tcp(tcp)) = self.state.listeners.get_mut(&ident) else {
            return;
        };
        let accepted = tcp.accept(now, &mut self.state.counters);
        for unproven in tcp.unproven(now) {
            self.disconnect(ident, unproven);
        }
        if let Some(number) = accepted {
            self.watch(Target::Connection(ident, number));
        }
    }

    fn connection_readable(&mut self, ident: i64, number: u32) {
        let Some(Listener::Tcp(tcp)) = self.state.listeners.get_mut(&ident) else {
            return;
        };
        let Some(connection) = tcp.connections.get_mut(&number) else {
            return;
        };
        let open = connection.read(&mut self.state.counters);
        let ends = (connection.local.clone(), connection.remote.clone());
        let now = monotonic();
        loop {
            let Some(Listener::Tcp(tcp)) = self.state.listeners.get_mut(&ident) else {
                return;
            };
            let Some(connection) = tcp.connections.get_mut(&number) else {
                return;
            };
            let Some(mut data) = connection.next_frame() else {
                break;
            };
            frame(&mut self.state, ident, number, &ends, &mut data, now);
        }
        if !open {
            self.disconnect(ident, number);
        }
    }

    fn connection_writable(&mut self, ident: i64, number: u32) {
        let Some(Listener::Tcp(tcp)) = self.state.listeners.get_mut(&ident) else {
            return;
        };
        let Some(connection) = tcp.connections.get_mut(&number) else {
            return;
        };
        if !connection.flush(monotonic()) {
            self.disconnect(ident, number);
        } else {
            self.state.touched.push((ident, number));
        }
    }

    fn disconnect(&mut self, ident: i64, number: u32) {
        self.unwatch(Target::Connection(ident, number));
        self.connection_gone(ident, number);
        if let Some(Listener::Tcp(tcp)) = self.state.listeners.get_mut(&ident) {
            tcp.close(number);
        }
    }

    fn connection_gone(&mut self, ident: i64, number: u32) {
        let key = WayKey::Tcp(ident, number);
        if let Some((owner, way)) = self.state.ways.get(&key).cloned() {
            if let Some(transport) = self.state.transports.get(owner) {
                let event = Event::ConnectionClosed {
                    transport: transport.number,
                    path: way.path.clone(),
                };
                self.state.tell(event);
            }
            self.state.forget_way(&key);
        }
    }

    /// Connections that were written to: who has output waiting is told when it can write.
    fn want_write(&mut self) {
        for (ident, number) in std::mem::take(&mut self.state.touched) {
            let Some(Listener::Tcp(tcp)) = self.state.listeners.get_mut(&ident) else {
                continue;
            };
            let Some(connection) = tcp.connections.get_mut(&number) else {
                continue;
            };
            let Some(token) = self.tokens.get(&Target::Connection(ident, number)) else {
                continue;
            };
            if let Some(wanted) = connection.write_interest()
                && self.poll.want_write(&*connection, *token, wanted).is_err()
            {
                self.state.counters.add("poll_error");
            }
        }
    }

    // ------------------------------------------------------------------ UDP

    fn udp_readable(&mut self, ident: i64) {
        let now = monotonic();
        if now < self.look_at {
            // What arrives meanwhile shares this wake-up.
            std::thread::sleep(std::time::Duration::from_secs_f64(self.look_at - now));
        }
        let Some(Listener::Udp(socket)) = self.state.listeners.get(&ident) else {
            return;
        };
        let socket = socket.clone();
        let mut more = true;
        for _ in 0..BATCHES {
            let count = match self.inbox.receive(&socket) {
                Ok(count) => count,
                Err(_) => {
                    self.state.counters.add("receive_error");
                    0
                }
            };
            for index in 0..count {
                datagram(&mut self.state, ident, &socket, self.inbox.datagram(index));
            }
            if count < RECEIVED_AT_ONCE {
                more = false;
                break;
            }
        }
        self.look_at = monotonic() + if more { 0.0 } else { LOOK };
    }

    // ------------------------------------------------------------------ turns

    /// What a batch or a transaction left to do: pending runs leave, first requests go at once.
    fn after(&mut self) {
        if !self.state.dirty.is_empty() {
            self.flush();
        }
        self.state.flush_out();
        let now = monotonic();
        let state = &mut self.state;
        if self.timers.pacing.is_none() && !(state.pacing.is_empty() && state.dripping.is_empty()) {
            self.timers.pacing = Some(now + PACE);
        }
        if self.timers.listening.is_none() && !state.speaking.is_empty() {
            self.timers.listening = Some(now + LISTEN);
        }
        if self.timers.telling.is_none() && state.events.unsignalled() {
            self.timers.telling = Some(now + TELL);
        }
        if !state.due.is_empty() {
            state.report_due(now);
        }
        if state.hurry || (self.timers.urgent.is_none() && !state.reporting.is_empty()) {
            self.soon(now);
        }
        self.want_write();
    }

    /// Let pending runs leave, voice first; pictures only while nobody else has waited for long.
    fn flush(&mut self) {
        let state = &mut self.state;
        let dirty = std::mem::take(&mut state.dirty);
        let mut pictures = Vec::new();
        for layer in dirty {
            if state.layers.get(layer).is_some_and(|layer| layer.video) {
                pictures.push(layer);
            } else {
                state.flush_layer(layer);
            }
        }
        state.flush_out();
        let mut now = monotonic();
        let until = now + TURN;
        let mut wait = GATHER;
        for key in pictures {
            if state.layers.get(key).is_some_and(|layer| !layer.whole(now)) {
                state.dirty.push(key);
            } else if now > until {
                state.dirty.push(key);
                wait = 0.0;
            } else {
                state.flush_layer(key);
                now = monotonic();
            }
        }
        if wait == 0.0 || state.dirty.is_empty() {
            self.timers.gathering = None;
        }
        if !state.dirty.is_empty() {
            self.timers.gathering.get_or_insert(now + wait);
        }
    }

    fn timed(&mut self) {
        let now = monotonic();
        let mut acted = due(&mut self.timers.gathering, now);
        if due(&mut self.timers.pacing, now) {
            for transport in self.state.pacing.iter().copied().collect::<Vec<_>>() {
                self.state.release(transport);
            }
            for layer in self.state.dripping.iter().copied().collect::<Vec<_>>() {
                self.state.trickle(layer, now);
            }
            acted = true;
        }
        if due(&mut self.timers.telling, now) {
            self.state.events.signal();
        }
        if due(&mut self.timers.listening, now) {
            for source in self.state.speaking.iter().copied().collect::<Vec<_>>() {
                self.state.listen(source, now);
            }
            acted = true;
        }
        if due(&mut self.timers.urgent, now) {
            self.soon(now);
            acted = true;
        }
        if due(&mut self.timers.regular, now) {
            self.state.regular(now);
            self.timers.regular = Some(now + REGULAR);
            acted = true;
        }
        if acted {
            self.after();
        }
    }

    /// Do what is urgent and come back when the next of it is due.
    fn soon(&mut self, now: f64) {
        self.state.hurry = false;
        self.timers.urgent = self.state.urgent(now).map(|deadline| deadline.max(now + URGENT));
    }
}

fn record_socket(state: &State, target: Target, ident: i64) -> Option<&RecordSocket> {
    match target {
        Target::Tap(_) | Target::TapListening(_) => state.taps.get(&ident),
        _ => state.injections.get(&ident).map(|injection| &injection.socket),
    }
}

fn record_socket_mut(state: &mut State, target: Target, ident: i64) -> Option<&mut RecordSocket> {
    match target {
        Target::Tap(_) | Target::TapListening(_) => state.taps.get_mut(&ident),
        _ => state
            .injections
            .get_mut(&ident)
            .map(|injection| &mut injection.socket),
    }
}

// --------------------------------------------------------------------------- arriving

/// One datagram of a UDP socket.
fn datagram(state: &mut State, ident: i64, socket: &UdpSocket, found: Datagram<'_>) {
    if found.truncated {
        state.counters.add("datagram_too_long");
        return;
    }
    let Some(first) = found.data.first().copied() else {
        state.counters.add("datagram_empty");
        return;
    };
    let key = WayKey::Udp(ident, found.remote, found.local);
    let way = state.ways.get(&key);
    match Kind::of(first) {
        Kind::Rtp => match way {
            Some((owner, _)) => protected(state, *owner, found.data, found.arrival),
            None if socket.kind == ListenerKind::UdpMux => stranger(state, found.data, found.arrival),
            None => state.counters.add("unknown_path"),
        },
        Kind::Stun if socket.kind == ListenerKind::UdpMux => {
            let path = || Path {
                listener: ident as u32,
                local: Address {
                    host: socket.local_host(found.local),
                    port: socket.port.into(),
                },
                remote: found.remote.to_message(),
                connection: 0,
            };
            stun(state, path, found.data, key, found.arrival);
        }
        Kind::Dtls => {
            let way = way.cloned();
            dtls(state, way, found.data);
        }
        _ => state.counters.add("datagram_unknown"),
    }
}

/// One frame of a TCP connection. Streams are not looked for: an unproven connection may only check.
fn frame(state: &mut State, ident: i64, number: u32, ends: &(Address, Address), data: &mut [u8], now: f64) {
    let Some(first) = data.first().copied() else {
        state.counters.add("datagram_empty");
        return;
    };
    let key = WayKey::Tcp(ident, number);
    let way = state.ways.get(&key).cloned();
    match (Kind::of(first), way) {
        (Kind::Rtp, Some((owner, _))) => protected(state, owner, data, now),
        (Kind::Rtp, None) => state.counters.add("unknown_path"),
        (Kind::Stun, _) => {
            let (local, remote) = ends;
            let path = || Path {
                listener: ident as u32,
                local: local.clone(),
                remote: remote.clone(),
                connection: number,
            };
            let asker = RawAddress::from_message(remote, Family::Inet6);
            let asker = asker.map_or(key, |raw| WayKey::Udp(ident, raw, None));
            stun(state, path, data, asker, now);
        }
        (Kind::Dtls, way) => dtls(state, way, data),
        _ => state.counters.add("datagram_unknown"),
    }
}

fn stun(state: &mut State, path: impl FnOnce() -> Path, data: &[u8], asker: WayKey, now: f64) {
    let owner = stun_ufrag(data).and_then(|ufrag| state.ufrags.get(ufrag));
    let Some(transport) = owner.and_then(|key| state.transports.get(*key)) else {
        state.counters.add("stun_unknown");
        return;
    };
    if state.stun_rate.allow(asker, now) {
        state.tell(Event::StunReceived {
            transport: transport.number,
            path: path(),
            data: data.to_vec(),
        });
    } else {
        state.counters.add("stun_limited");
    }
}

fn dtls(state: &mut State, way: Option<(TransportKey, Rc<Way>)>, data: &[u8]) {
    let owner = way
        .as_ref()
        .and_then(|(owner, way)| state.transports.get(*owner).map(|found| (found, way)));
    match owner {
        Some((transport, way)) if transport.kind == TransportKind::Webrtc => {
            let event = Event::DtlsReceived {
                transport: transport.number,
                path: way.path.clone(),
                data: data.to_vec(),
            };
            state.tell(event);
        }
        _ => state.counters.add("dtls_unknown"),
    }
}

fn is_control(data: &[u8]) -> bool {
    data.get(1).is_some_and(|second| (192..=223).contains(second))
}

fn ssrc_of(data: &[u8]) -> Option<u32> {
    let at = if is_control(data) { 4 } else { 8 };
    Some(u32::from_be_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

/// SRTP from an address nobody validated: a peer whose address changed, if it authenticates.
fn stranger(state: &mut State, data: &mut [u8], arrival: f64) {
    let ssrc = if data.len() >= MIN_RTP {
        ssrc_of(data)
    } else {
        None
    };
    let owner = ssrc.and_then(|ssrc| state.owners.get(&ssrc)).copied();
    let keyed = |key: &TransportKey| {
        state
            .transports
            .get(*key)
            .is_some_and(|found| found.receiver.is_some())
    };
    match owner.filter(keyed) {
        None => state.counters.add("unknown_path"),
        Some(owner) if !state.stranger_rate.allow(owner, arrival) => state.counters.add("stranger_limited"),
        Some(owner) => protected(state, owner, data, arrival),
    }
}

/// RTP or RTCP of a transport, still protected.
fn protected(state: &mut State, key: TransportKey, data: &mut [u8], arrival: f64) {
    let control = is_control(data);
    if data.len() < if control { MIN_RTCP } else { MIN_RTP } {
        state.counters.add("packet_short");
        return;
    }
    let (Some(transport), Some(ssrc)) = (state.transports.get_mut(key), ssrc_of(data)) else {
        return;
    };
    let mut size = data.len();
    if transport.protected {
        let Some(receiver) = transport.receiver.as_mut() else {
            state.counters.add("no_keys");
            return;
        };
        let known = transport.admitted.contains(&ssrc);
        if !known && transport.admitted.len() >= MAX_ADMITTED {
            state.counters.add("too_many_streams");
            return;
        }
        let opened = if control {
            receiver.unprotect_rtcp(data)
        } else {
            receiver.unprotect_rtp(data)
        };
        match opened {
            Ok(clear) => size = clear,
            Err(SrtpError::Replayed) => {
                transport.replayed += 1;
                return;
            }
            Err(_) => {
                transport.unauthenticated += 1;
                return;
            }
        }
        if !known {
            transport.admitted.insert(ssrc);
        }
    }
    transport.packets_received += 1;
    transport.bytes_received += size as u64;
    let clear = data.get(..size).unwrap_or_default();
    if control {
        state.control_received(key, clear, arrival);
    } else {
        rtp(state, key, clear, arrival);
    }
}

/// Where the payload of an RTP packet lies, and its extension block with its profile (RFC 3550 5.1).
fn layout(data: &[u8]) -> Option<(usize, usize, u16, &[u8])> {
    let first = *data.first()?;
    let mut start = MIN_RTP + 4 * usize::from(first & 15);
    let (mut profile, mut block) = (0, &[] as &[u8]);
    if first & 0x10 != 0 {
        let head = data.get(start..start + 4)?;
        profile = u16::from_be_bytes([head[0], head[1]]);
        let words = usize::from(u16::from_be_bytes([head[2], head[3]]));
        block = data.get(start + 4..start + 4 + 4 * words)?;
        start += 4 + 4 * words;
    }
    let mut end = data.len();
    if first & 0x20 != 0 {
        let padding = usize::from(*data.last()?);
        if padding == 0 || padding > end {
            return None;
        }
        end -= padding;
    }
    (start <= end).then_some((start, end, profile, block))
}

/// One clear RTP packet of a transport.
fn rtp(state: &mut State, key: TransportKey, data: &[u8], arrival: f64) {
    let Some((mut start, end, profile, block)) = layout(data) else {
        state.counters.add("packet_malformed");
        return;
    };
    let Some(transport) = state.transports.get_mut(key) else {
        return;
    };
    let mut sequence = u16::from_be_bytes([data[2], data[3]]);
    let timestamp = u32::from_be_bytes([data[4], data[5], data[6], data[7]]);
    let ssrc = u32::from_be_bytes([data[8], data[9], data[10], data[11]]);
    let payload_type = data[1] & 0x7F;
    let found = if block.is_empty() {
        Elements::NONE
    } else {
        scan(block, profile, &transport.extensions)
    };
    if let (Some(arrivals), Some(number)) = (transport.arrivals.as_mut(), found.transport_cc) {
        arrivals.record(number, (arrival * 1e6) as i64);
        transport.media_ssrc = ssrc;
        state.reporting.insert(key);
        if arrival >= transport.arrivals_due && !state.due.contains(&key) {
            state.due.push(key);
        }
    }
    let names = Names {
        mid: found.mid,
        rid: found.rid,
        repaired: found.repaired_rid,
    };
    let known = transport
        .streams
        .get(&ssrc)
        .is_some_and(|stream| names.is_empty() || stream.is_named(names));
    if !known && !state.associate(key, ssrc, payload_type, names, arrival) {
        state.counters.add("stream_unknown");
        return;
    }
    let Some(stream) = state
        .transports
        .get_mut(key)
        .and_then(|found| found.streams.get_mut(&ssrc))
    else {
        return;
    };
    stream.reception.received(sequence, timestamp, arrival);
    let (layer_key, repair) = (stream.layer, stream.repair);
    let Some(layer) = state.layers.get(layer_key) else {
        return;
    };
    let Some(source) = state.sources.get(layer.source) else {
        return;
    };
    let codec = if repair {
        if end - start < 2 {
            return; // a probe
        }
        sequence = u16::from_be_bytes([data[start], data[start + 1]]);
        start += 2;
        source.repaired(payload_type)
    } else {
        source.codec(payload_type)
    };
    let Some(codec) = codec else {
        state.counters.add("payload_type_unknown");
        return;
    };
    if !repair && layer.ssrc != ssrc {
        state.begin(layer_key, ssrc, codec);
    }
    let arrived = Arrived {
        sequence,
        timestamp,
        marker: data[1] > 127,
        codec: codec.codec,
        payload: &data[start..end],
        arrival,
        level: found.audio_level,
        orientation: found.orientation,
    };
    state.receive(layer_key, &arrived);
}
