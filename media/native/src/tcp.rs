//! ICE-TCP: a passive listener and its connections, frames by RFC 4571 (two bytes of length before each packet).
//!
//! For networks that let no UDP through. TCP repairs losses by waiting, so a slow connection grows a backlog; once
//! its oldest bytes have waited 250 ms the connection is `congested` and senders drop whole frames instead of
//! adding to it. What is already in the backlog is sent in full, since it is numbered and part of a byte stream.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener as StandardListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use socket2::{Domain, SockRef, Socket, Type};

use crate::addresses::{Family, RawAddress, resolve};
use crate::bounds::MAX_DATAGRAM;
use crate::counters::Counters;
use crate::messages::Address;

/// Connections per listener.
pub const MAX_CONNECTIONS: usize = 1_000;
/// Connections that have not carried a valid check; beyond them the oldest is closed.
pub const MAX_UNPROVEN: usize = 200;
/// Seconds in which a connection has to carry a valid check.
pub const PROVE_WITHIN: f64 = 10.0;
/// Seconds the oldest byte may wait before senders are asked to drop.
pub const MAX_WAIT: f64 = 0.250;
/// Bytes; beyond them nothing is taken at all.
pub const MAX_BACKLOG: usize = 1024 * 1024;
const READ_SIZE: usize = 65_536;
const READS_PER_EVENT: usize = 4;
const SEND_BUFFER: usize = 64 * 1024; // bytes of the kernel, small so that the backlog is ours to measure
const KEPT_INPUT: usize = 4_096; // bytes of memory that a connection keeps between two events
const WAITING: i32 = 128; // connections that the kernel keeps for us

/// One accepted connection.
#[derive(Debug)]
pub struct TcpConnection {
    /// Its number at the listener, never 0.
    pub number: u32,
    /// Our end.
    pub local: Address,
    /// The peer's end.
    pub remote: Address,
    /// A path over it was validated.
    pub proven: bool,
    /// When it was accepted.
    pub opened: f64,
    /// The oldest output has waited too long: drop whole frames for now.
    pub congested: bool,
    /// Bytes that wait.
    pub backlog: usize,
    stream: TcpStream,
    input: Vec<u8>,
    taken: usize, // bytes of the input that `next_frame` gave
    whole: usize, // bytes of the input that are whole frames
    output: VecDeque<(Vec<u8>, f64)>,
    offset: usize, // bytes of the first output that are gone
    told: bool,    // what `write_interest` said last
}

