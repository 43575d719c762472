//! H.264 in RTP (RFC 6184): where the key frames of a stream start.
//!
//! Packetisation modes 0 and 1 are read: single unit, STAP-A, FU-A. The interleaved forms of mode 2 are refused.

use crate::error::Malformed;

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// A NAL unit, or a fragment of one.
struct Piece<'a> {
    /// The unit's own first byte.
    header: u8,
    /// What of the unit follows its header here.
    body: &'a [u8],
    /// The unit begins here.
    first: bool,
    /// The unit ends here.
    last: bool,
}

/// Show the units, or the fragment, in one RTP payload to `seen`.
///
/// Fails for lengths past the end, empty or forbidden units, packetisation mode 2 and reserved types; by then `seen`
/// may have been called.
fn pieces<'a>(payload: &'a [u8], mut seen: impl FnMut(Piece<'a>)) -> Result<(), Malformed> {
    let (&header, body) = payload.split_first().ok_or(Malformed("empty H.264 payload"))?;
    match checked(header)? {
        STAP_A => {
            if body.is_empty() {
                return Err(Malformed("empty STAP-A"));
            }
            let mut rest = body;
            while !rest.is_empty() {
                let (size, behind) = rest.split_first_chunk().ok_or(Malformed("STAP-A length"))?;
                let size = usize::from(u16::from_be_bytes(*size));
                let (unit, behind) = behind.split_at_checked(size).ok_or(Malformed("STAP-A unit"))?;
                let (&header, body) = unit.split_first().ok_or(Malformed("empty unit in a STAP-A"))?;
                if !is_unit(checked(header)?) {
                    return Err(Malformed("aggregated NAL type"));
                }
                seen(Piece { header, body, first: true, last: true });
                rest = behind;
            }
        }
        FU_A => {
            let &[flags, ref body @ ..] = body else {
                return Err(Malformed("FU-A"));
            };
            if body.is_empty() {
                return Err(Malformed("FU-A"));
            }
            if !is_unit(flags & 0x1F) {
                return Err(Malformed("fragmented NAL type"));
            }
            let header = header & 0xE0 | flags & 0x1F;
            seen(Piece { header, body, first: flags & 0x80 != 0, last: flags & 0x40 != 0 });
        }
        kind if is_unit(kind) => seen(Piece { header, body, first: true, last: true }),
        _ => return Err(Malformed("NAL type")),
    }
    Ok(())
}

/// The type in a NAL header; fails for the forbidden bit.
fn checked(header: u8) -> Result<u8, Malformed> {
    if header & 0x80 != 0 {
        return Err(Malformed("forbidden bit of a NAL unit"));
    }
    Ok(header & 0x1F)
}

/// Types that are units of the codec, not structures of RTP.
fn is_unit(kind: u8) -> bool {
    (1..24).contains(&kind)
}

/// What a packet is for somebody who wants to begin decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFrameStart {
    /// Begin with this packet.
    Here,
    /// This access unit is a key frame; begin with its first packet.
    Earlier,
    /// A key frame without SPS and PPS.
    NeedsParameters,
}

/// Finds where the key frames of one stream start, also for encoders that repeat SPS and PPS before every frame.
///
/// An SPS starts a key frame until the stream has shown that it does not: an access unit with an SPS and no IDR, in a
/// stream that has IDRs. From then on only SPS followed by IDR in the same access unit counts.
#[derive(Clone, Debug, Default)]
pub struct KeyFrameDetector {
    /// The last whole SPS, header included; at most one RTP payload.
    pub sps: Option<Vec<u8>>,
    timestamp: Option<u32>,
    sps_in_unit: bool,
    idr_in_unit: bool,
    idr_seen: bool,
    sps_alone: bool,
}

impl KeyFrameDetector {
    /// A detector that has seen nothing.
    pub fn new() -> KeyFrameDetector {
        KeyFrameDetector::default()
    }

    /// Look at the next packet in sequence (RTP timestamp and payload); None = no key frame shows itself with it.
    ///
    /// Fails for a payload that is not H.264 of modes 0 and 1, and then nothing has changed.
    pub fn update(&mut self, timestamp: u32, payload: &[u8]) -> Result<Option<KeyFrameStart>, Malformed> {
        pieces(payload, |_| {})?;
        if self.timestamp != Some(timestamp) {
            if self.sps_in_unit && !self.idr_in_unit {
                self.sps_alone = true;
            }
            self.timestamp = Some(timestamp);
            self.sps_in_unit = false;
            self.idr_in_unit = false;
        }
        let (sps_before, idr_before) = (self.sps_in_unit, self.idr_in_unit);
        pieces(payload, |piece| self.note(&piece))?;
        if self.sps_in_unit && !sps_before {
            let trusted = self.idr_in_unit || !(self.sps_alone && self.idr_seen);
            return Ok(trusted.then_some(KeyFrameStart::Here));
        }
        if self.idr_in_unit && !idr_before {
            if !self.sps_in_unit {
                return Ok(Some(KeyFrameStart::NeedsParameters));
            }
            return Ok(self.sps_alone.then_some(KeyFrameStart::Earlier));
        }
        Ok(None)
    }

