"""Session addresses of WHIP and WHEP, `/s/{secret}`: trickle, ICE restart, end (RFC 9725 4.2, 4.3).

A session answers to the token it was opened with, and to no other. Sessions that have not connected yet are counted
per token: a client cannot fill the server with offers it never follows up (H33 of reliability.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import hdrs, web

from server.api.access import bearer_token
from server.api.problems import CORS, PREFLIGHT, problem
from server.api.table import Credential, Handler, Method, Route
from server.auth.tokens import device_of_token
from server.model.clock import Clock
from server.model.errors import BadRequest, BadSdp, FengsuiError, NotFound, Refused, TooMany
from server.model.ids import DeviceId, MediaSessionId
from server.model.ports import Answer, TrickleNode

log = structlog.get_logger("server.api.media_sessions")

SDP: Final = "application/sdp"
FRAGMENT: Final = "application/trickle-ice-sdpfrag"
MAX_OFFER: Final = 16 * 1024
MAX_FRAGMENT: Final = 8 * 1024
PENDING_TIME: Final = 15.0  # s after which media gives up a session that has not connected
WHY: Final = "whoever holds a token for it; which one is found out by Access, or by the session it opened"


class PreconditionRequired(FengsuiError):
    """A PATCH without If-Match (RFC 6585 3)."""

    code = "precondition_required"
    status = 428


class PreconditionFailed(FengsuiError):
    """A PATCH for an ICE generation that is over."""

    code = "precondition_failed"
    status = 412


@dataclass(slots=True)
class _Entry:
    token: bytes  # its SHA-256
    device: DeviceId | None  # whose token it is; None: a stream token
    etag: str
    opened: float
    connected: bool = False


class MediaSessions:
    """What was opened over HTTP and is still there. Give it the steps of sessions (`MediaListener.session_step`)."""

    def __init__(self, media: TrickleNode, clock: Clock, pending_per_token: int) -> None:
        self._media = media
        self._clock = clock
        self._pending_per_token = pending_per_token
        self._entries: dict[MediaSessionId, _Entry] = {}
        self._opening = Counter[bytes]()
        self._revoked = set[DeviceId]()
        self._close_now = asyncio.Event()

    def device_gone(self, device: DeviceId, reason: str) -> None:
        """Its token is worth nothing any more: what it opened ends."""
        self._revoked.add(device)
        self._close_now.set()

    async def run(self) -> None:
        """Close what revoked devices have opened, until cancelled."""
        while True:
            await self._close_now.wait()
            self._close_now.clear()
            revoked, self._revoked = self._revoked, set()
            for session in [one for one, entry in self._entries.items() if entry.device in revoked]:
                try:
                    await self._media.close(session, "revoked")
                except FengsuiError as error:
                    log.warning("a revoked device's session was not closed", error=str(error))

    def session_step(self, session: MediaSessionId, step: str, detail: str) -> None:
        if step in ("lost", "closed"):
            self._entries.pop(session, None)
        elif step == "dtls" and (entry := self._entries.get(session)) is not None:
            entry.connected = True

    @contextlib.contextmanager
    def opening(self, token: str) -> Iterator[None]:
        """Around the making of a session. Raises TooMany."""
        key = _hashed(token)
        oldest = self._clock.now() - PENDING_TIME
        pending = self._opening[key] + sum(
            entry.token == key and not entry.connected and entry.opened > oldest
            for entry in self._entries.values()
        )
        if pending >= self._pending_per_token:
            raise TooMany(
                f"this token has {pending} sessions that have not connected yet", retry_after=PENDING_TIME
            )
        self._opening[key] += 1
        try:
            yield
        finally:
            self._opening[key] -= 1
            if not self._opening[key]:
                del self._opening[key]

    def opened(self, token: str, answer: Answer) -> web.Response:
        """201 with the answer and where the session is from now on."""
        self._entries[answer.session] = _Entry(
            token=_hashed(token),
            device=device_of_token(token),
            etag=answer.etag,
            opened=self._clock.now(),
        )
        headers = {
            hdrs.LOCATION: f"/s/{answer.session}",
            hdrs.ETAG: f'"{answer.etag}"',
            "Accept-Patch": FRAGMENT,
            **CORS,
        }
        return web.Response(text=answer.sdp, status=201, content_type=SDP, headers=headers)

    def routes(self) -> tuple[Route, ...]:
        path = "/s/{secret:[A-Za-z0-9_-]{16,64}}"
        return (
            media_route("PATCH", path, self.patch, content=(FRAGMENT,), body_limit=MAX_FRAGMENT),
            media_route("DELETE", path, self.delete),
            media_route("GET", path, self.look),
            media_route("HEAD", path, self.look),
            media_route("OPTIONS", path, self.options),
        )

    async def patch(self, request: web.Request) -> web.Response:
        session, entry = self._own(request)
        condition = request.headers.get(hdrs.IF_MATCH, "").strip()
        if not condition:
            raise PreconditionRequired('a PATCH needs If-Match: the ETag, or "*" for an ICE restart')
        if condition != "*" and entry.etag not in _etags(condition):
            raise PreconditionFailed("this ICE generation is over")
        if request.content_type != FRAGMENT:
            raise BadRequest("the body is missing")
        restart = await self._media.trickle(session, await read_sdp(request))
        if restart is None:
            return web.Response(status=204, headers=CORS)
        entry.etag = restart.etag
        return web.Response(
            text=restart.fragment,
            content_type=FRAGMENT,
            headers={hdrs.ETAG: f'"{restart.etag}"', **CORS},
        )

    async def delete(self, request: web.Request) -> web.Response:
        session, _ = self._own(request)
        await self._media.close(session, "closed")
        return web.Response(status=200, headers=CORS)

    async def look(self, request: web.Request) -> web.Response:
        """204 as long as the session is there."""
        if MediaSessionId(request.match_info["secret"]) not in self._entries:
            raise NotFound("there is no such session")
        return web.Response(status=204, headers=CORS)

    async def options(self, request: web.Request) -> web.Response:
        return web.Response(status=200, headers={"Accept-Patch": FRAGMENT, **PREFLIGHT})

    def _own(self, request: web.Request) -> tuple[MediaSessionId, _Entry]:
        """The session of the address. Raises NotLoggedIn, NotFound, Refused (it was opened with another token)."""
        token = bearer_token(request)
        session = MediaSessionId(request.match_info["secret"])
        entry = self._entries.get(session)
        if entry is None:
            raise NotFound("there is no such session")
        if not hmac.compare_digest(entry.token, _hashed(token)):
            raise Refused("this session was opened with another token")
        return session, entry

    def statistics(self) -> dict[str, object]:
        pending = sum(not entry.connected for entry in self._entries.values())
        return {"sessions": len(self._entries), "pending": pending}


def media_route(
    method: Method,
    path: str,
    handler: Handler,
    *,
    content: tuple[str, ...] = (),
    body_limit: int = 0,
) -> Route:
    """A row for clients that show a token: no cookie is looked at, problems are told by RFC 9457."""
    return Route(
        method=method,
        path=path,
        handler=handler,
        action=None,
        credential=Credential.NONE,
        before_setup=True,
        content=content,
        body_limit=body_limit,
        why=WHY,
        problem=problem,
    )


async def read_sdp(request: web.Request) -> str:
    """Raises BadSdp when the body is not UTF-8."""
    try:
        return (await request.read()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadSdp("the body is not UTF-8") from error


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _etags(condition: str) -> set[str]:
    """The entity tags of an If-Match header (RFC 9110 13.1.1); weak ones match nothing."""
    return {part.strip()[1:-1] for part in condition.split(",") if part.strip().startswith('"')}
