//! UDP sockets of the relay: many datagrams a system call in both directions, replies from the address that was asked.
//!
//! Arrival times are the kernel's: under load a packet waits in the socket, and the time of reading would look like
//! congestion to the publisher. A train of equal datagrams for one peer is one message with the segment size as
//! ancillary data (UDP_SEGMENT); trains lie behind each other in the outbox until it is full or the turn is over.
//! Where the kernel or a device refuses segmentation, datagrams leave one by one.

#![allow(unsafe_code)] // the system calls of this file are in no safe crate

use std::cell::Cell;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr::{self, NonNull};
use std::rc::Rc;

use libc::c_int;
use socket2::{SockAddr, Socket, Type};

use crate::addresses::{Family, Local, RawAddress, resolve};
use crate::ancillary::{self, ARRIVING, ArrivingControl, LeavingControl};
use crate::bounds::MAX_DATAGRAM;
use crate::counters::Counters;
use crate::messages::ListenerKind;
use crate::poll::{monotonic, wallclock};

/// Bytes the kernel is asked to hold per socket and direction; it may grant less.
pub const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// Datagrams of one `Inbox::receive`.
pub const RECEIVED_AT_ONCE: usize = 64;
/// Datagrams or trains of one system call.
pub const SENT_AT_ONCE: usize = 64;
/// Bytes of the outbox: two of the longest trains, and small enough for a processor's cache.
pub const OUTBOX_SIZE: usize = 160_000;

const NAME: usize = 32; // bytes kept for a sockaddr
const NO_SEGMENTATION: [c_int; 4] = [libc::EIO, libc::EINVAL, libc::ENOTSUP, libc::ENOPROTOOPT];

/// A peer's address, and the local address that datagrams to it leave from where the kernel is not to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Destination {
    /// The peer.
    pub remote: RawAddress,
    /// Ours.
    pub local: Option<Local>,
}

/// What sending needs of a socket; queued trains hold on to it.
#[derive(Debug)]
struct Sender {
    socket: Socket,
    family: Family,
    segmentation: Cell<bool>,
}

/// A bound UDP socket. Flush the outbox before it is dropped: until then its trains keep it open.
#[derive(Debug)]
pub struct UdpSocket {
    /// Whose datagrams it takes.
    pub kind: ListenerKind,
    /// The port it is bound to.
    pub port: u16,
    /// Of its addresses.
    pub family: Family,
    /// The one local address, "" when it has several.
    pub fixed_local: String,
    pinned: bool,
    sender: Rc<Sender>,
}

impl UdpSocket {
    /// Bind; `host` "" = every address of both families (IPv4 only where the host has no IPv6), port 0 = any.
    pub fn bind(kind: ListenerKind, host: &str, port: u16) -> io::Result<UdpSocket> {
        let informed = kind != ListenerKind::UdpPlain;
        let (socket, family, fixed_local) = bound(host, port, informed)?;
        let port = socket.local_addr()?.as_socket().map_or(port, |address| address.port());
        let pinned = informed && fixed_local.is_empty();
        let sender = Rc::new(Sender { socket, family, segmentation: Cell::new(true) });
        Ok(UdpSocket { kind, port, family, fixed_local, pinned, sender })
    }

    /// The descriptor.
    pub fn fd(&self) -> RawFd {
        self.sender.socket.as_raw_fd()
    }

    /// The text form of a `local` that the inbox gave.
    pub fn local_host(&self, local: Option<Local>) -> String {
        local.map_or_else(|| self.fixed_local.clone(), |local| local.to_string())
    }

    /// The local address from which the kernel would send to `remote`.
    pub fn local_towards(&self, remote: RawAddress) -> String {
        if !self.fixed_local.is_empty() {
            return self.fixed_local.clone();
        }
        let probe = || -> io::Result<Option<SocketAddr>> {
            let probe = Socket::new(self.family.domain(), Type::DGRAM, None)?;
            probe.connect(&SockAddr::from(remote.to_socket_address()))?;
            Ok(probe.local_addr()?.as_socket())
        };
        match probe() {
            Ok(Some(local)) => RawAddress::from(local).to_message().host,
            _ => self.family.wildcard().to_string(), // unreachable for now
        }
    }

