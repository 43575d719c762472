"""/live, /ready, /metrics and /ca.

/live: the process answers. /ready: it can do its work now; which part cannot is told to everybody, why only in the log
and on /health. /metrics needs an administrator's session or the bearer token in the data folder: loopback is no
credential.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import hdrs, web

from server.api.body import json_answer
from server.api.middleware import SESSION
from server.api.table import PUBLIC, Route
from server.auth.permissions import Action, require
from server.metrics import CONTENT_TYPE, Metrics
from server.model.errors import NotFound, NotLoggedIn
from server.tls import Tls

READY_TIMEOUT: Final = 2.0

ReadyCheck = Callable[[], Awaitable[str]]  # "" = ready, else one word why not


class HealthApi:
    """`checks`: what must be well to be ready, by name. `metrics_token`: the file with the scraper's secret."""

    def __init__(
        self, metrics: Metrics, checks: Mapping[str, ReadyCheck], tls: Tls, metrics_token: Path
    ) -> None:
        self._metrics = metrics
        self._checks = checks
        self._tls = tls
        self._metrics_token = metrics_token

    def routes(self) -> tuple[Route, ...]:
        return (
            Route(method="GET", path="/live", handler=self.live, action=PUBLIC, before_setup=True),
            Route(method="GET", path="/ready", handler=self.ready, action=PUBLIC, before_setup=True),
            Route(method="GET", path="/ca", handler=self.ca, action=PUBLIC, before_setup=True),
            Route(
                method="GET",
                path="/metrics",
                handler=self.metrics,
                action=None,
                why="a scraper has the metrics token, a person a session with metrics.read",
            ),
        )

    async def live(self, request: web.Request) -> web.Response:
        return json_answer({"live": True})

    async def ready(self, request: web.Request) -> web.Response:
        parts = {}
        for name, check in self._checks.items():
            try:
                async with asyncio.timeout(READY_TIMEOUT):
                    parts[name] = await check() or "ok"
            except TimeoutError:
                parts[name] = "slow"
        ready = all(state == "ok" for state in parts.values())
        return json_answer({"ready": ready, "parts": parts}, status=200 if ready else 503)

    async def ca(self, request: web.Request) -> web.Response:
        """The local CA's certificate, to be installed on phones and consoles."""
        pem = self._tls.ca_pem
        if pem is None:
            raise NotFound("this server uses a certificate of its operator")
        return web.Response(
            body=pem,
            content_type="application/x-x509-ca-cert",
            headers={hdrs.CONTENT_DISPOSITION: 'attachment; filename="fengsui-ca.crt"'},
        )

    async def metrics(self, request: web.Request) -> web.Response:
        kind, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        if kind.lower() == "bearer":
            wanted = await asyncio.to_thread(self._metrics_token.read_text)
            if not hmac.compare_digest(token.strip().encode(), wanted.strip().encode()):
                raise NotLoggedIn("this is not the metrics token")
        else:
            session = request.get(SESSION)
            if session is None:
                raise NotLoggedIn("log in first, or send the metrics token")
            require(session.principal, Action.METRICS_READ)
        return web.Response(body=self._metrics.text(), headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})
