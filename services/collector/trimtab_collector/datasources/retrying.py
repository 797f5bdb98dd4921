"""Asking a datasource again: in one place, with a cap (C-130)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from trimtab_collector import counters
from trimtab_common.domain.errors import Unavailable
from trimtab_common.runtime.clock import Clock

log = structlog.get_logger(__name__)
FINAL = frozenset({400, 401, 403, 404, 422})
"""Answers that would be the same the next time."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """[watcher_datasources] query_max_retries and query_interval."""

    max_retries: int = 10
    interval_s: float = 1.0


ONCE = Tries(max_retries=0)


def unavailable(message: str, status: int) -> Unavailable:
    """The error for an answer that is not a success."""
    return Unavailable(message, **({"final": "yes"} if status in FINAL else {}))


async def together(calls: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All results in order; after the first error the others are ended, and it is raised."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


@contextmanager
def understood(what: str) -> Iterator[None]:
    """Unavailable when an answer is not of the form that its API promises."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise Unavailable(f"{what} answers what is not understood: {error!r:.200}.") from error


async def tried(call: Callable[[], Awaitable[_T]], *, name: str, clock: Clock, tries: Tries) -> _T:
    """The answer; Unavailable after the last try, with no sleep behind it."""
    for attempt in range(tries.max_retries + 1):
        try:
            answer = await call()
        except Unavailable as error:
            counters.METRIC_QUERIES.labels(name, "failed").inc()
            if attempt == tries.max_retries or error.details.get("final"):
                raise
            log.warning("trying again", datasource=name, problem=error.message)
            await clock.sleep(tries.interval_s)
        else:
            counters.METRIC_QUERIES.labels(name, "ok").inc()
            return answer
    raise AssertionError  # the loop returns or raises