    /// (what the inbox gives as `local`, where to send to) for a peer and the local address it knows us by. Fails
    /// when that is no address.
    pub fn destination(
        &self,
        remote: RawAddress,
        local_host: &str,
    ) -> Result<(Option<Local>, Destination), String> {
        let local = if self.pinned { Some(Local::parse(local_host, self.family)?) } else { None };
        Ok((local, Destination { remote, local }))
    }

    /// One datagram, at once; false when it was not sent (counted).
    pub fn send(&self, data: &[u8], to: &Destination, counters: &mut Counters) -> bool {
        self.sender.send(data, to, counters)
    }
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sender.socket.as_fd()
    }
}

impl Sender {
    fn send(&self, data: &[u8], to: &Destination, counters: &mut Counters) -> bool {
        let mut control = LeavingControl::default();
        let control_size = control.write(self.family, to.local, 0);
        let mut vector = vector_of(data);
        let message = message_of(to, &mut vector, &mut control, control_size);
        // SAFETY: the message points to the address, the vector with the data and the control memory with their
        // sizes; all of them live until the call returns, and the kernel only reads them.
        let sent = unsafe { libc::sendmsg(self.socket.as_raw_fd(), &message, 0) };
        if sent < 0 {
            count(&io::Error::last_os_error(), counters);
        }
        sent >= 0
    }

    fn send_apart(&self, data: &[u8], segment: usize, to: &Destination, counters: &mut Counters) {
        for datagram in data.chunks(segment) {
            self.send(datagram, to, counters);
        }
    }

    /// Whether a train that was refused with this error may leave apart.
    fn unsegmented(&self, error: &io::Error, counters: &mut Counters) -> bool {
        let number = error.raw_os_error().unwrap_or(0);
        if NO_SEGMENTATION.contains(&number) {
            self.segmentation.set(false);
            counters.add("segmentation_refused");
            return true;
        }
        number == libc::EMSGSIZE
    }
}

fn count(error: &io::Error, counters: &mut Counters) {
    let blocked = error.kind() == io::ErrorKind::WouldBlock;
    counters.add(if blocked { "send_blocked" } else { "send_error" });
}

// ---------------------------------------------------------------------- binding

/// A non-blocking socket, its family and its one local address ("" when it has several). `informed`: with packet info.
fn bound(host: &str, port: u16, informed: bool) -> io::Result<(Socket, Family, String)> {
    if matches!(host, "" | "::") {
        match wildcard(Family::Inet6, port, informed) {
            Ok(socket) => return Ok((socket, Family::Inet6, String::new())),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL) => {}
                _ => return Err(error),
            },
        }
    }
    if matches!(host, "" | "0.0.0.0") {
        return Ok((wildcard(Family::Inet, port, informed)?, Family::Inet, String::new()));
    }
    let family = if host.contains(':') { Family::Inet6 } else { Family::Inet };
    let socket = configured(family)?;
    socket.bind(&resolve(host, port, family)?.into())?;
    Ok((socket, family, host.to_owned()))
}

fn wildcard(family: Family, port: u16, informed: bool) -> io::Result<Socket> {
    let socket = configured(family)?;
    match family {
        Family::Inet6 => {
            socket.set_only_v6(false)?;
            set_option(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, informed)?;
        }
        Family::Inet => set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, informed)?,
    }
    socket.bind(&SocketAddr::new(family.wildcard(), port).into())?;
    Ok(socket)
}

fn configured(family: Family) -> io::Result<Socket> {
    let made = Socket::new(family.domain(), Type::DGRAM, None)?;
    made.set_nonblocking(true)?;
    made.set_recv_buffer_size(SOCKET_BUFFER)?;
    made.set_send_buffer_size(SOCKET_BUFFER)?;
    set_option(&made, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, true)?;
    Ok(made)
}

