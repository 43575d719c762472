//! RTCP packets: parsing of compounds and writing (RFC 3550 6, 4585, 5104, 3611; REMB of
//! draft-alvestrand-rmcat-remb). Reduced-size RTCP (RFC 5506) is accepted too, unknown packet types, feedback
//! formats and XR blocks are skipped, and the whole datagram is refused when any length or count points past
//! its end.

use crate::error::Malformed;
use crate::twcc;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;
const EXTENDED_REPORT: u8 = 207;

const PADDED: u8 = 0x20; // bit of the first byte
const TRANSPORT_WIDE: u8 = 15; // format of transport feedback
const CNAME: u8 = 1; // SDES item type
const REMB_MARK: &[u8; 4] = b"REMB";

/// What fits the five bits that count report blocks or sources in one packet.
pub const MAX_COUNT: usize = 31;
/// Bytes of the header and the two SSRCs before what a feedback packet says.
pub const FEEDBACK_HEADER: usize = 12;
/// Entries of 8 bytes that fit behind the two SSRCs of one packet.
const MAX_FIR: usize = (0x3_FFFC - 8) / 8;
/// DLRR items that fit one packet.
const MAX_DLRR: usize = (0x3_FFFC - 8) / 12;

/// What a receiver says of one stream (RFC 3550 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: u32,
    /// In 1/256.
    pub fraction_lost: u8,
    /// Signed 24 bits; written as the nearest value that fits.
    pub cumulative_lost: i32,
    /// Extended highest sequence.
    pub highest_sequence: u32,
    /// In RTP ticks.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR, 0 = none.
    pub last_sr: u32,
    /// In 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// RFC 3611 4.5: answer to one receiver's reference time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DlrrItem {
    /// The receiver.
    pub ssrc: u32,
    /// The middle 32 bits of its reference time.
    pub last_rr: u32,
    /// Since then, in 1/65536 s.
    pub delay: u32,
}

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq)]
pub enum Packet {
    /// SR (RFC 3550 6.4.1).
    SenderReport {
        /// The sender.
        ssrc: u32,
        /// NTP time, 64 bits.
        ntp_time: u64,
        /// RTP timestamp of the same instant.
        rtp_timestamp: u32,
        /// Packets sent.
        packet_count: u32,
        /// Payload bytes sent.
        octet_count: u32,
        /// What it receives, at most 31.
        reports: Vec<ReportBlock>,
    },
    /// RR (RFC 3550 6.4.2).
    ReceiverReport {
        /// The receiver.
        ssrc: u32,
        /// What it receives, at most 31.
        reports: Vec<ReportBlock>,
    },
    /// BYE (RFC 3550 6.6), the reason left out.
    Bye {
        /// The streams that end, at most 31.
        ssrcs: Vec<u32>,
    },
    /// Generic NACK (RFC 4585 6.2.1).
    Nack {
        /// Who asks.
        sender_ssrc: u32,
        /// The stream.
        media_ssrc: u32,
        /// The sequence numbers that are missing, in the order given.
        lost: Vec<u16>,
    },
    /// Picture Loss Indication (RFC 4585 6.3.1).
    Pli {
        /// Who asks.
        sender_ssrc: u32,
        /// The stream.
        media_ssrc: u32,
    },
    /// Full Intra Request (RFC 5104 4.3.1).
    Fir {
        /// Who asks.
        sender_ssrc: u32,
        /// (target SSRC, command sequence), a new sequence per new request.
        requests: Vec<(u32, u8)>,
    },
    /// Receiver Estimated Maximum Bitrate of the named streams together.
    Remb {
        /// Who estimates.
        sender_ssrc: u32,
        /// Bit/s, at most `i64::MAX`.
        bitrate: u64,
        /// The streams, at most 255.
        ssrcs: Vec<u32>,
    },
    /// XR with the two blocks that give a receiver its round-trip time (RFC 3611 4.4, 4.5).
    ExtendedReport {
        /// The sender.
        ssrc: u32,
        /// 64-bit NTP time of an RRTR block, None without one.
        reference_time: Option<u64>,
        /// Of all DLRR blocks.
        dlrr: Vec<DlrrItem>,
    },
    /// Transport-wide feedback, checked: the whole packet for `ArrivalFolder::fold`. Chunks that speak of no
    /// packet, which that one refuses, have been moved behind the deltas, where nobody reads.
    TransportFeedback(Vec<u8>),
    /// A well-formed packet of which nothing is used: SDES.
    Other,
}

