//! An incoming track: its codecs, its layers, and who is fed by it.

use std::rc::Rc;

use crate::drip::Drip;
use crate::keys::{LayerKey, SinkKey, SourceKey};
use crate::layer::Layer;
use crate::messages::{self, AddSource, Codec, Event, MediaKind};
use crate::packet::MediaPacket;
use crate::spurt::Spurt;
use crate::state::State;

/// One payload type a source may arrive with, checked. `repair` = 0: the peer sends no RTX for it.
#[derive(Clone, Copy, Debug)]
pub struct SourceCodec {
    /// What it carries.
    pub codec: Codec,
    /// The RTP payload type.
    pub payload_type: u8,
    /// Ticks a second.
    pub clock_rate: u32,
    /// The payload type of its RTX.
    pub repair: u8,
}

/// One track. `route`: its sinks in the order of the last SetRoutes.
pub struct Source {
    /// Control's id.
    pub number: i64,
    /// Control's id of the transport it arrives on, 0 = it is injected.
    pub transport: i64,
    /// Sound or pictures.
    pub kind: MediaKind,
    /// Media id.
    pub mid: String,
    /// Of a voice source that holds.
    pub spurt: Option<Spurt>,
    /// By payload type, in the order they were given.
    pub codecs: Vec<SourceCodec>,
    /// In rising quality.
    pub layers: Vec<LayerKey>,
    /// Who gets it.
    pub route: Vec<SinkKey>,
    /// Of the last SetRoutes, -1 = none yet.
    pub revision: i64,
}

impl Source {
    /// The codec that arrives with a payload type.
    pub fn codec(&self, payload_type: u8) -> Option<SourceCodec> {
        self.codecs.iter().find(|codec| codec.payload_type == payload_type).copied()
    }

    /// The codec that a payload type repairs.
    pub fn repaired(&self, payload_type: u8) -> Option<SourceCodec> {
        self.codecs.iter().find(|codec| codec.repair == payload_type && codec.repair != 0).copied()
    }
}

impl State {
    /// Control's id of a source.
    pub fn source_number(&self, source: SourceKey) -> i64 {
        self.sources.get(source).map_or(0, |source| source.number)
    }

    /// A new source, or codecs and layers of a repeated AddSource; a layer that stays goes on undisturbed.
    pub fn update_source(&mut self, key: SourceKey, command: &AddSource) {
        let Some(source) = self.sources.get_mut(key) else {
            return;
        };
        source.mid = command.mid.clone();
        source.codecs = command.codecs.iter().map(checked).collect();
        let kind = source.kind;
        let mut known = std::mem::take(&mut source.layers);
        let mut layers = Vec::new();
        for (index, description) in command.layers.iter().enumerate() {
            let staying = known
                .iter()
                .position(|layer| self.layers.get(*layer).is_some_and(|l| l.rid == description.rid));
            let layer = match staying {
                Some(place) => known.remove(place),
                None => {
                    let identity = self.identity();
                    self.layers.insert(Layer::new(key, kind, &description.rid, identity))
                }
            };
            if let Some(made) = self.layers.get_mut(layer) {
                made.index = index;
                made.signalled_ssrc = description.ssrc as u32;
                made.signalled_rtx_ssrc = description.rtx_ssrc as u32;
            }
            layers.push(layer);
        }
        if let Some(source) = self.sources.get_mut(key) {
            source.layers = layers;
        }
        for gone in known {
            self.close_layer(gone);
        }
    }

    /// The route was set: what was held without one leaves first, or is thrown away when there is none again.
    pub fn routed(&mut self, key: SourceKey, now: f64) {
        let Some(source) = self.sources.get_mut(key) else {
            return;
        };
        let (Some(spurt), Some(first)) = (source.spurt.as_mut(), source.layers.first().copied()) else {
            return;
        };
        if source.route.is_empty() {
            spurt.discard();
            if let Some(layer) = self.layers.get_mut(first) {
                layer.drip = None;
            }
            return;
        }
        let held = spurt.routed(now);
        if !held.is_empty()
            && let Some(layer) = self.layers.get_mut(first)
        {
            layer.drip = Some(Drip::new(held, layer.clock_rate, now));
            self.dripping.insert(first);
            self.trickle(first, now);
        }
    }

    /// Every 50 ms while somebody speaks: tell when that is over and nothing of it waits to leave any more.
    pub fn listen(&mut self, key: SourceKey, now: f64) {
        let layers = &self.layers;
        let Some(source) = self.sources.get_mut(key) else {
            self.speaking.remove(&key);
            return;
        };
        let dripping = source.layers.iter().any(|layer| layers.get(*layer).is_some_and(|l| l.drip.is_some()));
        match source.spurt.as_mut() {
            Some(spurt) if spurt.active => {
                if !dripping && spurt.quiet(now) {
                    self.speaking.remove(&key);
                    let event =
                        Event::VoiceActivity { source: source.number, active: false, clipped: spurt.clipped };
                    self.tell(event);
                }
            }
            _ => {
                self.speaking.remove(&key);
            }
        }
    }

    /// A packet of a source that has spurts.
    pub fn spoken(&mut self, key: SourceKey, packet: &Rc<MediaPacket>, clock_rate: u32) {
        let Some(source) = self.sources.get_mut(key) else {
            return;
        };
        let routed = !source.route.is_empty();
        if let Some(spurt) = source.spurt.as_mut()
            && spurt.received(packet.clone(), clock_rate, routed)
        {
            let event = Event::VoiceActivity { source: source.number, active: true, clipped: spurt.clipped };
            self.speaking.insert(key);
            self.tell(event);
        }
    }

    /// The live layer nearest to `wanted`, lower ones first; None when no layer is live.
    pub fn best_live(&self, source: &Source, wanted: usize) -> Option<LayerKey> {
        let count = source.layers.len();
        let lower = (0..=wanted.min(count.saturating_sub(1))).rev();
        lower
            .chain(wanted + 1..count)
            .filter_map(|index| source.layers.get(index).copied())
            .find(|layer| self.layers.get(*layer).is_some_and(|layer| layer.live))
    }
}

fn checked(codec: &messages::SourceCodec) -> SourceCodec {
    SourceCodec {
        codec: codec.codec,
        payload_type: codec.payload_type as u8,
        clock_rate: codec.clock_rate as u32,
        repair: codec.rtx_payload_type as u8,
    }
}
