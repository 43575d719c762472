//! Taps and injections: packets as records to and from other processes; see `records` for the format.

use std::rc::Rc;

use crate::keys::{LayerKey, SinkKey};
use crate::layer::Arrived;
use crate::messages::Codec;
use crate::packet::MediaPacket;
use crate::reception::Report;
use crate::records::{self, RecordHead, parse_batch, write_record};
use crate::sink::{Output, Sink};
use crate::state::State;

/// What a record says of the layer its packet is of.
#[derive(Clone, Copy)]
struct Origin {
    source: u32,
    layer: u8,
    identity: u64,
    key_number: i64,
    report: Option<Report>,
}

impl State {
    fn origin(&self, layer: LayerKey) -> Option<Origin> {
        let known = self.layers.get(layer)?;
        Some(Origin {
            source: self.source_number(known.source) as u32,
            layer: known.index as u8,
            identity: known.identity,
            key_number: known.key_number,
            report: known.report,
        })
    }

    /// The tracks that lead to a tap.
    pub fn sinks_on_tap(&self, number: i64) -> Vec<SinkKey> {
        let on_it = |sink: &Sink| matches!(&sink.output, Output::Tap(tap) if tap.tap == number);
        self.sinks.iter().filter(|(_, sink)| on_it(sink)).map(|(key, _)| key).collect()
    }

    /// Deliver a run of packets, in as few messages as they fit in.
    pub fn forward_to_tap(&mut self, key: SinkKey, layer: LayerKey, packets: &[Rc<MediaPacket>]) {
        let Some(origin) = self.origin(layer) else { return };
        let mut batch = Vec::new();
        let mut starts = false;
        if let Some(Output::Tap(tap)) = self.sinks.get_mut(key).map(|sink| &mut sink.output) {
            starts = tap.identity != origin.identity;
            tap.identity = origin.identity;
            if let Some((wallclock, timestamp)) = origin.report
                && tap.report != origin.report
            {
                tap.report = origin.report;
                let head = RecordHead {
                    kind: records::MAPPING,
                    layer: origin.layer,
                    source: origin.source,
                    timestamp,
                    time_ns: (wallclock * 1e9) as i64,
                    ..RecordHead::default()
                };
                write_record(&mut batch, &head, &[]);
            }
        }
        if starts {
            self.tell_started(key, layer);
        }
        let mut count = 0;
        for packet in packets {
            if batch.len() + records::HEADER_SIZE + packet.payload.len() > records::MAX_BATCH {
                self.deliver(key, &batch, count);
                batch.clear();
                count = 0;
            }
            self.record(key, &mut batch, &origin, packet, 0);
            count += 1;
        }
        self.deliver(key, &batch, count);
    }

    /// Deliver one packet that others overtook.
    pub fn late_to_tap(&mut self, key: SinkKey, layer: LayerKey, packet: &Rc<MediaPacket>) {
        let Some(origin) = self.origin(layer) else { return };
        let mut batch = Vec::new();
        self.record(key, &mut batch, &origin, packet, records::LATE);
        self.deliver(key, &batch, 1);
    }

    fn record(&self, key: SinkKey, batch: &mut Vec<u8>, origin: &Origin, packet: &MediaPacket, flags: u8) {
        let lost = matches!(self.sinks.get(key).map(|sink| &sink.output), Some(Output::Tap(tap)) if tap.lost);
        let marked = [
            (packet.marker, records::MARKER),
            (packet.number == origin.key_number, records::KEY_FRAME),
            (packet.picture.discardable, records::DISCARDABLE),
            (lost, records::LOST_BEFORE),
        ];
        let head = RecordHead {
            kind: records::PACKET,
            flags: marked.iter().filter(|(set, _)| *set).fold(flags, |flags, (_, bit)| flags | bit),
            layer: origin.layer,
            codec: packet.codec as u8,
            source: origin.source,
            sequence: packet.number,
            timestamp: packet.timestamp,
            time_ns: (self.wallclock(packet.arrival) * 1e9) as i64,
        };
        write_record(batch, &head, &packet.payload);
    }

    fn deliver(&mut self, key: SinkKey, batch: &[u8], count: u64) {
        let Some(Output::Tap(tap)) = self.sinks.get_mut(key).map(|sink| &mut sink.output) else {
            return;
        };
        if self.taps.get_mut(&tap.tap).is_some_and(|socket| socket.send(batch)) {
            tap.packets += count;
            tap.octets += batch.len() as u64;
            tap.lost = false;
        } else {
            tap.dropped += count;
            tap.lost = true;
            self.counters.add_many("tap_dropped", count);
        }
    }

    /// Feed one message of an injection to its sources; what does not fit is counted.
    pub fn inject(&mut self, injection: i64, data: &[u8], now: f64) {
        let Ok(found) = parse_batch(data) else {
            self.counters.add("record_malformed");
            return;
        };
        for record in found {
            let number = i64::from(record.head.source);
            let allowed =
                self.injections.get(&injection).is_some_and(|known| known.sources.contains(&number));
            let source = self.source_ids.get(&number).and_then(|key| self.sources.get(*key));
            let layer = source.and_then(|source| source.layers.get(usize::from(record.head.layer)).copied());
            let (true, Some(source), Some(layer)) = (allowed, source, layer) else {
                self.counters.add("record_unknown");
                continue;
            };
            let head = record.head;
            if head.kind == records::MAPPING {
                if let Some(layer) = self.layers.get_mut(layer) {
                    layer.report = Some((head.time_ns as f64 * 1e-9, head.timestamp));
                }
            } else if head.kind == records::PACKET {
                let wanted = Codec::try_from(i64::from(head.codec)).ok();
                let Some(codec) = source.codecs.iter().find(|codec| Some(codec.codec) == wanted).copied()
                else {
                    self.counters.add("record_unknown");
                    continue;
                };
                if self.layers.get(layer).is_some_and(|layer| layer.ssrc == 0) {
                    self.begin(layer, 1, codec);
                }
                let arrived = Arrived {
                    sequence: head.sequence as u16,
                    timestamp: head.timestamp,
                    marker: head.flags & records::MARKER != 0,
                    codec: codec.codec,
                    payload: record.payload,
                    arrival: now,
                    level: -1,
                    orientation: -1,
                };
                self.receive(layer, &arrived);
            }
        }
    }
}
