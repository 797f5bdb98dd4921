"""Which decision services are alive, by their heartbeats (A-043, A-113)."""

from __future__ import annotations

from datetime import datetime

from trimtab_common.store import Query, Session, Store

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