impl TcpConnection {
    fn new(number: u32, stream: TcpStream, remote: SocketAddr, now: f64) -> io::Result<TcpConnection> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER)?;
        Ok(TcpConnection {
            number,
            local: RawAddress::from(stream.local_addr()?).to_message(),
            remote: RawAddress::from(remote).to_message(),
            proven: false,
            opened: now,
            congested: false,
            backlog: 0,
            stream,
            input: Vec::new(),
            taken: 0,
            whole: 0,
            output: VecDeque::new(),
            offset: 0,
            told: false,
        })
    }

    // ------------------------------------------------------------------ reading

    /// Read what waits, at most 256 KiB; false when the connection is at its end or sent a frame that is too long
    /// (counted). Whole frames before that are still to be taken with `next_frame`.
    pub fn read(&mut self, counters: &mut Counters) -> bool {
        self.forget_taken();
        for _ in 0..READS_PER_EVENT {
            let before = self.input.len();
            self.input.reserve(READ_SIZE);
            match recv(&self.stream, spare_capacity(&mut self.input), RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
                Ok(_) if self.input.len() == before => return false,
                Ok(_) => {}
            }
            if !self.find_frames() {
                counters.add("frame_too_long");
                return false;
            }
        }
        true
    }

    /// Move `whole` behind the last whole frame; false when a frame is too long.
    fn find_frames(&mut self) -> bool {
        while let Some((length, rest)) = self.input[self.whole..].split_first_chunk::<2>() {
            let size = usize::from(u16::from_be_bytes(*length));
            if size > MAX_DATAGRAM {
                return false;
            }
            if rest.len() < size {
                break;
            }
            self.whole += 2 + size;
        }
        true
    }

    /// The next whole frame that was read; None when there is none.
    pub fn next_frame(&mut self) -> Option<Vec<u8>> {
        let waiting = self.input.get(self.taken..self.whole)?;
        let Some((length, rest)) = waiting.split_first_chunk::<2>() else {
            self.forget_taken();
            return None;
        };
        let frame = rest.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
        self.taken += 2 + frame.len();
        Some(frame)
    }

    fn forget_taken(&mut self) {
        self.input.drain(..self.taken);
        self.whole -= self.taken;
        self.taken = 0;
        self.input.shrink_to(KEPT_INPUT);
    }

    // ------------------------------------------------------------------ writing

    /// One packet as a frame; false when the backlog takes no more (counted).
    pub fn send(&mut self, data: &[u8], now: f64, counters: &mut Counters) -> bool {
        let size = data.len() + 2;
        let length = u16::try_from(data.len());
        let (true, Ok(length)) = (self.backlog + size <= MAX_BACKLOG, length) else {
            counters.add("backlog_full");
            return false;
        };
        let length = length.to_be_bytes();
        let mut sent = 0;
        if self.output.is_empty() {
            // What the socket takes at once is not copied. A broken connection shows when it is read or flushed.
            let parts = [IoSlice::new(&length), IoSlice::new(data)];
            sent = sendmsg(&self.stream, &parts, &mut SendAncillaryBuffer::default(), flags()).unwrap_or(0);
            self.offset = sent;
        }
        if sent < size {
            let mut frame = Vec::with_capacity(size);
            frame.extend_from_slice(&length);
            frame.extend_from_slice(data);
            self.output.push_back((frame, now));
            self.backlog += size - sent;
        } else {
            self.offset = 0;
        }
        self.measure(now);
        true
    }

    /// A frame for each segment of a train that lies in `data`.
    pub fn send_train(&mut self, data: &[u8], segment: usize, now: f64, counters: &mut Counters) {
        for packet in data.chunks(segment.max(1)) {
            self.send(packet, now, counters);
        }
    }

    /// Write what the socket takes; false when the connection broke.
    pub fn flush(&mut self, now: f64) -> bool {
        while let Some((first, _)) = self.output.front() {
            match send(&self.stream, &first[self.offset..], flags()) {
                Ok(sent) => {
                    self.backlog -= sent;
                    self.offset += sent;
                    if self.offset == first.len() {
                        self.output.pop_front();
                        self.offset = 0;
                    }
                }
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(_) => return false,
            }
        }
        self.measure(now);
        true
    }

    fn measure(&mut self, now: f64) {
        self.congested = self.output.front().is_some_and(|(_, since)| now - since > MAX_WAIT);
    }

    /// Whether output waits.
    pub fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    /// Whether output waits, when that is not what it said last: what to tell `Poll::want_write`.
    pub fn write_interest(&mut self) -> Option<bool> {
        let wanted = self.wants_write();
        (wanted != self.told).then(|| {
            self.told = wanted;
            wanted
        })
    }
}

impl AsFd for TcpConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn flags() -> SendFlags {
    SendFlags::NOSIGNAL | SendFlags::DONTWAIT
}

/// A listening socket and its connections.
#[derive(Debug)]
pub struct TcpListener {
    /// The port it listens on.
    pub port: u16,
    /// By number, the oldest first.
    pub connections: BTreeMap<u32, TcpConnection>,
    next: u32,
    socket: StandardListener,
}

impl TcpListener {
    /// Listen; `host` "" = every address of both families (IPv4 only where the host has no IPv6).
    pub fn bind(host: &str, port: u16) -> io::Result<TcpListener> {
        let socket: StandardListener = listening(host, port)?.into();
        socket.set_nonblocking(true)?;
        let port = socket.local_addr()?.port();
        Ok(TcpListener { port, connections: BTreeMap::new(), next: 1, socket })
    }

    /// The number of the next waiting connection, None when there is none (or it was turned away and counted).
    pub fn accept(&mut self, now: f64, counters: &mut Counters) -> Option<u32> {
        let (stream, remote) = self.socket.accept().ok()?;
        if self.connections.len() >= MAX_CONNECTIONS {
            counters.add("connection_refused");
            return None;
        }
        let number = self.next;
        let connection = TcpConnection::new(number, stream, remote, now).ok()?;
        self.next = self.next.wrapping_add(1).max(1);
        self.connections.insert(number, connection);
        Some(number)
    }