fn set_option(socket: &Socket, level: c_int, name: c_int, on: bool) -> io::Result<()> {
    let value = c_int::from(on);
    let size = mem::size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the value is a c_int that lives until the call returns, and `size` is its size.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

// ---------------------------------------------------------------------- arriving

/// One datagram that arrived, in the inbox.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Its bytes.
    pub data: &'a mut [u8],
    /// Its sender.
    pub remote: RawAddress,
    /// The address it was sent to; None when the socket has no packet info.
    pub local: Option<Local>,
    /// When it came, CLOCK_MONOTONIC seconds.
    pub arrival: f64,
    /// It was longer than 2,048 bytes, so the end is missing.
    pub truncated: bool,
}

/// What one `recvmmsg` writes to; the headers point to the rest.
struct InboxMemory {
    data: [[u8; MAX_DATAGRAM]; RECEIVED_AT_ONCE],
    names: [[u8; NAME]; RECEIVED_AT_ONCE],
    controls: [ArrivingControl; RECEIVED_AT_ONCE],
    vectors: [libc::iovec; RECEIVED_AT_ONCE],
    headers: [libc::mmsghdr; RECEIVED_AT_ONCE],
}

/// Room for one `recvmmsg`, shared by every socket, since nothing stays in it between two turns.
pub struct Inbox {
    memory: NonNull<InboxMemory>, // owned; raw because it points into itself
    filled: usize,                // headers that the kernel wrote to
    now: f64,
    shift: f64, // from CLOCK_REALTIME to CLOCK_MONOTONIC
}

impl Inbox {
    /// Empty.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Inbox {
        // SAFETY: zeros are valid in every field: bytes, integers and null pointers.
        let boxed: Box<InboxMemory> = unsafe { Box::new_zeroed().assume_init() };
        let memory = NonNull::from(Box::leak(boxed));
        let at = memory.as_ptr();
        for index in 0..RECEIVED_AT_ONCE {
            // SAFETY: `at` is the memory above, which nobody else refers to, and `index` is within each array. The
            // pointers come from the raw pointer, as do all later ones, and stay valid until `drop`.
            unsafe {
                let vector = &raw mut (*at).vectors[index];
                (*vector).iov_base = (&raw mut (*at).data[index]).cast();
                (*vector).iov_len = MAX_DATAGRAM;
                let header = &raw mut (*at).headers[index].msg_hdr;
                (*header).msg_name = (&raw mut (*at).names[index]).cast();
                (*header).msg_namelen = NAME as _;
                (*header).msg_iov = vector;
                (*header).msg_iovlen = 1;
                (*header).msg_control = (&raw mut (*at).controls[index]).cast();
                (*header).msg_controllen = ARRIVING as _;
            }
        }
        Inbox { memory, filled: 0, now: 0.0, shift: 0.0 }
    }

    /// Take waiting datagrams in place of those before: how many, at most 64, 0 when none waits.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // SAFETY: the memory is ours alone while `self` is borrowed; the kernel is not at work between two calls.
        let headers = unsafe { &mut (*self.memory.as_ptr()).headers };
        for header in &mut headers[..self.filled] {
            header.msg_hdr.msg_namelen = NAME as _;
            header.msg_hdr.msg_controllen = ARRIVING as _;
        }
        self.filled = 0;
        self.now = monotonic();
        self.shift = self.now - wallclock();
        // SAFETY: each of the 64 headers points to memory of the sizes it has, valid until `drop`.
        let count = unsafe {
            libc::recvmmsg(
                socket.fd(),
                headers.as_mut_ptr(),
                RECEIVED_AT_ONCE as _,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        if count >= 0 {
            self.filled = count as usize;
            return Ok(self.filled);
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
    }

    /// One of the datagrams that `receive` took; `index` below their number.
    pub fn datagram(&mut self, index: usize) -> Datagram<'_> {
        assert!(index < self.filled, "no such datagram");
        // SAFETY: the memory is ours alone while `self` is borrowed, and so is what is handed out of it.
        let memory = unsafe { &mut *self.memory.as_ptr() };
        let header = &memory.headers[index];
        let size = (header.msg_len as usize).min(MAX_DATAGRAM);
        let name_size = (header.msg_hdr.msg_namelen as usize).min(NAME);
        let control_size = header.msg_hdr.msg_controllen.min(ARRIVING);
        let control = &memory.controls[index].0[..control_size];
        let (local, arrival) = ancillary::read(control, self.now, self.shift);
        Datagram {
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
            data: &mut memory.data[index][..size],
            remote: RawAddress::from_kernel(&memory.names[index][..name_size]),
            local,
            arrival,
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        // SAFETY: it was a box, and nothing points to it any more.
        drop(unsafe { Box::from_raw(self.memory.as_ptr()) });
    }
}

// ---------------------------------------------------------------------- leaving

fn vector_of(data: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: data.as_ptr().cast_mut().cast(), iov_len: data.len() }
}

