"""POST /whip[/{channel}]: a device publishes (RFC 9725). The device follows from its token, the stream from both."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from server.api.access import Access, bearer_token
from server.api.media_sessions import MAX_OFFER, SDP, MediaSessions, media_route, read_sdp
from server.api.middleware import client_address
from server.api.problems import CORS, PREFLIGHT
from server.api.table import Route
from server.model.ports import TrickleNode

MAIN: Final = "main"  # the channel of a device that names none
PATHS: Final = ("/whip", "/whip/{channel:[A-Za-z0-9][A-Za-z0-9_.-]{0,31}}")


class Whip:
    def __init__(self, media: TrickleNode, access: Access, sessions: MediaSessions) -> None:
        self._media = media
        self._access = access
        self._sessions = sessions

    def routes(self) -> tuple[Route, ...]:
        rows = []
        for path in PATHS:
            rows += [
                media_route("POST", path, self.post, content=(SDP,), body_limit=MAX_OFFER),
                media_route("GET", path, self.look),
                media_route("HEAD", path, self.look),
                media_route("OPTIONS", path, self.options),
            ]
        return tuple(rows)

    async def post(self, request: web.Request) -> web.Response:
        token = bearer_token(request)
        channel = request.match_info.get("channel", MAIN)
        _, stream = await self._access.publisher(token, client_address(request), channel)
        with self._sessions.opening(token):
            answer = await self._media.publish(stream, await read_sdp(request), "whip")
        return self._sessions.opened(token, answer)

    async def look(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=CORS)

    async def options(self, request: web.Request) -> web.Response:
        """Accept-Post, and the answer to a preflight; neither needs a token."""
        return web.Response(status=200, headers={"Accept-Post": SDP, **PREFLIGHT})
