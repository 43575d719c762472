//! Which layer feeds an outgoing track: choosing, waiting for key frames, falling back, pausing.
//!
//! Taps and transports' sinks have this in common. A sink moves itself between the `feeding` and `awaited` lists of
//! layers; what it does with the packets is decided by where it leads (`sink`, `taps`).

use std::rc::Rc;

use crate::keys::{LayerKey, SinkKey, SourceKey};
use crate::messages::Event;
use crate::packet::MediaPacket;
use crate::sink::Output;
use crate::state::State;
use crate::train::Run;

impl State {
    // ------------------------------------------------------------------ what outputs do

    fn ready(&self, key: SinkKey) -> bool {
        match self.sinks.get(key).map(|sink| &sink.output) {
            Some(Output::Peer(peer)) => self.connected(peer.transport),
            Some(Output::Tap(tap)) => self.taps.get(&tap.tap).is_some_and(|socket| socket.has_peer()),
            None => false,
        }
    }

    /// Take a run of rising packets of the layer that feeds it.
    pub fn forward(&mut self, key: SinkKey, layer: LayerKey, run: &Run) {
        match self.sinks.get(key).map(|sink| &sink.output) {
            Some(Output::Peer(_)) => self.forward_to_peer(key, layer, run),
            Some(Output::Tap(_)) => self.forward_to_tap(key, layer, &run.packets),
            None => {}
        }
    }

    /// Take one packet that others overtook.
    pub fn late(&mut self, key: SinkKey, layer: LayerKey, packet: &Rc<MediaPacket>) {
        match self.sinks.get(key).map(|sink| &sink.output) {
            Some(Output::Peer(_)) => self.late_to_peer(key, layer, packet),
            Some(Output::Tap(_)) => self.late_to_tap(key, layer, packet),
            None => {}
        }
    }

    /// Whether to start from the packets kept since the last key frame, and if so, get ready for them.
    fn replays(&mut self, key: SinkKey, layer: LayerKey) -> bool {
        match self.sinks.get(key).map(|sink| &sink.output) {
            Some(Output::Peer(_)) => self.peer_replays(key, layer),
            Some(Output::Tap(_)) => true,
            None => false,
        }
    }

    /// What comes next does not continue what was forwarded; what still waits to leave is void.
    fn forget(&mut self, key: SinkKey) {
        if let Some(sink) = self.sinks.get_mut(key) {
            match &mut sink.output {
                Output::Peer(peer) => peer.forget(),
                Output::Tap(tap) => tap.forget(),
            }
        }
    }

    // ------------------------------------------------------------------ steering

