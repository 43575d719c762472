"""Every HTTP route is a row with the action it requires; there is no other way to be served.

`Table.install` puts the rows into the application and the gate of `server.api.middleware` refuses whatever was
resolved without a row. What a handler can count on when it is called:

- the body is there (`await request.read()` returns at once), at most `body_limit` bytes, of a type in `content`;
- `principal(request)` is allowed the `action`; for `PUBLIC` it is who came, or None;
- with `csrf` the request came from one of our own pages: Origin, Sec-Fetch-Site and the session's token were checked;
- a `FengsuiError` it raises becomes {"error": {code, message, field, retryAfter}} with the error's status, unless the
  row tells problems its own way.

Handlers answer; they set no cookie and no security header except through `server.api`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from aiohttp import web

from server.auth.permissions import Action, Principal
from server.model.errors import FengsuiError, NotLoggedIn

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

PUBLIC: Final = "public"
PRINCIPAL: Final[web.RequestKey[Principal]] = web.RequestKey("principal", Principal)


class Credential(StrEnum):
    """How a caller of a route proves who it is; the other kinds are not even looked at."""

    COOKIE = "cookie"  # a person's log-in session
    NONE = "none"  # a machine's token in Authorization: the handler looks at it itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row. `path` as aiohttp writes it, e.g. "/whep/{stream}".

    `action` None = the handler finds out by itself whether the caller may, because the right hangs on a secret in the
    address or in the first message; each such row says so in `why`. `csrf` None = yes when the method changes state and
    the credential is a cookie. `before_setup`: answers also while no administrator exists. `content`: media types that
    a body may have. `problem`: how errors are told where a standard has its own way; None = the JSON of our own pages.
    """

    method: Method
    path: str
    handler: Handler
    action: Action | Literal["public"] | None
    credential: Credential = Credential.COOKIE
    csrf: bool | None = None
    before_setup: bool = False
    content: tuple[str, ...] = ("application/json",)
    body_limit: int = 64 * 1024
    why: str = ""
    problem: Callable[[FengsuiError], web.Response] | None = None

    def __post_init__(self) -> None:
        if self.action is None and not self.why:
            raise ValueError(f"{self.method} {self.path} requires no action and does not say why")

    @property
    def checks_csrf(self) -> bool:
        if self.csrf is not None:
            return self.csrf
        return self.credential is Credential.COOKIE and self.method not in ("GET", "OPTIONS")


class Table:
    """The rows of one application."""

    def __init__(self, rows: Iterable[Route]) -> None:
        self.rows = tuple(rows)
        self._by_route: dict[web.AbstractRoute, Route] = {}

    def install(self, app: web.Application) -> None:
        """Raises ValueError when a row is there twice."""
        seen = set()
        for row in self.rows:
            if (row.method, row.path) in seen:
                raise ValueError(f"{row.method} {row.path} is in the table twice")
            seen.add((row.method, row.path))
            if row.method == "GET":
                added = app.router.add_get(row.path, row.handler, allow_head=False)
            else:
                added = app.router.add_route(row.method, row.path, row.handler)
            self._by_route[added] = row

    def row(self, route: web.AbstractRoute) -> Route | None:
        """The row that was resolved, None for one that came from elsewhere."""
        return self._by_route.get(route)


def principal(request: web.Request) -> Principal | None:
    """Who asks; None only on PUBLIC rows and those with their own check."""
    return request.get(PRINCIPAL)


def required(request: web.Request) -> Principal:
    """Who asks. Raises NotLoggedIn."""
    found = principal(request)
    if found is None:
        raise NotLoggedIn("log in first")
    return found
