"""POST /whep/{stream}: a player watches a stream that is live (draft-ietf-wish-whep); 409 when it is not."""

from __future__ import annotations

from typing import Final

from aiohttp import hdrs, web

from server.api.access import Access, bearer_token
from server.api.media_sessions import MAX_OFFER, SDP, MediaSessions, media_route, read_sdp
from server.api.middleware import client_address
from server.api.problems import CORS, PREFLIGHT
from server.api.table import Route
from server.model.ids import StreamId
from server.model.ports import TrickleNode

PATH: Final = "/whep/{stream:[A-Za-z0-9][A-Za-z0-9@_.-]{0,63}}"


class Whep:
    def __init__(self, media: TrickleNode, access: Access, sessions: MediaSessions) -> None:
        self._media = media
        self._access = access
        self._sessions = sessions

    def routes(self) -> tuple[Route, ...]:
        return (
            media_route("POST", PATH, self.post, content=(SDP,), body_limit=MAX_OFFER),
            media_route("GET", PATH, self.get),
            media_route("HEAD", PATH, self.head),
            media_route("OPTIONS", PATH, self.options),
        )

    async def post(self, request: web.Request) -> web.Response:
        token = bearer_token(request)
        stream = StreamId(request.match_info["stream"])
        await self._access.viewer(token, stream, client_address(request))
        with self._sessions.opening(token):
            answer = await self._media.play(stream, await read_sdp(request))
        return self._sessions.opened(token, answer)

    async def get(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers=CORS)

    async def head(self, request: web.Request) -> web.Response:
        """Says that this is a WHEP endpoint, whether or not there is such a stream."""
        return web.Response(status=200, headers={hdrs.CONTENT_TYPE: SDP, **CORS})

    async def options(self, request: web.Request) -> web.Response:
        """Accept-Post, and the answer to a preflight; neither needs a token."""
        return web.Response(status=200, headers={"Accept-Post": SDP, **PREFLIGHT})
