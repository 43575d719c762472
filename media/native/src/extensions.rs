//! Header extensions on the relay's hot path: pick out the few negotiated elements, lay out what leaves.
//!
//! This sees every packet of every publisher and allocates nothing. Both forms of RFC 8285 are read: browsers use the
//! two-byte form on exactly the packets that carry MID and RID first.

use crate::messages::ExtensionIds;

/// Profile of the one-byte form (RFC 8285 4.2).
pub const ONE_BYTE: u16 = 0xBEDE;
/// Profile of the two-byte form (RFC 8285 4.3); the low four bits are free for applications.
pub const TWO_BYTE: u16 = 0x1000;

/// The negotiated elements of one packet; an empty slice, None or -1 = absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    /// MID of the media section (RFC 8843).
    pub mid: &'a [u8],
    /// RtpStreamId (RFC 8852).
    pub rid: &'a [u8],
    /// RepairedRtpStreamId (RFC 8852).
    pub repaired_rid: &'a [u8],
    /// Transport-wide sequence number; None as well when the element has not exactly two bytes.
    pub transport_cc: Option<u16>,
    /// V bit and level of RFC 6464, 0..255, or -1.
    pub audio_level: i16,
    /// CVO byte, 0..255, or -1.
    pub orientation: i16,
}

impl Elements<'_> {
    /// Of a packet without any.
    pub const NONE: Elements<'static> = Elements {
        mid: &[],
        rid: &[],
        repaired_rid: &[],
        transport_cc: None,
        audio_level: -1,
        orientation: -1,
    };
}

/// The negotiated elements of an extension block, without its four bytes of profile and length; the last one wins.
///
/// A block that ends inside an element gives what came before it. An unknown profile gives nothing.
pub fn scan<'a>(data: &'a [u8], profile: u16, ids: &ExtensionIds) -> Elements<'a> {
    let mut found = Elements::NONE;
    let mut rest = data;
    if profile == ONE_BYTE {
        while let Some((&head, behind)) = rest.split_first() {
            rest = behind;
            if head == 0 {
                continue; // padding
            }
            let ident = head >> 4;
            if ident == 0 || ident == 15 {
                break; // 0 with a length ends the block as well (RFC 8285 4.2)
            }
            let Some((value, behind)) = rest.split_at_checked(usize::from(head & 15) + 1) else {
                break;
            };
            rest = behind;
            found.note(ident, value, ids);
        }
    } else if profile & 0xFFF0 == TWO_BYTE {
        while let Some((&ident, behind)) = rest.split_first() {
            rest = behind;
            if ident == 0 {
                continue;
            }
            let Some((&size, behind)) = rest.split_first() else {
                break;
            };
            let Some((value, behind)) = behind.split_at_checked(usize::from(size)) else {
                break;
            };
            rest = behind;
            found.note(ident, value, ids);
        }
    }
    found
}

impl<'a> Elements<'a> {
    /// `ident` is never 0, so a role that is not negotiated never matches.
    #[inline]
    fn note(&mut self, ident: u8, value: &'a [u8], ids: &ExtensionIds) {
        if ident == ids.transport_cc {
            self.transport_cc = value.try_into().ok().map(u16::from_be_bytes);
        } else if ident == ids.audio_level {
            self.audio_level = first_byte(value);
        } else if ident == ids.orientation {
            self.orientation = first_byte(value);
        } else if ident == ids.mid {
            self.mid = value;
        } else if ident == ids.rid {
            self.rid = value;
        } else if ident == ids.repaired_rid {
            self.repaired_rid = value;
        }
    }
}

fn first_byte(value: &[u8]) -> i16 {
    value.first().map_or(-1, |&byte| i16::from(byte))
}

/// The one-byte extension block of one sink: constant but for the transport sequence and one two-byte element.
///
/// With no negotiated id at all nothing is written. Ids above 14 and values a one-byte element cannot hold are left
/// out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingLayout {
    /// Everything between the fixed header and the 16-bit transport sequence; empty when there is no block.
    pub prefix: Vec<u8>,
    /// A two-byte element follows: audio level or orientation, or two zero bytes = padding when a packet has none.
    pub slot: bool,
    /// Zero bytes that fill up to 32 bits, 0..3.
    pub padding: usize,
    /// The 16 bits of the transport sequence follow the prefix.
    pub transport_sequence: bool,
    /// Where in `prefix` the 24 bits of abs-send-time go.
    pub send_time_at: Option<usize>,
}

impl OutgoingLayout {
    /// The layout for these ids; 0 = not negotiated. abs-send-time is left out where there is a transport sequence.
    pub fn new(mid_id: u8, mid: &str, transport_cc: u8, send_time: u8, slot_id: u8) -> OutgoingLayout {
        let usable = |id: u8| (1..15).contains(&id);
        let mut prefix = vec![0xBE, 0xDE, 0, 0];
        if usable(mid_id) && (1..=16).contains(&mid.len()) {
            prefix.push(mid_id << 4 | (mid.len() - 1) as u8);
            prefix.extend_from_slice(mid.as_bytes());
        }
        let transport_sequence = usable(transport_cc);
        let mut send_time_at = None;
        if usable(send_time) && !transport_sequence {
            prefix.push(send_time << 4 | 2);
            send_time_at = Some(prefix.len());
            prefix.extend_from_slice(&[0; 3]);
        }
        if transport_sequence {
            prefix.push(transport_cc << 4 | 1);
        }
        let slot = usable(slot_id);
        let size = prefix.len() - 4 + 2 * usize::from(transport_sequence) + 2 * usize::from(slot);
        if size > 0 {
            prefix[3] = size.div_ceil(4) as u8;
        } else {
            prefix.clear();
        }
        let padding = size.next_multiple_of(4) - size;
        OutgoingLayout { prefix, slot, padding, transport_sequence, send_time_at }
    }
}

