"""Cross-origin requests of web pages, for the origins that the operator names (A-012)."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab_api.rest.request import RestRequest, RestResponse

METHODS = "GET, PUT, POST, DELETE, PATCH"
ALLOW_HEADERS = (
    "Content-Type, X-Auth-Token, X-Show-Deleted, OpenStack-API-Version, X-OpenStack-Request-ID"
)
EXPOSE_HEADERS = (
    "X-Auth-Token, X-OpenStack-Request-ID, OpenStack-API-Version, OpenStack-API-Minimum-Version, "
    "OpenStack-API-Maximum-Version, Location"
)
MAX_AGE_S = "3600"
Headers = tuple[tuple[str, str], ...]


def preflight(request: RestRequest, allowed: Sequence[str]) -> RestResponse | None:
    """The answer to a browser's question before the request; None when this is none."""
    if request.method != "OPTIONS" or "access-control-request-method" not in request.headers:
        return None
    shared = headers(request, allowed)
    if not shared:
        return None
    answers = (
        ("access-control-allow-methods", METHODS),
        ("access-control-allow-headers", ALLOW_HEADERS),
        ("access-control-max-age", MAX_AGE_S),
    )
    return RestResponse(status=204, headers=(*shared, *answers))


def headers(request: RestRequest, allowed: Sequence[str]) -> Headers:
    """What lets a page of an allowed origin read the answer; nothing for any other."""
    origin = request.headers.get("origin")
    if not origin or not ({origin, "*"} & set(allowed)):
        return ()
    return (
        ("access-control-allow-origin", origin),
        ("access-control-expose-headers", EXPOSE_HEADERS),
    )
