//! Redundant audio data (RFC 2198): earlier frames sent again in front of the newest one.

use crate::error::Malformed;

/// Highest age of a redundant block, in RTP ticks.
pub const MAX_OFFSET: u32 = 0x3FFF;
/// Highest size of a redundant block, in bytes.
pub const MAX_LENGTH: usize = 0x3FF;

const TRUNCATED: Malformed = Malformed("RED payload is cut short");

/// One encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedBlock<'a> {
    /// 0..127.
    pub payload_type: u8,
    /// The bytes of the block.
    pub payload: &'a [u8],
    /// How many RTP ticks it lies before the packet's own timestamp; 0 = newest.
    pub timestamp_offset: u32,
}

/// The blocks in order, the newest last; never empty. Fails when headers or blocks reach past the payload.
pub fn unwrap(payload: &[u8]) -> Result<Vec<RedBlock<'_>>, Malformed> {
    let redundant = payload.chunks(4).take_while(|header| header[0] & 0x80 != 0).count();
    let (headers, rest) = payload.split_at_checked(4 * redundant).ok_or(TRUNCATED)?;
    let (&payload_type, mut rest) = rest.split_first().ok_or(TRUNCATED)?;
    let mut blocks = Vec::with_capacity(redundant + 1);
    for header in headers.as_chunks::<4>().0 {
        let word = u32::from_be_bytes(*header);
        let (block, behind) = rest.split_at_checked(word as usize & MAX_LENGTH).ok_or(TRUNCATED)?;
        blocks.push(RedBlock {
            payload_type: header[0] & 0x7F,
            payload: block,
            timestamp_offset: word >> 10 & MAX_OFFSET,
        });
        rest = behind;
    }
    blocks.push(RedBlock { payload_type, payload: rest, timestamp_offset: 0 });
    Ok(blocks)
}

/// A RED payload of the newest block behind the redundant ones, given oldest first.
///
/// Fails for a payload type over 7 bits, or a redundant block over 1,023 bytes or 16,383 ticks old.
pub fn wrap(newest: &RedBlock, redundant: &[RedBlock]) -> Result<Vec<u8>, Malformed> {
    if newest.payload_type > 0x7F || redundant.iter().any(|block| block.payload_type > 0x7F) {
        return Err(Malformed("RED payload type"));
    }
    let bodies: usize = redundant.iter().map(|block| block.payload.len()).sum();
    let mut payload = Vec::with_capacity(4 * redundant.len() + 1 + bodies + newest.payload.len());
    for block in redundant {
        if block.timestamp_offset > MAX_OFFSET || block.payload.len() > MAX_LENGTH {
            return Err(Malformed("RED block is too old or too long"));
        }
        let rest = block.timestamp_offset << 10 | block.payload.len() as u32;
        payload.extend_from_slice(&(1 << 31 | u32::from(block.payload_type) << 24 | rest).to_be_bytes());
    }
    payload.push(newest.payload_type);
    for block in redundant.iter().chain([newest]) {
        payload.extend_from_slice(block.payload);
    }
    Ok(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(payload_type: u8, payload: &[u8], timestamp_offset: u32) -> RedBlock<'_> {
        RedBlock { payload_type, payload, timestamp_offset }
    }

    #[test]
    fn one_earlier_frame() {
        let data = b"\xef\x0f\x00\x03\x6foldnewest"; // payload type 111, 960 ticks earlier, 3 bytes
        let blocks = [block(111, b"old", 960), block(111, b"newest", 0)];
        assert_eq!(unwrap(data).unwrap(), blocks);
        assert_eq!(wrap(&blocks[1], &blocks[..1]).unwrap(), data);
    }

    #[test]
    fn no_redundancy() {
        assert_eq!(unwrap(b"\x6fvoice").unwrap(), [block(111, b"voice", 0)]);
        assert_eq!(wrap(&block(111, b"voice", 0), &[]).unwrap(), b"\x6fvoice");
        assert_eq!(unwrap(b"\x6f").unwrap(), [block(111, b"", 0)]);
    }

    #[test]
    fn cut_short() {
        let data = b"\xef\x0f\x00\x03\x6fol";
        for size in 0..=data.len() {
            assert_eq!(unwrap(&data[..size]), Err(TRUNCATED));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let newest = block(111, b"", 0);
        for bad in [block(128, b"", 0), block(0, &[0; 1024], 0), block(0, b"", 16_384)] {
            assert!(wrap(&newest, &[bad]).is_err());
        }
        assert!(wrap(&block(200, b"", 0), &[]).is_err());
        assert!(wrap(&newest, &[block(127, &[0; 1023], 16_383)]).is_ok());
    }

    #[test]
    fn the_longest_chain() {
        let mut data = b"\x80\0\0\0".repeat(16_000);
        data.push(0);
        assert_eq!(unwrap(&data).unwrap().len(), 16_001);
    }

    #[test]
    fn any_bytes() {
        let mut next = crate::chance::numbers();
        let mut read = 0;
        for _ in 0..50_000 {
            let size = next() as usize % 61;
            let data: Vec<u8> =
                (0..size).map(|at| if at % 4 > 1 { next() as u8 % 16 } else { next() as u8 }).collect();
            if let Ok(blocks) = unwrap(&data) {
                read += 1;
                let (newest, redundant) = blocks.split_last().unwrap();
                assert_eq!(wrap(newest, redundant).unwrap(), data);
            }
        }
        assert!(read > 10_000);
    }
}
