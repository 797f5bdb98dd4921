"""Tells those who watch an audit what the best plan so far is worth, while its search goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import structlog

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.lifecycle import AuditState
from trimtab_common.domain.records import Audit
from trimtab_common.store import Session, Store
from trimtab_decision.framework.context import Incumbent, Tell

log = structlog.get_logger(__name__)


LAST_WORD_S = 1.0
"""What is told last may hold the plan back for so long."""


@asynccontextmanager
async def telling(store: Store, audit: Audit, strategy: str) -> AsyncIterator[Tell]:
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
                await _written(store, audit, strategy, word)

    writing = asyncio.create_task(write())
    try:
        yield words.put_nowait
    finally:
        words.put_nowait(None)
        _, late = await asyncio.wait([writing], timeout=LAST_WORD_S)
        if late:
            writing.cancel()
            log.warning("search not told, the record is slow", audit=audit.uuid)


async def _written(store: Store, audit: Audit, strategy: str, word: Incumbent) -> None:
    try:
        search = _fields(word, strategy)
        await store.transact(partial(_write, audit=audit, search=search))
    except TrimtabError as error:
        log.warning("search not told", audit=audit.uuid, problem=error.message)
    except Exception:  # a defect of ours, and told as one; but no word is worth a plan
        log.exception("search not told", audit=audit.uuid)


async def _write(session: Session, *, audit: Audit, search: dict[str, Any]) -> None:
    """Not of an audit that was cancelled meanwhile."""
    if (await session.audits.by_id(audit.id)).state is AuditState.ONGOING:
        await session.announcer.search_went_on(audit, search)


def _fields(word: Incumbent, strategy: str) -> dict[str, Any]:
    """Of SearchProgress, those that are known."""
    found = {
        "strategy": strategy,
        "measure": word.of,
        "incumbent": word.value,
        "bound": word.bound,
        "gap_pct": None if word.gap_pct is None else round(word.gap_pct, 3),
        "moves": word.moves,
        "seconds": round(word.elapsed_s, 3),
    }
    return {name: value for name, value in found.items() if value is not None}