/// A header that points to the arguments, so it is to be used only while they live.
fn message_of(
    to: &Destination,
    vector: &mut libc::iovec,
    control: &mut LeavingControl,
    control_size: usize,
) -> libc::msghdr {
    // SAFETY: zeros are valid in every field: integers and null pointers.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    let name = to.remote.as_bytes();
    message.msg_name = name.as_ptr().cast_mut().cast();
    message.msg_namelen = name.len() as _;
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    if control_size != 0 {
        message.msg_control = (&raw mut control.0).cast();
        message.msg_controllen = control_size as _;
    }
    message
}

/// A datagram or train that waits in the outbox.
struct Queued {
    sender: Rc<Sender>,
    to: Destination,
    start: usize,
    total: usize,
    segment: usize, // 0 = one datagram
}

/// The memory that packets leave from: written, protected and handed to the kernel in place, for many viewers at once.
///
/// Ask for `room`, write into `memory`, then `push`. Nothing waits here across two turns of the loop.
pub struct Outbox {
    /// 160,000 bytes; what was pushed is not to be changed until it has left.
    pub data: Vec<u8>,
    at: usize, // where the next train may be written
    queue: Vec<Queued>,
    mixed: bool, // the queue has trains of several sockets
    vectors: Box<[libc::iovec; SENT_AT_ONCE]>,
    controls: Box<[LeavingControl; SENT_AT_ONCE]>,
    headers: Box<[libc::mmsghdr; SENT_AT_ONCE]>,
}

