"""Pages of the typed services: opaque tokens that only this service understands."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.store import Query

R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")
PREFIX = b"after:"


class Listable(Protocol[R_co]):
    """A table of the store, as far as listing goes."""

    async def list(self, query: Query | None = None) -> Sequence[R_co]:
        """A page."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[R]):
    """`next_token` is empty on the last page."""

    records: Sequence[R]
    next_token: str


async def read(
    table: Listable[R],
    *,
    size: int,
    token: str,
    max_size: int,
    filters: Mapping[str, str] | None = None,
) -> Page[R]:
    """One page, oldest first. InvalidArgument: a negative size or a token that is none of ours."""
    if size < 0:
        raise InvalidArgument("page_size must not be negative.")
    limit = min(size or max_size, max_size)
    kept = {name: value for name, value in (filters or {}).items() if value}
    query = Query(filters=kept, limit=limit + 1, marker_id=_decoded(token))
    records = await table.list(query)
    page = records[:limit]
    more = len(records) > limit
    return Page(records=page, next_token=_encoded(page[-1]) if more else "")


def _encoded(record: Any) -> str:
    return base64.urlsafe_b64encode(PREFIX + str(record.id).encode()).decode()


def _decoded(token: str) -> int | None:
    if not token:
        return None
    try:
        text = base64.urlsafe_b64decode(token.encode())
    except (binascii.Error, ValueError):
        text = b""
    digits = text.removeprefix(PREFIX)
    if not text.startswith(PREFIX) or not digits.isdigit() or len(digits) > MAX_DIGITS:
        raise InvalidArgument("page_token is not one that this service gave.")
    return int(digits)


MAX_DIGITS = 18
