"""Reads an offer (RFC 8866, JSEP RFC 9429) within hard limits, into what the relay needs of it and nothing else.

One pass over the lines, one table of attributes. Candidates are skipped: an ICE-lite agent needs none of the peer's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from media.sdp.errors import NoFingerprint, NoIce, NotText, SdpTooLarge, TooManySections
from server.model.errors import BadSdp


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of a description is read at all."""

    max_bytes: int
    max_sections: int


HTTP_LIMITS: Final = Limits(max_bytes=16 * 1024, max_sections=4)
"""WHIP and WHEP, and a phone's own publication."""
CONSOLE_LIMITS: Final = Limits(max_bytes=128 * 1024, max_sections=96)
"""A console tab that has logged in: up to 48 slots."""

VOICE_LIMITS: Final = Limits(max_bytes=32 * 1024, max_sections=9)
"""A sound path: a microphone and 8 voice slots."""

MAX_NAME: Final = (
    16  # bytes of a mid or rid: what a one-byte header extension element can carry (RFC 8285 4.2)
)
MAX_LINE: Final = 4096  # bytes; the longest lines of browsers are H.264 and AV1 parameters, far below
MAX_FEEDBACK: Final = 32
MAX_EXTENSIONS: Final = 64

# RFC 3551 6: payload types that need no rtpmap.
STATIC_TYPES: Final = {0: ("pcmu", 8000, 1), 8: ("pcma", 8000, 1)}
# With rtcp-mux these would look like RTCP when the marker is set (RFC 5761 4).
FORBIDDEN_TYPES: Final = range(64, 96)
SECURE_PROFILES: Final = frozenset(
    {"UDP/TLS/RTP/SAVPF", "TCP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF"}
)
DIRECTIONS: Final = ("sendrecv", "sendonly", "recvonly", "inactive")
SETUPS: Final = ("actpass", "active", "passive")
FINGERPRINT_BYTES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

_TOKEN: Final = re.compile(r"[!#-'*+\-./0-9A-Z^-~_]+")
_RID: Final = re.compile(r"[A-Za-z0-9_-]+")
_ICE: Final = re.compile(r"[A-Za-z0-9+/=_-]+")  # RFC 8839 ice-char, and what some peers use besides
_HEX: Final = re.compile(r"[0-9A-F]{2}(:[0-9A-F]{2})*")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """One payload type: its rtpmap, parameters and feedback. `name` in lower case; `parameters` as written."""

    number: int
    name: str
    clock_rate: int
    channels: int = 1
    parameters: str = ""
    feedback: tuple[str, ...] = ()

    def parameter(self, name: str) -> str:
        """The value of one format parameter, "" when it is not there."""
        for part in self.parameters.split(";"):
            key, _, value = part.partition("=")
            if key.strip().lower() == name:
                return value.strip()
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """One header extension. `direction` is "" when it goes both ways."""

    number: int
    uri: str
    direction: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ssrc:
    """One outgoing stream of the peer and the SSRC that repairs it (FID group), 0 = none."""

    ssrc: int
    rtx_ssrc: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One m-section. `live` is False when the peer disabled it (port 0 and not bundle-only).

    `rids`: what the peer sends by simulcast, in its order; empty without. `ssrcs`: its streams without RTX ones.
    """

    index: int
    mid: str
    kind: str
    protocol: str
    formats: tuple[str, ...]
    live: bool
    direction: str
    payloads: tuple[Payload, ...] = ()
    extensions: tuple[Extension, ...] = ()
    rids: tuple[str, ...] = ()
    ssrcs: tuple[Ssrc, ...] = ()
    rtcp_mux: bool = False
    reduced_size: bool = False

    @property
    def media(self) -> bool:
        """Whether it is audio or video over DTLS-SRTP; anything else can only be rejected."""
        return self.kind in ("audio", "video") and self.protocol in SECURE_PROFILES


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A whole offer. The transport's facts are those of the first live section (the BUNDLE tag, RFC 9143 7.3)."""

    sections: tuple[Section, ...]
    bundle: tuple[str, ...]
    ice_lite: bool
    mixed_extensions: bool
    ufrag: str
    password: str
    setup: str
    fingerprints: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Raw:
    """What is collected of the session part or one section before it is made sense of."""

    line: int = 0
    kind: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    mid: str = ""
    direction: str = ""
    setup: str = ""
    ufrag: str = ""
    password: str = ""
    fingerprints: dict[tuple[str, str], None] = field(default_factory=dict)
    maps: dict[int, tuple[str, int, int]] = field(default_factory=dict)
    parameters: dict[int, str] = field(default_factory=dict)
    feedback: dict[str, list[str]] = field(default_factory=dict)
    extensions: list[Extension] = field(default_factory=list)
    send_rids: dict[str, None] = field(default_factory=dict)
    simulcast: tuple[str, ...] = ()
    ssrcs: dict[int, None] = field(default_factory=dict)
    repairs: dict[int, int] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    bundle: tuple[str, ...] = ()


