"""Pages of the typed services: opaque tokens that only this service understands (AIP-158)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import orjson

from trimtab_api.typed import filters
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.resources import Resource
from trimtab_common.store import Query

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
_MAX_ID = 2**31 - 1


class Listable(Protocol[R_co]):
    """A table of the store, as far as listing goes."""

    async def list(self, query: Query | None = None) -> Sequence[R_co]:
        """A page."""
        ...


class ListRequest(Protocol):
    """What every List request has."""

    page_size: int
    page_token: str
    filter: str
    order_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[R]):
    """`next_token` is empty on the last page."""

    records: Sequence[R]
    next_token: str


async def read(
    table: Listable[R],
    resource: Resource,
    request: ListRequest,
    *,
    max_size: int,
    also: Mapping[str, Any] | None = None,
) -> Page[R]:
    """One page, by keyset. `also`: filters that have fields of their own; empty ones count not.

    InvalidArgument: a bad size, filter or order, or a token of another list or another order.
    """
    limit = size(request.page_size, max_size)
    sort_key, sort_dir = filters.order(resource, request.order_by)
    named = {name: value for name, value in (also or {}).items() if value}
    wanted = {**filters.parse(resource, request.filter), **named}
    asked = [resource.name, request.filter, f"{sort_key} {sort_dir}", sorted(named.items())]
    query = Query(
        filters=wanted,
        limit=limit + 1,
        marker_id=decoded(request.page_token, asked),
        sort_key=sort_key,
        sort_dir=sort_dir,
    )
    records = await table.list(query)
    page = records[:limit]
    more = len(records) > limit
    return Page(records=page, next_token=encoded(_id(page[-1]), asked) if more else "")


def size(wanted: int, max_size: int) -> int:
    """How many a page holds. InvalidArgument when negative."""
    if wanted < 0:
        raise InvalidArgument("page_size must not be negative.")
    return min(wanted or max_size, max_size)


def encoded(after: int, asked: Any) -> str:
    """The token of the page after this id, of the list that `asked` describes."""
    return base64.urlsafe_b64encode(orjson.dumps([after, _digest(asked)])).decode()


def decoded(token: str, asked: Any) -> int | None:
    """The id that a token stands for; None for no token."""
    if not token:
        return None
    try:
        after, digest = orjson.loads(
            base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        )
    except (binascii.Error, TypeError, ValueError):
        after, digest = None, None
    if type(after) is not int or not 0 <= after <= _MAX_ID:
        raise InvalidArgument("page_token is not one that this service gave.")
    if digest != _digest(asked):
        raise InvalidArgument(
            "page_token is of a list with another filter or order. Ask for its first page anew."
        )
    return after


def _digest(asked: Any) -> str:
    return hashlib.blake2b(orjson.dumps(asked), digest_size=6).hexdigest()


def _id(record: Any) -> int:
    return int(record.id)
