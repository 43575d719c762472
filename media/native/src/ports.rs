//! Sockets as the relay sees them: listeners, the paths over them, and what sends there.

use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::addresses::{Local, RawAddress};
use crate::counters::Counters;
use crate::messages::{ListenerKind, Path};
use crate::poll::monotonic;
use crate::tcp::{TcpConnection, TcpListener};
use crate::udp::{Destination, Outbox, UdpSocket};

/// A bound socket.
pub enum Listener {
    /// UDP, shared or of one plain transport.
    Udp(Rc<UdpSocket>),
    /// ICE-TCP with its connections.
    Tcp(TcpListener),
}

impl Listener {
    /// How its bytes are framed and to whom they belong.
    pub fn kind(&self) -> ListenerKind {
        match self {
            Listener::Udp(socket) => socket.kind,
            Listener::Tcp(_) => ListenerKind::TcpMux,
        }
    }

    /// The port it is bound to.
    pub fn port(&self) -> u16 {
        match self {
            Listener::Udp(socket) => socket.port,
            Listener::Tcp(listener) => listener.port,
        }
    }
}

/// Under which a datagram or a frame finds its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WayKey {
    /// Listener, sender, the local address that was asked.
    Udp(i64, RawAddress, Option<Local>),
    /// Listener and connection.
    Tcp(i64, u32),
}

/// What a path sends through.
pub enum Port {
    /// A UDP socket and where to.
    Udp(Rc<UdpSocket>, Destination),
    /// One TCP connection of a listener.
    Tcp(i64, u32),
}

/// A path as the sockets need it.
pub struct Way {
    /// As control knows it.
    pub path: Path,
    /// Under which what arrives finds it.
    pub key: WayKey,
    /// Where to send.
    pub port: Port,
}

/// What sending through a port needs of the engine.
pub struct Exit<'a> {
    /// The send buffer.
    pub out: &'a mut Outbox,
    /// The listeners, for connections.
    pub listeners: &'a mut FxHashMap<i64, Listener>,
    /// Connections that were written to.
    pub touched: &'a mut Vec<(i64, u32)>,
    /// What went wrong.
    pub counters: &'a mut Counters,
}

impl Exit<'_> {
    /// One packet, at once; false when it was not sent (counted).
    pub fn send(&mut self, port: &Port, data: &[u8]) -> bool {
        match port {
            Port::Udp(socket, to) => socket.send(data, to, self.counters),
            Port::Tcp(listener, connection) => match connected(self.listeners, *listener, *connection) {
                Some(found) => {
                    self.touched.push((*listener, *connection));
                    found.send(data, monotonic(), self.counters)
                }
                None => {
                    self.counters.add("send_no_path");
                    false
                }
            },
        }
    }

    /// Datagrams of `segment` bytes each, the last one possibly shorter, that lie in the send buffer from `start` on.
    pub fn send_train(&mut self, port: &Port, start: usize, total: usize, segment: usize) {
        match port {
            Port::Udp(socket, to) => self.out.push(socket, *to, start, total, segment, self.counters),
            Port::Tcp(listener, connection) => {
                let Some(found) = connected(self.listeners, *listener, *connection) else {
                    self.counters.add("send_no_path");
                    return;
                };
                self.touched.push((*listener, *connection));
                found.send_train(self.out.memory(start, total), segment, monotonic(), self.counters);
            }
        }
    }
}

fn connected(
    listeners: &mut FxHashMap<i64, Listener>,
    listener: i64,
    connection: u32,
) -> Option<&mut TcpConnection> {
    match listeners.get_mut(&listener) {
        Some(Listener::Tcp(tcp)) => tcp.connections.get_mut(&connection),
        _ => None,
    }
}
