//! The way of a datagram from its socket to its layer: whose it is, unprotect, parse, find the stream.

use std::rc::Rc;

use crate::addresses::{Family, RawAddress};
use crate::demux::{Kind, stun_ufrag};
use crate::extensions::{Elements, scan};
use crate::keys::TransportKey;
use crate::layer::Arrived;
use crate::messages::{Address, Event, ListenerKind, Path, TransportKind};
use crate::ports::{Way, WayKey};
use crate::srtp::SrtpError;
use crate::state::State;
use crate::stream::Names;
use crate::udp::{Datagram, UdpSocket};

const MAX_ADMITTED: usize = 128; // SSRCs of one transport that get an SRTP stream; each costs memory for ever
const MIN_RTP: usize = 12;
const MIN_RTCP: usize = 8;

/// One datagram of a UDP socket.
pub fn datagram(state: &mut State, ident: i64, socket: &UdpSocket, found: Datagram<'_>) {
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
                local: Address { host: socket.local_host(found.local), port: socket.port.into() },
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
pub fn frame(
    state: &mut State,
    ident: i64,
    number: u32,
    ends: &(Address, Address),
    data: &mut [u8],
    now: f64,
) {
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
        state.tell(Event::StunReceived { transport: transport.number, path: path(), data: data.to_vec() });
    } else {
        state.counters.add("stun_limited");
    }
}

fn dtls(state: &mut State, way: Option<(TransportKey, Rc<Way>)>, data: &[u8]) {
    let owner = way.as_ref().and_then(|(owner, way)| state.transports.get(*owner).map(|found| (found, way)));
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
    let ssrc = if data.len() >= MIN_RTP { ssrc_of(data) } else { None };
    let owner = ssrc.and_then(|ssrc| state.owners.get(&ssrc)).copied();
    let keyed = |key: &TransportKey| state.transports.get(*key).is_some_and(|found| found.receiver.is_some());
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
        let opened = if control { receiver.unprotect_rtcp(data) } else { receiver.unprotect_rtp(data) };
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
    let found = if block.is_empty() { Elements::NONE } else { scan(block, profile, &transport.extensions) };
    if let (Some(arrivals), Some(number)) = (transport.arrivals.as_mut(), found.transport_cc) {
        arrivals.record(number, (arrival * 1e6) as i64);
        transport.media_ssrc = ssrc;
        state.reporting.insert(key);
        if arrival >= transport.arrivals_due && !state.due.contains(&key) {
            state.due.push(key);
        }
    }
    let names = Names { mid: found.mid, rid: found.rid, repaired: found.repaired_rid };
    let known = transport.streams.get(&ssrc).is_some_and(|stream| names.is_empty() || stream.is_named(names));
    if !known && !state.associate(key, ssrc, payload_type, names, arrival) {
        state.counters.add("stream_unknown");
        return;
    }
    let Some(stream) = state.transports.get_mut(key).and_then(|found| found.streams.get_mut(&ssrc)) else {
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
