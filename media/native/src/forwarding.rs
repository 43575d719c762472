//! From the layer that feeds a track to its peer: what leaves straight, what has to wait, what is dropped on purpose.

use std::rc::Rc;

use crate::keys::{LayerKey, SinkKey};
use crate::pacing::PacketClass;
use crate::packet::MediaPacket;
use crate::poll::monotonic;
use crate::sink::{OVERHEAD, Sink};
use crate::state::State;
use crate::train::{Run, plan};
use crate::transport::Queued;

const REPLAY_SECONDS: f64 = 0.5; // of the pacing rate that kept packets may take; else a new key frame is sooner

impl State {
    /// Whether to start from the kept packets; then their timestamps will be squeezed into the present.
    pub fn peer_replays(&mut self, key: SinkKey, layer: LayerKey) -> bool {
        let (Some(source), Some(peer)) = (self.layers.get(layer), self.peer(key)) else {
            return false;
        };
        let Some(kept) = source.kept.as_ref().filter(|kept| !kept.is_empty()) else {
            return false;
        };
        if peer.form(kept[0].codec).is_none() {
            return false;
        }
        let transport = peer.transport;
        let rate = self.transports.get(transport).map_or(0, |transport| transport.least);
        if rate != 0 && 8.0 * source.kept_bytes as f64 > rate as f64 * REPLAY_SECONDS {
            return false;
        }
        let mut sorted: Vec<&Rc<MediaPacket>> = kept.iter().collect();
        sorted.sort_by_key(|packet| packet.number);
        let newest = sorted[sorted.len() - 1].clone();
        let mut stamps: Vec<u32> = Vec::new();
        for packet in sorted {
            if stamps.last() != Some(&packet.timestamp) && !stamps.contains(&packet.timestamp) {
                stamps.push(packet.timestamp);
            }
        }
        if let Some(peer) = self.peer_mut(key) {
            peer.forget();
            peer.replay = Some((stamps, newest));
        }
        self.pace_replay(transport);
        true
    }

    /// Take a run of rising packets of the layer that feeds it.
    pub fn forward_to_peer(&mut self, key: SinkKey, layer: LayerKey, run: &Run) {
        let Some(identity) = self.layers.get(layer).map(|layer| layer.identity) else {
            return;
        };
        let Some(peer) = self.sinks.get(key).and_then(Sink::peer) else {
            return;
        };
        let Some(transport) = self.transports.get(peer.transport) else {
            return;
        };
        let straight = transport.pacer.is_none() && !peer.torn;
        if let (Some((number, form)), Some(stretch), Some(way), true) =
            (peer.form(run.codec), &peer.stretch, &transport.selected, straight)
            && stretch.layer == identity
            && !self.congested(way)
        {
            let (stretch, way) = (stretch.clone(), way.clone());
            let (trains, ssrc, form) = (run.trains(*number, form), peer.ssrc, *form);
            self.send(key, &trains, &form, &stretch, ssrc, &way);
            self.went(key, layer, &run.packets, &stretch);
            return;
        }
        self.forward_with_care(key, layer, identity, run);
    }

    /// The same when something is new, limited or in the way.
    fn forward_with_care(&mut self, key: SinkKey, layer: LayerKey, identity: u64, run: &Run) {
        let Some(sink) = self.sinks.get(key) else { return };
        let (video, Some(peer)) = (sink.video, sink.peer()) else {
            return;
        };
        let transport_key = peer.transport;
        let torn_frame = peer.torn_frame;
        let Some((number, form)) = peer.form(run.codec).copied() else {
            self.tell_waiting(key, "codec");
            if let Some(peer) = self.peer_mut(key) {
                peer.stretch = None;
            }
            return;
        };
        let Some(way) = self.transports.get(transport_key).and_then(|transport| transport.selected.clone())
        else {
            return;
        };
        let congested = self.congested(&way);
        let thinned;
        let mut run = run;
        if torn_frame.is_some() || congested {
            let packets = self.thin(key, layer, &run.packets, congested);
            if packets.is_empty() {
                return;
            }
            thinned = Run::new(packets);
            run = &thinned;
        }
        let mut was_paced = false;
        let mut least = 0;
        if let Some(transport) = self.transports.get_mut(transport_key)
            && let Some(pacer) = transport.pacer.as_mut()
        {
            let class = if video { PacketClass::Video } else { PacketClass::Voice };
            let size = run.size + OVERHEAD * run.packets.len();
            if size > transport.longest || !pacer.try_spend(size, monotonic(), class) {
                self.wait(key, layer, identity, &run.packets, class);
                return;
            }
            was_paced = true;
            least = transport.least;
        }
        let trains = run.trains(number, &form);
        let torn = self.peer_mut(key).is_some_and(|peer| std::mem::take(&mut peer.torn));
        self.transmit(key, layer, identity, &run.packets, &trains, &form, torn);
        if was_paced && least == 0 {
            self.release(transport_key); // it was there for kept packets only
        }
    }

