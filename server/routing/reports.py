"""What the media process reports, written into the tables. Pure: what follows from it is returned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from media.protocol import LayerState, PullState, SinkState, Statistics, TransportLost, TransportStep
from media.relay.messages import Address, CloseReason, LayerStatistics
from server.model.ids import StreamId
from server.routing.tables import Publication, Session, Tables, TrackLayer
from server.routing.views import reached

# Why a transport was given up -> the cause that people are told (PROTOCOL.md "Causes").
CAUSES: Final = {
    CloseReason.REQUESTED: "closed",
    CloseReason.ICE_TIMEOUT: "ice_timeout",
    CloseReason.CONSENT_LOST: "consent_lost",
    CloseReason.DTLS_FAILED: "dtls_failed",
    CloseReason.DTLS_CLOSED: "closed",
    CloseReason.LISTENER_GONE: "consent_lost",
}


@dataclass(slots=True)
class Effects:
    """`steps`: sessions to tell of. `lost`: sessions that ended, with the cause. `connected`: have keys now.

    `views`: streams whose view may differ. `flows`: streams whose viewers may see something else. `sessions`: sessions
    whose slots may show something else.
    """

    steps: list[tuple[Session, str]] = field(default_factory=list)
    lost: list[tuple[Session, str, str]] = field(default_factory=list)
    connected: list[Session] = field(default_factory=list)
    views: set[StreamId] = field(default_factory=set)
    flows: set[StreamId] = field(default_factory=set)
    sessions: list[Session] = field(default_factory=list)


def transport_step(tables: Tables, notice: TransportStep, wallclock: float) -> Effects:
    effects = Effects()
    session = tables.transports.get(notice.transport)
    if session is None:
        return effects
    session.remote, session.tcp = host_port(notice.remote), notice.tcp
    effects.steps.append((session, notice.step))
    if notice.step == "dtls":
        session.connected = True
        effects.connected.append(session)
        effects.sessions.append(session)
    publication = session.publication
    if publication is not None:
        if notice.step in ("ice", "dtls"):
            move(publication, notice.step, wallclock)
        effects.views.add(publication.stream)
        effects.flows.add(publication.stream)
    return effects


def transport_lost(tables: Tables, notice: TransportLost) -> Effects:
    effects = Effects()
    session = tables.transports.get(notice.transport)
    if session is not None:
        effects.lost.append((session, CAUSES[notice.reason], notice.detail))
    return effects


def layer_state(tables: Tables, notice: LayerState, wallclock: float) -> Effects:
    effects = Effects()
    publication, track = tables.tracks.get(notice.source, (None, None))
    if publication is None or track is None or not 0 <= notice.layer < len(track.layers):
        return effects
    layer = track.layers[notice.layer]
    layer.codec, layer.live, layer.key_frame = notice.codec, notice.live, notice.key_frame
    if notice.height:
        layer.width, layer.height = notice.width, notice.height
    move(publication, reached(publication), wallclock)
    effects.views.add(publication.stream)
    effects.flows.add(publication.stream)
    return effects


def sink_state(tables: Tables, notice: SinkState) -> Effects:
    effects = Effects()
    outlet = tables.outlets.get(notice.sink)
    if outlet is not None:
        outlet.state = notice
        effects.sessions.append(outlet.session)
    return effects


def pull_state(tables: Tables, notice: PullState, wallclock: float) -> Effects:
    effects = Effects()
    publication = tables.pulls.get(notice.pull)
    if publication is None:
        return effects
    publication.error, publication.detail = notice.error, notice.detail
    if notice.b_frames and not notice.error:
        publication.error = "b_frames"
    if notice.state == "live":
        move(publication, reached(publication), wallclock)
    else:
        for track in publication.tracks.values():
            for layer in track.layers:
                layer.live = layer.key_frame = False
                layer.codec = None
        move(publication, notice.state, wallclock)
    effects.views.add(publication.stream)
    effects.flows.add(publication.stream)
    return effects


def statistics(tables: Tables, notice: Statistics) -> Effects:
    effects = Effects()
    for row in notice.engine.sources:
        publication, track = tables.tracks.get(row.source, (None, None))
        if publication is None or track is None:
            continue
        for layer, measured in zip(track.layers, row.layers, strict=False):
            _measure(layer, measured)
        effects.views.add(publication.stream)
    return effects


def _measure(layer: TrackLayer, measured: LayerStatistics) -> None:
    """Loss is that of the time since the last measurement."""
    lost, packets = measured.lost - layer.lost, measured.packets - layer.packets
    layer.fraction_lost = round(min(1.0, max(0, lost) / (packets + max(0, lost))), 3) if packets > 0 else 0.0
    layer.lost, layer.packets = measured.lost, measured.packets
    layer.bitrate = measured.bitrate
    layer.frames_per_second = round(measured.frames_per_second, 1)


def move(publication: Publication, step: str, wallclock: float) -> None:
    """Note a step, and when it was reached."""
    if step != publication.step:
        publication.step, publication.since = step, wallclock


def host_port(address: Address) -> str:
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{host}:{address.port}"