// ---------------------------------------------------------------- parsing

/// Every known packet of a datagram, in order. On error nothing of the datagram is to be used.
pub fn parse_compound(data: &[u8]) -> Result<Vec<Packet>, Malformed> {
    let mut packets = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let &[first, kind, high, low, ..] = rest else {
            return Err(Malformed("RTCP header"));
        };
        if first >> 6 != 2 {
            return Err(Malformed("RTCP version"));
        }
        let size = 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
        let (packet, following) = rest.split_at_checked(size).ok_or(Malformed("RTCP packet"))?;
        rest = following;
        let count = first & 0x1F;
        let body = Reader(without_padding(first, &packet[4..])?);
        packets.extend(match kind {
            SENDER_REPORT => Some(parse_sender_report(count, body)?),
            RECEIVER_REPORT => Some(parse_receiver_report(count, body)?),
            SOURCE_DESCRIPTION => Some(parse_source_description(count, body)?),
            GOODBYE => Some(parse_bye(count, body)?),
            TRANSPORT_FEEDBACK => parse_transport_feedback(count, body, packet)?,
            PAYLOAD_FEEDBACK => parse_payload_feedback(count, body)?,
            EXTENDED_REPORT => Some(parse_extended_report(body)?),
            _ => None,
        });
    }
    Ok(packets)
}

/// The body of a packet, which begins with `first`, without its padding.
pub fn without_padding(first: u8, body: &[u8]) -> Result<&[u8], Malformed> {
    if first & PADDED == 0 {
        return Ok(body);
    }
    let padding = usize::from(body.last().copied().unwrap_or(0));
    if padding == 0 || padding > body.len() {
        return Err(Malformed("RTCP padding"));
    }
    Ok(&body[..body.len() - padding])
}

/// Whether a datagram is one transport feedback and nothing else, as browsers send it.
pub fn is_transport_feedback(data: &[u8]) -> bool {
    data.len() >= FEEDBACK_HEADER + twcc::FIXED + 4
        && data[1] == TRANSPORT_FEEDBACK
        && data[0] & !PADDED == 0x80 | TRANSPORT_WIDE
        && 4 * usize::from(u16::from_be_bytes([data[2], data[3]])) + 4 == data.len()
}

/// Bytes still to be read.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, size: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(size).ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.0.split_first_chunk().ok_or(Malformed(what))?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self, what: &'static str) -> Result<u8, Malformed> {
        self.array::<1>(what).map(|[byte]| byte)
    }

    fn word(&mut self, what: &'static str) -> Result<u32, Malformed> {
        self.array(what).map(u32::from_be_bytes)
    }

    fn words(&mut self, count: usize, what: &'static str) -> Result<Vec<u32>, Malformed> {
        let (words, _) = self.take(4 * count, what)?.as_chunks();
        Ok(words.iter().map(|word| u32::from_be_bytes(*word)).collect())
    }

    fn blocks(&mut self, count: u8) -> Result<Vec<ReportBlock>, Malformed> {
        let mut blocks = Self(self.take(24 * usize::from(count), "report blocks")?);
        (0..count).map(|_| blocks.block()).collect()
    }

    fn block(&mut self) -> Result<ReportBlock, Malformed> {
        let what = "report block";
        let ssrc = self.word(what)?;
        let lost = self.word(what)?;
        Ok(ReportBlock {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: (lost << 8) as i32 >> 8,
            highest_sequence: self.word(what)?,
            jitter: self.word(what)?,
            last_sr: self.word(what)?,
            delay_since_last_sr: self.word(what)?,
        })
    }
}

fn parse_sender_report(count: u8, mut body: Reader) -> Result<Packet, Malformed> {
    let what = "sender report";
    Ok(Packet::SenderReport {
        ssrc: body.word(what)?,
        ntp_time: body.array(what).map(u64::from_be_bytes)?,
        rtp_timestamp: body.word(what)?,
        packet_count: body.word(what)?,
        octet_count: body.word(what)?,
        reports: body.blocks(count)?,
    })
}

