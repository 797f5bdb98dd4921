"""The errors of OpenStack's APIs as ours.

400 → InvalidArgument   401 → Unauthenticated   403 → PermissionDenied   404 → NotFound
409 → Conflict   429, 5xx → Unavailable   anything else → CloudRefused
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from trimtab_common.domain.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TrimtabError,
    Unauthenticated,
    Unavailable,
)

_SERVER_ERROR = 500
_BY_STATUS: dict[int, type[TrimtabError]] = {
    400: InvalidArgument,
    401: Unauthenticated,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    429: Unavailable,
}


class CloudRefused(FailedPrecondition):
    """A service of the cloud refused in a way that has no class of its own."""

    reason = "CLOUD_REFUSED"


def from_status(status: int, body: Any, what: str) -> TrimtabError:
    """The error for an answer of 400 and above, with the service's own words."""
    kind = Unavailable if status >= _SERVER_ERROR else _BY_STATUS.get(status, CloudRefused)
    words = _message(body)
    return kind(f"{what}: {status}{': ' if words else ''}{words}", http_status=str(status))


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Turns an answer without the expected fields into CloudRefused, which names what was read."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CloudRefused(
            f"{what}: the answer is not what the API promises ({type(error).__name__}: {error})."
        ) from error


def _message(body: Any) -> str:
    """Nova wraps {"badRequest": {"message"}}, Placement lists {"errors": [{"detail"}]}."""
    if isinstance(body, dict):
        for value in body.values():
            if isinstance(value, dict) and isinstance(value.get("message"), str):
                return str(value["message"])
            if isinstance(value, list) and value and isinstance(value[0], dict):
                return str(value[0].get("detail") or value[0].get("title") or "")
        return ""
    return body[:200] if isinstance(body, str) else ""
