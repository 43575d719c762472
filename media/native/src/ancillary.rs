//! Ancillary data of datagrams as the kernel lays it out (cmsg(3)): the local address, when it came, how a train is cut.

use std::mem;

use libc::c_int;

use crate::addresses::{Family, Local};

/// Bytes kept for the ancillary data of an arriving datagram.
pub const ARRIVING: usize = 128;
const LEAVING: usize = 64; // bytes of packet info and segment size of a leaving one
const CONTROL_HEADER: usize = mem::size_of::<libc::cmsghdr>();
const ALIGNED: usize = mem::size_of::<usize>(); // bytes control messages are aligned to

/// Where the kernel writes the ancillary data of an arriving datagram.
#[repr(C, align(8))]
pub struct ArrivingControl(pub [u8; ARRIVING]);

/// (packet info, monotonic arrival) from the control messages of a datagram; what is no whole message ends them.
#[inline]
pub fn read(mut rest: &[u8], now: f64, shift: f64) -> (Option<Local>, f64) {
    let (mut local, mut arrival) = (None, now);
    while rest.len() >= CONTROL_HEADER {
        let (Some(length), Some(level), Some(kind)) =
            (array_at(rest, 0), array_at(rest, ALIGNED), array_at(rest, ALIGNED + 4))
        else {
            break;
        };
        let length = usize::from_ne_bytes(length);
        let Some(data) = rest.get(CONTROL_HEADER..length) else {
            break;
        };
        match (c_int::from_ne_bytes(level), c_int::from_ne_bytes(kind)) {
            (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) => {
                if let (Some(seconds), Some(nanoseconds)) = (array_at(data, 0), array_at(data, 8)) {
                    let (seconds, nanoseconds) =
                        (i64::from_ne_bytes(seconds), i64::from_ne_bytes(nanoseconds));
                    let stamped = seconds as f64 + nanoseconds as f64 * 1e-9 + shift;
                    if (stamped - now).abs() < 1.0 {
                        arrival = stamped;
                    }
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => local = array_at(data, 0).map(Local),
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => local = array_at(data, 8).map(Local::from_ipv4),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(ALIGNED)..).unwrap_or(&[]);
    }
    (local, arrival)
}

fn array_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

/// Ancillary data of a leaving message, as `msg_control` takes it (cmsg(3)).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct LeavingControl(pub [u8; LEAVING]);

impl Default for LeavingControl {
    fn default() -> LeavingControl {
        LeavingControl([0; LEAVING])
    }
}

impl LeavingControl {
    /// Packet info of `local`, and the segment size when there is one; how many bytes that takes.
    #[inline]
    pub fn write(&mut self, family: Family, local: Option<Local>, segment: usize) -> usize {
        let mut at = 0;
        match (local, family) {
            (Some(local), Family::Inet6) => {
                let mut info = [0; 20]; // the interface 0 stands behind the address
                info[..16].copy_from_slice(&local.0);
                at = self.append(at, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            (Some(local), Family::Inet) => {
                let mut info = [0; 12]; // interface, local address, the address of the header
                info[4..8].copy_from_slice(&local.ipv4());
                at = self.append(at, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (None, _) => {}
        }
        if segment != 0 {
            let segment = u16::try_from(segment).unwrap_or(u16::MAX).to_ne_bytes();
            at = self.append(at, libc::SOL_UDP, libc::UDP_SEGMENT, &segment);
        }
        at
    }

    fn append(&mut self, at: usize, level: c_int, kind: c_int, data: &[u8]) -> usize {
        let length = CONTROL_HEADER + data.len();
        let end = at + length.next_multiple_of(ALIGNED);
        let place = &mut self.0[at..end];
        place[..ALIGNED].copy_from_slice(&length.to_ne_bytes());
        place[ALIGNED..ALIGNED + 4].copy_from_slice(&level.to_ne_bytes());
        place[ALIGNED + 4..CONTROL_HEADER].copy_from_slice(&kind.to_ne_bytes());
        place[CONTROL_HEADER..length].copy_from_slice(data);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_are_read_as_they_were_written() {
        let local = Local::parse("2001:db8::9", Family::Inet6).unwrap();
        let mut control = LeavingControl::default();
        let size = control.write(Family::Inet6, Some(local), 1200);
        assert_eq!(size, 64);
        assert_eq!(read(&control.0[..size], 5.0, 0.0), (Some(local), 5.0));
        assert_eq!(control.0[40..60], [18, 0, 0, 0, 0, 0, 0, 0, 17, 0, 0, 0, 103, 0, 0, 0, 0xb0, 4, 0, 0]);
        assert_eq!(control.write(Family::Inet, Some(Local::from_ipv4([127, 0, 0, 1])), 9), 56);
        assert_eq!(control.write(Family::Inet, None, 0), 0);
        let mut stamp = LeavingControl::default();
        let mut time = [0; 16];
        time[..8].copy_from_slice(&1_000_i64.to_ne_bytes());
        time[8..].copy_from_slice(&500_000_000_i64.to_ne_bytes());
        let size = stamp.append(0, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, &time);
        assert_eq!(read(&stamp.0[..size], 100.75, -900.0), (None, 100.5));
        assert_eq!(read(&stamp.0[..size], 101.75, -900.0), (None, 101.75));
    }

    #[test]
    fn any_control_data_is_read_to_an_end() {
        let mut next = crate::chance::numbers();
        for round in 0..50_000 {
            let mut control = LeavingControl::default();
            control.write(Family::Inet6, Some(Local([7; 16])), 1200);
            let mut data = [control.0, control.0].concat();
            for _ in 0..next() % 8 {
                let at = next() as usize % data.len();
                data[at] = next() as u8;
            }
            if round % 3 == 0 {
                data[..8].copy_from_slice(&(next() >> (next() % 64)).to_ne_bytes());
            }
            data.truncate(next() as usize % 129);
            read(&data, 0.0, 0.0);
        }
    }
}
