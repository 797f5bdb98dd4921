"""JSON answers, and JSON bodies of requests."""

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from trimtab_fakecloud.errors import BadRequest


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(
        orjson.dumps(content),
        status_code=status,
        headers=dict(headers or {}),
        media_type="application/json",
    )


def empty(status: int = 202) -> Response:
    """An answer without a body."""
    return Response(status_code=status)


async def json_object(request: Request) -> dict[str, Any]:
    """The body, which must be a JSON object.

    Raises:
        BadRequest: it is not.
    """
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError:
        raise BadRequest("There is no such action: malformed request body") from None
    if not isinstance(body, dict):
        raise BadRequest("Malformed request body")
    return body
