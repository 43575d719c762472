//! One SSRC of a peer, and the names it was found by.

use crate::keys::LayerKey;
use crate::reception::Reception;

/// MID, RID and repaired RID as a packet carries them, empty = not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// Of the media section.
    pub mid: &'a [u8],
    /// Of the layer.
    pub rid: &'a [u8],
    /// Of the layer that is repaired.
    pub repaired: &'a [u8],
}

impl Names<'_> {
    /// Whether the packet says nothing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.mid.is_empty() && self.rid.is_empty() && self.repaired.is_empty()
    }
}

/// One SSRC of a peer: a layer's packets, or the repair (RTX) of them.
pub struct Stream {
    /// Its layer.
    pub layer: LayerKey,
    /// Whether it repairs.
    pub repair: bool,
    /// What a report says of it.
    pub reception: Reception,
    /// Monotonic seconds of its first packet.
    pub started: f64,
    names: [Box<[u8]>; 3],
}

impl Stream {
    /// Nothing of it arrived yet.
    pub fn new(layer: LayerKey, repair: bool, clock_rate: u32, names: Names<'_>, now: f64) -> Stream {
        let mut made = Stream {
            layer,
            repair,
            reception: Reception::new(clock_rate),
            started: now,
            names: Default::default(),
        };
        made.name(names);
        made
    }

    /// Whether it was last found by these names.
    #[inline]
    pub fn is_named(&self, names: Names<'_>) -> bool {
        *self.names[0] == *names.mid && *self.names[1] == *names.rid && *self.names[2] == *names.repaired
    }

    /// It was found by these names.
    pub fn name(&mut self, names: Names<'_>) {
        self.names = [names.mid.into(), names.rid.into(), names.repaired.into()];
    }
}
