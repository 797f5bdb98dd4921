"""Which services are alive, by their heartbeats (A-043, A-113), and who says so when that changes."""

from __future__ import annotations

from datetime import datetime

import structlog

from trimtab_common.domain.services import ACTIVE, status
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_decision.settings import DecisionSettings

log = structlog.get_logger(__name__)

SERVICE_NAME = "watcher-decision-engine"
"""Watcher's name for this service in GET /v1/services."""


async def beat(store: Store, host: str) -> None:
    """Says that this host's decision service is alive; the first beat makes its row."""
    await store.transact(lambda session: session.services.beat(SERVICE_NAME, host))


async def alive_hosts(session: Session, since: datetime) -> frozenset[str]:
    """The hosts whose decision service was heard of since then."""
    services = await session.services.list(
        Query(filters={"name": SERVICE_NAME, "last_seen_up__gte": since})
    )
    return frozenset(service.host for service in services)


class Monitor:
    """Tells when a service fails or comes back, once it was seen before (A-114, A-117).

    Every replica looks; the one of the lowest name among those alive tells.
    """

    def __init__(self, store: Store, *, clock: Clock, settings: DecisionSettings) -> None:
        self._store = store
        self._clock = clock
        self._settings = settings
        self._known: dict[int, str] = {}

    async def look(self) -> None:
        """Compares with the last look, and writes a `service.update` for each change."""
        async with self._store.read() as session:
            found = await session.services.list(Query())
        now, down_time_s = self._clock.now(), self._settings.service_down_time_s
        states = {one.id: status(one, now=now, down_time_s=down_time_s) for one in found}
        changed = [
            one for one in found if self._known.get(one.id, states[one.id]) != states[one.id]
        ]
        leaders = [
            one.host for one in found if one.name == SERVICE_NAME and states[one.id] == ACTIVE
        ]
        if changed and leaders and min(leaders) == self._settings.host:
            for one in changed:
                log.info("service changed", service=one.name, on=one.host, state=states[one.id])

            async def tell(session: Session) -> None:
                for one in changed:
                    await session.services.status_changed(
                        one, old_state=self._known[one.id], state=states[one.id]
                    )

            await self._store.transact(tell)
        self._known = states
