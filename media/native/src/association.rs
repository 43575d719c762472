//! Which layer of which source a stream of packets is (RFC 8843 9.2, RFC 8852, RFC 4588).
//!
//! In order: what the packet itself says (MID with RID or repaired RID), what was learnt before of its SSRC, what was
//! signalled, and at last a payload type that only one source of the transport has. What was learnt is kept for the
//! life of the transport, because browsers stop sending MID and RID as soon as a report tells them that we know the
//! SSRC.

use crate::keys::{LayerKey, SourceKey, TransportKey};
use crate::messages::TransportKind;
use crate::state::State;
use crate::stream::{Names, Stream};

/// SSRCs of one transport; a peer that invents more is not listened to.
const MAX_STREAMS: usize = 64;

impl State {
    /// Make sure that the stream of a packet that is not simply known is in the transport's table.
    ///
    /// False when the packet belongs to nothing.
    pub fn associate(
        &mut self,
        key: TransportKey,
        ssrc: u32,
        payload_type: u8,
        names: Names<'_>,
        now: f64,
    ) -> bool {
        let Some(transport) = self.transports.get_mut(key) else {
            return false;
        };
        if transport.kind == TransportKind::Plain && *transport.locked_ssrc.get_or_insert(ssrc) != ssrc {
            return false;
        }
        if !self.find_stream(key, ssrc, payload_type, names, now) {
            return false;
        }
        self.owners.entry(ssrc).or_insert(key);
        true
    }

    fn find_stream(
        &mut self,
        key: TransportKey,
        ssrc: u32,
        payload_type: u8,
        names: Names<'_>,
        now: f64,
    ) -> bool {
        let transport = &self.transports[key];
        let known = transport.streams.get(&ssrc);
        let mut found = self.by_names(&transport.sources, payload_type, names);
        if found.is_none() {
            if known.is_some() {
                return true;
            }
            found = self
                .by_signalled(&transport.sources, ssrc)
                .or_else(|| self.by_payload_type(&transport.sources, payload_type));
        }
        let Some((layer, repair)) = found else {
            return false;
        };
        let full = transport.streams.len() >= MAX_STREAMS && known.is_none();
        if known.is_some_and(|stream| stream.layer == layer && stream.repair == repair) {
            if let Some(stream) = self.transports[key].streams.get_mut(&ssrc) {
                stream.name(names);
            }
            return true;
        }
        let Some(source) = self.layers.get(layer).and_then(|layer| self.sources.get(layer.source)) else {
            return false;
        };
        let Some(codec) = source.codec(payload_type).or_else(|| source.repaired(payload_type)) else {
            return false;
        };
        if full {
            return false;
        }
        let stream = Stream::new(layer, repair, codec.clock_rate, names, now);
        self.transports[key].streams.insert(ssrc, stream);
        true
    }

    fn by_names(
        &self,
        sources: &[SourceKey],
        payload_type: u8,
        names: Names<'_>,
    ) -> Option<(LayerKey, bool)> {
        if names.mid.is_empty() {
            return None;
        }
        for key in sources {
            let Some(source) = self.sources.get(*key) else {
                continue;
            };
            if source.mid.as_bytes() != names.mid {
                continue;
            }
            let repair = !names.repaired.is_empty() || source.repaired(payload_type).is_some();
            if !repair && source.codec(payload_type).is_none() {
                continue;
            }
            let name = if names.repaired.is_empty() { names.rid } else { names.repaired };
            if let ([only], true) = (source.layers.as_slice(), name.is_empty()) {
                return Some((*only, repair));
            }
            for layer in &source.layers {
                let rid = self.layers.get(*layer).map_or("", |layer| &layer.rid);
                if !rid.is_empty() && rid.as_bytes() == name {
                    return Some((*layer, repair));
                }
            }
            if let [only] = source.layers.as_slice()
                && self.layers.get(*only).is_some_and(|layer| layer.rid.is_empty())
            {
                return Some((*only, repair));
            }
        }
        None
    }

    fn by_signalled(&self, sources: &[SourceKey], ssrc: u32) -> Option<(LayerKey, bool)> {
        for key in sources {
            for layer in self.sources.get(*key).map_or(&[] as &[LayerKey], |source| &source.layers) {
                let Some(known) = self.layers.get(*layer) else {
                    continue;
                };
                if known.signalled_ssrc == ssrc {
                    return Some((*layer, false));
                }
                if known.signalled_rtx_ssrc == ssrc {
                    return Some((*layer, true));
                }
            }
        }
        None
    }

    fn by_payload_type(&self, sources: &[SourceKey], payload_type: u8) -> Option<(LayerKey, bool)> {
        let mut having = sources
            .iter()
            .filter_map(|key| self.sources.get(*key))
            .filter(|source| source.codec(payload_type).is_some() || source.repaired(payload_type).is_some());
        let source = having.next()?;
        match (having.next(), source.layers.as_slice()) {
            (None, [only]) => Some((*only, source.repaired(payload_type).is_some())),
            _ => None,
        }
    }
}
