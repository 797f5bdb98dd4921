"""Errors in Watcher's form: JSON inside JSON, or XML when the client prefers it (A §1.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from xml.sax.saxutils import escape

from trimtab_api.rest.render import dumps
from trimtab_api.rest.versions import MicroversionTooLow, NotAcceptable
from trimtab_common.domain.errors import Code, NotFound, TrimtabError

TRACEBACK = "Traceback (most recent call last):"
SERVER_ERRORS = 500


class MethodNotAllowed(TrimtabError):
    """The path exists, not with this method."""

    reason: ClassVar[str] = "METHOD_NOT_ALLOWED"
    code: ClassVar[Code] = Code.INVALID_ARGUMENT

    def __init__(self, method: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"The method {method} is not allowed for this resource.")
        self.allowed = allowed


class RouteNotFound(NotFound):
    """No resource stands at this path."""

    reason: ClassVar[str] = "ROUTE_NOT_FOUND"


class BodyTooLarge(TrimtabError):
    """The request is larger than [api]max_body_bytes."""

    reason: ClassVar[str] = "BODY_TOO_LARGE"
    code: ClassVar[Code] = Code.RESOURCE_EXHAUSTED


_STATUS_OF_CLASS: Mapping[type[TrimtabError], int] = {
    NotAcceptable: 406,
    MicroversionTooLow: 400,
    MethodNotAllowed: 405,
    BodyTooLarge: 413,
}
_STATUS_OF_CODE: Mapping[Code, int] = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 503,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 503,
    Code.INTERNAL: 500,
}


def status_of(error: TrimtabError) -> int:
    """The HTTP status of an error (A-016); a back end that is down is 503, never 502 (A-013)."""
    return _STATUS_OF_CLASS.get(type(error)) or _STATUS_OF_CODE[error.code]


def body_of(
    status: int, message: str, *, accept: str = "", debug: bool = False
) -> tuple[str, bytes]:
    """Content type and body of an error; a stack trace in the text is cut unless `debug`."""
    text = message if debug else message.partition(TRACEBACK)[0].rstrip()
    side = "Server" if status >= SERVER_ERRORS else "Client"
    fault = dumps({"faultcode": side, "faultstring": text, "debuginfo": None}).decode()
    if prefers_xml(accept):
        return "application/xml", f"<error_message>{escape(fault)}</error_message>".encode()
    return "application/json", dumps({"error_message": fault})


def prefers_xml(accept: str) -> bool:
    """Whether an Accept header ranks application/xml above application/json."""
    xml, json = _quality(accept, "application/xml"), _quality(accept, "application/json")
    return xml > json


def _quality(accept: str, media: str) -> float:
    """The q of the most specific range that covers `media`; 0 when none does."""
    kind = media.partition("/")[0]
    best = (-1, 0.0)
    for part in accept.lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        rank = {media: 2, f"{kind}/*": 1, "*/*": 0}.get(name)
        if rank is None:
            continue
        quality = 1.0
        for parameter in parameters:
            key, _, value = parameter.partition("=")
            if key.strip() == "q":
                try:
                    quality = float(value)
                except ValueError:
                    quality = 0.0
        best = max(best, (rank, quality))
    return best[1]
