"""Errors as WHIP and WHEP clients get them: problem JSON (RFC 9457), readable from pages of other origins.

Only these routes may be used across origins: they take no cookie, so a foreign page can do nothing with them that the
token it holds does not allow anyway.
"""

from __future__ import annotations

import http
import math
from typing import Final

import msgspec
from aiohttp import hdrs, web

from server.model.errors import FengsuiError

CORS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Patch, Accept-Post, ETag, Link, Location, Retry-After",
}
PREFLIGHT: Final = {
    **CORS,
    "Access-Control-Allow-Methods": "DELETE, GET, HEAD, OPTIONS, PATCH, POST",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "86400",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """RFC 9457 3.1, with our stable code, the part of the input it is about, and seconds to wait."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str = ""
    retry_after: float = 0.0


def problem(error: FengsuiError) -> web.Response:
    """The answer for an error of a WHIP or WHEP request."""
    headers = dict(CORS)
    if error.retry_after > 0:
        headers[hdrs.RETRY_AFTER] = str(math.ceil(error.retry_after))
    if error.status == 401:
        headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="fengsui"'
    body = Problem(
        type=f"urn:fengsui:error:{error.code}",
        title=http.HTTPStatus(error.status).phrase,
        status=error.status,
        detail=str(error),
        code=error.code,
        field=error.field,
        retry_after=round(error.retry_after, 1),
    )
    return web.Response(
        body=msgspec.json.encode(body),
        status=error.status,
        headers=headers,
        content_type="application/problem+json",
    )
