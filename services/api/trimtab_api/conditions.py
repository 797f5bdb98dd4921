"""What a face may add to a use case, inside its transaction: a condition before, a note after."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from trimtab_common.store import Session

Guard = Callable[[Any], None]
"""Gets the record as it is; raises when it is not the version that the caller means."""

Also = Callable[[Session, Any], Awaitable[None]]
"""Stores something more with a new record, or raises, and then nothing is stored."""


def any_version(_record: Any) -> None:
    """The caller names no version."""


async def nothing_more(_session: Session, _record: Any) -> None:
    """Only the record."""
