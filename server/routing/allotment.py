"""Names that only control gives out: engine ids, SSRCs, ICE credentials, session secrets."""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass

from server.model.ids import MediaSessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCredentials:
    """A user fragment of 48 random bits and a password of 144 (RFC 8445 5.3 asks for 24 and 128)."""

    ufrag: str
    password: str


def ice_credentials() -> IceCredentials:
    return IceCredentials(ufrag=_ice_text(6), password=_ice_text(18))


def session_secret() -> MediaSessionId:
    """128 random bits: whoever knows it may change and close the session."""
    return MediaSessionId(secrets.token_urlsafe(16))


def _ice_text(size: int) -> str:
    return secrets.token_urlsafe(size).replace("-", "+").replace("_", "/")


class Allotment:
    """Ids are never used twice in a server's life; SSRCs only after they were given back."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._ssrcs: set[int] = set()

    def identity(self) -> int:
        return next(self._ids)

    def ssrc(self) -> int:
        """Random, not zero, and nobody else's (RFC 3550 8)."""
        while True:
            ssrc = secrets.randbits(32)
            if ssrc and ssrc not in self._ssrcs:
                self._ssrcs.add(ssrc)
                return ssrc

    def release(self, ssrc: int) -> None:
        self._ssrcs.discard(ssrc)

    def forget_ssrcs(self) -> None:
        """Nobody uses any: the media process is gone."""
        self._ssrcs.clear()

    def __len__(self) -> int:
        """SSRCs in use."""
        return len(self._ssrcs)


def first_sequence() -> int:
    """Below 2^15, so that a lost first packet cannot hide a rollover (RFC 3711 3.3.1)."""
    return secrets.randbits(15)


def first_timestamp() -> int:
    return secrets.randbits(32)
