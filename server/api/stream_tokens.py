"""POST /api/streams/{stream}/token: an officer lets something without an account watch or publish one stream."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from server.api.body import json_answer, read_json
from server.api.middleware import client_address
from server.api.table import Route, required
from server.auth.access import TokenAccess
from server.auth.audit import Audit
from server.auth.permissions import Action, require
from server.auth.tokens import STREAM_TOKEN_LIFE, Direction
from server.model.ids import StreamId

# What somebody must be allowed to hand on the right to do a thing: letting somebody publish is like a join link.
HANDED_ON: Final[dict[Direction, Action]] = {"play": Action.STREAM_WATCH, "publish": Action.LINK_CREATE}


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    direction: Direction


class TokenIssued(msgspec.Struct, frozen=True, kw_only=True):
    """`seconds`: within which a connection must begin; it may last longer."""

    token: str
    seconds: float


class StreamTokenApi:
    def __init__(self, access: TokenAccess, audit: Audit) -> None:
        self._access = access
        self._audit = audit

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/streams/{stream:[A-Za-z0-9-]{1,64}}/token",
                handler=self.issue,
                action=Action.STREAM_WATCH,
                body_limit=1024,
            ),
        )

    async def issue(self, request: web.Request) -> web.Response:
        """Raises Refused, NotFound, StorageAway."""
        who = required(request)
        wanted = await read_json(request, TokenRequest)
        require(who, HANDED_ON[wanted.direction])
        stream = StreamId(request.match_info["stream"])
        token = await self._access.issue(stream, wanted.direction)
        await self._audit.append(
            actor=who.actor,
            action="stream.token",
            object=stream,
            address=client_address(request),
            detail=wanted.direction,
        )
        return json_answer(TokenIssued(token=token, seconds=STREAM_TOKEN_LIFE))