def parse_offer(text: str, limits: Limits) -> Offer:
    """Read an offer.

    Raises:
        NotText, SdpTooLarge, TooManySections, NoFingerprint, NoIce: as their names say.
        BadSdp: anything else that is not a description; the sentence names the line.
    """
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > limits.max_bytes:
        raise SdpTooLarge(f"the description has {size} bytes; at most {limits.max_bytes} are read")
    if found := _CONTROL.search(text):
        raise NotText(f"the description holds the control character {ord(found.group()):#04x}")
    session, media = _collect(text, limits)
    sections = tuple(_section(index, raw, session) for index, raw in enumerate(media))
    _check_mids(sections)
    for mid in session.bundle:
        if all(section.mid != mid for section in sections):
            raise BadSdp(f"the BUNDLE group names {mid!r}, which no section has")
    tag = next((raw for raw, section in zip(media, sections, strict=True) if section.live), media[0])
    fingerprints = tuple(tag.fingerprints or session.fingerprints)
    if not fingerprints:
        raise NoFingerprint("the description has no a=fingerprint, so nothing ties the media to its sender")
    ufrag, password = tag.ufrag or session.ufrag, tag.password or session.password
    if not ufrag or not password:
        raise NoIce("the description has no a=ice-ufrag and a=ice-pwd")
    return Offer(
        sections=sections,
        bundle=session.bundle,
        ice_lite="ice-lite" in session.flags,
        mixed_extensions="extmap-allow-mixed" in session.flags
        or any("extmap-allow-mixed" in raw.flags for raw in media),
        ufrag=ufrag,
        password=password,
        setup=tag.setup or session.setup or "active",  # RFC 4145 4: absent means active
        fingerprints=fingerprints,
    )


def _collect(text: str, limits: Limits) -> tuple[_Raw, list[_Raw]]:
    session = _Raw()
    media: list[_Raw] = []
    current = session
    for number, line in enumerate(text.split("\n"), 1):
        line = line.rstrip("\r")
        if not line:
            continue
        if len(line) > MAX_LINE:
            raise BadSdp(f"line {number} is longer than {MAX_LINE} characters")
        if len(line) < 2 or line[1] != "=":
            raise BadSdp(f"line {number} is not of the form type=value")
        if number == 1 and line != "v=0":
            raise BadSdp("line 1 is not v=0")
        kind, value = line[0], line[2:]
        if kind == "m":
            if len(media) == limits.max_sections:
                raise TooManySections(f"more than {limits.max_sections} m-sections")
            current = _media_line(number, value)
            media.append(current)
        elif kind == "a":
            name, _, rest = value.partition(":")
            if take := _ATTRIBUTES.get(name):
                try:
                    take(current, name, rest)
                except ValueError as error:
                    raise BadSdp(f"line {number}: a={name}: {error}") from error
    if not text.startswith("v=0"):
        raise BadSdp("line 1 is not v=0")
    if not media:
        raise BadSdp("the description has no m-section")
    return session, media


def _media_line(number: int, value: str) -> _Raw:
    parts = value.split()
    port = parts[1].partition("/")[0] if len(parts) >= 4 else ""
    if not (port.isascii() and port.isdigit() and int(port[:6]) <= 65535):
        raise BadSdp(f"line {number} is not m=<kind> <port> <protocol> <formats>")
    return _Raw(
        line=number, kind=parts[0], port=int(port), protocol=parts[2].upper(), formats=tuple(parts[3:])
    )


