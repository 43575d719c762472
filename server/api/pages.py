"""The console's pages as rows of the table: shells and assets, which carry nothing that needs a permission."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from server.api.middleware import SECRET, SESSION
from server.api.table import PUBLIC, Route
from server.auth.permissions import actions_of
from server.auth.tokens import csrf_token
from server.config import Config
from server.version import VERSION
from web_console.assets import FrontEnd
from web_console.views import PageState, PageUser, page_routes


def page_rows(
    app: web.Application, front_end: FrontEnd, config: Config, set_up: Callable[[], bool]
) -> tuple[Route, ...]:
    """Rows for `app`, whose templates this prepares."""

    async def state_of(request: web.Request) -> PageState:
        session = request.get(SESSION)
        return PageState(
            set_up=set_up(),
            user=PageUser(
                id=session.user_id, name=session.name, role=session.role, permissions=actions_of(session.role)
            )
            if session
            else None,
            csrf=csrf_token(request[SECRET]) if session else "",
            server_name=config.server.name,
            level=config.server.level,
            version=VERSION,
            language=config.server.language,
            password_min_length=config.auth.password_min_length,
            join_link_hours=config.auth.join_link_hours,
            max_join_link_hours=config.auth.max_join_link_hours,
        )

    return tuple(
        Route(method="GET", path=page.path, handler=page.handler, action=PUBLIC, before_setup=True)
        for page in page_routes(app, front_end, state_of)
    )