    /// The source's route now lists this sink.
    pub fn attach(&mut self, key: SinkKey, source: SourceKey) {
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.source = Some(source);
            sink.told = "";
            self.choose(key);
        }
    }

    /// The source's route no longer lists this sink.
    pub fn detach(&mut self, key: SinkKey) {
        self.leave(key);
        self.forget(key);
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.source = None;
        }
    }

    /// SelectLayer: -1 pauses; `now` gives up the present layer at once.
    pub fn select(&mut self, key: SinkKey, index: i64, now: bool) {
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        sink.paused = index < 0;
        if sink.paused {
            self.leave(key);
            self.forget(key);
            self.tell_waiting(key, "paused");
            return;
        }
        sink.wanted = index as usize;
        let fed_by = sink.layer.and_then(|layer| self.layers.get(layer)).map(|layer| layer.index);
        if now && fed_by.is_some_and(|at| at != index as usize) {
            self.leave(key);
        }
        self.choose(key);
    }

    /// Path, keys or the source's layers changed.
    pub fn reconsider(&mut self, key: SinkKey) {
        self.shape(key);
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.told = "";
            self.choose(key);
        }
    }

    /// Move towards the wanted layer, or the best live one when that one is dead or does not exist.
    fn choose(&mut self, key: SinkKey) {
        let Some(sink) = self.sinks.get(key) else { return };
        let Some(source) = sink.source.and_then(|source| self.sources.get(source)) else {
            return;
        };
        if sink.paused || source.layers.is_empty() {
            return;
        }
        if !self.ready(key) {
            self.leave(key);
            self.forget(key);
            self.tell_waiting(key, "not_connected");
            return;
        }
        let mut target = source.layers[sink.wanted.min(source.layers.len() - 1)];
        let (live, index) = self.layers.get(target).map_or((false, 0), |layer| (layer.live, layer.index));
        if !live || index != sink.wanted {
            target = self.best_live(source, sink.wanted).unwrap_or(target);
        }
        if sink.layer == Some(target) {
            self.stop_waiting(key);
        } else if sink.video {
            self.move_to(key, target);
        } else {
            self.leave(key);
            self.join(key, target);
            if !self.layers.get(target).is_some_and(|layer| layer.live) {
                self.tell_waiting(key, "no_packets");
            }
        }
    }

    fn move_to(&mut self, key: SinkKey, target: LayerKey) {
        let Some(sink) = self.sinks.get(key) else { return };
        let (unfed, awaiting) = (sink.layer.is_none(), sink.awaiting);
        let live = self.layers.get(target).is_some_and(|layer| layer.live);
        let kept =
            self.layers.get(target).is_some_and(|layer| layer.kept.as_ref().is_some_and(|k| !k.is_empty()));
        // What a dead source last showed must not look live.
        if unfed && live && kept && self.replays(key, target) {
            self.stop_waiting(key);
            self.join(key, target);
            self.replay_to(target, key);
            return;
        }
        if awaiting != Some(target) {
            self.stop_waiting(key);
            if let (Some(sink), Some(layer)) = (self.sinks.get_mut(key), self.layers.get_mut(target)) {
                sink.awaiting = Some(target);
                layer.awaited.push(key);
            }
        }
        self.ask_key_frame(target);
        if unfed {
            self.tell_waiting(key, if live { "no_key_frame" } else { "no_packets" });
        }
    }

    /// Be fed by `layer` from its next packet on.
    pub fn join(&mut self, key: SinkKey, layer: LayerKey) {
        let Some(before) = self.sinks.get(key).map(|sink| sink.layer) else {
            return;
        };
        if before == Some(layer) {
            return;
        }
        self.stop_waiting(key);
        self.flush_layer(layer);
        self.leave_layer(key);
        if let (Some(sink), Some(joined)) = (self.sinks.get_mut(key), self.layers.get_mut(layer)) {
            sink.layer = Some(layer);
            joined.feeding.push(key);
        }
    }

    fn stop_waiting(&mut self, key: SinkKey) {
        if let Some(layer) = self.sinks.get_mut(key).and_then(|sink| sink.awaiting.take())
            && let Some(layer) = self.layers.get_mut(layer)
        {
            layer.awaited.retain(|sink| *sink != key);
        }
    }

    fn leave(&mut self, key: SinkKey) {
        self.stop_waiting(key);
        self.leave_layer(key);
    }

    fn leave_layer(&mut self, key: SinkKey) {
        let Some(layer) = self.sinks.get(key).and_then(|sink| sink.layer) else {
            return;
        };
        self.flush_layer(layer);
        if let Some(layer) = self.layers.get_mut(layer) {
            layer.feeding.retain(|sink| *sink != key);
        }
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.layer = None;
        }
    }

    // ------------------------------------------------------------------ what layers tell

    /// The layer begins a new life: wait for its key frame; audio just goes on.
    pub fn interrupted(&mut self, key: SinkKey) {
        if self.sinks.get(key).is_some_and(|sink| sink.video) {
            self.leave(key);
            self.choose(key);
        }
    }

    /// A layer of the source got no packets for a while.
    pub fn layer_stalled(&mut self, key: SinkKey, layer: LayerKey) {
        let concerned = |sink: &crate::sink::Sink| sink.layer == Some(layer) || sink.awaiting == Some(layer);
        if self.sinks.get(key).is_some_and(concerned) {
            self.choose(key);
        }
    }

    /// A layer of the source is back.
    pub fn layer_returned(&mut self, key: SinkKey, layer: LayerKey) {
        let Some(sink) = self.sinks.get(key) else { return };
        let index = self.layers.get(layer).map(|layer| layer.index);
        let fed_by = sink.layer.and_then(|layer| self.layers.get(layer));
        if index == Some(sink.wanted) || fed_by.is_none_or(|layer| !layer.live) {
            self.choose(key);
        }
    }

    /// A layer does not exist any more.
    pub fn layer_gone(&mut self, key: SinkKey, layer: LayerKey) {
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.awaiting.take_if(|awaiting| *awaiting == layer);
            sink.layer.take_if(|fed_by| *fed_by == layer);
        }
    }

    // ------------------------------------------------------------------ telling

    /// Tell once why nothing leaves.
    pub fn tell_waiting(&mut self, key: SinkKey, reason: &'static str) {
        if let Some(sink) = self.sinks.get_mut(key)
            && sink.told != reason
            && let Some(source) = sink.source
        {
            sink.told = reason;
            let (number, source) = (sink.number, self.source_number(source));
            self.tell(Event::SinkWaiting { sink: number, source, reason });
        }
    }

    /// Tell that this layer is what leaves now.
    pub fn tell_started(&mut self, key: SinkKey, layer: LayerKey) {
        let Some(fed_by) = self.layers.get(layer) else {
            return;
        };
        let (source, index) = (self.source_number(fed_by.source), fed_by.index as i64);
        if let Some(sink) = self.sinks.get_mut(key) {
            sink.told = "";
            let number = sink.number;
            self.tell(Event::SinkStarted { sink: number, source, layer: index });
        }
    }
}
