"""Which layer of which source a stream of packets is (RFC 8843 9.2, RFC 8852, RFC 4588).

In order: what the packet itself says (MID with RID or repaired RID), what was learnt before of its SSRC, what was
signalled, and at last a payload type that only one source of the transport has. What was learnt is kept for the life of
the transport, because browsers stop sending MID and RID as soon as a report tells them that we know the SSRC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from media.rtp.reception import ReceptionStatistics

if TYPE_CHECKING:
    from media.relay.source import Source, SourceLayer

NO_NAMES: Final = (b"", b"", b"")
MAX_STREAMS: Final = 64  # SSRCs of one transport; a peer that invents more is not listened to


class Stream:
    """One SSRC of a peer: a layer's packets, or the repair (RTX) of them."""

    __slots__ = ("layer", "names", "reception", "repair", "ssrc", "started")

    def __init__(self, ssrc: int, layer: SourceLayer, repair: bool, clock_rate: int, now: float) -> None:
        self.ssrc = ssrc
        self.layer = layer
        self.repair = repair
        self.reception = ReceptionStatistics(clock_rate)
        self.started = now
        self.names = NO_NAMES  # it was last found by


class StreamTable:
    """The streams of one transport by SSRC."""

    __slots__ = ("streams",)

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}

    def find(
        self,
        sources: dict[int, Source],
        ssrc: int,
        payload_type: int,
        names: tuple[bytes, bytes, bytes],
        now: float,
    ) -> Stream | None:
        """The stream of a packet that is not simply known, made when the packet allows it.

        `names`: MID, RID and repaired RID as the packet carries them, b"" = not.
        """
        known = self.streams.get(ssrc)
        mid, rid, repaired = (name.decode("utf-8", "replace") for name in names)
        match = _by_names(sources, payload_type, mid, rid, repaired)
        if match is None and known is not None:
            return known
        if match is None:
            match = _by_signalled(sources, ssrc) or _by_payload_type(sources, payload_type)
        if match is None:
            return None
        layer, repair = match
        if known is not None and known.layer is layer and known.repair == repair:
            known.names = names
            return known
        codec = layer.source.codecs.get(payload_type) or layer.source.repairs.get(payload_type)
        if codec is None or (known is None and len(self.streams) >= MAX_STREAMS):
            return None
        stream = self.streams[ssrc] = Stream(ssrc, layer, repair, codec.clock_rate, now)
        stream.names = names
        return stream

    def forget(self, source: Source) -> None:
        """Drop the streams of a source that goes."""
        for ssrc in [ssrc for ssrc, stream in self.streams.items() if stream.layer.source is source]:
            del self.streams[ssrc]


def _by_names(
    sources: dict[int, Source], payload_type: int, mid: str, rid: str, repaired: str
) -> tuple[SourceLayer, bool] | None:
    if not mid:
        return None
    for source in sources.values():
        if source.mid != mid:
            continue
        repair = bool(repaired) or payload_type in source.repairs
        if not repair and payload_type not in source.codecs:
            continue
        name = repaired or rid
        if not name and len(source.layers) == 1:
            return source.layers[0], repair
        for layer in source.layers:
            if layer.rid and layer.rid == name:
                return layer, repair
        if len(source.layers) == 1 and not source.layers[0].rid:
            return source.layers[0], repair
    return None


def _by_signalled(sources: dict[int, Source], ssrc: int) -> tuple[SourceLayer, bool] | None:
    for source in sources.values():
        for layer in source.layers:
            if layer.signalled_ssrc == ssrc:
                return layer, False
            if layer.signalled_rtx_ssrc == ssrc:
                return layer, True
    return None


def _by_payload_type(sources: dict[int, Source], payload_type: int) -> tuple[SourceLayer, bool] | None:
    having = [
        source
        for source in sources.values()
        if payload_type in source.codecs or payload_type in source.repairs
    ]
    if len(having) != 1 or len(having[0].layers) != 1:
        return None
    return having[0].layers[0], payload_type in having[0].repairs
