"""The gate in front of every handler: limits, row of the table, set-up, credential, permission, CSRF, body; and what
every answer carries.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from server.api.listener import plain_address
from server.api.origins import Origins
from server.api.table import PRINCIPAL, PUBLIC, Credential, Handler, Route, Table
from server.auth.permissions import Principal, require
from server.auth.sessions import Session, Sessions
from server.auth.throttle import Rate
from server.auth.tokens import csrf_token
from server.model.clock import Clock
from server.model.errors import BadRequest, FengsuiError, NotLoggedIn, Refused, TooLarge, TooMany

COOKIE: Final = "__Host-fengsui"
CSRF_HEADER: Final = "X-Fengsui-CSRF"
SECRET: Final[web.RequestKey[str]] = web.RequestKey("session_secret", str)
SESSION: Final[web.RequestKey[Session]] = web.RequestKey("session", Session)

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob: mediastream:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": (
        "camera=(self), microphone=(self), geolocation=(self), fullscreen=(self), screen-wake-lock=(self), "
        "autoplay=(self), speaker-selection=(self), window-management=(self), display-capture=(), usb=(), "
        "serial=(), payment=(), browsing-topics=()"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

log = structlog.get_logger("server.api")


class NotSetUp(Refused):
    """No administrator exists yet; only set-up and provisioned devices are answered."""

    code = "not_set_up"


class ConnectionGuard(Protocol):
    """The listener, as the gate needs it."""

    def begin(self, handler: object) -> None: ...

    def end(self, handler: object, *, whole: bool) -> None: ...


def client_address(request: web.BaseRequest) -> str:
    """The peer's address; headers of proxies are not believed."""
    return plain_address(request.remote or "")


def problem(error: FengsuiError) -> web.Response:
    """The answer for an error: {"error": {code, message, field, retryAfter}}."""
    body: dict[str, object] = {"code": error.code, "message": str(error)}
    if error.field:
        body["field"] = error.field
    headers = {}
    if error.retry_after > 0:
        body["retryAfter"] = round(error.retry_after, 1)
        headers["Retry-After"] = str(max(1, round(error.retry_after + 0.49)))
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="fengsui"'
    return web.json_response({"error": body}, status=error.status, headers=headers, dumps=_dumps)


def _dumps(value: object) -> str:
    return msgspec.json.encode(value).decode()


