//! The sockets of the engine on one epoll: which of them are waited for, and what is done when one is ready. UDP
//! sockets are drained in a loop, and then rest for a moment.

use rustc_hash::FxHashMap;

use crate::arriving::{datagram, frame};
use crate::control::{Closing, Socket};
use crate::looks::Looks;
use crate::messages::Event;
use crate::poll::{EventFd, Poll, monotonic};
use crate::ports::{Listener, WayKey};
use crate::records::{MESSAGES_PER_EVENT, Received, RecordSocket};
use crate::state::State;
use crate::udp::{Inbox, RECEIVED_AT_ONCE};

const BATCHES: usize = 2; // of the inbox that are read before others get their turn

/// What a token of the epoll stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// Somebody asks the thread for something.
    Wake,
    /// A UDP listener.
    Udp(i64),
    /// A TCP listener.
    Tcp(i64),
    /// A TCP listener's connection.
    Connection(i64, u32),
    /// Where a reader may come.
    TapListening(i64),
    /// The reader.
    Tap(i64),
    /// Where a writer may come.
    InjectionListening(i64),
    /// The writer.
    Injection(i64),
}

/// What is waited for, and the memory that datagrams arrive in.
pub struct Sockets {
    poll: Poll,
    inbox: Inbox,
    targets: FxHashMap<u64, Target>,
    tokens: FxHashMap<Target, u64>,
    next_token: u64,
    /// How far looks at the UDP sockets are apart.
    pub looks: Looks,
    /// When they may be drained again, monotonic seconds: at once where more waited than one look takes.
    pub look_at: f64,
}

impl Sockets {
    /// Nothing is waited for but whoever asks.
    pub fn new(wake: &EventFd) -> std::io::Result<Sockets> {
        let poll = Poll::new()?;
        poll.add(wake, 0)?;
        Ok(Sockets {
            poll,
            inbox: Inbox::new(),
            targets: FxHashMap::from_iter([(0, Target::Wake)]),
            tokens: FxHashMap::default(),
            next_token: 1,
            looks: Looks::default(),
            look_at: 0.0,
        })
    }

    /// How many tokens are ready; 0 once the deadline has come.
    pub fn wait_until(&mut self, deadline: Option<f64>) -> usize {
        self.poll.wait_until(deadline).unwrap_or(0)
    }

    /// (what is ready, whether to be read, whether to be written), `index` below what `wait_until` gave. None when it
    /// went since then.
    pub fn ready(&self, index: usize) -> Option<(Target, bool, bool)> {
        let (token, readable, writable) = self.poll.ready(index);
        self.targets.get(&token).map(|target| (*target, readable, writable))
    }