/// 24 bits of 6.18 fixed-point seconds, big-endian; wraps every 64 s.
pub fn absolute_send_time(now: f64) -> [u8; 3] {
    let [.., a, b, c] = ((now * 262_144.0) as i64).to_be_bytes();
    [a, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"\x10\x94\x22\x12\x34\x56\x31\x01\x02\x40\x30\x00";
    const TWO: &[u8] = b"\x14\x03\x61\x62\x63\x01\x01\x94\x05\x00\x00\x00";

    fn ids() -> ExtensionIds {
        ExtensionIds {
            mid: 4,
            rid: 20,
            repaired_rid: 5,
            transport_cc: 3,
            audio_level: 1,
            ..ExtensionIds::default()
        }
    }

    #[test]
    fn both_forms() {
        let found = scan(ONE, ONE_BYTE, &ids());
        assert_eq!(
            found,
            Elements { mid: b"0", transport_cc: Some(0x0102), audio_level: 0x94, ..Elements::NONE }
        );
        let found = scan(TWO, 0x100F, &ids());
        assert_eq!(found, Elements { rid: b"abc", audio_level: 0x94, ..Elements::NONE });
        assert_eq!(scan(ONE, 0x1234, &ids()), Elements::NONE);
        assert_eq!(scan(ONE, ONE_BYTE, &ExtensionIds::default()), Elements::NONE);
    }

    #[test]
    fn the_last_one_wins_even_when_it_is_useless() {
        assert_eq!(scan(b"\x31\0\x05\x31\0\x06", ONE_BYTE, &ids()).transport_cc, Some(6));
        assert_eq!(scan(b"\x31\0\x05\x30\0", ONE_BYTE, &ids()).transport_cc, None);
        assert_eq!(scan(b"\x01\x01\x07\x01\0", TWO_BYTE, &ids()).audio_level, -1);
        assert_eq!(scan(b"\x04\x01a\x04\0", TWO_BYTE, &ids()).mid, b"");
    }

    #[test]
    fn what_ends_a_block() {
        for end in [&b"\x03"[..], b"\xf0\0", b"\x41"] {
            let data = [&b"\x10\x07"[..], end, b"\x40"].concat();
            assert_eq!(scan(&data, ONE_BYTE, &ids()), Elements { audio_level: 7, ..Elements::NONE });
        }
        for end in [&b"\x04"[..], b"\x04\x02a"] {
            let data = [&b"\x01\x01\x07"[..], end].concat();
            assert_eq!(scan(&data, TWO_BYTE, &ids()), Elements { audio_level: 7, ..Elements::NONE });
        }
    }

    #[test]
    fn the_layout_counts_its_bytes() {
        let size = |layout: &OutgoingLayout| {
            let elements = usize::from(layout.transport_sequence) + usize::from(layout.slot);
            layout.prefix.len() + 2 * elements + layout.padding
        };
        let layout = OutgoingLayout::new(4, "12", 3, 2, 1);
        assert_eq!(layout.prefix, b"\xbe\xde\0\x02\x4112\x31");
        assert_eq!((layout.transport_sequence, layout.slot, layout.padding), (true, true, 0));
        assert_eq!((layout.send_time_at, size(&layout)), (None, 12));
        let timed = OutgoingLayout::new(4, "0", 0, 2, 0);
        assert_eq!(timed.prefix, b"\xbe\xde\0\x02\x400\x22\0\0\0");
        assert_eq!((timed.send_time_at, timed.padding, size(&timed)), (Some(7), 2, 12));
        let slot = OutgoingLayout::new(15, "0", 0, 0, 14);
        assert_eq!((&slot.prefix[..], slot.padding, size(&slot)), (&b"\xbe\xde\0\x01"[..], 2, 8));
        let none = OutgoingLayout::new(4, "seventeen letters", 15, 0, 15);
        assert!(none.prefix.is_empty());
        assert_eq!((none.padding, size(&none)), (0, 0));
    }

    #[test]
    fn send_time() {
        assert_eq!(absolute_send_time(1234.5678), [0x4A, 0x45, 0x6D]);
    }

    #[test]
    fn any_bytes() {
        let mut next = crate::chance::numbers();
        for _ in 0..50_000 {
            let size = next() as usize % 65;
            let data: Vec<u8> = (0..size).map(|_| next() as u8 & 0x73).collect();
            for profile in [ONE_BYTE, TWO_BYTE, 0x100F, 0] {
                let found = scan(&data, profile, &ids());
                assert!(found.mid.len() + found.rid.len() + found.repaired_rid.len() <= size);
            }
        }
    }
}
