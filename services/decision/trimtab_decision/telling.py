"""Tells those who watch an audit what the best plan so far is worth, while its search goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import structlog

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.records import Audit
from trimtab_common.store import Store
from trimtab_decision.execution import Tell
from trimtab_decision.framework.context import Incumbent

log = structlog.get_logger(__name__)


@asynccontextmanager
async def telling(store: Store, audit: Audit) -> AsyncIterator[Tell]:
    """A `Tell` that writes into the record; while one word is written, only the newest waits.

    What cannot be written fails no audit.
    """
    words: asyncio.Queue[Incumbent | None] = asyncio.Queue()

    async def write() -> None:
        goes_on = True
        while goes_on:
            found = [await words.get()]
            while not words.empty():
                found.append(words.get_nowait())
            goes_on = None not in found
            for word in [word for word in found if word is not None][-1:]:
                await _written(store, audit, word)

    writing = asyncio.create_task(write())
    try:
        yield words.put_nowait
    finally:
        words.put_nowait(None)
        await writing


async def _written(store: Store, audit: Audit, word: Incumbent) -> None:
    search = _fields(word)
    try:
        await store.transact(lambda session: session.announcer.search_went_on(audit, search))
    except TrimtabError as error:
        log.warning("search not told", audit=audit.uuid, problem=error.message)


def _fields(word: Incumbent) -> dict[str, Any]:
    """Of SearchProgress, those that are known."""
    found = {
        "measure": word.of,
        "incumbent": float(word.value),
        "bound": None if word.bound is None else float(word.bound),
        "gap_pct": None if word.gap_pct is None else round(word.gap_pct, 3),
        "moves": word.moves,
        "seconds": round(word.elapsed_s, 3),
    }
    return {name: value for name, value in found.items() if value is not None}