    fn note(&mut self, piece: &Piece) {
        if !piece.first {
            return;
        }
        match piece.header & 0x1F {
            SPS => {
                self.sps_in_unit = true;
                if piece.last {
                    let sps = self.sps.get_or_insert_default();
                    sps.clear();
                    sps.push(piece.header);
                    sps.extend_from_slice(piece.body);
                }
            }
            IDR => {
                self.idr_in_unit = true;
                self.idr_seen = true;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::KeyFrameStart::{Earlier, Here, NeedsParameters};
    use super::*;

    const SPS: &[u8] =
        b"\x67\x42\xc0\x1e\xda\x02\x80\xbf\xe5\x84\0\0\x03\0\x04\0\0\x03\0\xca\x3c\x58\xba\x80";
    const PPS: &[u8] = b"\x68\xce\x3c\x80";
    const IDR: &[u8] = b"\x65\x88\x84\x3a\x08\x60\x1c\0iiiii";
    const SLICE: &[u8] = b"\x41\x9a\x20\x72\xe1\x0f\xff\xfcppppp";

    fn aggregate(units: &[&[u8]]) -> Vec<u8> {
        let mut payload = vec![0x78];
        for unit in units {
            payload.extend_from_slice(&(unit.len() as u16).to_be_bytes());
            payload.extend_from_slice(unit);
        }
        payload
    }

    fn check(detector: &mut KeyFrameDetector, steps: &[(u32, &[u8], Option<KeyFrameStart>)]) {
        for (index, &(timestamp, payload, expected)) in steps.iter().enumerate() {
            assert_eq!(detector.update(timestamp, payload), Ok(expected), "step {index}");
        }
    }

    #[test]
    fn a_browsers_stream() {
        let mut detector = KeyFrameDetector::new();
        let stap = aggregate(&[SPS, PPS]);
        check(
            &mut detector,
            &[
                (0, &stap, Some(Here)),
                (0, b"\x7c\x85abc", None),
                (0, b"\x7c\x45abc", None),
                (3000, SLICE, None),
                (6000, SPS, Some(Here)),
                (6000, PPS, None),
                (6000, IDR, None),
            ],
        );
        assert_eq!(detector.sps.as_deref(), Some(SPS));
    }

    #[test]
    fn an_encoder_that_repeats_the_sps_before_every_frame() {
        let stap = aggregate(&[SPS, PPS]);
        let together = aggregate(&[SPS, PPS, IDR]);
        check(
            &mut KeyFrameDetector::new(),
            &[
                (0, &stap, Some(Here)),
                (0, IDR, None),
                (3000, &stap, Some(Here)), // not yet known
                (3000, SLICE, None),
                (6000, &stap, None),
                (6000, SLICE, None),
                (9000, &stap, None),
                (9000, IDR, Some(Earlier)),
                (9000, IDR, None), // its second slice
                (12_000, &together, Some(Here)),
            ],
        );
    }

    #[test]
    fn the_sps_of_a_stream_without_any_idr_is_trusted() {
        let mut detector = KeyFrameDetector::new(); // periodic intra refresh
        let stap = aggregate(&[SPS, PPS]);
        for timestamp in (0..30_000).step_by(3_000) {
            check(&mut detector, &[(timestamp, &stap, Some(Here)), (timestamp, SLICE, None)]);
        }
    }

    #[test]
    fn parameters_out_of_band() {
        let mut detector = KeyFrameDetector::new();
        check(&mut detector, &[(0, IDR, Some(NeedsParameters)), (0, IDR, None)]);
        assert_eq!(detector.sps, None);
    }

    #[test]
    fn fragments_of_an_sps() {
        let mut detector = KeyFrameDetector::new();
        check(&mut detector, &[(0, b"\x7c\x07abc", None), (1, b"\x7c\x87abc", Some(Here))]);
        assert_eq!(detector.sps, None); // never whole
        check(&mut detector, &[(2, b"\x7c\xc7abc", Some(Here))]);
        assert_eq!(detector.sps.as_deref(), Some(&b"\x67abc"[..]));
    }

    #[test]
    fn broken_payloads_change_nothing() {
        let broken: &[&[u8]] = &[
            b"",
            b"\xe5\xaa",
            b"\x60",
            b"\x79\xaa",
            b"\x7a\xaa",
            b"\x7b\xaa",
            b"\x7d\xaa\xaa",
            b"\x7e",
            b"\x7f",
            b"\x78",
            b"\x78\0",
            b"\x78\0\x03\xaa\xbb",
            b"\x78\xff\xff\x67",
            b"\x78\0\0",
            b"\x78\0\x01\x41\0\0",
            b"\x78\0\x01\xe5",
            b"\x78\0\x02\x78\xaa",
            b"\x7c",
            b"\x7c\x85",
            b"\x7c\x9c\xaa",
            b"\x7c\x80\xaa",
            b"\x78\0\x02\x67\x42\0\x05\x68", // a whole SPS and half a PPS
        ];
        let mut detector = KeyFrameDetector::new();
        for payload in broken {
            assert!(detector.update(7, payload).is_err(), "{payload:02x?}");
        }
        assert!(detector.sps.is_none() && detector.timestamp.is_none() && !detector.sps_in_unit);
    }

    #[test]
    fn any_payload() {
        let mut next = crate::chance::numbers();
        let mut detector = KeyFrameDetector::new();
        for round in 0..50_000 {
            let start: &[u8] = [&b""[..], b"\x78\0\x04", b"\x7c\x85", b"\x67"][round % 4];
            let mut payload = start.to_vec();
            payload.extend((0..next() % 40).map(|_| next() as u8 & 0x67));
            let _ = detector.update(next() as u32 % 4, &payload);
        }
    }
}
