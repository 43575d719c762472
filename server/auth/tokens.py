"""Secrets that machines carry: device tokens, stream tokens, join links, session cookies.

Each begins by what it is; random parts have >= 128 bits; what is stored is a SHA-256 (the secrets are random, so a slow
hash would add nothing). No JWT: a stream token names its key, never its algorithm.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from typing import Final, Literal

import msgspec

from server.model.clock import Clock
from server.model.errors import NotLoggedIn, Refused
from server.model.ids import DeviceId, StreamId

DEVICE_TOKEN: Final = re.compile(r"fsd_([0-9a-f-]{36})_([\w-]{43})", re.ASCII)
STREAM_TOKEN: Final = "fst1."  # noqa: S105 - how one begins
MAX_TOKEN: Final = 1024  # characters looked at

KEY_LIFE: Final = 3600.0  # s until a new key signs stream tokens
STREAM_TOKEN_LIFE: Final = 300.0  # s, the longest
Direction = Literal["publish", "play"]


def hashed(secret: str) -> str:
    """What is stored of a random secret: SHA-256 in hex."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def new_device_token(device: DeviceId) -> str:
    """Shown once; store `hashed` of it."""
    return f"fsd_{device}_{secrets.token_urlsafe(32)}"


def device_of_token(token: str) -> DeviceId | None:
    """The device that a token claims to be for; None when it is no device token at all. Proves nothing."""
    found = DEVICE_TOKEN.fullmatch(token[:MAX_TOKEN])
    return DeviceId(found.group(1)) if found else None


def new_link_secret() -> str:
    """A join link's: 16 random bytes."""
    return secrets.token_urlsafe(16)


def new_session_secret() -> str:
    """A log-in session's cookie: 32 random bytes."""
    return secrets.token_urlsafe(32)


def csrf_token(session_secret: str) -> str:
    """The token that our pages send in a header; derived, so it needs no place of its own."""
    return _encode(hmac.digest(session_secret.encode(), b"fengsui csrf", "sha256"))


class StreamGrant(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What a stream token allows: one stream, one direction, until `expires` (steady clock, s)."""

    stream: StreamId
    direction: Direction
    expires: float
    device: DeviceId


class StreamTokens:
    """Issues and checks `fst1.<kid>.<payload>.<HMAC-SHA256>`.

    Keys live in memory and change every hour; the one before is still accepted for as long as its tokens live.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, tuple[bytes, float]] = {}  # kid -> key, made when; the newest is last

    def issue(
        self, stream: StreamId, direction: Direction, device: DeviceId, life: float = STREAM_TOKEN_LIFE
    ) -> str:
        """A token for at most 5 minutes."""
        now = self._clock.steady()
        kid, key = self._signing_key(now)
        grant = StreamGrant(
            stream=stream, direction=direction, expires=now + min(life, STREAM_TOKEN_LIFE), device=device
        )
        body = f"fst1.{kid}.{_encode(msgspec.json.encode(grant))}"
        return f"{body}.{_encode(hmac.digest(key, body.encode(), 'sha256'))}"

    def grant(self, token: str) -> StreamGrant:
        """What `token` grants now. Raises NotLoggedIn (not ours), Refused (`expired`)."""
        now = self._clock.steady()
        parts = token[:MAX_TOKEN].split(".")
        if len(parts) != 4 or parts[0] != "fst1" or not token.isascii():
            raise NotLoggedIn("this is no stream token")
        key, _ = self._keys.get(parts[1], (b"", 0.0))
        body = ".".join(parts[:3])
        made = hmac.digest(key or b"-", body.encode(), "sha256")
        if not hmac.compare_digest(_encode(made), parts[3]) or not key:
            raise NotLoggedIn("this stream token was not made here")
        try:
            grant = msgspec.json.decode(_decode(parts[2]), type=StreamGrant)
        except (msgspec.DecodeError, ValueError) as error:
            raise NotLoggedIn("this stream token is broken") from error
        if now >= grant.expires:
            raise Refused("this stream token has expired", code="expired")
        return grant

    def check(self, token: str, stream: StreamId, direction: Direction) -> StreamGrant:
        """The same, for this stream in this direction. Raises as `grant`, Refused (for something else)."""
        grant = self.grant(token)
        if grant.stream != stream or grant.direction != direction:
            raise Refused("this stream token is for another stream or direction")
        return grant

    def _signing_key(self, now: float) -> tuple[str, bytes]:
        for kid in [
            kid for kid, (_, made) in self._keys.items() if now - made > KEY_LIFE + STREAM_TOKEN_LIFE
        ]:
            del self._keys[kid]
        if self._keys:
            kid, (key, made) = list(self._keys.items())[-1]
            if now - made <= KEY_LIFE:
                return kid, key
        kid, key = secrets.token_urlsafe(6), secrets.token_bytes(32)
        self._keys[kid] = (key, now)
        return kid, key


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
