"""What Nova's handlers read from a request: version, limits, links, filters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

from trimtab_fakecloud.clock import parse_iso
from trimtab_fakecloud.errors import BadRequest
from trimtab_fakecloud.rest.gate import version_of
from trimtab_fakecloud.rest.keystone import base_url

T = TypeVar("T")
_TRUE = frozenset({"1", "t", "true", "on", "y", "yes"})
_FALSE = frozenset({"0", "f", "false", "off", "n", "no"})


def at_least(request: Request, minor: int) -> bool:
    """The microversion is 2.``minor`` or later."""
    return version_of(request) >= (2, minor)


def api_url(request: Request, path: str) -> str:
    """The absolute URL of something under /v2.1."""
    return f"{base_url(request)}/compute/v2.1/{path}"


def links(request: Request, path: str) -> list[dict[str, str]]:
    """The two links that Nova gives of a resource."""
    return [
        {"rel": "self", "href": api_url(request, path)},
        {"rel": "bookmark", "href": f"{base_url(request)}/compute/{path}"},
    ]


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted."""

    limit: int
    marker: str | None

    def next_link(
        self, request: Request, path: str, shown: Sequence[Mapping[str, Any]], key: str = "id"
    ) -> list[dict[str, str]]:
        """The link to the rest; Nova gives it whenever the page is full."""
        if not shown or len(shown) < self.limit:
            return []
        query = {**request.query_params, "marker": str(shown[-1][key])}
        return [{"rel": "next", "href": f"{api_url(request, path)}?{urlencode(query)}"}]


def page_of(request: Request, page_limit: int) -> Page:
    """The limit and marker of a request.

    Raises:
        BadRequest: the limit is no number of at least 0.
    """
    wanted = request.query_params.get("limit")
    if wanted is not None and not wanted.isdecimal():
        raise BadRequest(
            f"Invalid input for query parameters limit. Value: {wanted}. "
            f"'{wanted}' does not match '^[0-9]*$'"
        )
    # 0 means "as many as allowed", in Nova
    limit = min(int(wanted or 0) or page_limit, page_limit)
    return Page(limit, request.query_params.get("marker"))


def after_marker(items: Sequence[T], page: Page, key: str) -> Sequence[T]:
    """The items behind the marker.

    Raises:
        BadRequest: there is no such item.
    """
    if page.marker is None:
        return items
    for index, item in enumerate(items):
        if str(getattr(item, key)) == page.marker:
            return items[index + 1 :]
    raise BadRequest(f"marker [{page.marker}] not found")


def boolean(value: str | None, name: str) -> bool:
    """A flag in a query; absent is False.

    Raises:
        BadRequest: it is no flag.
    """
    if value is None:
        return False
    if value.lower() in _TRUE:
        return True
    if value.lower() in _FALSE:
        return False
    raise BadRequest(f"Invalid input for query parameters {name}. Value: {value}.")


def moment(request: Request, name: str) -> float | None:
    """A time in a query, in seconds since the epoch.

    Raises:
        BadRequest: it is no time.
    """
    value = request.query_params.get(name)
    if value is None:
        return None
    try:
        return parse_iso(value)
    except ValueError:
        raise BadRequest(
            f"Invalid input for query parameters {name}. Value: {value}. "
            f"'{value}' is not a 'date-time'"
        ) from None