impl Outbox {
    /// Empty.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Outbox {
        Outbox {
            data: vec![0; OUTBOX_SIZE],
            at: 0,
            queue: Vec::with_capacity(SENT_AT_ONCE),
            mixed: false,
            // SAFETY: zeros are valid in every field: integers and null pointers.
            vectors: unsafe { Box::new_zeroed().assume_init() },
            controls: Box::new([LeavingControl::default(); SENT_AT_ONCE]),
            // SAFETY: as above.
            headers: unsafe { Box::new_zeroed().assume_init() },
        }
    }

    /// Where a train of `total` bytes, at most 160,000, may be written; what lies there already may leave first.
    pub fn room(&mut self, total: usize, counters: &mut Counters) -> usize {
        if self.at + total > self.data.len() {
            self.flush(counters);
        }
        self.at
    }

    /// The place that `room` gave.
    pub fn memory(&mut self, at: usize, len: usize) -> &mut [u8] {
        &mut self.data[at..at + len]
    }

    /// Datagrams of `segment` bytes each, the last one possibly shorter, that lie in `data` from `start` on.
    ///
    /// They leave when the outbox is flushed (64 of them at the latest); until then their memory is theirs.
    pub fn push(
        &mut self,
        socket: &UdpSocket,
        to: Destination,
        start: usize,
        total: usize,
        segment: usize,
        counters: &mut Counters,
    ) {
        debug_assert!(start + total <= self.data.len());
        let segment = if total <= segment { 0 } else { segment };
        self.mixed |= self.queue.last().is_some_and(|last| !Rc::ptr_eq(&last.sender, &socket.sender));
        self.queue.push(Queued { sender: Rc::clone(&socket.sender), to, start, total, segment });
        self.at = start + total;
        if self.queue.len() == SENT_AT_ONCE {
            self.flush(counters);
        }
    }

    /// Everything leaves now. What a socket does not take is lost and counted.
    pub fn flush(&mut self, counters: &mut Counters) {
        self.at = 0;
        if self.queue.is_empty() {
            return;
        }
        let mut queue = mem::take(&mut self.queue);
        if mem::take(&mut self.mixed) {
            queue.sort_by_key(|queued| Rc::as_ptr(&queued.sender)); // stable, so that each socket's order stays
        }
        for run in queue.chunk_by(|one, next| Rc::ptr_eq(&one.sender, &next.sender)) {
            self.leave(run, counters);
        }
        queue.clear();
        self.queue = queue;
    }

    /// Send the trains of one socket.
    fn leave(&mut self, mut rest: &[Queued], counters: &mut Counters) {
        while let Some(first) = rest.first() {
            let (sender, to) = (&first.sender, &first.to);
            let mut done = 1;
            if !sender.segmentation.get() {
                let data = &self.data[first.start..first.start + first.total];
                sender.send_apart(data, apart(first), to, counters);
            } else {
                match self.send_together(sender, rest) {
                    Ok(sent) => done = sent.clamp(1, rest.len()),
                    Err(error) if first.segment != 0 && sender.unsegmented(&error, counters) => {
                        let data = &self.data[first.start..first.start + first.total];
                        sender.send_apart(data, first.segment, to, counters);
                    }
                    Err(error) => count(&error, counters),
                }
            }
            rest = &rest[done..];
        }
    }

    /// One system call for trains of one socket, at most 64; how many left, at least one.
    fn send_together(&mut self, sender: &Sender, trains: &[Queued]) -> io::Result<usize> {
        let places = self.vectors.iter_mut().zip(self.controls.iter_mut()).zip(self.headers.iter_mut());
        let mut count = 0;
        for (train, ((vector, control), header)) in trains.iter().zip(places) {
            *vector = vector_of(&self.data[train.start..train.start + train.total]);
            let control_size = control.write(sender.family, train.to.local, train.segment);
            header.msg_hdr = message_of(&train.to, vector, control, control_size);
            count += 1;
        }
        // SAFETY: the first `count` headers were written above and point to addresses in `trains` and to vectors, data
        // and control memory of `self`, all of which stay in place until the call returns; the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                sender.socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
            )
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }
}

