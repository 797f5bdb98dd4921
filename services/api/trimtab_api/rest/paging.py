"""Query parameters of listings and the link to the next page (A §1.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote

from trimtab_api import idents
from trimtab_api.rest.bodies import invalid
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Resource

LISTING = frozenset({"marker", "limit", "sort_key", "sort_dir"})
DEFAULT_SORT_KEY = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageQuery:
    """A listing as asked for. `filters`: the query parameters that the resource declares."""

    limit: int
    marker: str | None
    sort_key: str
    sort_dir: Literal["asc", "desc"]
    filters: Mapping[str, str]

    def next_link(self, base: str, marker: str) -> str:
        """The next page: the same order and filters, after `marker` (A-024, A-025)."""
        kept = "".join(f"{name}={quote(value)}&" for name, value in self.filters.items())
        order = f"sort_key={self.sort_key}&sort_dir={self.sort_dir}&"
        return f"{base}?{order}{kept}limit={self.limit}&marker={marker}"


def refuse_unknown(query: Mapping[str, str], known: frozenset[str]) -> None:
    """InvalidArgument for a parameter that the endpoint does not declare (A-029)."""
    for name in query:
        if name not in known:
            raise InvalidArgument(f'Unknown argument: "{name}"')


def parse(resource: Resource, query: Mapping[str, str], *, max_limit: int) -> PageQuery:
    """The page asked for, of parameters that the route declares; InvalidArgument names a wrong one."""
    sort_key = query.get("sort_key", DEFAULT_SORT_KEY)
    if sort_key not in resource.sort_keys | frozenset(resource.page_sort_keys):
        raise InvalidArgument(f"Sort key {sort_key} is not valid for {resource.plural}.")
    sort_dir = query.get("sort_dir", "asc")
    if sort_dir not in ("asc", "desc"):
        raise InvalidArgument(f"Invalid sort direction: {sort_dir}. Acceptable values: asc, desc")
    return PageQuery(
        limit=_limit(query.get("limit"), max_limit),
        marker=query.get("marker"),
        sort_key=sort_key,
        sort_dir=cast("Literal['asc', 'desc']", sort_dir),
        filters={
            name: _filter(resource, name, query[name]) for name in resource.filters if name in query
        },
    )


def sorted_within_page(records: Sequence[Any], page: PageQuery) -> list[Any]:
    """By a joined name, ties by uuid; None first (A-028)."""

    def key(record: Any) -> tuple[str, str]:
        return (getattr(record, page.sort_key) or "", record.uuid)

    return sorted(records, key=key, reverse=page.sort_dir == "desc")


def _limit(text: str | None, max_limit: int) -> int:
    if text is None:
        return max_limit
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise invalid("limit", text, "It must be an integer.")
    digits = digits.lstrip("0")
    if not digits or text.startswith("-"):
        raise InvalidArgument("Limit must be positive")
    return max_limit if len(digits) > _MAX_DIGITS else min(int(digits), max_limit)


_MAX_DIGITS = 18
"""Longer numbers are above any limit without being read."""


def takes_uuid(resource: Resource, parameter: str) -> bool:
    """Whether a filter is by the uuid of another resource, and by nothing else."""
    return resource.filters[parameter].endswith("_uuid")


def _filter(resource: Resource, name: str, text: str) -> str:
    if not takes_uuid(resource, name):
        return text
    uuid = idents.parse_uuid(text)
    if uuid is None:
        raise InvalidArgument(f"Expected a uuid as {name} but received {text}.")
    return uuid