class Gate:
    """`middleware` for the application; `guard` is set once the listener exists."""

    def __init__(
        self,
        table: Table,
        sessions: Sessions,
        origins: Origins,
        clock: Clock,
        *,
        set_up: Callable[[], bool],
        requests_per_minute: float,
        body_timeout: float,
    ) -> None:
        self.guard: ConnectionGuard | None = None
        self._table = table
        self._sessions = sessions
        self._origins = origins
        self._clock = clock
        self._set_up = set_up
        self._rate = Rate(requests_per_minute)
        self._body_timeout = body_timeout
        self._requests = 0
        self._refused: dict[str, int] = {}
        self._failed = 0

    def install(self, app: web.Application) -> None:
        app.middlewares.append(self._middleware())
        app.on_response_prepare.append(_secure)

    def _middleware(self) -> Middleware:
        @web.middleware
        async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._requests += 1
            if self.guard:
                self.guard.begin(request.protocol)
            try:
                return await self._answer(request, handler)
            finally:
                if self.guard:
                    self.guard.end(request.protocol, whole=request.content.at_eof())

        return gate

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        row = self._table.row(request.match_info.route)
        tell = row.problem if row is not None and row.problem is not None else problem
        try:
            await self._check(request)
            return await handler(request)
        except FengsuiError as error:
            self._refused[error.code] = self._refused.get(error.code, 0) + 1
            answer = tell(error)
        except web.HTTPException as error:
            if error.status < 400:
                raise
            answer = tell(_of_http(error))
            for name in (hdrs.ALLOW,):
                if name in error.headers:
                    answer.headers[name] = error.headers[name]
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            self._failed += 1
            log.exception("a request failed", method=request.method, path=request.path)
            answer = tell(FengsuiError("this is a fault of the server; it was logged"))
        if request.can_read_body and not request.content.at_eof():
            answer.force_close()  # a body that nobody will read
        return answer

    async def _check(self, request: web.Request) -> None:
        wait = self._rate.take(client_address(request), self._clock.now())
        if wait:
            raise TooMany("too many requests from this address", retry_after=wait)
        if sum(len(name) + len(value) + 4 for name, value in request.raw_headers) > 16 * 1024:
            raise TooLarge("the request's head is too large")
        row = self._table.row(request.match_info.route)
        if row is None:
            if request.match_info.http_exception is not None:
                raise request.match_info.http_exception
            raise Refused("this route is in no table")
        if not self._set_up() and not row.before_setup:
            raise NotSetUp("no administrator exists yet: open /setup")
        who = self._who(request, row)
        if who is not None:
            request[PRINCIPAL] = who
        if row.action is not None and row.action != PUBLIC:
            if who is None:
                raise NotLoggedIn("log in first")
            require(who, row.action)
        if row.checks_csrf:
            self._check_origin(request, logged_in=who is not None)
        await self._read_body(request, row)

    def _who(self, request: web.Request, row: Route) -> Principal | None:
        if row.credential is Credential.NONE:
            return None
        secret = request.cookies.get(COOKIE, "")
        session = self._sessions.find(secret) if secret else None
        if session is None:
            return None
        request[SECRET] = secret
        request[SESSION] = session
        return session.principal

    def _check_origin(self, request: web.Request, *, logged_in: bool) -> None:
        """A state-changing request must come from one of our own pages."""
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        if site != "same-origin" or not self._origins.allows(request.headers.get(hdrs.ORIGIN)):
            raise Refused(
                "this request did not come from a page of this server; if its address is right, add the name to "
                "tls.names or http.public_url"
            )
        if logged_in:
            sent = request.headers.get(CSRF_HEADER, "")
            if not _same(sent, csrf_token(request[SECRET])):
                raise Refused(f"the header {CSRF_HEADER} is missing or wrong")

    async def _read_body(self, request: web.Request, row: Route) -> None:
        if not request.can_read_body:
            return
        if row.method in ("GET", "HEAD", "OPTIONS"):
            raise BadRequest("this request has no use for a body")
        if hdrs.CONTENT_ENCODING in request.headers:
            raise _UnsupportedBody("bodies are taken uncompressed only")
        if request.content_type not in row.content:
            raise _UnsupportedBody(f"the body must be {' or '.join(row.content)}, not {request.content_type}")
        if request.content_length is not None and request.content_length > row.body_limit:
            raise TooLarge(f"the body may have {row.body_limit} bytes")
        try:
            async with asyncio.timeout(self._body_timeout):
                body = await request.read()
        except TimeoutError as error:
            raise _SlowBody("the body did not arrive in time") from error
        except web.HTTPRequestEntityTooLarge as error:
            raise TooLarge(f"the body may have {row.body_limit} bytes") from error
        if len(body) > row.body_limit:
            raise TooLarge(f"the body may have {row.body_limit} bytes")

    def statistics(self) -> dict[str, object]:
        refused = {f"refused_{code}_total": count for code, count in sorted(self._refused.items())}
        return {"requests_total": self._requests, "failed_total": self._failed, **refused}


class _UnsupportedBody(BadRequest):
    status = 415


class _SlowBody(BadRequest):
    status = 408


class _HttpError(FengsuiError):
    pass


_HTTP_CODES: Final = {404: "not_found", 405: "bad_request", 413: "too_large"}


def _of_http(error: web.HTTPException) -> FengsuiError:
    made = _HttpError(error.reason, code=_HTTP_CODES.get(error.status, "bad_request"))
    made.status = error.status
    return made


def _same(sent: str, wanted: str) -> bool:
    return hmac.compare_digest(sent.encode(), wanted.encode())


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop(hdrs.SERVER, None)
