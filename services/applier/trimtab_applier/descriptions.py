"""Tells the record what each installed action type does (A-104); api shows it with every action."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from trimtab_common.domain.errors import Unavailable
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Store

log = structlog.get_logger(__name__)
RETRY_AFTER_S = 2.0


async def sync(store: Store, clock: Clock, texts: Mapping[str, str]) -> None:
    """Stores new and changed texts; waits for a store that is busy or away."""
    while True:
        try:
            await store.transact(lambda session: session.action_descriptions.sync(texts))
        except Unavailable as error:
            log.warning("descriptions not stored", problem=error.message)
            await clock.sleep(RETRY_AFTER_S)
        else:
            return
