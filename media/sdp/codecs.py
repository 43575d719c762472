"""The one table of codecs, and which payload types of an offer are used for them.

Publishing takes everything the relay can forward that the offer has, in the offer's order (the browser sends the
first it can). Playing picks one payload type for each codec: any H.264 profile leaves on the viewer's constrained
baseline type in mode 1, else on any mode-1 type; decoders look at the SPS, not at the SDP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from media.relay.messages import Codec, MediaKind, SinkCodec, SourceCodec
from media.sdp.offer import Payload, Section

VIDEO_FEEDBACK: Final = ("goog-remb", "transport-cc", "ccm fir", "nack", "nack pli")
AUDIO_FEEDBACK: Final = ("transport-cc",)

KINDS: Final = {"audio": MediaKind.AUDIO, "video": MediaKind.VIDEO}

DEFAULT_PROFILE: Final = "42000a"  # of an H.264 type that names none (RFC 6184 8.1)
CONSTRAINED_BASELINE: Final = "42e01f"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodecRow:
    """What a codec looks like in SDP. `parameters` is what we answer; None = the offer's own."""

    codec: Codec
    kind: MediaKind
    clock_rate: int
    channels: int
    feedback: tuple[str, ...]
    parameters: str | None = None


CODECS: Final[dict[str, CodecRow]] = {
    "vp8": CodecRow(
        codec=Codec.VP8,
        kind=MediaKind.VIDEO,
        clock_rate=90_000,
        channels=1,
        feedback=VIDEO_FEEDBACK,
        parameters="",
    ),
    "h264": CodecRow(
        codec=Codec.H264, kind=MediaKind.VIDEO, clock_rate=90_000, channels=1, feedback=VIDEO_FEEDBACK
    ),
    "opus": CodecRow(
        codec=Codec.OPUS,
        kind=MediaKind.AUDIO,
        clock_rate=48_000,
        channels=2,
        feedback=AUDIO_FEEDBACK,
        parameters="minptime=10;useinbandfec=1",
    ),
    "red": CodecRow(
        codec=Codec.RED, kind=MediaKind.AUDIO, clock_rate=48_000, channels=2, feedback=AUDIO_FEEDBACK
    ),
    "pcmu": CodecRow(
        codec=Codec.PCMU,
        kind=MediaKind.AUDIO,
        clock_rate=8000,
        channels=1,
        feedback=AUDIO_FEEDBACK,
        parameters="",
    ),
    "pcma": CodecRow(
        codec=Codec.PCMA,
        kind=MediaKind.AUDIO,
        clock_rate=8000,
        channels=1,
        feedback=AUDIO_FEEDBACK,
        parameters="",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A payload type that is answered, with the RTX type that repairs it (None = the peer has none)."""

    row: CodecRow
    payload: Payload
    rtx: Payload | None = None

    @property
    def feedback(self) -> tuple[str, ...]:
        """What of the offered feedback we take part in, in the offer's order."""
        return tuple(dict.fromkeys(each for each in self.payload.feedback if each in self.row.feedback))

    @property
    def parameters(self) -> str:
        return self.payload.parameters if self.row.parameters is None else self.row.parameters

    def source_codec(self) -> SourceCodec:
        return SourceCodec(
            codec=self.row.codec,
            payload_type=self.payload.number,
            clock_rate=self.row.clock_rate,
            rtx_payload_type=self.rtx.number if self.rtx else 0,
        )

    def sink_codec(self) -> SinkCodec:
        return SinkCodec(
            codec=self.row.codec,
            payload_type=self.payload.number,
            clock_rate=self.row.clock_rate,
            rtx_payload_type=self.rtx.number if self.rtx else 0,
        )


def publishable(section: Section) -> tuple[Chosen, ...]:
    """Every payload type of the section that the relay can take, in the offer's order of codecs.

    Of H.264 those of mode 1, constrained baseline first; those of mode 0 only when there are no others.
    """
    found = _supported(section)
    h264 = sorted(
        (chosen for chosen in found if chosen.row.codec is Codec.H264),
        key=lambda chosen: (-_mode(chosen.payload), _rank(chosen.payload)),
    )
    best = [chosen for chosen in h264 if _mode(chosen.payload) == _mode(h264[0].payload)]
    kept = {chosen.payload.number for chosen in best}
    ranked = iter(best)  # takes the places that the offer gave to those that stay
    found = [
        chosen if chosen.row.codec is not Codec.H264 else next(ranked)
        for chosen in found
        if chosen.row.codec is not Codec.H264 or chosen.payload.number in kept
    ]
    return tuple(found)


def playable(section: Section) -> tuple[Chosen, ...]:
    """One payload type for each codec the relay could send into the section, in the offer's order of codecs."""
    by_codec: dict[Codec, Chosen] = {}
    for chosen in _supported(section):
        codec = chosen.row.codec
        if codec is Codec.H264 and _mode(chosen.payload) != 1:
            continue
        known = by_codec.get(codec)
        if known is None or (codec is Codec.H264 and _rank(chosen.payload) < _rank(known.payload)):
            by_codec[codec] = chosen
    return tuple(by_codec.values())


def codec_names(payloads: Iterable[Payload]) -> str:
    """For a sentence: the codecs of an offer by name, once each."""
    names = dict.fromkeys(payload.name for payload in payloads if payload.name not in ("rtx", "ulpfec"))
    return ", ".join(name.upper()[:20] for name in list(names)[:8]) or "none"


def _supported(section: Section) -> list[Chosen]:
    repairs = _repairs(section.payloads)
    found = []
    for payload in section.payloads:
        row = CODECS.get(payload.name)
        if (
            row is not None
            and row.kind is KINDS[section.kind]
            and row.clock_rate == payload.clock_rate
            and row.channels == payload.channels
            and (row.codec is not Codec.H264 or _mode(payload) in (0, 1))
        ):
            found.append(Chosen(row=row, payload=payload, rtx=repairs.get(payload.number)))
    opus = {chosen.payload.number for chosen in found if chosen.row.codec is Codec.OPUS}
    return [
        chosen
        for chosen in found
        if chosen.row.codec is not Codec.RED or _inner_types(chosen.payload) in ({each} for each in opus)
    ]


def _repairs(payloads: Sequence[Payload]) -> dict[int, Payload]:
    """RTX types by the type they repair (RFC 4588 8.6)."""
    found: dict[int, Payload] = {}
    for payload in payloads:
        apt = payload.parameter("apt")
        if payload.name == "rtx" and apt.isascii() and apt.isdigit() and len(apt) <= 3:
            found.setdefault(int(apt), payload)
    return found


def _inner_types(payload: Payload) -> set[int]:
    """The payload types inside RED (RFC 2198 4: "111/111"); those of one codec only can be unwrapped."""
    parts = payload.parameters.split("/")
    return {int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 3}


def _mode(payload: Payload) -> int:
    """packetization-mode; -1 for what we do not understand (2 = interleaved)."""
    text = payload.parameter("packetization-mode") or "0"
    return int(text) if text in ("0", "1") else -1


def _rank(payload: Payload) -> int:
    """How well an H.264 type suits every source: constrained baseline at the usual level, any such, any other."""
    profile = (payload.parameter("profile-level-id") or DEFAULT_PROFILE).lower()
    if profile == CONSTRAINED_BASELINE:
        return 0
    try:
        idc, constraints = int(profile[0:2], 16), int(profile[2:4], 16)
    except ValueError:
        return 2
    return 1 if idc == 0x42 and constraints & 0x40 else 2
