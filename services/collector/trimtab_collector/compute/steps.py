"""Things that are read at once, within a time (C-040)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trimtab_common.domain.errors import DeadlineExceeded


@asynccontextmanager
async def step(what: str, timeout_s: float) -> AsyncIterator[asyncio.TaskGroup]:
    """Ends when all its tasks have; the first failure ends the rest and is the one raised.

    DeadlineExceeded: not complete in time; what was still under way is cancelled.
    """
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    except TimeoutError:
        raise DeadlineExceeded(f"{what}: not complete within {timeout_s:.0f} s.") from None