/// The size of a train's datagrams when they leave one by one.
fn apart(queued: &Queued) -> usize {
    if queued.segment == 0 { queued.total.max(1) } else { queued.segment }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket as Peer;
    use std::time::Duration;

    use super::*;
    use crate::messages::Address;

    struct Site {
        relay: UdpSocket,
        inbox: Inbox,
        out: Outbox,
        counters: Counters,
        peer: Peer,
        host: &'static str,
    }

    type Arrived = (Vec<u8>, RawAddress, Option<Local>, f64);

    impl Site {
        fn new(bound_to: &str, kind: ListenerKind, host: &'static str) -> Site {
            let peer = Peer::bind((host, 0)).unwrap();
            peer.set_nonblocking(true).unwrap();
            socket2::SockRef::from(&peer).set_recv_buffer_size(1 << 20).unwrap();
            Site {
                relay: UdpSocket::bind(kind, bound_to, 0).unwrap(),
                inbox: Inbox::new(),
                out: Outbox::new(),
                counters: Counters::default(),
                peer,
                host,
            }
        }

        /// Every kind of socket and family, each with a peer.
        fn each(mut test: impl FnMut(Site)) {
            for (bound_to, host) in [
                ("", "127.0.0.1"),
                ("", "::1"),
                ("0.0.0.0", "127.0.0.1"),
                ("127.0.0.1", "127.0.0.1"),
                ("::1", "::1"),
            ] {
                test(Site::new(bound_to, ListenerKind::UdpMux, host));
                test(Site::new(bound_to, ListenerKind::UdpPlain, host));
            }
        }

        fn arrive(&self, data: &[u8]) {
            self.peer.send_to(data, (self.host, self.relay.port)).unwrap();
        }

        fn drain(&mut self) -> Vec<Arrived> {
            let mut arrived = Vec::new();
            loop {
                let count = self.inbox.receive(&self.relay).unwrap();
                for index in 0..count {
                    let datagram = self.inbox.datagram(index);
                    if datagram.truncated {
                        self.counters.add("datagram_too_long");
                        continue;
                    }
                    arrived.push((datagram.data.to_vec(), datagram.remote, datagram.local, datagram.arrival));
                }
                if count < RECEIVED_AT_ONCE {
                    return arrived;
                }
            }
        }

        fn destination(&self, host: &str, port: u32) -> (Option<Local>, Destination) {
            let address = Address { host: host.to_owned(), port };
            let remote = RawAddress::from_message(&address, self.relay.family).unwrap();
            self.relay.destination(remote, self.host).unwrap()
        }

        fn towards_peer(&self) -> Destination {
            self.destination(self.host, self.peer.local_addr().unwrap().port().into()).1
        }

        fn train(&mut self, data: &[u8], segment: usize) {
            let to = self.towards_peer();
            let place = self.out.room(data.len(), &mut self.counters);
            self.out.memory(place, data.len()).copy_from_slice(data);
            self.out.push(&self.relay, to, place, data.len(), segment, &mut self.counters);
        }

        fn flush(&mut self) {
            self.out.flush(&mut self.counters);
        }

        fn received(&self) -> Vec<Vec<u8>> {
            let mut buffer = [0; 4096];
            std::iter::from_fn(|| self.peer.recv(&mut buffer).ok().map(|size| buffer[..size].to_vec()))
                .collect()
        }
    }

    #[test]
    fn what_arrives_comes_whole_in_order_with_its_sender_and_time() {
        Site::each(|mut site| {
            let sent: Vec<Vec<u8>> = (0..131).map(|index| vec![index; usize::from(index) + 1]).collect();
            let before = monotonic();
            for data in &sent {
                site.arrive(data);
            }
            let arrived = site.drain();
            assert_eq!(arrived.iter().map(|(data, ..)| data.clone()).collect::<Vec<_>>(), sent);
            let port = site.peer.local_addr().unwrap().port().into();
            let (local, to) = site.destination(site.host, port);
            let informed = site.relay.kind == ListenerKind::UdpMux && site.relay.fixed_local.is_empty();
            assert_eq!(local.is_some(), informed);
            for (_, remote, arrived_at, _) in &arrived {
                assert_eq!((*remote, *arrived_at), (to.remote, local));
            }
            let expected = if informed { site.host } else { site.relay.fixed_local.as_str() };
            assert_eq!(site.relay.local_host(local), expected);
            assert_eq!(to.remote.to_message(), Address { host: site.host.to_owned(), port });
            assert!(arrived.is_sorted_by_key(|(.., arrival)| *arrival));
            assert!(before - 0.01 <= arrived[0].3 && arrived[130].3 <= monotonic() + 0.01);
            assert!(site.drain().is_empty());
        });
    }

    #[test]
    fn the_time_in_the_socket_does_not_count() {
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        site.arrive(b"x");
        let sent = monotonic();
        std::thread::sleep(Duration::from_millis(60));
        let arrival = site.drain()[0].3;
        assert!((arrival - sent).abs() < 0.03, "{arrival} {sent}");
    }

    #[test]
    fn what_is_too_long_is_marked() {
        Site::each(|mut site| {
            for size in [1, MAX_DATAGRAM + 1, 0, MAX_DATAGRAM] {
                site.arrive(&vec![7; size]);
            }
            let sizes: Vec<usize> = site.drain().iter().map(|(data, ..)| data.len()).collect();
            assert_eq!(sizes, [1, 0, MAX_DATAGRAM]);
            assert_eq!(site.counters.get("datagram_too_long"), 1);
        });
    }

    #[test]
    fn trains_arrive_as_their_datagrams() {
        Site::each(|mut site| {
            let mut trains: Vec<(Vec<u8>, usize)> =
                (0..32).map(|index| (vec![index; 100 * usize::from(index) + 50], 100)).collect();
            trains.extend([(b"one".to_vec(), 3), (vec![0; 900], 900)]);
            let expected: Vec<Vec<u8>> =
                trains.iter().flat_map(|(data, segment)| data.chunks(*segment).map(<[u8]>::to_vec)).collect();
            for (data, segment) in &trains {
                site.train(data, *segment);
            }
            site.flush();
            assert_eq!(site.received(), expected);
            assert_eq!(site.counters, Counters::default());
            assert_eq!(site.out.at, 0);
        });
    }

    #[test]
    fn replies_leave_from_the_address_that_was_asked() {
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        site.host = "127.0.0.2"; // the peer of 127.0.0.1 asked this one
        site.arrive(b"asked");
        let (_, remote, local, _) = site.drain().remove(0);
        assert_eq!(site.relay.local_host(local), "127.0.0.2");
        let (same, to) = site.relay.destination(remote, "127.0.0.2").unwrap();
        assert_eq!(same, local);
        assert!(site.relay.send(b"single", &to, &mut site.counters));
        let place = site.out.room(5, &mut site.counters);
        site.out.memory(place, 5).copy_from_slice(b"aabbc");
        site.out.push(&site.relay, to, place, 5, 2, &mut site.counters);
        site.flush();
        let mut buffer = [0; 64];
        for expected in ["single", "aa", "bb", "c"] {
            let (size, from) = site.peer.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..size], from.ip().to_string().as_str()), (expected.as_bytes(), "127.0.0.2"));
        }
    }

    #[test]
    fn more_than_one_call_carries_all_leave() {
        Site::each(|mut site| {
            let sent: Vec<Vec<u8>> = (0..193_u16).map(|index| index.to_be_bytes().to_vec()).collect();
            for data in &sent {
                site.train(data, 2);
            }
            site.flush();
            assert_eq!(site.received(), sent);
        });
    }

    #[test]
    fn a_full_outbox_leaves_before_more_is_written() {
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        let sent: Vec<Vec<u8>> = (0..20).map(|index| vec![index; 60_000]).collect();
        let mut got = Vec::new();
        for data in &sent {
            site.train(data, 1000);
            got.extend(site.received());
        }
        site.flush();
        got.extend(site.received());
        assert_eq!(got.concat(), sent.concat());
        assert!(got.iter().all(|data| data.len() == 1000));
    }

    #[test]
    fn trains_of_several_sockets_keep_the_order_of_each() {
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        let other = UdpSocket::bind(ListenerKind::UdpPlain, "127.0.0.1", 0).unwrap();
        let to = site.towards_peer();
        let address = RawAddress::from(site.peer.local_addr().unwrap());
        let other_to = other.destination(address, "").unwrap().1;
        for index in 0..100 {
            let place = site.out.room(1, &mut site.counters);
            site.out.memory(place, 1)[0] = index;
            let (socket, to) = if index % 2 == 0 { (&site.relay, to) } else { (&other, other_to) };
            site.out.push(socket, to, place, 1, 1, &mut site.counters);
        }
        let port = other.port;
        drop(other); // its trains keep it
        site.flush();
        let mut buffer = [0; 8];
        let mut by_port = [Vec::new(), Vec::new()];
        while let Ok((1, from)) = site.peer.recv_from(&mut buffer) {
            by_port[usize::from(from.port() == port)].push(buffer[0]);
        }
        assert_eq!(by_port, [(0..100).step_by(2).collect::<Vec<u8>>(), (1..100).step_by(2).collect()]);
        assert_eq!(site.counters, Counters::default());
    }

    #[test]
    fn a_refused_datagram_is_counted_and_the_others_leave() {
        for bound_to in ["", "127.0.0.1"] {
            let mut site = Site::new(bound_to, ListenerKind::UdpMux, "127.0.0.1");
            let broadcast = site.destination("255.255.255.255", 9).1;
            site.train(b"before", 6);
            let place = site.out.room(3, &mut site.counters);
            site.out.push(&site.relay, broadcast, place, 3, 3, &mut site.counters);
            site.train(b"after", 5);
            site.flush();
            assert_eq!(site.received(), [b"before".to_vec(), b"after".to_vec()]);
            assert_eq!(site.counters.iter().collect::<Vec<_>>(), [("send_error", 1)]);
            assert!(!site.relay.send(b"x", &broadcast, &mut site.counters));
            assert_eq!(site.counters.get("send_error"), 2);
        }
    }

    #[test]
    fn without_segmentation_datagrams_leave_one_by_one() {
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        site.relay.sender.segmentation.set(false);
        site.train(b"aabbc", 2);
        site.train(b"whole", 5);
        site.flush();
        assert_eq!(site.received(), [&b"aa"[..], b"bb", b"c", b"whole"]);
    }

    #[test]
    fn a_kernel_that_refuses_segmentation_is_asked_once() {
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        let sender = Rc::clone(&site.relay.sender);
        let mut refused =
            |number| sender.unsegmented(&io::Error::from_raw_os_error(number), &mut site.counters);
        assert!(refused(libc::EMSGSIZE));
        assert!(sender.segmentation.get());
        assert!(refused(libc::EIO));
        assert!(!refused(libc::EPERM));
        assert!(!sender.segmentation.get());
        assert_eq!(site.counters.iter().collect::<Vec<_>>(), [("segmentation_refused", 1)]);
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        let data: Vec<u8> = (0..300).map(|index| index as u8).collect();
        site.train(&data, 1); // more datagrams than a train may have
        site.train(b"after", 5);
        site.flush();
        let mut expected: Vec<Vec<u8>> = data.iter().map(|byte| vec![*byte]).collect();
        expected.push(b"after".to_vec());
        assert_eq!(site.received(), expected);
        assert_eq!(site.counters.iter().collect::<Vec<_>>(), [("segmentation_refused", 1)]);
        let mut site = Site::new("", ListenerKind::UdpMux, "127.0.0.1");
        site.train(&[5; 70_000], 1_400); // more bytes than a train may have
        site.flush();
        assert_eq!(site.received(), vec![vec![5; 1_400]; 50]);
        assert_eq!(site.counters, Counters::default());
        assert!(site.relay.sender.segmentation.get());
    }

    #[test]
    fn the_address_that_the_kernel_would_choose() {
        let site = Site::new("", ListenerKind::UdpPlain, "127.0.0.1");
        let towards = |host| site.relay.local_towards(site.destination(host, 9).1.remote);
        assert_eq!(towards("127.0.0.1"), "127.0.0.1");
        assert_eq!(towards("::1"), "::1");
        let site = Site::new("127.0.0.1", ListenerKind::UdpPlain, "127.0.0.1");
        assert_eq!(site.relay.local_towards(site.destination("10.0.0.1", 9).1.remote), "127.0.0.1");
    }

    #[test]
    fn what_cannot_be_bound_is_refused() {
        let taken = UdpSocket::bind(ListenerKind::UdpMux, "", 0).unwrap();
        for host in ["", "::", "0.0.0.0", "127.0.0.1", "::1"] {
            let error = UdpSocket::bind(ListenerKind::UdpMux, host, taken.port).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE), "{host}");
        }
        assert!(UdpSocket::bind(ListenerKind::UdpMux, "192.0.2.1", 0).is_err());
        let remote = RawAddress::from(SocketAddr::new(Family::Inet6.wildcard(), 1));
        assert_eq!(taken.destination(remote, "nowhere").unwrap_err(), "nowhere is no address");
    }
}
