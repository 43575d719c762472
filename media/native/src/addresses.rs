//! Addresses between the messages' text form and what a dual-stack socket takes and gives.
//!
//! An IPv4 peer of an IPv6 wildcard socket appears as ::ffff:a.b.c.d; in messages it is plain IPv4. A
//! link-local address keeps its interface as `%number`.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs};

use crate::messages::Address;

const INET_SIZE: usize = 16; // of a struct sockaddr_in
const INET6_SIZE: usize = 28; // of a struct sockaddr_in6
const ILLEGAL: &str = "illegal IP address string passed to inet_pton";

/// The address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// AF_INET.
    Inet,
    /// AF_INET6; a dual-stack socket has this family too.
    Inet6,
}

impl Family {
    /// The address that stands for every local address.
    pub fn wildcard(self) -> IpAddr {
        match self {
            Family::Inet => Ipv4Addr::UNSPECIFIED.into(),
            Family::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// The same for socket2.
    pub fn domain(self) -> socket2::Domain {
        match self {
            Family::Inet => socket2::Domain::IPV4,
            Family::Inet6 => socket2::Domain::IPV6,
        }
    }
}

/// A `sockaddr` as the kernel takes and gives it: 16 bytes of IPv4 or 28 of IPv6, the rest 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawAddress {
    len: u8,
    bytes: [u8; INET6_SIZE],
}

impl RawAddress {
    /// The `sockaddr` that the kernel gave; what is longer than one of IPv6 is cut.
    pub fn from_kernel(name: &[u8]) -> RawAddress {
        let len = name.len().min(INET6_SIZE);
        let mut bytes = [0; INET6_SIZE];
        bytes[..len].copy_from_slice(&name[..len]);
        RawAddress { len: len as u8, bytes }
    }

    /// The form that a socket of `family` takes. Fails when the text is no address of that family.
    pub fn from_message(address: &Address, family: Family) -> Result<RawAddress, String> {
        let (host, scope) = address.host.split_once('%').unwrap_or((&address.host, ""));
        let known = u16::try_from(address.port).ok().filter(|port| *port != 0);
        let port = known.ok_or_else(|| format!("port {}", address.port))?;
        if host.contains(':') {
            if family != Family::Inet6 {
                return Err(format!("{host} over an IPv4 socket"));
            }
            let host: Ipv6Addr = host.parse().map_err(|_| ILLEGAL.to_owned())?;
            let digits = !scope.is_empty() && scope.bytes().all(|digit| digit.is_ascii_digit());
            let scope = if digits { scope.parse().map_err(|_| format!("scope {scope}"))? } else { 0 };
            return Ok(SocketAddr::V6(SocketAddrV6::new(host, port, 0, scope)).into());
        }
        let host: Ipv4Addr = host.parse().map_err(|_| ILLEGAL.to_owned())?;
        Ok(match family {
            Family::Inet6 => SocketAddr::V6(SocketAddrV6::new(host.to_ipv6_mapped(), port, 0, 0)).into(),
            Family::Inet => SocketAddr::V4(SocketAddrV4::new(host, port)).into(),
        })
    }

    /// The bytes as the kernel takes them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The same as the standard library's type.
    pub fn to_socket_address(&self) -> SocketAddr {
        let [_, _, high, low, a, b, c, d, rest @ ..] = self.bytes;
        let port = u16::from_be_bytes([high, low]);
        if usize::from(self.len) < INET6_SIZE {
            return SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), port));
        }
        let [host @ .., e, f, g, h] = rest;
        SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(host), port, 0, u32::from_ne_bytes([e, f, g, h])))
    }

    /// The message form: IPv4-mapped as plain IPv4, the interface of a link-local address as `%number`.
    pub fn to_message(&self) -> Address {
        let address = self.to_socket_address();
        let host = match address {
            SocketAddr::V4(address) => address.ip().to_string(),
            SocketAddr::V6(address) => match (address.ip().to_ipv4_mapped(), address.scope_id()) {
                (Some(host), _) => host.to_string(),
                (None, 0) => address.ip().to_string(),
                (None, scope) => format!("{}%{scope}", address.ip()),
            },
        };
        Address { host, port: address.port().into() }
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> RawAddress {
        let mut bytes = [0; INET6_SIZE];
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, len) = match address {
            SocketAddr::V4(address) => {
                bytes[4..8].copy_from_slice(&address.ip().octets());
                (libc::AF_INET, INET_SIZE)
            }
            SocketAddr::V6(address) => {
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
                (libc::AF_INET6, INET6_SIZE)
            }
        };
        bytes[..2].copy_from_slice(&(family as u16).to_ne_bytes());
        RawAddress { len: len as u8, bytes }
    }
}

impl fmt::Debug for RawAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.to_socket_address())
    }
}

/// A local address as packet info holds it: 16 bytes, IPv4 mapped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local(pub [u8; 16]);

