"""The engine's statistics message, made from the state on demand."""

from __future__ import annotations

import time

from media.relay.messages import (
    EngineStatistics,
    LayerStatistics,
    SinkStatistics,
    SourceStatistics,
    TransportStatistics,
)
from media.relay.sink import Sink
from media.relay.source import Source, SourceLayer
from media.relay.state import RelayState
from media.relay.taps import TapSink
from media.relay.transport import Transport


def snapshot(state: RelayState) -> EngineStatistics:
    """Everything, now. Costs a few microseconds per object; meant for once a second."""
    now = time.monotonic()
    return EngineStatistics(
        transports=tuple([_transport(transport) for transport in state.transports.values()]),
        sources=tuple([_source(source, now) for source in state.sources.values()]),
        sinks=tuple([_sink(sink) for sink in state.sinks.values()]),
        counters=dict(state.counters),
    )


def _transport(transport: Transport) -> TransportStatistics:
    return TransportStatistics(
        transport=transport.number,
        packets_received=transport.packets_received,
        bytes_received=transport.bytes_received,
        packets_sent=transport.packets_sent,
        bytes_sent=transport.bytes_sent,
        receive_rate=transport.receive_rate.bits,
        send_rate=transport.send_rate.bits,
        rtt=transport.rtt,
        queue=transport.queued,
        dropped=transport.dropped,
        unauthenticated=transport.unauthenticated,
        replayed=transport.replayed,
    )


def _source(source: Source, now: float) -> SourceStatistics:
    return SourceStatistics(
        source=source.number,
        layers=tuple([_layer(layer, now) for layer in source.layers]),
        key_frame_requests=sum(layer.key_frame_requests for layer in source.layers),
    )


def _layer(layer: SourceLayer, now: float) -> LayerStatistics:
    reception = layer.reception.snapshot() if layer.reception is not None else None
    return LayerStatistics(
        rid=layer.rid,
        ssrc=layer.ssrc,
        codec=int(layer.codec or 0),
        packets=layer.packets,
        bytes=layer.bytes,
        bitrate=layer.rate.bits,
        frames_per_second=layer.frame_rate,
        lost=reception.lost if reception is not None else 0,
        jitter=reception.jitter if reception is not None else 0.0,
        key_frames=layer.key_frames,
        width=layer.width,
        height=layer.height,
        last_packet_age=now - layer.last_arrival if layer.packets else -1.0,
    )


def _sink(sink: Sink | TapSink) -> SinkStatistics:
    if isinstance(sink, TapSink):
        return SinkStatistics(
            sink=sink.number,
            source=sink.source.number if sink.source is not None else 0,
            layer=sink.layer.index if sink.layer is not None else -1,
            packets=sink.packets,
            bytes=sink.octets,
            bitrate=0,
            retransmitted=0,
            dropped=sink.dropped,
            fraction_lost=0.0,
            nacks=0,
            key_frame_requests=0,
        )
    return SinkStatistics(
        sink=sink.number,
        source=sink.source.number if sink.source is not None else 0,
        layer=sink.layer.index if sink.layer is not None else -1,
        packets=sink.packets,
        bytes=sink.octets,
        bitrate=sink.rate.bits,
        retransmitted=sink.retransmitted,
        dropped=sink.dropped,
        fraction_lost=sink.fraction_lost,
        nacks=sink.nacks,
        key_frame_requests=sink.key_frame_requests,
    )