    /// Connections to close: no valid check in time, or too many that have none.
    pub fn unproven(&self, now: f64) -> Vec<u32> {
        let waiting = || self.connections.values().filter(|connection| !connection.proven);
        let late: Vec<u32> = waiting()
            .filter(|connection| now - connection.opened > PROVE_WITHIN)
            .map(|connection| connection.number)
            .collect();
        let excess = waiting().count().saturating_sub(MAX_UNPROVEN);
        if excess <= late.len() {
            return late;
        }
        waiting().take(excess).map(|connection| connection.number).collect()
    }

    /// Close a connection; what waited is lost.
    pub fn close(&mut self, number: u32) {
        self.connections.remove(&number);
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn listening(host: &str, port: u16) -> io::Result<Socket> {
    if matches!(host, "" | "::") && has_dual_stack() {
        let any = SocketAddr::new(Family::Inet6.wildcard(), port);
        return listening_at(any, false);
    }
    let family = if host.contains(':') { Family::Inet6 } else { Family::Inet };
    listening_at(resolve(host, port, family)?, true)
}

fn listening_at(address: SocketAddr, only_v6: bool) -> io::Result<Socket> {
    let made = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    made.set_reuse_address(true)?;
    if address.is_ipv6() {
        made.set_only_v6(only_v6)?;
    }
    made.bind(&address.into())?;
    made.listen(WAITING)?;
    Ok(made)
}

fn has_dual_stack() -> bool {
    Socket::new(Domain::IPV6, Type::STREAM, None).is_ok_and(|probe| probe.set_only_v6(false).is_ok())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Duration;

    use super::*;

    struct Site {
        listener: TcpListener,
        counters: Counters,
    }

    impl Site {
        fn new(host: &str) -> Site {
            Site { listener: TcpListener::bind(host, 0).unwrap(), counters: Counters::default() }
        }

        fn connect(&mut self, host: &str, now: f64) -> (TcpStream, u32) {
            let peer = TcpStream::connect((host, self.listener.port)).unwrap();
            peer.set_nodelay(true).unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            (peer, self.listener.accept(now, &mut self.counters).unwrap())
        }

        /// Every frame up to `count` of them or the end of the connection, and whether it is open.
        fn frames(&mut self, number: u32, count: usize) -> (Vec<Vec<u8>>, bool) {
            let connection = self.listener.connections.get_mut(&number).unwrap();
            let mut frames = Vec::new();
            for _ in 0..2000 {
                let open = connection.read(&mut self.counters);
                frames.extend(std::iter::from_fn(|| connection.next_frame()));
                if !open || frames.len() >= count {
                    return (frames, open);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            (frames, true)
        }
    }

    fn framed(data: &[u8]) -> Vec<u8> {
        [&(data.len() as u16).to_be_bytes(), data].concat()
    }

    #[test]
    fn both_families_at_one_wildcard() {
        let mut site = Site::new("");
        for host in ["127.0.0.1", "::1"] {
            let (peer, number) = site.connect(host, 1.0);
            let connection = &site.listener.connections[&number];
            assert_eq!(connection.remote.host, host);
            assert_eq!(connection.remote.port, u32::from(peer.local_addr().unwrap().port()));
            assert_eq!(connection.local.host, host);
            assert_eq!(connection.local.port, u32::from(site.listener.port));
        }
        assert_eq!(site.listener.connections.keys().collect::<Vec<_>>(), [&1, &2]);
        assert!(site.listener.accept(1.0, &mut site.counters).is_none());
        assert!(TcpListener::bind("127.0.0.1", site.listener.port).is_err());
        assert!(TcpListener::bind("::1", 0).is_ok());
    }

    #[test]
    fn any_cutting_gives_the_same_frames() {
        let mut site = Site::new("127.0.0.1");
        let (mut peer, number) = site.connect("127.0.0.1", 0.0);
        let sent = [vec![1], vec![], vec![2; 2048], vec![3; 700], vec![4]];
        let wire: Vec<u8> = sent.iter().flat_map(|data| framed(data)).collect();
        let mut next = crate::chance::numbers();
        for _ in 0..20 {
            let mut rest = &wire[..];
            let mut frames = Vec::new();
            while !rest.is_empty() {
                let state = next();
                let cut = (1 + state as usize % if state & 64 == 0 { 3 } else { 1500 }).min(rest.len());
                peer.write_all(&rest[..cut]).unwrap();
                rest = &rest[cut..];
                frames.extend(site.frames(number, 0).0);
            }
            let missing = sent.len() - frames.len();
            frames.extend(site.frames(number, missing).0);
            assert_eq!(frames, sent);
        }
        drop(peer);
        assert_eq!(site.frames(number, 1), (vec![], false));
        assert_eq!(site.counters, Counters::default());
    }

    #[test]
    fn a_frame_that_is_too_long_ends_the_connection_after_those_before_it() {
        let mut site = Site::new("127.0.0.1");
        let (mut peer, number) = site.connect("127.0.0.1", 0.0);
        peer.write_all(&[&framed(b"good")[..], &2049_u16.to_be_bytes(), &framed(b"never")].concat()).unwrap();
        assert_eq!(site.frames(number, 9), (vec![b"good".to_vec()], false));
        assert_eq!(site.counters.get("frame_too_long"), 1);
    }

    #[test]
    fn random_bytes_do_not_panic() {
        let mut site = Site::new("127.0.0.1");
        let (_peer, number) = site.connect("127.0.0.1", 0.0);
        let connection = site.listener.connections.get_mut(&number).unwrap();
        let mut next = crate::chance::numbers();
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..next() % 60).map(|_| next() as u8 & 0x0f).collect();
            connection.input.extend_from_slice(&bytes);
            let open = connection.find_frames();
            while connection.next_frame().is_some() {}
            if !open {
                connection.input.clear();
            }
            connection.forget_taken();
        }
    }

    #[test]
    fn a_slow_reader_becomes_congested_and_gets_everything() {
        let mut site = Site::new("127.0.0.1");
        let (mut peer, number) = site.connect("127.0.0.1", 0.0);
        let Site { listener, counters } = &mut site;
        let connection = listener.connections.get_mut(&number).unwrap();
        let mut now = 100.0;
        let mut sent = Vec::new();
        assert_eq!(connection.write_interest(), None);
        while connection.send(&[sent.len() as u8; 1000], now, counters) {
            sent.push(vec![sent.len() as u8; 1000]);
            now += 0.001;
        }
        assert_eq!(counters.get("backlog_full"), 1);
        assert!(connection.backlog <= MAX_BACKLOG && connection.backlog > MAX_BACKLOG - 1002);
        assert!(connection.congested && connection.wants_write());
        assert_eq!((connection.write_interest(), connection.write_interest()), (Some(true), None));
        let total = sent.len() * 1002;
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; total];
            peer.read_exact(&mut got).unwrap();
            (got, peer)
        });
        while connection.wants_write() {
            assert!(connection.flush(now));
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!((connection.backlog, connection.congested), (0, false));
        assert_eq!(connection.write_interest(), Some(false));
        let (got, mut peer) = reader.join().unwrap();
        assert!(got == sent.iter().flat_map(|data| framed(data)).collect::<Vec<u8>>());

        connection.send_train(b"aabbc", 2, now, counters);
        let mut got = [0; 11];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, *b"\0\x02aa\0\x02bb\0\x01c");

        drop(peer);
        while connection.flush(now) {
            connection.send(b"into the void", now, counters);
        }
        listener.close(number);
        assert!(listener.connections.is_empty());
    }

    #[test]
    fn connections_that_prove_nothing_are_named() {
        let mut site = Site::new("127.0.0.1");
        let _peers: Vec<_> =
            (0..203).map(|index| site.connect("127.0.0.1", f64::from(index) * 0.001)).collect();
        site.listener.connections.get_mut(&2).unwrap().proven = true;
        assert_eq!(site.listener.unproven(1.0), [1, 3]);
        assert_eq!(site.listener.unproven(10.0045), [1, 3, 4, 5]);
        assert_eq!(site.listener.unproven(100.0).len(), 202);
        for number in [1, 3] {
            site.listener.close(number);
        }
        assert!(site.listener.unproven(1.0).is_empty());
    }
}
