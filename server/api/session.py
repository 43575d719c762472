"""Set-up, log-in, log-out and who I am."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from aiohttp import hdrs, web

from server.api.body import json_answer, read_json
from server.api.middleware import COOKIE, SECRET, SESSION, client_address
from server.api.table import PUBLIC, Route, required
from server.auth.audit import Audit
from server.auth.permissions import Action, Role, actions_of
from server.auth.sessions import Session, Sessions
from server.auth.setup import SetupCode
from server.auth.throttle import BackOff, Rate
from server.auth.tokens import csrf_token
from server.auth.users import AlreadySetUp, User, Users, canonical
from server.model.clock import Clock
from server.model.errors import NotLoggedIn, Refused, TooMany

log = structlog.get_logger("server.api.session")

BODY: Final = 4 * 1024


class WrongCode(Refused):
    code = "wrong_code"


class WrongCredentials(NotLoggedIn):
    code = "wrong_credentials"


class SetupRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    username: str
    password: str
    name: str = ""


class LoginRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    username: str
    password: str


class Me(msgspec.Struct, frozen=True, kw_only=True):
    """`csrf` goes into the header X-Fengsui-CSRF of every request that changes something."""

    id: str
    username: str
    name: str
    role: str
    permissions: tuple[str, ...]
    csrf: str


class SetupState:
    """Whether an administrator exists; once one does the code is dead. Kept true by `refresh`."""

    def __init__(self, users: Users, code: SetupCode, clock: Clock, show: Callable[[str], None]) -> None:
        self._users = users
        self._clock = clock
        self._show = show
        self.code = code
        self.done = False

    async def refresh(self) -> None:
        """Ask the database again. Raises StorageAway."""
        self.done = await self._users.admin_exists()
        if self.done:
            self.code.forget()

    def tick(self) -> None:
        """About once a second: show a new code when the old one is of no use any more."""
        if not self.done and (code := self.code.renew(self._clock.now())):
            self._show(code)


class SessionApi:
    """The handlers; `routes` is their part of the table."""

    def __init__(
        self,
        users: Users,
        sessions: Sessions,
        audit: Audit,
        setup: SetupState,
        clock: Clock,
        *,
        logins_per_minute: float,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._audit = audit
        self._setup = setup
        self._clock = clock
        self._rate = Rate(logins_per_minute)
        # An account's wait stays short, or anybody could lock its owner out; an address's grows.
        self._by_account = BackOff(free=5, longest=30.0)
        self._by_address = BackOff(free=5, longest=600.0)
        self._failed = 0

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(
                method="POST",
                path="/api/setup",
                handler=self.set_up,
                action=PUBLIC,
                csrf=True,
                before_setup=True,
                body_limit=BODY,
            ),
            Route(
                method="POST",
                path="/api/login",
                handler=self.log_in,
                action=PUBLIC,
                csrf=True,
                body_limit=BODY,
            ),
            Route(
                method="POST",
                path="/api/logout",
                handler=self.log_out,
                action=Action.SESSION_OWN,
                body_limit=BODY,
            ),
            Route(method="GET", path="/api/me", handler=self.me, action=Action.SESSION_OWN),
        )

    async def set_up(self, request: web.Request) -> web.Response:
        """Make the first administrator with the one-time code, and log in. Raises WrongCode, AlreadySetUp, ..."""
        wanted = await read_json(request, SetupRequest)
        address = client_address(request)
        self._hold_back(("setup",), address)
        if self._setup.done:
            raise AlreadySetUp("an administrator exists already: log in")
        if not self._setup.code.check(wanted.code, self._clock.now()):
            self._note_failure(("setup",), address)
            await self._audit.append(actor="nobody", action="setup", result="wrong_code", address=address)
            raise WrongCode("this is not the set-up code that the server shows now", field="code")
        user = await self._users.add(
            username=wanted.username,
            name=wanted.name,
            password=wanted.password,
            role=Role.ADMIN,
            actor="setup",
            address=address,
            first=True,
        )
        await self._setup.refresh()
        self._by_address.succeeded(address)
        log.info("set up", user=user.username, address=address)
        return await self._logged_in(request, user, address)

    async def log_in(self, request: web.Request) -> web.Response:
        """Raises WrongCredentials, TooMany."""
        wanted = await read_json(request, LoginRequest)
        address, account = client_address(request), canonical(wanted.username)
        self._hold_back(("account", account), address)
        user = await self._users.authenticate(wanted.username, wanted.password[:1024])
        if user is None:
            self._note_failure(("account", account), address)
            await self._audit.append(
                actor="nobody", action="login", object=account, result="wrong_credentials", address=address
            )
            raise WrongCredentials("user name or password is wrong")
        self._by_account.succeeded(":".join(("account", account)))
        self._by_address.succeeded(address)
        return await self._logged_in(request, user, address)

    async def log_out(self, request: web.Request) -> web.Response:
        session = request[SESSION]
        await self._sessions.end(session.id, "logged_out")
        await self._audit.append(
            actor=session.principal.actor, action="logout", object=session.id, address=client_address(request)
        )
        answer = json_answer({})
        answer.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    async def me(self, request: web.Request) -> web.Response:
        required(request)
        return json_answer(me_of(request[SESSION], request[SECRET]))

    async def _logged_in(self, request: web.Request, user: User, address: str) -> web.Response:
        """Always a new session id; one that the browser had before ends."""
        if (before := request.get(SESSION)) is not None:
            await self._sessions.end(before.id, "replaced")
        secret, session = await self._sessions.open(
            user, address=address, agent=request.headers.get(hdrs.USER_AGENT, "")
        )
        await self._audit.append(
            actor=session.principal.actor, action="login", object=session.id, address=address
        )
        answer = json_answer(me_of(session, secret))
        answer.set_cookie(COOKIE, secret, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    def _hold_back(self, key: tuple[str, ...], address: str) -> None:
        now = self._clock.now()
        account = ":".join(key)
        wait = max(
            self._by_account.wait(account, now),
            self._by_address.wait(address, now),
            self._rate.take(f"address {address}", now),
            self._rate.take(account, now),
        )
        if wait > 0:
            raise TooMany("too many tries; wait a little", retry_after=wait)

    def _note_failure(self, key: tuple[str, ...], address: str) -> None:
        now = self._clock.now()
        self._failed += 1
        self._by_account.failed(":".join(key), now)
        self._by_address.failed(address, now)
        log.warning("a log-in or set-up failed", address=address, account=key[-1])

    def statistics(self) -> dict[str, object]:
        return {"failed_total": self._failed, **self._rate.statistics()}


def me_of(session: Session, secret: str) -> Me:
    return Me(
        id=session.user_id,
        username=session.username,
        name=session.name,
        role=session.role,
        permissions=actions_of(session.role),
        csrf=csrf_token(secret),
    )
