"""Who may publish and watch by bearer token; what `server.auth` fulfils."""

from __future__ import annotations

from typing import Protocol

from aiohttp import hdrs, web

from server.model.errors import NotLoggedIn
from server.model.ids import DeviceId, StreamId


class Access(Protocol):
    """Both raise NotLoggedIn (no such token) and Refused (a token, but not for this: forbidden, revoked, expired)."""

    async def publisher(self, token: str, address: str, channel: str) -> tuple[DeviceId, StreamId]:
        """The device of a token, and the stream of its channel. Raises NotFound too (no such channel)."""

    async def viewer(self, token: str, stream: StreamId, address: str) -> None:
        """May this token watch the stream? Raises NotFound too (no such stream)."""


def bearer_token(request: web.Request) -> str:
    """The token of the Authorization header (RFC 6750 2.1). Raises NotLoggedIn."""
    kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    token = token.strip()
    if kind.lower() != "bearer" or not token:
        raise NotLoggedIn("send Authorization: Bearer with a token")
    return token
