//! Taps and injections: packets as records over Unix sockets (SOCK_SEQPACKET), to and from other processes.
//!
//! Each message is a batch of records one after the other, at most 64 KiB. A record is a header of 32 bytes,
//! big-endian, and its payload:
//!
//! ```text
//! offset  size  field
//!      0     1  kind: 1 packet, 2 mapping (of a sender report), 3 key-frame request (engine to injection only)
//!      1     1  flags: 1 marker, 2 a key frame starts here, 4 discardable, 8 records before it were lost, 16 late
//!      2     1  layer, an index into the source's layers
//!      3     1  codec (`messages.Codec`), 0 for kinds 2 and 3
//!      4     4  source
//!      8     8  extended sequence number, signed; a layer's own count, without gaps for padding
//!     16     4  RTP timestamp
//!     20     8  ns since 1970: of the packet's arrival, or in a mapping of the instant that the timestamp names
//!     28     2  size of the payload that follows
//!     30     2  reserved, 0
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen,
    recv, send, socket_with, sockopt,
};

use crate::error::Malformed;
use crate::messages::Codec;

/// Bytes before a record's payload.
pub const HEADER_SIZE: usize = 32;
/// Bytes of one message.
pub const MAX_BATCH: usize = 65_536;
/// Messages to take from one peer before the others have their turn.
pub const MESSAGES_PER_EVENT: usize = 64;
const SOCKET_BUFFER: usize = 1024 * 1024; // bytes the kernel may hold for a slow reader

/// Kind: a packet.
pub const PACKET: u8 = 1;
/// Kind: which instant an RTP timestamp names.
pub const MAPPING: u8 = 2;
/// Kind: somebody needs a key frame.
pub const KEY_FRAME_REQUEST: u8 = 3;

/// Flag: the RTP marker.
pub const MARKER: u8 = 1;
/// Flag: a key frame starts here.
pub const KEY_FRAME: u8 = 2;
/// Flag: nothing refers to this picture.
pub const DISCARDABLE: u8 = 4;
/// Flag: records before this one were lost.
pub const LOST_BEFORE: u8 = 8;
/// Flag: behind its place, because it was retransmitted.
pub const LATE: u8 = 16;

/// The fields of a record before its payload; see the module's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHead {
    /// 1 to 3.
    pub kind: u8,
    /// A sum of flags.
    pub flags: u8,
    /// An index into the source's layers.
    pub layer: u8,
    /// A `Codec` in a packet; of no meaning otherwise.
    pub codec: u8,
    /// The source's number.
    pub source: u32,
    /// Extended sequence number.
    pub sequence: i64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// ns since 1970.
    pub time_ns: i64,
}

/// One record of a batch, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its fields.
    pub head: RecordHead,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Append header and payload (at most 65,535 bytes of it).
pub fn write_record(out: &mut Vec<u8>, head: &RecordHead, payload: &[u8]) {
    let payload = &payload[..payload.len().min(usize::from(u16::MAX))];
    out.reserve(HEADER_SIZE + payload.len());
    out.extend_from_slice(&[head.kind, head.flags, head.layer, head.codec]);
    out.extend_from_slice(&head.source.to_be_bytes());
    out.extend_from_slice(&head.sequence.to_be_bytes());
    out.extend_from_slice(&head.timestamp.to_be_bytes());
    out.extend_from_slice(&head.time_ns.to_be_bytes());
    out.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(payload);
}

/// The records of one message. When it does not consist of whole, known ones, nothing of it is to be used.
pub fn parse_batch(data: &[u8]) -> Result<Vec<RecordRef<'_>>, Malformed> {
    let mut records = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let (header, after) = rest.split_first_chunk::<HEADER_SIZE>().ok_or(Malformed("header cut"))?;
        let (head, size) = head_of(header);
        let known = matches!(head.kind, PACKET | MAPPING | KEY_FRAME_REQUEST);
        if !known || (head.kind == PACKET && Codec::try_from(i64::from(head.codec)).is_err()) {
            return Err(Malformed("unknown kind or codec"));
        }
        let (payload, after) = after.split_at_checked(size).ok_or(Malformed("payload cut"))?;
        records.push(RecordRef { head, payload });
        rest = after;
    }
    Ok(records)
}