    /// Take one packet that others overtook.
    pub fn late_to_peer(&mut self, key: SinkKey, layer: LayerKey, packet: &Rc<MediaPacket>) {
        let Some(identity) = self.layers.get(layer).map(|layer| layer.identity) else {
            return;
        };
        let Some(peer) = self.peer(key) else { return };
        let way = self.transports.get(peer.transport).and_then(|transport| transport.selected.clone());
        let (Some((_, form)), Some(way)) = (peer.form(packet.codec).copied(), way) else {
            return;
        };
        let ssrc = peer.ssrc;
        match peer.log.by_number(identity, packet.number) {
            Some(stretch) if packet.number + stretch.offset < peer.next_out => {
                let trains = plan(std::slice::from_ref(packet), &form);
                self.send(key, &trains, &form, &stretch, ssrc, &way);
            }
            _ => self.counters.add("late_dropped"),
        }
    }

    // ------------------------------------------------------------------ waiting and dropping

    /// Queue packets for their turn; what finds no room is dropped to the end of its frame.
    fn wait(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        identity: u64,
        packets: &[Rc<MediaPacket>],
        class: PacketClass,
    ) {
        let mut broken = false;
        let Some(sink) = self.sinks.get_mut(key) else {
            return;
        };
        let (video, number) = (sink.video, sink.number);
        let Some(peer) = sink.peer_mut() else { return };
        let transport_key = peer.transport;
        let Some(transport) = self.transports.get_mut(transport_key) else {
            return;
        };
        let Some(pacer) = transport.pacer.as_mut() else {
            return;
        };
        for packet in packets {
            let room = if peer.torn { transport.room / 2 } else { transport.room };
            let mut taken = false;
            if !video || pacer.queued_bytes() <= room {
                let item = Queued {
                    sink: key,
                    life: peer.life,
                    layer,
                    identity,
                    packet: packet.clone(),
                    torn: peer.torn,
                    repair: -1,
                };
                let size = packet.payload.len() + OVERHEAD;
                taken = pacer.enqueue(class, size, item, packet.marker, number as u32);
            }
            // Once it drops it waits for real room: into each bit of it only a torn frame would fit.
            if taken {
                peer.torn = false;
            } else {
                peer.torn_frame = video.then_some(packet.timestamp);
                peer.torn = true;
                peer.dropped += 1;
                transport.dropped += 1;
                broken = broken || !packet.picture.discardable;
            }
        }
        if broken && video {
            self.ask_key_frame(layer);
        }
        self.release(transport_key);
    }

    /// What may still leave while the way is congested: nothing new, and no rest of a torn frame.
    fn thin(
        &mut self,
        key: SinkKey,
        layer: LayerKey,
        packets: &[Rc<MediaPacket>],
        congested: bool,
    ) -> Vec<Rc<MediaPacket>> {
        let mut left = Vec::new();
        let mut broken = false;
        let Some(sink) = self.sinks.get_mut(key) else {
            return left;
        };
        let video = sink.video;
        let Some(peer) = sink.peer_mut() else { return left };
        for packet in packets {
            if congested || peer.torn_frame == Some(packet.timestamp) {
                peer.torn_frame = Some(packet.timestamp);
                peer.torn = true;
                peer.dropped += 1;
                if let Some(transport) = self.transports.get_mut(peer.transport) {
                    transport.dropped += 1;
                }
                broken = broken || !packet.picture.discardable;
            } else {
                peer.torn_frame = None;
                left.push(packet.clone());
            }
        }
        if broken && video {
            self.ask_key_frame(layer);
        }
        left
    }

    /// Consecutive packets of one sink's queue whose turn has come, of one layer's life.
    pub fn leave_queue(&mut self, items: &[Queued]) {
        let Some(first) = items.first() else { return };
        let Some(peer) = self.peer(first.sink) else { return };
        if first.life != peer.life {
            return;
        }
        if first.repair >= 0 {
            for item in items {
                self.send_repair(first.sink, &item.packet, item.repair);
            }
            return;
        }
        if let Some((_, form)) = peer.form(first.packet.codec).copied() {
            let packets: Vec<Rc<MediaPacket>> = items.iter().map(|item| item.packet.clone()).collect();
            let trains = plan(&packets, &form);
            self.transmit(first.sink, first.layer, first.identity, &packets, &trains, &form, first.torn);
        }
    }
}