fn parse_receiver_report(count: u8, mut body: Reader) -> Result<Packet, Malformed> {
    Ok(Packet::ReceiverReport { ssrc: body.word("receiver report")?, reports: body.blocks(count)? })
}

fn parse_source_description(count: u8, mut body: Reader) -> Result<Packet, Malformed> {
    let size = body.0.len();
    for _ in 0..count {
        body.word("SDES chunk")?;
        while body.byte("SDES items")? != 0 {
            let length = body.byte("SDES item length")?;
            body.take(usize::from(length), "SDES item")?;
        }
        let read = size - body.0.len();
        body.take(read.wrapping_neg() % 4, "SDES chunk padding")?;
    }
    Ok(Packet::Other)
}

fn parse_bye(count: u8, mut body: Reader) -> Result<Packet, Malformed> {
    let ssrcs = body.words(usize::from(count), "BYE sources")?;
    if let Ok(length) = body.byte("") {
        body.take(usize::from(length), "BYE reason")?;
    }
    Ok(Packet::Bye { ssrcs })
}

fn parse_extended_report(mut body: Reader) -> Result<Packet, Malformed> {
    let ssrc = body.word("extended report")?;
    let mut reference_time = None;
    let mut dlrr = Vec::new();
    while !body.0.is_empty() {
        let [kind, _, high, low] = body.array("XR block header")?;
        let block = body.take(4 * usize::from(u16::from_be_bytes([high, low])), "XR block")?;
        if kind == 4 {
            let time = block.try_into().map_err(|_| Malformed("RRTR length"))?;
            reference_time = Some(u64::from_be_bytes(time));
        } else if kind == 5 {
            if block.len() % 12 != 0 {
                return Err(Malformed("DLRR length"));
            }
            let mut items = Reader(block);
            while !items.0.is_empty() {
                let what = "DLRR item";
                let (ssrc, last_rr, delay) = (items.word(what)?, items.word(what)?, items.word(what)?);
                dlrr.push(DlrrItem { ssrc, last_rr, delay });
            }
        }
    }
    Ok(Packet::ExtendedReport { ssrc, reference_time, dlrr })
}

fn parse_transport_feedback(form: u8, mut body: Reader, packet: &[u8]) -> Result<Option<Packet>, Malformed> {
    let (sender_ssrc, media_ssrc) = (body.word("feedback")?, body.word("feedback")?);
    match form {
        1 => parse_nack(sender_ssrc, media_ssrc, body.0).map(Some),
        TRANSPORT_WIDE => {
            let empty = twcc::check_body(body.0)?;
            Ok(Some(Packet::TransportFeedback(without(packet, body.0.len(), &empty))))
        }
        _ => Ok(None),
    }
}

/// A feedback packet with these two-byte chunks of its body, which has `size` bytes, moved to the body's end.
fn without(packet: &[u8], size: usize, chunks: &[usize]) -> Vec<u8> {
    let (head, rest) = packet.split_at(FEEDBACK_HEADER);
    let (body, padding) = rest.split_at(size);
    let mut whole = Vec::with_capacity(packet.len());
    whole.extend(head);
    let mut from = 0;
    for &at in chunks {
        whole.extend(&body[from..at]);
        from = at + 2;
    }
    whole.extend(&body[from..]);
    whole.resize(FEEDBACK_HEADER + size, 0);
    whole.extend(padding);
    whole
}

fn parse_nack(sender_ssrc: u32, media_ssrc: u32, body: &[u8]) -> Result<Packet, Malformed> {
    let (entries, rest) = body.as_chunks();
    if entries.is_empty() || !rest.is_empty() {
        return Err(Malformed("NACK length"));
    }
    let mut lost = Vec::new();
    for &[a, b, c, d] in entries {
        let first = u16::from_be_bytes([a, b]);
        let mut following = u16::from_be_bytes([c, d]);
        lost.push(first);
        while following != 0 {
            lost.push(first.wrapping_add(following.trailing_zeros() as u16 + 1));
            following &= following - 1;
        }
    }
    Ok(Packet::Nack { sender_ssrc, media_ssrc, lost })
}

