//! Reading inside an H.264 sequence parameter set (ITU-T H.264 7.3.2.1.1), as far as its picture size.

use crate::error::Malformed;

/// Profiles whose SPS tells the chroma format and may carry scaling lists.
const WITH_CHROMA_FORMAT: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139];
const MAX_SIDE: i32 = 16_384;
const SPS: u8 = 7;

/// What an SPS says, as far as the relay asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceParameters {
    /// Pixels after cropping, 1..16384.
    pub width: u32,
    /// Pixels after cropping, 1..32768.
    pub height: u32,
}

/// Read a whole SPS unit, header included.
///
/// Fails for another type of unit, one that ends early, and values out of their range. The VUI is not read.
pub fn parse_sps(unit: &[u8]) -> Result<SequenceParameters, Malformed> {
    let [header, rest @ ..] = unit else {
        return Err(Malformed("SPS is cut short"));
    };
    if rest.len() < 3 {
        return Err(Malformed("SPS is cut short"));
    }
    if header & 0x1F != SPS {
        return Err(Malformed("not an SPS"));
    }
    let mut bits = Bits { data: unescape(rest), at: 0 };
    let profile = bits.take(8)? as u8;
    bits.take(16)?; // constraints, level
    bits.golomb("SPS id", 31)?;
    let mut chroma_format = 1;
    let mut separate_planes = false;
    if WITH_CHROMA_FORMAT.contains(&profile) {
        chroma_format = bits.golomb("chroma format", 3)?;
        if chroma_format == 3 {
            separate_planes = bits.flag()?;
        }
        bits.golomb("luma depth", 6)?;
        bits.golomb("chroma depth", 6)?;
        bits.flag()?;
        if bits.flag()? {
            for index in 0..if chroma_format == 3 { 12 } else { 8 } {
                if bits.flag()? {
                    skip_scaling_list(&mut bits, if index < 6 { 16 } else { 64 })?;
                }
            }
        }
    }
    bits.golomb("frame number length", 12)?;
    match bits.golomb("picture order type", 2)? {
        0 => {
            bits.golomb("picture order length", 12)?;
        }
        1 => {
            bits.flag()?;
            bits.signed_golomb()?;
            bits.signed_golomb()?;
            for _ in 0..bits.golomb("picture order cycle", 255)? {
                bits.signed_golomb()?;
            }
        }
        _ => {}
    }
    bits.golomb("reference frames", 16)?;
    bits.flag()?;
    let columns = bits.side("width")?;
    let mut rows = bits.side("height")?;
    let progressive = bits.flag()?;
    if !progressive {
        bits.flag()?;
        rows *= 2;
    }
    bits.flag()?;
    let mut cropped = [0; 4]; // left, right, top, bottom
    if bits.flag()? {
        for side in &mut cropped {
            *side = bits.golomb("cropping", MAX_SIDE as u64)? as i32;
        }
    }
    let unit_x = if separate_planes || matches!(chroma_format, 0 | 3) { 1 } else { 2 };
    let unit_y = if chroma_format == 1 { 2 } else { 1 } * if progressive { 1 } else { 2 };
    let width = 16 * columns - unit_x * (cropped[0] + cropped[1]);
    let height = 16 * rows - unit_y * (cropped[2] + cropped[3]);
    bits.flag()?; // whether a VUI follows
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(width), Ok(height)) if width > 0 && height > 0 => Ok(SequenceParameters { width, height }),
        _ => Err(Malformed("cropped size")),
    }
}

/// Bits of an unescaped unit, most significant first.
struct Bits {
    data: Vec<u8>,
    at: usize,
}

impl Bits {
    /// The next `count` bits, at most 32.
    fn take(&mut self, count: usize) -> Result<u64, Malformed> {
        let end = self.at + count;
        let last = end.div_ceil(8);
        let bytes = self.data.get(self.at / 8..last).ok_or(Malformed("H.264 syntax is cut short"))?;
        let value = bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        self.at = end;
        Ok(value >> (8 * last - end) & ((1 << count) - 1))
    }

    fn flag(&mut self) -> Result<bool, Malformed> {
        Ok(self.take(1)? == 1)
    }