def _section(index: int, raw: _Raw, session: _Raw) -> Section:
    media = raw.kind in ("audio", "video") and raw.protocol in SECURE_PROFILES
    return Section(
        index=index,
        mid=raw.mid,
        kind=raw.kind,
        protocol=raw.protocol,
        formats=raw.formats,
        live=raw.port != 0 or "bundle-only" in raw.flags,
        direction=raw.direction or session.direction or "sendrecv",
        payloads=_payloads(raw) if media else (),
        extensions=(*session.extensions, *raw.extensions),
        rids=tuple(rid for rid in raw.simulcast if rid in raw.send_rids),
        ssrcs=_streams(raw),
        rtcp_mux=bool(raw.flags & {"rtcp-mux", "rtcp-mux-only"}),
        reduced_size="rtcp-rsize" in raw.flags,
    )


def _payloads(raw: _Raw) -> tuple[Payload, ...]:
    payloads = {}
    for text in raw.formats:
        if not (text.isascii() and text.isdigit() and int(text[:4]) <= 127):
            raise BadSdp(f"line {raw.line}: {text[:20]!r} is not a payload type")
        number = int(text)
        known = raw.maps.get(number) or STATIC_TYPES.get(number)
        if known is None or number in FORBIDDEN_TYPES:
            continue
        name, clock_rate, channels = known
        payloads[number] = Payload(
            number=number,
            name=name,
            clock_rate=clock_rate,
            channels=channels,
            parameters=raw.parameters.get(number, ""),
            feedback=(*raw.feedback.get(text, ()), *raw.feedback.get("*", ())),
        )
    return tuple(payloads.values())


def _streams(raw: _Raw) -> tuple[Ssrc, ...]:
    repairs = set(raw.repairs.values())
    return tuple(
        Ssrc(ssrc=ssrc, rtx_ssrc=raw.repairs.get(ssrc, 0)) for ssrc in raw.ssrcs if ssrc not in repairs
    )


def _check_mids(sections: tuple[Section, ...]) -> None:
    named = [section.mid for section in sections if section.mid]
    if len(set(named)) != len(named):
        raise BadSdp("two m-sections have the same mid")
    if len(sections) > 1 and len(named) != len(sections):
        raise BadSdp("an m-section has no a=mid")


# ---- attributes: each takes what it can use or raises ValueError with a sentence ----


def _number(text: str, maximum: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= maximum):
        raise ValueError(f"{text[:20]!r} is not a number up to {maximum}")
    return int(text)


def _set_direction(raw: _Raw, name: str, value: str) -> None:
    raw.direction = name


def _set_flag(raw: _Raw, name: str, value: str) -> None:
    raw.flags.add(name)


def _set_mid(raw: _Raw, name: str, value: str) -> None:
    mid = value.strip()
    if not _TOKEN.fullmatch(mid) or len(mid) > MAX_NAME:
        raise ValueError(f"not a name of 1 to {MAX_NAME} characters")
    raw.mid = mid


def _set_setup(raw: _Raw, name: str, value: str) -> None:
    if value.strip() not in SETUPS:
        raise ValueError(f"none of {', '.join(SETUPS)}")
    raw.setup = value.strip()


def _set_ufrag(raw: _Raw, name: str, value: str) -> None:
    raw.ufrag = _ice_text(value, 4)


def _set_password(raw: _Raw, name: str, value: str) -> None:
    raw.password = _ice_text(value, 22)


def _ice_text(value: str, shortest: int) -> str:
    text = value.strip()
    if not shortest <= len(text) <= 256 or not _ICE.fullmatch(text):
        raise ValueError(f"not {shortest} to 256 of A-Z a-z 0-9 + /")
    return text


def _add_fingerprint(raw: _Raw, name: str, value: str) -> None:
    algorithm, _, text = value.strip().partition(" ")
    algorithm, text = algorithm.lower(), text.strip().upper()
    length = FINGERPRINT_BYTES.get(algorithm)
    if length is None:
        return  # an old or unknown hash ties nothing; another line may
    if len(text) != 3 * length - 1 or not _HEX.fullmatch(text):
        raise ValueError(f"not {length} bytes in hexadecimal with colons")
    raw.fingerprints[algorithm, text] = None


