//! The engine's thread: sockets and timers on one epoll, and the way of a datagram from the socket to its layer.
//!
//! A socket is drained in a loop on readiness; what a batch brought to a layer leaves as trains when the batch is done,
//! the trains of a turn in as few system calls as they fit in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};

use rustc_hash::FxHashMap;

use crate::arriving::{datagram, frame};
use crate::control::{Changes, Closing, Socket};
use crate::events::EventQueue;
use crate::layer::GATHER;
use crate::messages::{Ack, Event, decode_transaction, encode_ack, encode_statistics, transaction_number};
use crate::poll::{EventFd, Poll, monotonic};
use crate::ports::{Listener, WayKey};
use crate::records::{MESSAGES_PER_EVENT, Received, RecordSocket};
use crate::state::State;
use crate::udp::{Inbox, RECEIVED_AT_ONCE};

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
const WAKE: u64 = 0;

/// What the thread is asked; answers go back through the channel that came with the question.
pub enum Request {
    /// Begin to read.
    Start,
    /// An encoded transaction.
    Apply(Vec<u8>, SyncSender<Vec<u8>>),
    /// A snapshot.
    Statistics(SyncSender<Vec<u8>>),
    /// Close every socket and end.
    Close(SyncSender<()>),
}

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
        [self.urgent, self.gathering, self.pacing, self.telling, self.listening, self.regular]
            .into_iter()
            .flatten()
            .min_by(f64::total_cmp)
    }
}

fn due(timer: &mut Option<f64>, now: f64) -> bool {
    timer.take_if(|at| *at <= now).is_some()
}

/// The thread's own; nothing of it is shared.
pub struct Worker {
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
    began: f64, // the present turn
    lag: f64,   // worst lateness or length of a turn since the last snapshot
}

impl Worker {
    /// Nothing is read before a request to start.
    pub fn new(wake: Arc<EventFd>, events: EventQueue) -> std::io::Result<Worker> {
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
            began: monotonic(),
            lag: 0.0,
        })
    }

    /// Work until a request to close, or until nobody can ask any more.
    pub fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            let next = self.timers.next();
            self.lag = self.lag.max(monotonic() - self.began);
            self.rest(next);
            let ready = self.poll.wait_until(next).unwrap_or(0);
            self.began = monotonic();
            self.lag = self.lag.max(self.began - next.unwrap_or(self.began));
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
                            let lag = std::mem::take(&mut self.lag);
                            let _ = answer.send(encode_statistics(&self.state.snapshot(lag)));
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

    /// Let what arrives gather before the sockets are looked at again, unless something is due or asked earlier.
    fn rest(&self, next: Option<f64>) {
        let until = next.map_or(self.look_at, |next| next.min(self.look_at));
        let left = until - monotonic();
        if left > 0.0 {
            self.wake.await_signal(left);
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
        listeners.into_iter().for_each(|ident| self.opened(&Socket::Listener(ident)));
        taps.into_iter().for_each(|ident| self.opened(&Socket::Tap(ident)));
        injections.into_iter().for_each(|ident| self.opened(&Socket::Injection(ident)));
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
        let sinks: Vec<_> =
            self.state.sinks.iter().filter(|(_, sink)| on_it(sink)).map(|(key, _)| key).collect();
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
                let event = Event::ConnectionClosed { transport: transport.number, path: way.path.clone() };
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
        _ => state.injections.get_mut(&ident).map(|injection| &mut injection.socket),
    }
}