fn head_of(header: &[u8; HEADER_SIZE]) -> (RecordHead, usize) {
    fn field<const N: usize>(header: &[u8; HEADER_SIZE], at: usize) -> [u8; N] {
        std::array::from_fn(|index| header[at + index])
    }
    let head = RecordHead {
        kind: header[0],
        flags: header[1],
        layer: header[2],
        codec: header[3],
        source: u32::from_be_bytes(field(header, 4)),
        sequence: i64::from_be_bytes(field(header, 8)),
        timestamp: u32::from_be_bytes(field(header, 16)),
        time_ns: i64::from_be_bytes(field(header, 20)),
    };
    (head, usize::from(u16::from_be_bytes(field(header, 28))))
}

/// What `RecordSocket::receive` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message.
    Message,
    /// No message now.
    Nothing,
    /// The peer has gone, or there is none.
    Gone,
}

/// A listening Unix socket and its one peer. Its path is removed when it is dropped.
#[derive(Debug)]
pub struct RecordSocket {
    path: PathBuf,
    listening: OwnedFd,
    peer: Option<OwnedFd>,
}

impl RecordSocket {
    /// Listen at `path` (mode 0600), in place of a socket that is there.
    pub fn bind(path: &str) -> io::Result<RecordSocket> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let listening = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let path = Path::new(path);
        if fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            remove(path)?;
        }
        bind(&listening, &SocketAddrUnix::new(path)?)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        listen(&listening, 1)?;
        Ok(RecordSocket { path: path.to_owned(), listening, peer: None })
    }

    /// The listening socket.
    pub fn listening(&self) -> BorrowedFd<'_> {
        self.listening.as_fd()
    }

    /// The present peer.
    pub fn peer(&self) -> Option<BorrowedFd<'_>> {
        self.peer.as_ref().map(AsFd::as_fd)
    }

    /// Whether somebody reads or writes at the other end.
    pub fn has_peer(&self) -> bool {
        self.peer.is_some()
    }

    /// The next waiting peer, in place of the present one, which the caller has let go of.
    pub fn accept(&mut self) -> Option<BorrowedFd<'_>> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let accepted = accept_with(&self.listening, flags).ok()?;
        sockopt::set_socket_send_buffer_size(&accepted, SOCKET_BUFFER).ok()?;
        self.peer = Some(accepted);
        self.peer()
    }

    /// One message; false when nobody reads or the reader is slow.
    pub fn send(&self, data: &[u8]) -> bool {
        self.peer.as_ref().is_some_and(|peer| send(peer, data, SendFlags::NOSIGNAL).is_ok())
    }

    /// The next message, in place of what `into` has.
    pub fn receive(&self, into: &mut Vec<u8>) -> Received {
        into.clear();
        let Some(peer) = &self.peer else {
            return Received::Gone;
        };
        into.reserve_exact(MAX_BATCH);
        match recv(peer, spare_capacity(into), RecvFlags::empty()) {
            Ok(_) if into.is_empty() => Received::Gone,
            Ok(_) => {
                into.truncate(MAX_BATCH);
                Received::Message
            }
            Err(Errno::AGAIN | Errno::INTR) => Received::Nothing,
            Err(_) => Received::Gone,
        }
    }

    /// Let go of the peer.
    pub fn hang_up(&mut self) {
        self.peer = None;
    }

    /// Close both sockets and remove the path.
    pub fn close(self) {}
}

