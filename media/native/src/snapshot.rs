//! The engine's statistics message, made from the state on demand.

use crate::keys::TransportKey;
use crate::layer::Layer;
use crate::messages::{
    EngineStatistics, LayerStatistics, SinkStatistics, SourceStatistics, TransportStatistics,
};
use crate::poll::{monotonic, thread_seconds};
use crate::reception::Reception;
use crate::sink::{Output, Sink};
use crate::source::Source;
use crate::state::State;

impl State {
    /// Everything, now; the caller knows how late its loop was.
    pub fn snapshot(&self, lag: f64) -> EngineStatistics {
        let now = monotonic();
        EngineStatistics {
            transports: self.transports.keys().filter_map(|key| self.transport_statistics(key)).collect(),
            sources: self.sources.values().map(|source| self.source_statistics(source, now)).collect(),
            sinks: self.sinks.values().map(|sink| self.sink_statistics(sink)).collect(),
            cpu_seconds: thread_seconds(),
            lag,
            counters: self.counters.iter().map(|(name, count)| (name.to_string(), count)).collect(),
        }
    }

    fn transport_statistics(&self, key: TransportKey) -> Option<TransportStatistics> {
        let transport = self.transports.get(key)?;
        Some(TransportStatistics {
            transport: transport.number,
            packets_received: transport.packets_received,
            bytes_received: transport.bytes_received,
            packets_sent: transport.packets_sent,
            bytes_sent: transport.bytes_sent,
            receive_rate: transport.receive_rate.bits,
            send_rate: transport.send_rate.bits,
            rtt: transport.rtt,
            queue: self.queued(key) as u64,
            dropped: transport.dropped,
            unauthenticated: transport.unauthenticated,
            replayed: transport.replayed,
        })
    }

    fn source_statistics(&self, source: &Source, now: f64) -> SourceStatistics {
        let layers = || source.layers.iter().filter_map(|key| self.layers.get(*key));
        SourceStatistics {
            source: source.number,
            layers: layers().map(|layer| self.layer_statistics(source, layer, now)).collect(),
            key_frame_requests: layers().map(|layer| layer.key_frame_requests).sum(),
        }
    }

    fn layer_statistics(&self, source: &Source, layer: &Layer, now: f64) -> LayerStatistics {
        let owner = self.transport_ids.get(&source.transport).and_then(|key| self.transports.get(*key));
        let stream = owner.and_then(|owner| owner.streams.get(&layer.ssrc));
        let reception = stream.map(|stream| &stream.reception);
        LayerStatistics {
            rid: layer.rid.clone(),
            ssrc: layer.ssrc,
            codec: layer.codec.map_or(0, |codec| codec as u8),
            packets: layer.packets,
            bytes: layer.bytes,
            bitrate: layer.rate.bits,
            frames_per_second: layer.frame_rate,
            lost: reception.map_or(0, Reception::lost),
            jitter: reception.map_or(0.0, Reception::jitter),
            key_frames: layer.key_frames,
            width: layer.width.into(),
            height: layer.height.into(),
            last_packet_age: if layer.packets > 0 { now - layer.last_arrival } else { -1.0 },
        }
    }

    fn sink_statistics(&self, sink: &Sink) -> SinkStatistics {
        let fed_by = sink.layer.and_then(|layer| self.layers.get(layer));
        let common = SinkStatistics {
            sink: sink.number,
            source: sink.source.map_or(0, |source| self.source_number(source)),
            layer: fed_by.map_or(-1, |layer| layer.index as i64),
            ..SinkStatistics::default()
        };
        match &sink.output {
            Output::Peer(peer) => SinkStatistics {
                packets: peer.packets,
                bytes: peer.octets,
                bitrate: peer.rate.bits,
                retransmitted: peer.retransmitted,
                dropped: peer.dropped,
                fraction_lost: peer.fraction_lost,
                nacks: peer.nacks,
                key_frame_requests: peer.key_frame_requests,
                ..common
            },
            Output::Tap(tap) => {
                SinkStatistics { packets: tap.packets, bytes: tap.octets, dropped: tap.dropped, ..common }
            }
        }
    }
}
