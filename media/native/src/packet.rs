//! One packet of a source layer, plain, as history, viewers and taps share it.

use std::rc::Rc;

use crate::messages::Codec;
use crate::vp8::Picture;

/// A packet; never changed once made, shared by `Rc` within the engine's thread.
///
/// `number`: the layer's own extended count, without the gaps of padding-only packets. `before`: timestamp and payload
/// of the Opus packet before it, for RED. `level`: V bit and level of RFC 6464, `orientation`: CVO byte, -1 = absent.
#[derive(Debug)]
pub struct MediaPacket {
    /// The layer's own extended number.
    pub number: i64,
    /// RTP timestamp of the source.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// What the payload is.
    pub codec: Codec,
    /// The payload, padding and RTX wrapping removed.
    pub payload: Rc<[u8]>,
    /// Monotonic seconds.
    pub arrival: f64,
    /// Facts of a VP8 payload, `Picture::NONE` for others.
    pub picture: Picture,
    /// Audio level byte or -1.
    pub level: i16,
    /// Orientation byte or -1.
    pub orientation: i16,
    /// (timestamp, payload) of the Opus packet before it.
    pub before: Option<(u32, Rc<[u8]>)>,
}