impl Drop for RecordSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path); // nobody may have left it there
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::{connect, socket};

    use super::*;

    const EXAMPLE: RecordHead = RecordHead {
        kind: PACKET,
        flags: MARKER | KEY_FRAME,
        layer: 2,
        codec: 2,
        source: 7,
        sequence: 70_000,
        timestamp: 0x0102_0304,
        time_ns: 5,
    };
    const BYTES: [u8; 34] = [
        1, 3, 2, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 1, 0x11, 0x70, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0, 2, 0, 0,
        0x61, 0x62,
    ];

    #[test]
    fn the_bytes() {
        let mut out = Vec::new();
        write_record(&mut out, &EXAMPLE, b"ab");
        assert_eq!(out, BYTES);
        let expected = RecordRef { head: EXAMPLE, payload: b"ab" };
        assert_eq!(parse_batch(&BYTES.repeat(3)).unwrap(), [expected; 3]);
        assert_eq!(parse_batch(b"").unwrap(), []);
        let before = RecordHead { kind: MAPPING, sequence: -1, time_ns: -2, ..RecordHead::default() };
        let mut out = Vec::new();
        write_record(&mut out, &before, b"");
        assert_eq!(parse_batch(&out).unwrap(), [RecordRef { head: before, payload: b"" }]);
    }

    #[test]
    fn what_is_not_whole_is_refused() {
        let mut unknown = [0; 32];
        for kind in [0, 1, 4, 9] {
            unknown[0] = kind;
            assert!(parse_batch(&unknown).is_err());
        }
        unknown[0] = PACKET;
        unknown[3] = 7;
        assert!(parse_batch(&unknown).is_err());
        assert!(parse_batch(&BYTES[..33]).is_err());
        assert!(parse_batch(&[1]).is_err());
        assert!(parse_batch(&[&BYTES[..], &[1]].concat()).is_err());
    }

    #[test]
    fn no_bytes_panic() {
        let mut next = crate::chance::numbers();
        for _ in 0..50_000 {
            let mut data = BYTES.repeat(1 + next() as usize % 3);
            for _ in 0..next() % 4 {
                let at = next() as usize % data.len();
                data[at] = next() as u8;
            }
            data.truncate(next() as usize % 120);
            let total: usize = parse_batch(&data)
                .map_or(0, |records| records.iter().map(|record| HEADER_SIZE + record.payload.len()).sum());
            assert!(total == 0 || total == data.len());
        }
    }

    fn peer_of(path: &str) -> OwnedFd {
        let peer = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        connect(&peer, &SocketAddrUnix::new(path).unwrap()).unwrap();
        peer
    }

    fn read(peer: &OwnedFd) -> Vec<u8> {
        let mut data = Vec::with_capacity(MAX_BATCH);
        recv(peer, spare_capacity(&mut data), RecvFlags::DONTWAIT).unwrap();
        data
    }

    #[test]
    fn one_peer_that_a_newer_one_replaces() {
        let path = std::env::temp_dir().join(format!("records-{}.sock", std::process::id()));
        let path = path.to_str().unwrap();
        let stale = RecordSocket::bind(path).unwrap();
        let mut records = RecordSocket::bind(path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut data = Vec::new();
        assert!(records.accept().is_none());
        assert!(!records.send(b"nobody"));
        assert_eq!(records.receive(&mut data), Received::Gone);

        let first = peer_of(path);
        assert!(records.accept().is_some());
        assert!(records.send(b"one") && records.send(b"two"));
        assert_eq!((read(&first), read(&first)), (b"one".to_vec(), b"two".to_vec()));
        assert_eq!(records.receive(&mut data), Received::Nothing);
        send(&first, b"hello", SendFlags::empty()).unwrap();
        send(&first, b"again", SendFlags::empty()).unwrap();
        assert_eq!(records.receive(&mut data), Received::Message);
        assert_eq!(data, b"hello");
        assert_eq!(records.receive(&mut data), Received::Message);
        assert_eq!(data, b"again");

        let second = peer_of(path);
        records.hang_up();
        assert!(records.peer().is_none());
        assert!(records.accept().is_some());
        assert!(read(&first).is_empty());
        let message = vec![7; MAX_BATCH];
        assert!(records.send(&message));
        assert_eq!(read(&second), message);
        while records.send(&message) {} // a slow reader
        drop(second);
        assert_eq!(records.receive(&mut data), Received::Gone);
        assert!(!records.send(b"x"));

        records.close();
        assert!(!Path::new(path).exists());
        drop(stale);
        fs::write(path, b"no socket").unwrap();
        assert!(RecordSocket::bind(path).is_err());
        assert!(Path::new(path).exists());
        fs::remove_file(path).unwrap();
    }
}
