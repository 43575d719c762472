//! Who a datagram belongs to before anything of it is believed: RFC 7983 classes, STUN user names.
//!
//! Everything here sees bytes of strangers, so each function is bounded by the size of its input.

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const USERNAME: u16 = 0x0006;
const MAX_USERNAME: usize = 513; // bytes, RFC 8489 14.3

/// What a datagram is by its first byte (RFC 7983 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing that is known here.
    Other,
    /// STUN.
    Stun,
    /// DTLS.
    Dtls,
    /// RTP and RTCP.
    Rtp,
}

impl Kind {
    /// The kind of a datagram that begins with this byte.
    pub fn of(first: u8) -> Kind {
        match first {
            0..=3 => Kind::Stun,
            20..=63 => Kind::Dtls,
            128..=191 => Kind::Rtp,
            _ => Kind::Other,
        }
    }
}

/// The part of USERNAME before the colon: the ufrag of the side that is asked (RFC 8445 7.2.2).
///
/// None when this is no well-formed STUN message, has no such attribute or one that is not ASCII. Integrity is
/// not checked here.
pub fn stun_ufrag(data: &[u8]) -> Option<&str> {
    let (head, mut rest) = data.split_first_chunk::<20>()?;
    if head[4..8] != COOKIE || usize::from(u16::from_be_bytes([head[2], head[3]])) != rest.len() {
        return None;
    }
    if !data.len().is_multiple_of(4) {
        return None;
    }
    while let Some(([kind_high, kind_low, high, low], attribute)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = attribute.get(..length)?;
        if u16::from_be_bytes([*kind_high, *kind_low]) == USERNAME {
            if length > MAX_USERNAME {
                return None;
            }
            let colon = value.iter().position(|byte| *byte == b':')?;
            return std::str::from_utf8(&value[..colon]).ok().filter(|ufrag| ufrag.is_ascii());
        }
        rest = attribute.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: [u8; 92] = [
        0x00, 0x01, 0x00, 0x48, 0x21, 0x12, 0xA4, 0x42, 0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08,
        0x09, 0x0A, 0x0B, 0x00, 0x06, 0x00, 0x09, 0x73, 0x72, 0x76, 0x55, 0x3A, 0x63, 0x6C, 0x69, 0x55, 0x00,
        0x00, 0x00, 0x00, 0x24, 0x00, 0x04, 0x6E, 0x7F, 0x1E, 0xFF, 0x80, 0x2A, 0x00, 0x08, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x25, 0x00, 0x00, 0x00, 0x08, 0x00, 0x14, 0xEF, 0x71, 0x94, 0x0B,
        0xED, 0xF4, 0x09, 0xAE, 0x3A, 0x54, 0xA8, 0x81, 0x74, 0x4A, 0x0D, 0x19, 0xFC, 0x72, 0xCC, 0xD9, 0x80,
        0x28, 0x00, 0x04, 0xBA, 0x40, 0x01, 0x12,
    ];

    #[test]
    fn the_left_name_of_a_browsers_check() {
        assert_eq!(stun_ufrag(&CHECK), Some("srvU"));
        assert_eq!(stun_ufrag(&CHECK[..91]), None);
        let mut without_cookie = CHECK;
        without_cookie[4..8].fill(0);
        assert_eq!(stun_ufrag(&without_cookie), None);
        let mut without_colon = CHECK;
        without_colon[28] = b'x';
        assert_eq!(stun_ufrag(&without_colon), None);
        let mut no_ascii = CHECK;
        no_ascii[24] = 0xff;
        assert_eq!(stun_ufrag(&no_ascii), None);
    }

    #[test]
    fn a_user_name_has_an_upper_bound() {
        for (length, expected) in [(513, Some("a")), (514, None)] {
            let mut data = vec![0; 24 + 516];
            data[2..4].copy_from_slice(&520_u16.to_be_bytes());
            data[4..8].copy_from_slice(&COOKIE);
            data[20..24].copy_from_slice(&[0, 6, 2, (length - 512) as u8]);
            data[24..26].copy_from_slice(b"a:");
            assert_eq!(stun_ufrag(&data), expected);
        }
    }

    #[test]
    fn kinds_by_the_first_byte() {
        let kinds: Vec<Kind> = [0, 3, 4, 19, 20, 63, 64, 127, 128, 191, 192, 255].map(Kind::of).to_vec();
        let expected = [
            Kind::Stun,
            Kind::Stun,
            Kind::Other,
            Kind::Other,
            Kind::Dtls,
            Kind::Dtls,
            Kind::Other,
            Kind::Other,
            Kind::Rtp,
            Kind::Rtp,
            Kind::Other,
            Kind::Other,
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn no_bytes_panic() {
        let mut next = crate::chance::numbers();
        for round in 0..50_000 {
            let mut data = CHECK.to_vec();
            if round % 2 == 0 {
                for _ in 0..=next() % 4 {
                    let at = next() as usize % data.len();
                    data[at] = next() as u8;
                }
                data.truncate(next() as usize % 120);
            } else {
                data.truncate(20);
                data.extend((0..next() % 30).flat_map(|_| (next() as u32 & 0x01ff_001f).to_be_bytes()));
                let length = (data.len() - 20) as u16;
                data[2..4].copy_from_slice(&length.to_be_bytes());
            }
            let _ = stun_ufrag(&data);
        }
    }
}