    /// ue(v), at most `highest`.
    fn golomb(&mut self, what: &'static str, highest: u64) -> Result<u64, Malformed> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 32 {
                return Err(Malformed(what));
            }
        }
        let value = (1 << zeros) - 1 + self.take(zeros)?;
        if value > highest {
            return Err(Malformed(what));
        }
        Ok(value)
    }

    /// se(v).
    fn signed_golomb(&mut self) -> Result<i64, Malformed> {
        let value = self.golomb("signed value", 0xFFFF_FFFF)? as i64;
        Ok(if value & 1 == 1 { (value + 1) / 2 } else { -(value / 2) })
    }

    /// A number of macroblocks along one side.
    fn side(&mut self, what: &'static str) -> Result<i32, Malformed> {
        Ok(self.golomb(what, MAX_SIDE as u64 / 16 - 1)? as i32 + 1)
    }
}

/// Without the emulation prevention bytes (7.4.1).
fn unescape(data: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut plain = Vec::with_capacity(data.len());
    for &byte in data {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

fn skip_scaling_list(bits: &mut Bits, size: usize) -> Result<(), Malformed> {
    let (mut last, mut following) = (8, 8);
    for _ in 0..size {
        if following != 0 {
            following = (last + bits.signed_golomb()?).rem_euclid(256);
        }
        if following != 0 {
            last = following;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    fn size(unit: &[u8]) -> Result<(u32, u32), Malformed> {
        parse_sps(unit).map(|parameters| (parameters.width, parameters.height))
    }

    // Made with x264.
    const HIGH_720P_B: &str = "6764001facd9405005ba1000000300100000030320f1831960";

    #[test]
    fn real_encoders() {
        for (unit, expected) in [
            (HIGH_720P_B, (1280, 720)),
            ("6742c01eda0280bfe584000003000400000300ca3c58ba80", (640, 360)),
            ("67640028acd94078044fdc20000003002000000643e2c5b2c0", (1920, 1080)),
            ("674d400dd901609684000003000400000300c83c50a920", (352, 288)),
            ("6742c01eda0360f79b84000003000400000300ca3c58ba80", (854, 480)),
            ("67f4001f919b280a00b7ddc2000003000200000300781e30632c", (1278, 718)),
            ("677a001ebcd940a03da10000030001000003003c0f162d96", (640, 480)),
            (
                "6764000dacd941419f9f02b5010101a50000030001000003003c602001e840007a13930c01e28532c0",
                (320, 180),
            ),
        ] {
            assert_eq!(size(&bytes(unit)), Ok(expected));
        }
    }

    #[test]
    fn rare_syntax() {
        // Picture order type 1; scaling lists; monochrome, cropped by single pixels; the largest, interlaced.
        let lists = "6764001ead8f1a2c49cae886102860e0842214d34d34d34d34d34d34d34d34d34d34d34d34d34d34d34d315a0280f640";
        for (unit, expected) in [
            ("674d001e950e000088b8088a290283f2", (320, 240)),
            (lists, (640, 480)),
            ("6764001ef0ad01407ba642a0", (637, 473)),
            ("6742001e95a0010000080048", (16_384, 32_768)),
        ] {
            assert_eq!(size(&bytes(unit)), Ok(expected));
        }
    }

    #[test]
    fn a_broken_vui_does_not_hide_the_size() {
        let unit = bytes(HIGH_720P_B);
        assert_eq!(size(&unit[..unit.len() - 4]), Ok((1280, 720)));
    }

    #[test]
    fn broken_sps() {
        for unit in [
            "",
            "6742c0",
            "6842c01eda02",
            "6742c01eda",
            "6742c01e00000000000000",
            "6742001e0430",
            "6742001e8e80",
            "6742001e9490",
            "6742001e95a0010060",
            "6742001e95a7c4f8", // cropped to nothing
        ] {
            assert!(size(&bytes(unit)).is_err(), "{unit}");
        }
    }

    #[test]
    fn emulation_prevention() {
        assert_eq!(unescape(b"\0\0\x03\x01\0\0\x03\0\0\x03\x03"), b"\0\0\x01\0\0\0\0\x03");
        assert_eq!(unescape(b"\0\0\0\x03\0\x03"), b"\0\0\0\0\x03");
    }

    #[test]
    fn any_bytes() {
        let mut next = crate::chance::numbers();
        let starts: [&[u8]; 4] = [b"\x67", b"\x67\x64\0\x1f", b"\x67\xf4\0\x1f", b"\x67\x42\0\x1f"];
        let mut read = 0;
        for round in 0..50_000 {
            let mut unit = starts[round % 4].to_vec();
            let dense = next() as u8; // many ones make short numbers
            unit.extend((0..next() % 81).map(|_| next() as u8 | dense));
            if let Ok((width, height)) = size(&unit) {
                read += 1;
                assert!((1..=16_384).contains(&width) && (1..=32_768).contains(&height));
            }
        }
        assert!(read > 100);
    }
}