fn parse_payload_feedback(form: u8, mut body: Reader) -> Result<Option<Packet>, Malformed> {
    let (sender_ssrc, media_ssrc) = (body.word("feedback")?, body.word("feedback")?);
    match form {
        1 => Ok(Some(Packet::Pli { sender_ssrc, media_ssrc })),
        4 => {
            let (entries, rest) = body.0.as_chunks();
            if entries.is_empty() || !rest.is_empty() {
                return Err(Malformed("FIR length"));
            }
            let requests = entries
                .iter()
                .map(|&[a, b, c, d, sequence, ..]: &[u8; 8]| (u32::from_be_bytes([a, b, c, d]), sequence));
            Ok(Some(Packet::Fir { sender_ssrc, requests: requests.collect() }))
        }
        15 => parse_remb(sender_ssrc, body),
        _ => Ok(None),
    }
}

fn parse_remb(sender_ssrc: u32, mut body: Reader) -> Result<Option<Packet>, Malformed> {
    if !body.0.starts_with(REMB_MARK) {
        return Ok(None); // another application's layer feedback
    }
    body.word("REMB")?;
    let rate = body.word("REMB")?;
    let ssrcs = body.words((rate >> 24) as usize, "REMB sources")?;
    let (mantissa, exponent) = (u64::from(rate & 0x3_FFFF), rate >> 18 & 0x3F);
    let most = i64::MAX as u64;
    let bitrate = if mantissa.leading_zeros() < exponent { most } else { (mantissa << exponent).min(most) };
    Ok(Some(Packet::Remb { sender_ssrc, bitrate, ssrcs }))
}

// ---------------------------------------------------------------- writing

/// Append a packet: its header, and what `body` appends.
fn write(out: &mut Vec<u8>, count: usize, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0x80 | count as u8, kind, 0, 0]);
    body(out);
    let words = ((out.len() - start) / 4 - 1) as u16;
    out[start + 2..start + 4].copy_from_slice(&words.to_be_bytes());
}

fn put(out: &mut Vec<u8>, word: u32) {
    out.extend(word.to_be_bytes());
}

fn put_blocks(out: &mut Vec<u8>, reports: &[ReportBlock]) {
    for report in reports {
        put(out, report.ssrc);
        let lost = report.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF) as u32 & 0xFF_FFFF;
        put(out, u32::from(report.fraction_lost) << 24 | lost);
        put(out, report.highest_sequence);
        put(out, report.jitter);
        put(out, report.last_sr);
        put(out, report.delay_since_last_sr);
    }
}

/// `slice`, or as much of its beginning as `most` elements.
fn first<T>(slice: &[T], most: usize) -> &[T] {
    &slice[..slice.len().min(most)]
}

/// Append an SR (RFC 3550 6.4.1): `ntp` is 64 bits of NTP time and `rtp_ts` the timestamp of the same
/// instant, counts go modulo 2^32. Of `reports` the first 31 are written.
pub fn write_sender_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    ntp: u64,
    rtp_ts: u32,
    packets: u64,
    octets: u64,
    reports: &[ReportBlock],
) {
    let reports = first(reports, MAX_COUNT);
    write(out, reports.len(), SENDER_REPORT, |out| {
        put(out, ssrc);
        out.extend(ntp.to_be_bytes());
        put(out, rtp_ts);
        put(out, packets as u32);
        put(out, octets as u32);
        put_blocks(out, reports);
    });
}

/// Append an RR (RFC 3550 6.4.2). Of `reports` the first 31 are written.
pub fn write_receiver_report(out: &mut Vec<u8>, ssrc: u32, reports: &[ReportBlock]) {
    let reports = first(reports, MAX_COUNT);
    write(out, reports.len(), RECEIVER_REPORT, |out| {
        put(out, ssrc);
        put_blocks(out, reports);
    });
}

/// Append an SDES of one chunk with one CNAME (RFC 3550 6.5). Of `cname` the first 255 bytes are written.
pub fn write_sdes_cname(out: &mut Vec<u8>, ssrc: u32, cname: &str) {
    let text = first(cname.as_bytes(), 255);
    write(out, 1, SOURCE_DESCRIPTION, |out| {
        put(out, ssrc);
        out.extend([CNAME, text.len() as u8]);
        out.extend(text);
        let end = out.len() + 4 - (6 + text.len()) % 4; // at least one zero ends the items
        out.resize(end, 0);
    });
}