def _add_map(raw: _Raw, name: str, value: str) -> None:
    number, _, rest = value.strip().partition(" ")
    encoding, _, tail = rest.strip().partition("/")
    rate, _, channels = tail.partition("/")
    if not _TOKEN.fullmatch(encoding):
        raise ValueError("no encoding name")
    raw.maps[_number(number, 127)] = (
        encoding.lower(),
        _number(rate, 1_000_000),
        _number(channels, 255) if channels else 1,
    )


def _add_parameters(raw: _Raw, name: str, value: str) -> None:
    number, _, rest = value.strip().partition(" ")
    if number.isdigit():  # data channels and old peers name other things
        raw.parameters[_number(number, 127)] = rest.strip()


def _add_feedback(raw: _Raw, name: str, value: str) -> None:
    number, _, rest = value.strip().partition(" ")
    key = number if number == "*" else str(_number(number, 127))
    feedback = raw.feedback.setdefault(key, [])
    if len(feedback) == MAX_FEEDBACK:
        raise ValueError(f"more than {MAX_FEEDBACK} for one payload type")
    feedback.append(" ".join(rest.lower().split()))


def _add_extension(raw: _Raw, name: str, value: str) -> None:
    head, _, rest = value.strip().partition(" ")
    number, _, direction = head.partition("/")
    words = rest.split()
    if not words:
        raise ValueError("no URI")
    if direction and direction not in DIRECTIONS:
        raise ValueError(f"{direction[:20]!r} is no direction")
    if len(raw.extensions) == MAX_EXTENSIONS:
        raise ValueError(f"more than {MAX_EXTENSIONS} in one section")
    raw.extensions.append(
        Extension(
            number=_number(number, 65535),
            uri=words[0],
            direction="" if direction == "sendrecv" else direction,
        )
    )


def _add_rid(raw: _Raw, name: str, value: str) -> None:
    words = value.split()
    if len(words) < 2 or words[1] not in ("send", "recv"):
        raise ValueError("not <id> send|recv")
    if not _RID.fullmatch(words[0]) or len(words[0]) > MAX_NAME:
        raise ValueError(f"the id is not 1 to {MAX_NAME} letters and digits")
    if words[1] == "send":
        raw.send_rids[words[0]] = None


def _set_simulcast(raw: _Raw, name: str, value: str) -> None:
    words = value.split()
    for direction, streams in zip(words[::2], words[1::2], strict=False):
        if (
            direction == "send"
        ):  # of alternatives the first is what the peer prefers; ~ starts paused (RFC 8853 5.1)
            first = [part.split(",")[0].lstrip("~") for part in streams.split(";")]
            raw.simulcast = tuple(dict.fromkeys(first))


def _add_ssrc(raw: _Raw, name: str, value: str) -> None:
    ssrc = _number(value.partition(" ")[0].strip(), 0xFFFF_FFFF)
    if ssrc:
        raw.ssrcs[ssrc] = None


def _add_ssrc_group(raw: _Raw, name: str, value: str) -> None:
    words = value.split()
    if len(words) == 3 and words[0].upper() == "FID":
        primary, repair = (_number(word, 0xFFFF_FFFF) for word in words[1:])
        raw.repairs[primary] = repair


def _set_group(raw: _Raw, name: str, value: str) -> None:
    words = value.split()
    if words and words[0].upper() == "BUNDLE":
        raw.bundle = raw.bundle or tuple(words[1:])


_ATTRIBUTES: Final[dict[str, Callable[[_Raw, str, str], None]]] = {
    **dict.fromkeys(DIRECTIONS, _set_direction),
    **dict.fromkeys(
        ("ice-lite", "extmap-allow-mixed", "rtcp-mux", "rtcp-mux-only", "rtcp-rsize", "bundle-only"),
        _set_flag,
    ),
    "mid": _set_mid,
    "group": _set_group,
    "setup": _set_setup,
    "ice-ufrag": _set_ufrag,
    "ice-pwd": _set_password,
    "fingerprint": _add_fingerprint,
    "rtpmap": _add_map,
    "fmtp": _add_parameters,
    "rtcp-fb": _add_feedback,
    "extmap": _add_extension,
    "rid": _add_rid,
    "simulcast": _set_simulcast,
    "ssrc": _add_ssrc,
    "ssrc-group": _add_ssrc_group,
}
