//! What the relay reads of every VP8 payload, in one pass, and writes anew for a viewer (RFC 7741, RFC 6386 9.1).
//!
//! One look per source packet, never per viewer. Nothing here fails: a payload that contradicts its format is forwarded
//! as it came, because judging it is the decoder's business.

const START_CODE: [u8; 3] = [0x9D, 0x01, 0x2A];

/// Facts of one VP8 payload (RFC 7741 4.2, 4.3).
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// A key frame starts here.
    pub key: bool,
    /// No other picture refers to it.
    pub discardable: bool,
    /// Width of the picture id: 0, 7 or 15; it lies at offset 2.
    pub bits: u8,
    /// The picture id.
    pub number: u16,
    /// Offset of TL0PICIDX, 0 = none.
    pub tl0_at: u8,
    /// TL0PICIDX.
    pub tl0: u8,
    /// Pixels, of a key frame; 0 = not told.
    pub width: u16,
    /// Pixels, of a key frame; 0 = not told.
    pub height: u16,
}

impl Picture {
    /// Nothing is known, as of every payload that is not VP8.
    pub const NONE: Picture = Picture {
        key: false,
        discardable: false,
        bits: 0,
        number: 0,
        tl0_at: 0,
        tl0: 0,
        width: 0,
        height: 0,
    };
}

/// The facts of one payload; `Picture::NONE` when it ends inside its descriptor.
pub fn vp8_picture(payload: &[u8]) -> Picture {
    read(payload).unwrap_or(Picture::NONE)
}

fn read(payload: &[u8]) -> Option<Picture> {
    let &[first, flags, ..] = payload else {
        return None;
    };
    let mut picture = Picture { discardable: first & 0x20 != 0, ..Picture::NONE };
    let mut at = 1;
    if first & 0x80 != 0 {
        at = 2;
        if flags & 0x80 != 0 {
            let high = *payload.get(at)?;
            at += 1;
            if high & 0x80 != 0 {
                picture.bits = 15;
                picture.number = u16::from_be_bytes([high & 0x7F, *payload.get(at)?]);
                at += 1;
            } else {
                picture.bits = 7;
                picture.number = u16::from(high);
            }
        }
        if flags & 0x40 != 0 {
            picture.tl0 = *payload.get(at)?;
            picture.tl0_at = at as u8;
            at += 1;
        }
        if flags & 0x30 != 0 {
            at += 1;
        }
    }
    let frame = payload.get(at..).unwrap_or_default();
    picture.key = first & 0x17 == 0x10 && frame.first().is_some_and(|tag| tag & 1 == 0);
    if picture.key
        && let &[_, _, _, a, b, c, wide_low, wide_high, tall_low, tall_high, ..] = frame
        && [a, b, c] == START_CODE
    {
        picture.width = u16::from_le_bytes([wide_low, wide_high]) & 0x3FFF;
        picture.height = u16::from_le_bytes([tall_low, tall_high]) & 0x3FFF;
    }
    Some(picture)
}

/// Write the picture id and TL0PICIDX of `picture`, moved by these amounts, into a copy of the VP8 payload it is of.
#[inline]
pub fn move_picture(payload: &mut [u8], picture: &Picture, picture_delta: i32, tl0_delta: i32) {
    let moved = i32::from(picture.number).wrapping_add(picture_delta);
    match (picture.bits, &mut *payload) {
        (15, [_, _, high, low, ..]) => {
            *high = 0x80 | (moved >> 8) as u8;
            *low = moved as u8;
        }
        (7, [_, _, id, ..]) => *id = moved as u8 & 0x7F,
        _ => {}
    }
    if picture.tl0_at != 0
        && let Some(index) = payload.get_mut(usize::from(picture.tl0_at))
    {
        *index = i32::from(picture.tl0).wrapping_add(tl0_delta) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_frame_with_every_field() {
        let payload = b"\x90\xe0\x92\x34\x07\x40\x10\x02\x00\x9d\x01\x2a\x00\x05\xd0\x82";
        let expected = Picture {
            key: true,
            discardable: false,
            bits: 15,
            number: 0x1234,
            tl0_at: 4,
            tl0: 7,
            width: 1280,
            height: 720,
        };
        assert_eq!(vp8_picture(payload), expected);
    }

    #[test]
    fn short_ids_and_no_descriptor() {
        let short = vp8_picture(b"\xb0\x80\x11\x01rest");
        assert_eq!(short, Picture { discardable: true, bits: 7, number: 0x11, ..Picture::NONE });
        assert_eq!(vp8_picture(b"\x10\x00"), Picture { key: true, ..Picture::NONE });
        assert_eq!(vp8_picture(b"\x11\x00"), Picture::NONE); // another partition
        assert_eq!(vp8_picture(b"\x90\x20\x00"), Picture::NONE); // nothing behind the descriptor
    }

    #[test]
    fn what_ends_inside_its_descriptor_says_nothing() {
        for cut in [&b""[..], b"\x10", b"\xb0\x80", b"\xb0\x80\x92", b"\xb0\x40", b"\xb0\xc0\x92\x34"] {
            assert_eq!(vp8_picture(cut), Picture::NONE);
        }
    }

    #[test]
    fn any_bytes() {
        let mut next = crate::chance::numbers();
        for _ in 0..50_000 {
            let size = next() as usize % 25;
            let payload: Vec<u8> = (0..size).map(|_| next() as u8).collect();
            let picture = vp8_picture(&payload);
            assert!(picture.tl0_at == 0 || usize::from(picture.tl0_at) < size);
            assert!(picture.bits == 0 || 2 + usize::from(picture.bits / 8) < size);
        }
    }

    #[test]
    fn moved_numbers_wrap_in_their_own_width() {
        let mut long = *b"\x90\xc0\xff\xfe\xff\x00";
        let picture = vp8_picture(&long);
        move_picture(&mut long, &picture, 3, 2);
        assert_eq!(&long, b"\x90\xc0\x80\x01\x01\x00");
        let mut short = *b"\x90\x80\x02\x00";
        let picture = vp8_picture(&short);
        move_picture(&mut short, &picture, -4, 9);
        assert_eq!(&short, b"\x90\x80\x7e\x00");
        let mut none = *b"\x10\x02\x03\x04";
        let picture = vp8_picture(&none);
        move_picture(&mut none, &picture, 5, 5);
        assert_eq!(&none, b"\x10\x02\x03\x04");
        let picture = Picture { bits: 15, tl0_at: 4, ..Picture::NONE };
        for size in 0..5 {
            move_picture(&mut vec![0; size], &picture, i32::MIN, i32::MAX); // facts of another payload do no harm
        }
    }
}
