"""JSON in and out of handlers."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from aiohttp import web

from server.model.errors import BadRequest

Model = TypeVar("Model")


async def read_json(request: web.Request, model: type[Model]) -> Model:
    """The body as `model`. Raises BadRequest with what is wrong."""
    try:
        return msgspec.json.decode(await request.read(), type=model)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # ValueError: not UTF-8
        raise BadRequest(f"the body is no JSON: {error}") from error


def json_answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
