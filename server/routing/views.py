"""What consoles are told of streams and slots, worked out from the tables. Pure."""

from __future__ import annotations

from typing import Final

from media.relay.messages import Codec, MediaKind
from server.model.ports import LayerView, SlotState, StreamView
from server.routing.tables import Publication, Slot, Stream, Tables, Track

CODEC_NAMES: Final = {
    Codec.VP8: "vp8",
    Codec.H264: "h264",
    Codec.OPUS: "opus",
    Codec.RED: "opus",  # what is inside
    Codec.PCMU: "pcmu",
    Codec.PCMA: "pcma",
}

STEPS: Final = ("signalled", "connecting", "retrying", "ice", "dtls", "packets", "key_frame")


def stream_view(row: Stream) -> StreamView | None:
    """None when nobody publishes it."""
    publication = row.publication
    if publication is None:
        return None
    video = publication.tracks.get(MediaKind.VIDEO)
    audio = publication.tracks.get(MediaKind.AUDIO)
    session = publication.session
    return StreamView(
        stream=row.id,
        session=session.id if session else None,
        via=publication.via,
        step=publication.step,
        since=publication.since,
        live=publication.live,
        layers=_layers(video) if video else (),
        audio=_codec(audio) if audio else "",
        audio_live=audio is not None and audio.live,
        viewers=len({outlet.session.transport for outlet in row.outlets.values()}),
        remote=session.remote if session else "",
        tcp=session.tcp if session else False,
        error=publication.error,
        detail=publication.detail,
    )


def reached(publication: Publication) -> str:
    """The step a publication has got to, by its packets."""
    main = publication.main
    if main is None or not publication.seen:
        return publication.step
    if main.kind is MediaKind.VIDEO and any(layer.key_frame for layer in main.layers):
        return "key_frame"
    return "packets"


def slot_state(slot: Slot, tables: Tables) -> SlotState:
    """What leaves for a slot now, or the cause why nothing does."""
    wish = slot.wish
    if wish is None or wish.stream is None:
        return SlotState(state="empty")
    row = tables.stream(wish.stream)
    publication = row.publication
    if publication is None:
        return _waiting(slot, row.ended)
    if not slot.video.session.connected:
        return _waiting(slot, "not_connected")
    track = publication.main
    if track is None or not track.seen:
        return _waiting(slot, publication.error or "no_packets")
    if not track.live:
        return _waiting(slot, "stalled")
    outlet = slot.video if track.kind is MediaKind.VIDEO else slot.audio
    state = outlet.state if outlet.state and outlet.state.source == track.source else None
    if state is None:
        away = "overloaded" if slot.shed else "paused"
        return _waiting(slot, "no_key_frame" if outlet.wanted else away)
    if state.state != "started":
        return _waiting(slot, state.reason)
    layer = track.layers[state.layer].rid if 0 <= state.layer < len(track.layers) else ""
    return SlotState(
        state="live", stream=wish.stream, layer=layer, height=state.height, degraded=state.degraded
    )


def _waiting(slot: Slot, reason: str) -> SlotState:
    return SlotState(state="waiting", stream=slot.wish.stream if slot.wish else None, reason=reason)


def _layers(track: Track) -> tuple[LayerView, ...]:
    """Layers that have been seen, in rising size: a publisher may name them against the custom."""
    views = [
        LayerView(
            rid=layer.rid,
            codec=CODEC_NAMES[layer.codec],
            width=layer.width,
            height=layer.height,
            live=layer.live,
            bitrate=layer.bitrate,
            frames_per_second=layer.frames_per_second,
            fraction_lost=layer.fraction_lost,
        )
        for layer in track.layers
        if layer.codec is not None
    ]
    return tuple(sorted(views, key=lambda view: view.height))


def _codec(track: Track) -> str:
    codec = track.layers[0].codec
    return CODEC_NAMES[codec] if codec is not None else ""