impl Local {
    /// The address of `host` (a scope is left out) for a socket of `family`. Fails when it is no address of it.
    pub fn parse(host: &str, family: Family) -> Result<Local, String> {
        let host = host.split_once('%').map_or(host, |(host, _)| host);
        let parsed = if family == Family::Inet6 && host.contains(':') {
            host.parse::<Ipv6Addr>().ok()
        } else {
            host.parse::<Ipv4Addr>().ok().map(|host| host.to_ipv6_mapped())
        };
        parsed.map(|host| Local(host.octets())).ok_or_else(|| format!("{host} is no address"))
    }

    /// The IPv4 address of these bytes.
    pub fn from_ipv4(host: [u8; 4]) -> Local {
        Local(Ipv4Addr::from(host).to_ipv6_mapped().octets())
    }

    /// The last four bytes, which are the IPv4 address of a mapped one.
    pub fn ipv4(&self) -> [u8; 4] {
        let [.., a, b, c, d] = self.0;
        [a, b, c, d]
    }
}

impl fmt::Display for Local {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ipv6Addr::from(self.0).to_canonical().fmt(formatter)
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// The address that `host` ("" = every one) names in this family.
pub fn resolve(host: &str, port: u16, family: Family) -> io::Result<SocketAddr> {
    if host.is_empty() {
        return Ok(SocketAddr::new(family.wildcard(), port));
    }
    let wanted = family == Family::Inet6;
    (host, port)
        .to_socket_addrs()?
        .find(|address| address.is_ipv6() == wanted)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EADDRNOTAVAIL))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u32) -> Address {
        Address { host: host.to_owned(), port }
    }

    #[test]
    fn the_bytes_are_the_kernels() {
        let raw = RawAddress::from_message(&address("127.0.0.1", 5004), Family::Inet).unwrap();
        assert_eq!(raw.as_bytes(), [2, 0, 0x13, 0x8c, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        let raw = RawAddress::from_message(&address("fe80::1%3", 9), Family::Inet6).unwrap();
        let expected =
            [10, 0, 0, 9, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0];
        assert_eq!(raw.as_bytes(), expected);
        assert_eq!(RawAddress::from_kernel(raw.as_bytes()), raw);
    }

    #[test]
    fn messages_and_bytes_say_the_same() {
        for (host, port) in [("127.0.0.1", 5004), ("10.1.2.3", 65535), ("2001:db8::1", 1), ("fe80::1%3", 9)] {
            let raw = RawAddress::from_message(&address(host, port), Family::Inet6).unwrap();
            assert_eq!(raw.as_bytes().len(), 28);
            assert_eq!(raw.to_message(), address(host, port));
            assert_eq!(RawAddress::from(raw.to_socket_address()), raw);
        }
        let raw = RawAddress::from_message(&address("::ffff:10.1.2.3", 7), Family::Inet6).unwrap();
        assert_eq!(raw.to_message(), address("10.1.2.3", 7));
        let raw = RawAddress::from_message(&address("10.1.2.3", 7), Family::Inet).unwrap();
        assert_eq!(raw.to_message(), address("10.1.2.3", 7));
        let raw = RawAddress::from_message(&address("fe80::1%eth0", 7), Family::Inet6).unwrap();
        assert_eq!(raw.to_message(), address("fe80::1", 7));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let refused =
            |host, port, family| RawAddress::from_message(&address(host, port), family).unwrap_err();
        assert_eq!(refused("10.0.0.1", 0, Family::Inet6), "port 0");
        assert_eq!(refused("10.0.0.1", 65_536, Family::Inet6), "port 65536");
        assert_eq!(refused("::1", 1, Family::Inet), "::1 over an IPv4 socket");
        for host in ["", "relay.example", "1.2.3", "1:2", "fe80::1%99999999999"] {
            assert!(RawAddress::from_message(&address(host, 1), Family::Inet6).is_err(), "{host}");
        }
        assert_eq!(refused("1.2.3", 1, Family::Inet6), "illegal IP address string passed to inet_pton");
        assert_eq!(Local::parse("::1", Family::Inet).unwrap_err(), "::1 is no address");
        assert_eq!(Local::parse("x%1", Family::Inet6).unwrap_err(), "x is no address");
    }

    #[test]
    fn packet_info_as_text_and_back() {
        for (host, family) in
            [("10.1.2.3", Family::Inet), ("10.1.2.3", Family::Inet6), ("2001:db8::5", Family::Inet6)]
        {
            assert_eq!(Local::parse(host, family).unwrap().to_string(), host);
        }
        assert_eq!(Local::parse("fe80::1%2", Family::Inet6).unwrap().to_string(), "fe80::1");
        assert_eq!(Local::from_ipv4([10, 1, 2, 3]).ipv4(), [10, 1, 2, 3]);
        assert_eq!(Local::parse("10.1.2.3", Family::Inet6).unwrap(), Local::from_ipv4([10, 1, 2, 3]));
    }

    #[test]
    fn any_bytes_are_some_address() {
        let mut next = crate::chance::numbers();
        for _ in 0..50_000 {
            let size = next() % 40;
            let bytes: Vec<u8> = (0..size).map(|_| next() as u8).collect();
            let message = RawAddress::from_kernel(&bytes).to_message();
            let _ = RawAddress::from_message(&message, Family::Inet6);
        }
    }
}