/// Append a BYE without a reason (RFC 3550 6.6). Of `ssrcs` the first 31 are written.
pub fn write_bye(out: &mut Vec<u8>, ssrcs: &[u32]) {
    let ssrcs = first(ssrcs, MAX_COUNT);
    write(out, ssrcs.len(), GOODBYE, |out| ssrcs.iter().for_each(|ssrc| put(out, *ssrc)));
}

/// Append a generic NACK (RFC 4585 6.2.1) of these sequence numbers, in any order; nothing when there are
/// none.
pub fn write_nack(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, lost: &[u16]) {
    let Some(start) = lost.first().map(|first| first.wrapping_sub(0x8000)) else {
        return;
    };
    // In the order of the counter, also when it wraps within the list.
    let mut ordered: Vec<u16> = lost.iter().map(|sequence| sequence.wrapping_sub(start)).collect();
    ordered.sort_unstable();
    ordered.dedup();
    write(out, 1, TRANSPORT_FEEDBACK, |out| {
        put(out, sender_ssrc);
        put(out, media_ssrc);
        let mut places = ordered.into_iter().peekable();
        while let Some(first) = places.next() {
            let mut following = 0_u16;
            while let Some(place) = places.next_if(|place| place - first <= 16) {
                following |= 1 << (place - first - 1);
            }
            put(out, u32::from(first.wrapping_add(start)) << 16 | u32::from(following));
        }
    });
}

/// Append a transport feedback around a body of `twcc`.
pub fn write_transport_feedback(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32, body: &[u8]) {
    let start = out.len();
    let padding = body.len().wrapping_neg() % 4;
    out.reserve(FEEDBACK_HEADER + body.len() + padding);
    write(out, TRANSPORT_WIDE.into(), TRANSPORT_FEEDBACK, |out| {
        put(out, sender_ssrc);
        put(out, media_ssrc);
        out.extend(body);
        if padding > 0 {
            out.resize(out.len() + padding - 1, 0);
            out.push(padding as u8);
        }
    });
    if padding > 0 {
        out[start] |= PADDED;
    }
}

/// Append a Picture Loss Indication (RFC 4585 6.3.1).
pub fn write_pli(out: &mut Vec<u8>, sender_ssrc: u32, media_ssrc: u32) {
    write(out, 1, PAYLOAD_FEEDBACK, |out| {
        put(out, sender_ssrc);
        put(out, media_ssrc);
    });
}

/// Append a Full Intra Request (RFC 5104 4.3.1): (target SSRC, command sequence), a new sequence per new
/// request.
pub fn write_fir(out: &mut Vec<u8>, sender_ssrc: u32, requests: &[(u32, u8)]) {
    write(out, 4, PAYLOAD_FEEDBACK, |out| {
        put(out, sender_ssrc);
        put(out, 0);
        for (ssrc, sequence) in first(requests, MAX_FIR) {
            put(out, *ssrc);
            put(out, u32::from(*sequence) << 24);
        }
    });
}

/// Append a REMB of these streams together: `bitrate` in bit/s, rounded down to 18 bits and an exponent. Of
/// `ssrcs` the first 255 are written.
pub fn write_remb(out: &mut Vec<u8>, sender_ssrc: u32, bitrate: u64, ssrcs: &[u32]) {
    let ssrcs = first(ssrcs, 255);
    let exponent = (u64::BITS - bitrate.leading_zeros()).saturating_sub(18);
    write(out, 15, PAYLOAD_FEEDBACK, |out| {
        put(out, sender_ssrc);
        put(out, 0);
        out.extend(REMB_MARK);
        put(out, (ssrcs.len() as u32) << 24 | exponent << 18 | (bitrate >> exponent) as u32);
        ssrcs.iter().for_each(|ssrc| put(out, *ssrc));
    });
}

