"""Says every minute that this applier lives (A-113)."""

from __future__ import annotations

import structlog

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Store

log = structlog.get_logger(__name__)
SERVICE = "watcher-applier"


async def beat_forever(store: Store, clock: Clock, *, host: str, every_s: float) -> None:
    """One row per host; a store that is away only misses a beat."""
    while True:
        try:
            await store.transact(lambda session: session.services.beat(SERVICE, host))
        except TrimtabError as error:
            log.warning("no heartbeat", problem=error.message)
        await clock.sleep(every_s)
