"""Writes the answer to an offer: one function for WHIP, WHEP, the phone and the console (design.md section 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from media.sdp.candidates import Candidate, candidate_lines, connection_line
from media.sdp.codecs import Chosen
from media.sdp.plan import EXTENSION_URIS, Plan, Reception, Transmission, usable_extensions

PROTOCOL: Final = "UDP/TLS/RTP/SAVPF"
FEW_SECTIONS: Final = 10  # with no more than these (a sound path has 9), candidates are repeated in each


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTransport:
    """Our end. `session` and `version` are those of the o= line; the version grows with every answer."""

    ufrag: str
    password: str
    fingerprint: str  # sha-256, upper-case hex with colons
    candidates: Sequence[Candidate]
    cname: str
    session: int
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SentStream:
    """What leaves in one section. Sections with the same `stream` are played in step."""

    ssrc: int
    rtx_ssrc: int
    stream: str
    track: str


def answer(plan: Plan, local: LocalTransport, sent: Mapping[int, SentStream]) -> str:
    """The answer to `plan.offer`. `sent` has every active `Transmission` of the plan, by section index."""
    offer = plan.offer
    accepted = [each for each in plan.sections if each]
    port, connection = connection_line(local.candidates)
    address = connection.removeprefix("c=")
    lines = [
        "v=0",
        f"o=- {local.session} {local.version} {address}",
        "s=-",
        "t=0 0",
        "a=ice-lite",
    ]
    if offer.bundle:
        lines.append("a=group:BUNDLE " + " ".join(each.section.mid for each in accepted))
    if offer.mixed_extensions:
        lines.append("a=extmap-allow-mixed")
    lines.append("a=msid-semantic: WMS *")
    # One section of the bundle needs them; aiortc reads those of the last only.
    candidates = candidate_lines(local.candidates)
    everywhere = len(accepted) <= FEW_SECTIONS
    for section, planned in zip(offer.sections, plan.sections, strict=True):
        if planned is None:
            lines.append(f"m={section.kind} 0 {section.protocol} {' '.join(section.formats)}")
            lines.append("c=IN IP4 0.0.0.0")
            if section.mid:
                lines.append(f"a=mid:{section.mid}")
            lines.append("a=inactive")
            continue
        numbers = [number for chosen in planned.chosen for number in _numbers(chosen)]
        lines.append(f"m={section.kind} {port} {PROTOCOL} {' '.join(map(str, numbers))}")
        lines.append(connection)
        if section.mid:
            lines.append(f"a=mid:{section.mid}")
        lines.append(f"a={_direction(planned)}")
        lines.append("a=rtcp-mux")
        if section.reduced_size:
            lines.append("a=rtcp-rsize")
        lines += [
            f"a=ice-ufrag:{local.ufrag}",
            f"a=ice-pwd:{local.password}",
            f"a=fingerprint:sha-256 {local.fingerprint}",
            f"a=setup:{plan.setup}",
        ]
        if everywhere or planned is accepted[0]:
            lines += candidates
        for chosen in planned.chosen:
            lines += _codec_lines(chosen)
        lines += _extension_lines(plan, planned)
        if isinstance(planned, Reception):
            lines += _simulcast_lines(planned)
        elif planned.active:
            lines += _stream_lines(sent[section.index], local.cname)
    return "\r\n".join(lines) + "\r\n"


def _direction(planned: Reception | Transmission) -> str:
    if not planned.active:
        return "inactive"
    return "recvonly" if isinstance(planned, Reception) else "sendonly"


def _numbers(chosen: Chosen) -> list[int]:
    return [chosen.payload.number, *([chosen.rtx.number] if chosen.rtx else [])]


def _codec_lines(chosen: Chosen) -> list[str]:
    number, payload = chosen.payload.number, chosen.payload
    channels = f"/{payload.channels}" if payload.channels > 1 else ""
    name = {"opus": "opus", "red": "red"}.get(payload.name, payload.name.upper())
    lines = [f"a=rtpmap:{number} {name}/{payload.clock_rate}{channels}"]
    if chosen.parameters:
        lines.append(f"a=fmtp:{number} {chosen.parameters}")
    lines += [f"a=rtcp-fb:{number} {feedback}" for feedback in chosen.feedback]
    if chosen.rtx:
        lines += [
            f"a=rtpmap:{chosen.rtx.number} rtx/{payload.clock_rate}",
            f"a=fmtp:{chosen.rtx.number} apt={number}",
        ]
    return lines


def _extension_lines(plan: Plan, planned: Reception | Transmission) -> list[str]:
    """Only ids that mean the same in the whole bundle; a one-way extension goes the other way from our side."""
    mirrored = {"": "", "sendonly": "/recvonly", "recvonly": "/sendonly"}
    return [
        f"a=extmap:{extension.number}{mirrored[extension.direction]} {extension.uri}"
        for extension in usable_extensions(planned, plan.offer.mixed_extensions)
        if getattr(plan.extensions, EXTENSION_URIS[extension.uri]) == extension.number
    ]


def _simulcast_lines(planned: Reception) -> list[str]:
    if not planned.rids:
        return []
    return [f"a=rid:{rid} recv" for rid in planned.rids] + [f"a=simulcast:recv {';'.join(planned.rids)}"]


def _stream_lines(sent: SentStream, cname: str) -> list[str]:
    lines = [f"a=msid:{sent.stream} {sent.track}"]
    if sent.rtx_ssrc:
        lines.append(f"a=ssrc-group:FID {sent.ssrc} {sent.rtx_ssrc}")
    for ssrc in (sent.ssrc, sent.rtx_ssrc):
        if ssrc:
            lines.append(f"a=ssrc:{ssrc} cname:{cname}")
            lines.append(f"a=ssrc:{ssrc} msid:{sent.stream} {sent.track}")
    return lines
