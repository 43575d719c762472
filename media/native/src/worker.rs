//! The engine's thread, turn by turn: what the sockets brought, what is due, what was asked.
//!
//! What a batch brought to a layer leaves as trains when the batch is done, the trains of a turn in as few system calls
//! as they fit in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError};

use crate::control::{Changes, Closing, Socket};
use crate::events::EventQueue;
use crate::layer::GATHER;
use crate::messages::{Ack, decode_transaction, encode_ack, encode_statistics, transaction_number};
use crate::poll::{EventFd, monotonic};
use crate::sockets::{Sockets, Target};
use crate::state::State;

const TURN: f64 = 0.002; // s that pictures may keep the thread busy before voice that came meanwhile gets its turn
const PACE: f64 = 0.005; // s between looks at packets that wait for their turn
const URGENT: f64 = 0.005; // s at least between looks at losses, requests and arrivals while there are any
const REGULAR: f64 = 0.25; // s between looks at reports, rates and stalls
const TELL: f64 = 0.025; // s that events wait which nobody needs to know soon
const LISTEN: f64 = 0.05; // s between looks at whether spurts are over, while there are any

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
    sockets: Sockets,
    wake: Arc<EventFd>,
    timers: Timers,
    started: bool,
    began: f64, // the present turn
    lag: f64,   // worst lateness or length of a turn since the last snapshot
}

impl Worker {
    /// Nothing is read before a request to start.
    pub fn new(wake: Arc<EventFd>, events: EventQueue) -> std::io::Result<Worker> {
        Ok(Worker {
            state: State::new(events),
            sockets: Sockets::new(&wake)?,
            wake,
            timers: Timers::default(),
            started: false,
            began: monotonic(),
            lag: 0.0,
        })
    }

    /// Work until a request to close, or until nobody can ask any more.
    pub fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            let next = self.timers.next();
            let (began, ended) = (self.began, monotonic());
            self.lag = self.lag.max(ended - began);
            self.rest(next);
            let ready = self.sockets.wait_until(next);
            self.began = monotonic();
            self.sockets.looks.turned(self.began - ended, ended - began);
            self.lag = self.lag.max(self.began - next.unwrap_or(self.began));
            let mut woken = false;
            for index in 0..ready {
                match self.sockets.ready(index) {
                    Some((Target::Wake, ..)) => woken = true,
                    Some((target, readable, writable)) => self.guarded(|worker| {
                        worker.sockets.happened(&mut worker.state, target, readable, writable);
                        worker.after();
                    }),
                    None => {}
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
        let until = next.map_or(self.sockets.look_at, |next| next.min(self.sockets.look_at));
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
        listeners
            .into_iter()
            .for_each(|ident| self.sockets.opened(&mut self.state, &Socket::Listener(ident)));
        taps.into_iter().for_each(|ident| self.sockets.opened(&mut self.state, &Socket::Tap(ident)));
        injections
            .into_iter()
            .for_each(|ident| self.sockets.opened(&mut self.state, &Socket::Injection(ident)));
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
            self.sockets.closing(&mut self.state, closing);
        }
        if self.started {
            changes.opened.iter().for_each(|socket| self.sockets.opened(&mut self.state, socket));
        }
        self.after();
    }

    fn close(&mut self) {
        self.state.flush_out();
        let listeners: Vec<i64> = self.state.listeners.keys().copied().collect();
        for ident in listeners {
            if let Some(listener) = self.state.listeners.remove(&ident) {
                self.sockets.closing(&mut self.state, Closing::Listener(ident, listener));
            }
        }
        for (ident, socket) in std::mem::take(&mut self.state.taps) {
            self.sockets.closing(&mut self.state, Closing::Tap(ident, socket));
        }
        for (ident, injection) in std::mem::take(&mut self.state.injections) {
            self.sockets.closing(&mut self.state, Closing::Injection(ident, injection.socket));
        }
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
        self.sockets.want_write(&mut self.state);
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