/// Append an XR with one DLRR block (RFC 3611 4.5), without a block when there are no items.
pub fn write_dlrr(out: &mut Vec<u8>, ssrc: u32, items: &[DlrrItem]) {
    let items = first(items, MAX_DLRR);
    write(out, 0, EXTENDED_REPORT, |out| {
        put(out, ssrc);
        if items.is_empty() {
            return;
        }
        put(out, 0x0500_0000 | (3 * items.len()) as u32);
        for item in items {
            put(out, item.ssrc);
            put(out, item.last_rr);
            put(out, item.delay);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::bytes;

    /// As the writers would send it.
    fn written(packet: &Packet) -> Vec<u8> {
        let mut out = Vec::new();
        match packet {
            Packet::SenderReport { ssrc, ntp_time, rtp_timestamp, packet_count, octet_count, reports } => {
                let counts = (u64::from(*packet_count), u64::from(*octet_count));
                write_sender_report(&mut out, *ssrc, *ntp_time, *rtp_timestamp, counts.0, counts.1, reports);
            }
            Packet::ReceiverReport { ssrc, reports } => write_receiver_report(&mut out, *ssrc, reports),
            Packet::Bye { ssrcs } => write_bye(&mut out, ssrcs),
            Packet::Nack { sender_ssrc, media_ssrc, lost } => {
                write_nack(&mut out, *sender_ssrc, *media_ssrc, lost)
            }
            Packet::Pli { sender_ssrc, media_ssrc } => write_pli(&mut out, *sender_ssrc, *media_ssrc),
            Packet::Fir { sender_ssrc, requests } => write_fir(&mut out, *sender_ssrc, requests),
            Packet::Remb { sender_ssrc, bitrate, ssrcs } => {
                write_remb(&mut out, *sender_ssrc, *bitrate, ssrcs)
            }
            Packet::ExtendedReport { ssrc, reference_time: None, dlrr } => write_dlrr(&mut out, *ssrc, dlrr),
            Packet::TransportFeedback(data) => out.extend(data),
            Packet::ExtendedReport { .. } | Packet::Other => {}
        }
        out
    }

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 0xDEAD_BEEF,
        fraction_lost: 25,
        cumulative_lost: 3,
        highest_sequence: 0x0001_ABCD,
        jitter: 90,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 0x10000,
    };

    fn vectors() -> Vec<(&'static str, Packet)> {
        let (sender_ssrc, media_ssrc) = (0x1111_1111, 0xDEAD_BEEF);
        let ssrc = sender_ssrc;
        vec![
            (
                "81CD0003 11111111 DEADBEEF 00648005",
                Packet::Nack { sender_ssrc, media_ssrc, lost: vec![100, 101, 103, 116] },
            ),
            ("81CE0002 11111111 DEADBEEF", Packet::Pli { sender_ssrc, media_ssrc }),
            (
                "84CE0004 11111111 00000000 DEADBEEF 07000000",
                Packet::Fir { sender_ssrc, requests: vec![(media_ssrc, 7)] },
            ),
            (
                "8FCE0005 11111111 00000000 52454D42 010EDC6C DEADBEEF",
                Packet::Remb { sender_ssrc, bitrate: 1_500_000, ssrcs: vec![media_ssrc] },
            ),
            (
                "81C90007 11111111 DEADBEEF 19000003 0001ABCD 0000005A 12345678 00010000",
                Packet::ReceiverReport { ssrc, reports: vec![BLOCK] },
            ),
            (
                "80C80006 11111111 E900000080000000 00015F90 0000000A 00000400",
                Packet::SenderReport {
                    ssrc,
                    ntp_time: 0xE900_0000_8000_0000,
                    rtp_timestamp: 90_000,
                    packet_count: 10,
                    octet_count: 1024,
                    reports: vec![],
                },
            ),
            ("82CB0002 00000001 00000002", Packet::Bye { ssrcs: vec![1, 2] }),
            (
                "80CF0005 11111111 05000003 DEADBEEF 00008000 00004000",
                Packet::ExtendedReport {
                    ssrc,
                    reference_time: None,
                    dlrr: vec![DlrrItem { ssrc: media_ssrc, last_rr: 0x8000, delay: 0x4000 }],
                },
            ),
        ]
    }

    #[test]
    fn vectors_both_ways_and_in_one_compound() {
        let mut all = Vec::new();
        for (data, packet) in vectors() {
            assert_eq!(parse_compound(&bytes(data)), Ok(vec![packet.clone()]));
            assert_eq!(written(&packet), bytes(data));
            all.extend(bytes(data));
        }
        let packets: Vec<Packet> = vectors().into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(parse_compound(&all), Ok(packets));
        assert_eq!(parse_compound(b""), Ok(vec![]));
    }

    #[test]
    fn vectors_of_which_not_all_is_kept() {
        let reference = Packet::ExtendedReport {
            ssrc: 0x1111_1111,
            reference_time: Some(0xE900_0000_8000_0000),
            dlrr: vec![],
        };
        assert_eq!(
            parse_compound(&bytes("80CF0004 11111111 04000002 E900000080000000")),
            Ok(vec![reference])
        );
        let bye = Packet::Bye { ssrcs: vec![1] };
        assert_eq!(parse_compound(&bytes("81CB0003 00000001 05676F6E65210000")), Ok(vec![bye]));
        for (cname, data) in
            [("ab", "81CA0003 11111111 01026162 00000000"), ("", "81CA0002 11111111 01000000")]
        {
            let mut out = vec![1, 2, 3]; // whatever was there before
            write_sdes_cname(&mut out, 0x1111_1111, cname);
            assert_eq!(out[3..], bytes(data));
            assert_eq!(parse_compound(&out[3..]), Ok(vec![Packet::Other]));
        }
        let chunks = "83CA0009 00000001 01036162630F013000000000 00000002 00000000 00000003 0102787900000000";
        assert_eq!(parse_compound(&bytes(chunks)), Ok(vec![Packet::Other]));
    }

    #[test]
    fn transport_feedback_comes_out_of_a_compound() {
        let data = bytes(
            "80C90001 11111111 AFCD0007 11111111 DEADBEEF 03E80007 00012309 D4592850 3C140190 04000003",
        );
        let packets = parse_compound(&data).unwrap();
        assert_eq!(packets[1..], [Packet::TransportFeedback(data[8..].to_vec())]);
        assert!(is_transport_feedback(&data[8..]) && !is_transport_feedback(&data));
        assert!(!is_transport_feedback(&data[8..36]));
    }

    #[test]
    fn transport_feedback_is_padded_where_it_must_be() {
        for data in [
            "AFCD0007 11111111 DEADBEEF 03E80007 00012309 D4592850 3C140190 04 000003",
            "AFCD000A 11111111 DEADBEEF 07D00014 0001240A 2014 1414141414141414141414141414141414141414 0002",
            "8FCD0006 11111111 DEADBEEF 07D00006 0001240A 2006 141414141414",
        ] {
            let data = bytes(data);
            let mut out = vec![1, 2, 3]; // whatever was there before
            let body = without_padding(data[0], &data[FEEDBACK_HEADER..]).unwrap();
            write_transport_feedback(&mut out, 0x1111_1111, 0xDEAD_BEEF, body);
            assert_eq!(out[3..], data);
        }
    }

    #[test]
    fn chunks_of_no_packet_are_moved_out_of_the_way() {
        let head = "AFCD0007 00000001 00000002 00010002 00000000";
        let data = bytes(&format!("{head} 0000 2001 2000 2001 0102 0002"));
        let moved = bytes(&format!("{head} 2001 2001 0102 0000 0000 0002"));
        assert_eq!(parse_compound(&data), Ok(vec![Packet::TransportFeedback(moved)]));
    }

    #[test]
    fn unknown_types_forms_and_blocks_are_skipped() {
        let data = "80CC0001 11111111 83CD0002 11111111 22222222 8FCE0003 11111111 00000000 41424344
                    80CF0003 11111111 01000001 AAAAAAAA 81CE0002 11111111 DEADBEEF";
        let report = Packet::ExtendedReport { ssrc: 0x1111_1111, reference_time: None, dlrr: vec![] };
        let pli = Packet::Pli { sender_ssrc: 0x1111_1111, media_ssrc: 0xDEAD_BEEF };
        assert_eq!(parse_compound(&bytes(data)), Ok(vec![report, pli]));
    }

    #[test]
    fn negative_cumulative_loss() {
        let block = ReportBlock { ssrc: 1, cumulative_lost: -2, ..ReportBlock::default() };
        let report = Packet::ReceiverReport { ssrc: 9, reports: vec![block] };
        let data = written(&report);
        assert_eq!(data[8..16], bytes("00000001 00FFFFFE"));
        assert_eq!(parse_compound(&data), Ok(vec![report]));
    }

    #[test]
    fn a_nack_folds_across_the_wrap_and_drops_doubles() {
        let mut data = Vec::new();
        write_nack(&mut data, 1, 2, &[2, 65534, 65535, 2, 15, 40]);
        assert_eq!(data, bytes("81CD0005 00000001 00000002 FFFE0009 000F0000 00280000"));
        let lost = vec![65534, 65535, 2, 15, 40];
        assert_eq!(parse_compound(&data), Ok(vec![Packet::Nack { sender_ssrc: 1, media_ssrc: 2, lost }]));
        data.clear();
        write_nack(&mut data, 1, 2, &[]);
        assert!(data.is_empty());
    }

    #[test]
    fn a_remb_is_rounded_down_to_eighteen_bits() {
        for (given, read) in [
            (1_234_567, 1_234_560),
            (262_143, 262_143),
            (0, 0),
            (1 << 62, 1 << 62),
            (u64::MAX, i64::MAX as u64),
        ] {
            let mut data = Vec::new();
            write_remb(&mut data, 1, given, &[]);
            let remb = Packet::Remb { sender_ssrc: 1, bitrate: read, ssrcs: vec![] };
            assert_eq!(parse_compound(&data), Ok(vec![remb]));
        }
        let data = bytes("8FCE0004 00000001 00000000 52454D42 00FFFFFF");
        let remb = Packet::Remb { sender_ssrc: 1, bitrate: i64::MAX as u64, ssrcs: vec![] };
        assert_eq!(parse_compound(&data), Ok(vec![remb]));
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        let mut data = Vec::new();
        write_receiver_report(&mut data, 1, &[BLOCK; 40]);
        write_bye(&mut data, &[1; 40]);
        write_remb(&mut data, 1, 1, &[1; 300]);
        write_sdes_cname(&mut data, 1, &"x".repeat(300));
        write_fir(&mut data, 1, &[(1, 1); 40_000]);
        write_dlrr(&mut data, 1, &[DlrrItem::default(); 40_000]);
        assert_eq!(parse_compound(&data).unwrap().len(), 6);
    }

    #[test]
    fn broken_datagrams() {
        let broken = [
            "80",
            "80C900",
            "40C9000100000001",
            "80C90001000000",
            "80C900010000000180",
            "80C9FFFF00000001",
            "80C90000",
            "81C9000100000001",
            "9FC80006000000010000000000000000000000000000000000000000",
            "80C8000100000001",
            "A0C90000",
            "A0C9000100000000",
            "A0C9000100000005",
            "81CA0000",
            "81CA000100000001",
            "81CA00020000000101FF6162",
            "81CA00020000000101026162",
            "9FCB000100000001",
            "81CB000200000001FF616263",
            "80CF0000",
            "80CF00020000000104000002",
            "80CF0003000000010400000100000000",
            "80CF0003000000010500000100000000",
            "81CD000100000001",
            "81CD00020000000100000002",
            "84CE00020000000100000000",
            "84CE000300000001000000000000000A",
            "8FCE0003000000010000000052454D42",
            "8FCE0004000000010000000052454D42FF000001",
            "8FCD00020000000100000002",
            "8FCD000400000001000000020001000000000000",
        ];
        for data in broken {
            assert!(parse_compound(&bytes(data)).is_err(), "{data}");
        }
    }

    #[test]
    fn any_bytes_give_packets_or_an_error() {
        let mut next = crate::chance::numbers();
        let vectors: Vec<Vec<u8>> = vectors().iter().map(|(data, _)| bytes(data)).collect();
        let mut read = 0;
        for _ in 0..50_000 {
            let mut data = Vec::new();
            for _ in 0..next() % 5 {
                match next() % 4 {
                    0 => data.extend((0..next() % 40).map(|_| next() as u8)),
                    1 => {
                        data.extend([
                            0x80 | next() as u8 & 0x3F,
                            200 + (next() % 8) as u8,
                            0,
                            (next() % 12) as u8,
                        ]);
                    }
                    _ => data.extend(&vectors[next() as usize % vectors.len()]),
                }
            }
            for _ in 0..next() % 3 {
                if !data.is_empty() {
                    let place = next() as usize % data.len();
                    data[place] = next() as u8;
                }
            }
            let Ok(packets) = parse_compound(&data) else {
                continue;
            };
            assert!(packets.len() <= data.len() / 4);
            for packet in packets {
                if !matches!(packet, Packet::Nack { .. } | Packet::Remb { .. })
                    && !written(&packet).is_empty()
                {
                    read += 1;
                    assert_eq!(parse_compound(&written(&packet)), Ok(vec![packet]));
                }
            }
        }
        assert!(read > 5_000, "{read}");
    }
}
