"""What becomes of each section of an offer: taken in, sent into, left idle or rejected.

Pure. A plan has what the relay must be told (payload types, rids, extension ids) and what the answer must say; ids and
SSRCs are allotted by whoever routes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from media.relay.messages import ExtensionIds, Layer, MediaKind, SinkCodec, SourceCodec
from media.sdp.codecs import KINDS, Chosen, codec_names, playable, publishable
from media.sdp.errors import IceLitePeer, NoRtcpMux, NotBundled, WrongDirection, WrongSections
from media.sdp.offer import Extension, Offer, Section
from server.model.errors import NotAcceptable

MAX_LAYERS: Final = 3

# Names that people give simulcast layers, in rising quality.
LAYER_NAMES: Final = (
    ("q", "h", "f"),
    ("l", "m", "h"),
    ("lo", "mid", "hi"),
    ("low", "mid", "high"),
    ("low", "medium", "high"),
)
_NUMBERED: Final = re.compile(r"(\D*)(\d{1,9})")

EXTENSION_URIS: Final = {
    "urn:ietf:params:rtp-hdrext:sdes:mid": "mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id": "rid",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id": "repaired_rid",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01": "transport_cc",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time": "abs_send_time",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level": "audio_level",
    "urn:3gpp:video-orientation": "orientation",
}
"""The extensions that the relay reads or writes, by the field of `ExtensionIds`."""
LAYER_EXTENSIONS: Final = frozenset({"rid", "repaired_rid"})

SENDS: Final = ("sendrecv", "sendonly")  # directions, as the peer sees them
RECEIVES: Final = ("sendrecv", "recvonly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reception:
    """A section we take in. `rids` in the offer's order; `layers` in rising quality, as their names promise."""

    section: Section
    kind: MediaKind
    chosen: tuple[Chosen, ...]
    rids: tuple[str, ...]
    layers: tuple[Layer, ...]
    active: bool = True

    @property
    def codecs(self) -> tuple[SourceCodec, ...]:
        return tuple(chosen.source_codec() for chosen in self.chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transmission:
    """A section we may send into. `active` False: nothing will come, the section stays in the bundle."""

    section: Section
    kind: MediaKind
    chosen: tuple[Chosen, ...]
    active: bool = True

    @property
    def codecs(self) -> tuple[SinkCodec, ...]:
        return tuple(chosen.sink_codec() for chosen in self.chosen)

    @property
    def repairs(self) -> bool:
        """Whether the peer takes RTX for anything here."""
        return any(chosen.rtx for chosen in self.chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One entry per section of the offer, in order; None = rejected (port 0)."""

    offer: Offer
    sections: tuple[Reception | Transmission | None, ...]
    extensions: ExtensionIds
    setup: str

    @property
    def receptions(self) -> tuple[Reception, ...]:
        return tuple(each for each in self.sections if isinstance(each, Reception))

    @property
    def transmissions(self) -> tuple[Transmission, ...]:
        return tuple(each for each in self.sections if isinstance(each, Transmission))

    @property
    def transport_cc(self) -> bool:
        """Whether transport-wide feedback was agreed on: the extension, and the message for a codec."""
        return bool(self.extensions.transport_cc) and self._agreed("transport-cc")

    @property
    def remb(self) -> bool:
        return self._agreed("goog-remb")

    @property
    def reduced_size(self) -> bool:
        return all(
            each.section.reduced_size for each in self.sections if each and each.kind is MediaKind.VIDEO
        )

    def _agreed(self, feedback: str) -> bool:
        return any(feedback in chosen.feedback for each in self.sections if each for chosen in each.chosen)


def plan_publish(offer: Offer, *, idle: bool = False) -> Plan:
    """A publisher's offer: at most one audio and one video section, all of them taken, or none.

    `idle`: a section may be inactive (a later offer of the same session).

    Raises:
        Unacceptable: see its subclasses in `media.sdp.errors`.
        NotAcceptable: nothing in a section that can be relayed.
    """
    media = _checked(offer)
    _at_most_one_each(media)
    sections: list[Reception | Transmission | None] = [None] * len(offer.sections)
    for section in media:
        active = section.direction in SENDS
        if not active and not (idle and section.direction == "inactive"):
            raise WrongDirection(
                f"a publisher must send: section {section.mid or section.index} is {section.direction}"
            )
        chosen = publishable(section)
        if not chosen:
            raise NotAcceptable(
                _no_codec(section, "VP8, H264" if section.kind == "video" else "opus, PCMU, PCMA")
            )
        rids = section.rids[:MAX_LAYERS] if section.kind == "video" else ()
        sections[section.index] = Reception(
            section=section,
            kind=KINDS[section.kind],
            chosen=chosen,
            rids=rids,
            layers=_layers(section, rids),
            active=active,
        )
    return _plan(offer, sections)


def plan_play(offer: Offer, kinds: Iterable[MediaKind]) -> Plan:
    """A viewer's offer for a stream that has `kinds` of media: at most one audio and one video section.

    Raises: as `plan_publish`.
    """
    media = _checked(offer)
    _at_most_one_each(media)
    has = set(kinds)
    sections: list[Reception | Transmission | None] = [None] * len(offer.sections)
    for section in media:
        if section.direction not in RECEIVES:
            raise WrongDirection(
                f"a viewer must receive: section {section.mid or section.index} is {section.direction}"
            )
        if KINDS[section.kind] in has or playable(section):
            sections[section.index] = _transmission(section, active=KINDS[section.kind] in has)
    if not any(isinstance(each, Transmission) and each.active for each in sections):
        raise NotAcceptable("the offer asks for no kind of media that the stream has")
    return _plan(offer, sections)


def plan_console(offer: Offer) -> Plan:
    """A console tab's offer: (audio, video) pairs, one per slot, all recvonly.

    Raises: as `plan_publish`; WrongSections also when the sections are not pairs.
    """
    _checked(offer)
    if len(offer.sections) % 2:
        raise WrongSections("a console's sections come in pairs of audio and video")
    sections: list[Reception | Transmission | None] = []
    for section in offer.sections:
        wanted = "video" if section.index % 2 else "audio"
        if section.kind != wanted or not section.live or not section.media:
            raise WrongSections(f"section {section.index} must be live {wanted}")
        if section.direction not in RECEIVES:
            raise WrongDirection(
                f"a slot must receive: section {section.mid or section.index} is {section.direction}"
            )
        sections.append(_transmission(section, active=True))
    return _plan(offer, sections)


def plan_voice(offer: Offer) -> Plan:
    """The offer of a sound path: the microphone (sendonly) first, then recvonly voice slots, all audio.

    Raises: as `plan_publish`; WrongSections also when there is no microphone or no slot.
    """
    _checked(offer)
    if len(offer.sections) < 2:
        raise WrongSections("a sound path is a microphone and at least one voice slot")
    sections: list[Reception | Transmission | None] = []
    for section in offer.sections:
        microphone = section.index == 0
        if section.kind != "audio" or not section.live or not section.media:
            raise WrongSections(f"section {section.index} must be live audio")
        if section.direction not in (SENDS if microphone else RECEIVES):
            wanted = "send" if microphone else "receive"
            raise WrongDirection(
                f"section {section.mid or section.index} must {wanted}, it is {section.direction}"
            )
        sections.append(_microphone(section) if microphone else _transmission(section, active=True))
    return _plan(offer, sections)


def layer_order(rids: Sequence[str]) -> tuple[str, ...]:
    """Rids in rising quality: by their usual names, by number, else as they were offered."""
    for names in LAYER_NAMES:
        if set(rids) <= set(names):
            return tuple(sorted(rids, key=names.index))
    numbered = [_NUMBERED.fullmatch(rid) for rid in rids]
    found = [match for match in numbered if match]
    if len(found) == len(rids) and len({match.group(1) for match in found}) == 1:
        return tuple(match.group() for match in sorted(found, key=lambda match: int(match.group(2))))
    return tuple(rids)


def _layers(section: Section, rids: tuple[str, ...]) -> tuple[Layer, ...]:
    if rids:
        return tuple(Layer(rid=rid) for rid in layer_order(rids))
    first = section.ssrcs[:1]
    return tuple(Layer(ssrc=each.ssrc, rtx_ssrc=each.rtx_ssrc) for each in first) or (Layer(),)


def _transmission(section: Section, *, active: bool) -> Transmission:
    chosen = playable(section)
    if not chosen:
        raise NotAcceptable(
            _no_codec(
                section, "VP8, H264 (packetization-mode 1)" if section.kind == "video" else "opus, PCMU, PCMA"
            )
        )
    return Transmission(section=section, kind=KINDS[section.kind], chosen=chosen, active=active)


def _microphone(section: Section) -> Reception:
    chosen = publishable(section)
    if not chosen:
        raise NotAcceptable(_no_codec(section, "opus, PCMU, PCMA"))
    return Reception(
        section=section, kind=MediaKind.AUDIO, chosen=chosen, rids=(), layers=_layers(section, ())
    )


def _no_codec(section: Section, known: str) -> str:
    return (
        f"no {section.kind} codec that can be relayed: offered {codec_names(section.payloads)}; known {known}"
    )


def _checked(offer: Offer) -> list[Section]:
    """The live audio and video sections, after what holds for every offer."""
    if offer.ice_lite:
        raise IceLitePeer("the peer is ICE-lite and so are we: neither would ever send a check")
    media = []
    for section in offer.sections:
        if section.kind not in ("audio", "video") or not section.live:
            continue
        if not section.media:
            raise NotAcceptable(f"the protocol {section.protocol[:40]} is not DTLS-SRTP (UDP/TLS/RTP/SAVPF)")
        media.append(section)
    if not media:
        raise WrongSections("the offer has no live audio or video section")
    bundled = set(offer.bundle)
    for section in media:
        if not section.rtcp_mux:
            raise NoRtcpMux(f"section {section.mid or section.index} has no a=rtcp-mux")
        if section.mid not in bundled and (bundled or len(media) > 1):
            raise NotBundled("all sections must be in one BUNDLE group (bundle policy max-bundle)")
    return media


def _at_most_one_each(media: Sequence[Section]) -> None:
    kinds = [section.kind for section in media]
    if len(set(kinds)) != len(kinds):
        raise WrongSections("at most one audio and one video section")


def _plan(offer: Offer, sections: Sequence[Reception | Transmission | None]) -> Plan:
    accepted = [each for each in sections if each]
    ids: dict[str, int] = {}
    for each in accepted:
        for extension in usable_extensions(each, offer.mixed_extensions):
            if extension.number not in ids.values():
                ids.setdefault(EXTENSION_URIS[extension.uri], extension.number)
    return Plan(
        offer=offer,
        sections=tuple(sections),
        extensions=ExtensionIds(**ids),
        setup="active" if offer.setup == "passive" else "passive",
    )


def usable_extensions(planned: Reception | Transmission, mixed: bool) -> list[Extension]:
    """Offered extensions of a section that we take part in; ids from 15 on need the mixed form (RFC 8285 4)."""
    receiving = isinstance(planned, Reception)
    against = "recvonly" if receiving else "sendonly"
    found: dict[str, Extension] = {}
    for extension in planned.section.extensions:
        role = EXTENSION_URIS.get(extension.uri)
        if (
            role is not None
            and (1 <= extension.number <= 14 or (mixed and receiving and 16 <= extension.number <= 255))
            and extension.direction not in (against, "inactive")
            and (role not in LAYER_EXTENSIONS or receiving)
        ):
            found.setdefault(role, extension)
    return list(found.values())
