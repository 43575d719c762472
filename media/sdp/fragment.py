"""application/trickle-ice-sdpfrag bodies (RFC 8840), as WHIP and WHEP use them (RFC 9725 4.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from media.sdp.candidates import Candidate, candidate_lines
from media.sdp.errors import NotText, SdpTooLarge
from server.model.errors import BadSdp

MAX_BYTES: Final = 8 * 1024
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_ICE: Final = re.compile(r"[A-Za-z0-9+/=_-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What a peer says: its credentials ("" = not said), the section it is about, and how many candidates.

    An ICE-lite agent needs no candidate of its peer, so they are counted and not kept.
    """

    ufrag: str
    password: str
    mid: str
    candidates: int
    complete: bool


def parse_fragment(text: str) -> Fragment:
    """Read a body.

    Raises:
        SdpTooLarge, NotText: as their names say.
        BadSdp: a line that is no SDP, half of the credentials, or nothing of ICE in it.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise SdpTooLarge(f"the fragment has {size} bytes; at most {MAX_BYTES} are read")
    if found := _CONTROL.search(text):
        raise NotText(f"the fragment holds the control character {ord(found.group()):#04x}")
    said = {"ice-ufrag": "", "ice-pwd": "", "mid": ""}
    candidates = 0
    complete = False
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.rstrip("\r")
        if not line:
            continue
        if len(line) < 2 or line[1] != "=":
            raise BadSdp(f"line {number} is not of the form type=value")
        name, _, value = line[2:].partition(":") if line[0] == "a" else ("", "", "")
        if name in said:
            said[name] = said[name] or value.strip()
        candidates += name == "candidate"
        complete |= name == "end-of-candidates"
    ufrag, password = said["ice-ufrag"], said["ice-pwd"]
    if bool(ufrag) != bool(password):
        raise BadSdp("a=ice-ufrag and a=ice-pwd belong together")
    if ufrag and not (
        4 <= len(ufrag) <= 256
        and 22 <= len(password) <= 256
        and _ICE.fullmatch(ufrag)
        and _ICE.fullmatch(password)
    ):
        raise BadSdp("a=ice-ufrag needs 4 to 256 and a=ice-pwd 22 to 256 of A-Z a-z 0-9 + /")
    if not (ufrag or candidates or complete):
        raise BadSdp("the fragment says nothing about ICE")
    return Fragment(ufrag=ufrag, password=password, mid=said["mid"], candidates=candidates, complete=complete)


def build_fragment(ufrag: str, password: str, mid: str, kind: str, candidates: Sequence[Candidate]) -> str:
    """Our new credentials and all our candidates, for the first section of the bundle."""
    lines = [
        "a=ice-lite",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{password}",
        f"m={kind} 9 UDP/TLS/RTP/SAVPF 0",
        *([f"a=mid:{mid}"] if mid else []),
        *candidate_lines(candidates),
    ]
    return "\r\n".join(lines) + "\r\n"
