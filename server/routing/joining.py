"""Engine commands that make what an offer asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from media.protocol import RECORDER_TAP, OpenIce
from media.relay.messages import (
    AddSink,
    AddSource,
    AddTransport,
    Codec,
    Command,
    Layer,
    MediaKind,
    SinkCodec,
    SourceCodec,
    TransportKind,
)
from media.sdp.answer import SentStream
from media.sdp.plan import Reception, Transmission
from server.routing.allotment import Allotment, first_sequence, first_timestamp
from server.routing.tables import Microphone, Outlet, Publication, Session, Slot, Track, TrackLayer

# What a camera's worker puts into the relay (media.ingest.camera): its H.264 untouched, any sound as Opus.
PULLED: Final = {
    MediaKind.VIDEO: SourceCodec(codec=Codec.H264, payload_type=96, clock_rate=90_000),
    MediaKind.AUDIO: SourceCodec(codec=Codec.OPUS, payload_type=111, clock_rate=48_000),
}


VOICE_HOLD: Final = 1.5  # s of speech kept between the key and the grant


def add_transport(session: Session) -> AddTransport:
    plan = session.plan
    return AddTransport(
        transport=session.transport,
        kind=TransportKind.WEBRTC,
        ufrags=(session.ice.ufrag,),
        extensions=plan.extensions,
        cname=session.cname,
        feedback_ssrc=session.feedback_ssrc,
        reduced_size_rtcp=plan.reduced_size,
        transport_cc=plan.transport_cc,
        remb=plan.remb,
    )


def open_ice(session: Session, connect_timeout: float, consent_timeout: float) -> OpenIce:
    offer = session.plan.offer
    return OpenIce(
        number=0,
        transport=session.transport,
        local_ufrag=session.ice.ufrag,
        local_password=session.ice.password,
        remote_ufrag=offer.ufrag,
        setup=session.plan.setup,
        fingerprints=offer.fingerprints,
        connect_timeout=connect_timeout,
        consent_timeout=consent_timeout,
    )


def make_track(reception: Reception, allot: Allotment) -> Track:
    return Track(
        source=allot.identity(),
        kind=reception.kind,
        mid=reception.section.mid,
        codecs=frozenset(codec.codec for codec in reception.codecs),
        layers=[TrackLayer(rid=layer.rid) for layer in reception.layers],
    )


def add_source(track: Track, reception: Reception, transport: int) -> AddSource:
    return AddSource(
        source=track.source,
        transport=transport,
        kind=track.kind,
        mid=track.mid,
        codecs=reception.codecs,
        layers=reception.layers,
    )


def make_pulled(publication: Publication, allot: Allotment) -> list[Command]:
    """Give a pull its two tracks, and the commands that make them."""
    commands: list[Command] = []
    for kind, codec in PULLED.items():
        track = Track(
            source=allot.identity(),
            kind=kind,
            mid="",
            codecs=frozenset({codec.codec}),
            layers=[TrackLayer(rid="")],
        )
        publication.tracks[kind] = track
        commands.append(
            AddSource(source=track.source, transport=0, kind=kind, mid="", codecs=(codec,), layers=(Layer(),))
        )
    return commands


def make_outlet(transmission: Transmission, session: Session, allot: Allotment, slot: int = -1) -> Outlet:
    return Outlet(
        sink=allot.identity(),
        kind=transmission.kind,
        mid=transmission.section.mid,
        ssrc=allot.ssrc(),
        rtx_ssrc=allot.ssrc() if transmission.repairs else 0,
        session=session,
        slot=slot,
    )


def make_voice(session: Session, allot: Allotment, *, recorded: bool) -> list[Command]:
    """Give a sound path its microphone and voice slots, and the commands that make them.

    RED is sent where the peer takes it: what is lost on the way comes again with the next packet (RFC 2198).
    """
    reception = session.plan.receptions[0]
    session.microphone = microphone = Microphone(
        source=allot.identity(), tap=allot.identity() if recorded else 0
    )
    session.outlets = [
        make_outlet(each, session, allot, slot) for slot, each in enumerate(session.plan.transmissions)
    ]
    sinks = [
        add_sink(outlet, each)
        for outlet, each in zip(session.outlets, session.plan.transmissions, strict=True)
    ]
    return [
        add_transport(session),
        AddSource(
            source=microphone.source,
            transport=session.transport,
            kind=reception.kind,
            mid=reception.section.mid,
            codecs=reception.codecs,
            layers=reception.layers,
            hold=VOICE_HOLD,
        ),
        *(
            msgspec.structs.replace(sink, codecs=tuple(sorted(sink.codecs, key=_redundant_first)))
            for sink in sinks
        ),
        *([recorder_sink(microphone.tap)] if recorded else []),
    ]


def recorder_sink(sink: int) -> AddSink:
    """The sink of a voice source that feeds the recorder: list it in the source's routes while it is recorded."""
    return AddSink(sink=sink, kind=MediaKind.AUDIO, tap=RECORDER_TAP)


def _redundant_first(codec: SinkCodec) -> bool:
    return codec.codec is not Codec.RED


def make_slots(session: Session, transmissions: Iterable[Transmission], allot: Allotment) -> list[Slot]:
    """Slots for further (audio, video) pairs, numbered on from those the session has."""
    rest = iter(transmissions)
    slots: list[Slot] = []
    for audio, video in zip(rest, rest, strict=True):
        number = len(session.slots) + len(slots)
        slots.append(
            Slot(
                number=number,
                audio=make_outlet(audio, session, allot, number),
                video=make_outlet(video, session, allot, number),
            )
        )
    return slots


def add_sink(outlet: Outlet, transmission: Transmission) -> AddSink:
    return AddSink(
        sink=outlet.sink,
        kind=outlet.kind,
        codecs=transmission.codecs,
        transport=outlet.session.transport,
        mid=outlet.mid,
        ssrc=outlet.ssrc,
        rtx_ssrc=outlet.rtx_ssrc,
        first_sequence=first_sequence(),
        first_timestamp=first_timestamp(),
    )


def sent_streams(session: Session) -> dict[int, SentStream]:
    """What the answer says of each section we send into: sound and picture of a slot are one stream."""
    by_mid = {outlet.mid: outlet for outlet in session.outlets}
    sent = {}
    for transmission in session.plan.transmissions:
        outlet = by_mid.get(transmission.section.mid)
        if outlet is not None:
            name = f"slot-{outlet.slot}" if outlet.slot >= 0 else "stream"
            sent[transmission.section.index] = SentStream(
                ssrc=outlet.ssrc,
                rtx_ssrc=outlet.rtx_ssrc,
                stream=name,
                track=f"{name}-{outlet.kind.name.lower()}",
            )
    return sent