    /// Wait for a target from now on.
    fn watch(&mut self, state: &mut State, target: Target) {
        let token = self.next_token;
        let added = match target {
            Target::Wake => return,
            Target::Udp(ident) | Target::Tcp(ident) => match state.listeners.get(&ident) {
                Some(Listener::Udp(socket)) => self.poll.add(&**socket, token),
                Some(Listener::Tcp(tcp)) => self.poll.add(tcp, token),
                None => return,
            },
            Target::Connection(ident, number) => match state.listeners.get(&ident) {
                Some(Listener::Tcp(tcp)) => match tcp.connections.get(&number) {
                    Some(connection) => self.poll.add(connection, token),
                    None => return,
                },
                _ => return,
            },
            Target::TapListening(ident) | Target::InjectionListening(ident) => {
                match record_socket(state, target, ident) {
                    Some(socket) => self.poll.add(socket.listening(), token),
                    None => return,
                }
            }
            Target::Tap(ident) | Target::Injection(ident) => {
                match record_socket(state, target, ident).and_then(RecordSocket::peer) {
                    Some(peer) => self.poll.add(peer, token),
                    None => return,
                }
            }
        };
        if added.is_err() {
            state.counters.add("poll_error");
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

    /// Read a socket that is now in the state.
    pub fn opened(&mut self, state: &mut State, socket: &Socket) {
        match socket {
            Socket::Listener(ident) => match state.listeners.get(ident) {
                Some(Listener::Udp(_)) => self.watch(state, Target::Udp(*ident)),
                Some(Listener::Tcp(_)) => self.watch(state, Target::Tcp(*ident)),
                None => {}
            },
            Socket::Tap(ident) => self.watch(state, Target::TapListening(*ident)),
            Socket::Injection(ident) => self.watch(state, Target::InjectionListening(*ident)),
        }
    }

    /// A socket that is no longer in the state goes.
    pub fn closing(&mut self, state: &mut State, closing: Closing) {
        match closing {
            Closing::Listener(ident, Listener::Udp(_)) => self.unwatch(Target::Udp(ident)),
            Closing::Listener(ident, Listener::Tcp(tcp)) => {
                for number in tcp.connections.keys() {
                    self.unwatch(Target::Connection(ident, *number));
                    connection_gone(state, ident, *number);
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

    /// Do what a target is ready for.
    pub fn happened(&mut self, state: &mut State, target: Target, readable: bool, writable: bool) {
        match target {
            Target::Wake => {}
            Target::Udp(ident) => self.udp_readable(state, ident),
            Target::Tcp(ident) => self.acceptable(state, ident),
            Target::Connection(ident, number) => {
                if writable {
                    self.connection_writable(state, ident, number);
                }
                if readable {
                    self.connection_readable(state, ident, number);
                }
            }
            Target::TapListening(ident) => self.peer_waits(state, Target::Tap(ident), ident),
            Target::InjectionListening(ident) => self.peer_waits(state, Target::Injection(ident), ident),
            Target::Tap(ident) | Target::Injection(ident) => self.records_readable(state, target, ident),
        }
    }

    fn peer_waits(&mut self, state: &mut State, target: Target, ident: i64) {
        self.hang_up(state, target, ident);
        if let Some(socket) = record_socket_mut(state, target, ident)
            && socket.accept().is_some()
        {
            self.watch(state, target);
            tap_changed(state, target);
        }
    }

    fn records_readable(&mut self, state: &mut State, target: Target, ident: i64) {
        let now = monotonic();
        let mut message = Vec::new();
        for _ in 0..MESSAGES_PER_EVENT {
            let Some(socket) = record_socket_mut(state, target, ident) else {
                return;
            };
            match socket.receive(&mut message) {
                Received::Message => {
                    if let Target::Injection(ident) = target {
                        state.inject(ident, &message, now);
                    }
                }
                Received::Nothing => break,
                Received::Gone => {
                    self.hang_up(state, target, ident);
                    tap_changed(state, target);
                    break;
                }
            }
        }
    }

    fn hang_up(&mut self, state: &mut State, target: Target, ident: i64) {
        self.unwatch(target);
        if let Some(socket) = record_socket_mut(state, target, ident) {
            socket.hang_up();
        }
    }

    // ------------------------------------------------------------------ TCP

    fn acceptable(&mut self, state: &mut State, ident: i64) {
        let now = monotonic();
        let Some(Listener::Tcp(tcp)) = state.listeners.get_mut(&ident) else {
            return;
        };
        let accepted = tcp.accept(now, &mut state.counters);
        for unproven in tcp.unproven(now) {
            self.disconnect(state, ident, unproven);
        }
        if let Some(number) = accepted {
            self.watch(state, Target::Connection(ident, number));
        }
    }

    fn connection_readable(&mut self, state: &mut State, ident: i64, number: u32) {
        let Some(Listener::Tcp(tcp)) = state.listeners.get_mut(&ident) else {
            return;
        };
        let Some(connection) = tcp.connections.get_mut(&number) else {
            return;
        };
        let open = connection.read(&mut state.counters);
        let ends = (connection.local.clone(), connection.remote.clone());
        let now = monotonic();
        loop {
            let Some(Listener::Tcp(tcp)) = state.listeners.get_mut(&ident) else {
                return;
            };
            let Some(connection) = tcp.connections.get_mut(&number) else {
                return;
            };
            let Some(mut data) = connection.next_frame() else {
                break;
            };
            frame(state, ident, number, &ends, &mut data, now);
        }
        if !open {
            self.disconnect(state, ident, number);
        }
    }

    fn connection_writable(&mut self, state: &mut State, ident: i64, number: u32) {
        let Some(Listener::Tcp(tcp)) = state.listeners.get_mut(&ident) else {
            return;
        };
        let Some(connection) = tcp.connections.get_mut(&number) else {
            return;
        };
        if !connection.flush(monotonic()) {
            self.disconnect(state, ident, number);
        } else {
            state.touched.push((ident, number));
        }
    }

    fn disconnect(&mut self, state: &mut State, ident: i64, number: u32) {
        self.unwatch(Target::Connection(ident, number));
        connection_gone(state, ident, number);
        if let Some(Listener::Tcp(tcp)) = state.listeners.get_mut(&ident) {
            tcp.close(number);
        }
    }

    /// Connections that were written to: who has output waiting is told when it can write.
    pub fn want_write(&mut self, state: &mut State) {
        for (ident, number) in std::mem::take(&mut state.touched) {
            let Some(Listener::Tcp(tcp)) = state.listeners.get_mut(&ident) else {
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
                state.counters.add("poll_error");
            }
        }
    }

    // ------------------------------------------------------------------ UDP

    fn udp_readable(&mut self, state: &mut State, ident: i64) {
        let Some(Listener::Udp(socket)) = state.listeners.get(&ident) else {
            return;
        };
        let socket = socket.clone();
        let mut more = true;
        for _ in 0..BATCHES {
            let count = match self.inbox.receive(&socket) {
                Ok(count) => count,
                Err(_) => {
                    state.counters.add("receive_error");
                    0
                }
            };
            for index in 0..count {
                datagram(state, ident, &socket, self.inbox.datagram(index));
            }
            if count < RECEIVED_AT_ONCE {
                more = false;
                break;
            }
        }
        self.look_at = monotonic() + if more { 0.0 } else { self.looks.apart() };
    }
}

fn tap_changed(state: &mut State, target: Target) {
    let Target::Tap(ident) = target else { return };
    for sink in state.sinks_on_tap(ident) {
        state.reconsider(sink);
    }
}

fn connection_gone(state: &mut State, ident: i64, number: u32) {
    let key = WayKey::Tcp(ident, number);
    if let Some((owner, way)) = state.ways.get(&key).cloned() {
        if let Some(transport) = state.transports.get(owner) {
            let event = Event::ConnectionClosed { transport: transport.number, path: way.path.clone() };
            state.tell(event);
        }
        state.forget_way(&key);
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
