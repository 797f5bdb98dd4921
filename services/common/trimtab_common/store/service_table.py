"""Heartbeats of the running services.

On the main path: decision and applier beat every 60 s; whether a service is ACTIVE is computed by
readers from `last_seen_up` (A-043).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
import sqlalchemy.exc as sa_exc

from trimtab_common.domain.records import Service
from trimtab_common.store import shapes, tables
from trimtab_common.store.resource_table import ResourceTable

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_T = tables.services


class ServiceTable(ResourceTable[Service]):
    """The services of one transaction."""

    def __init__(self, session: Session) -> None:
        super().__init__(session, shapes.SERVICES)

    async def beat(self, name: str, host: str) -> Service:
        """Marks the service as alive now; its first beat creates the row (A-113)."""
        if not await self._touch(name, host):
            now = self._session.now()
            values = {"name": name, "host": host, "last_seen_up": now, "created_at": now}
            try:
                async with self._session.savepoint():
                    await self._session.execute(sa.insert(_T).values(values))
            except sa_exc.IntegrityError:
                await self._touch(name, host)  # its twin was first
        found = await self._records(
            self.shape.live(self.shape.select()).where(_T.c.name == name, _T.c.host == host)
        )
        if not found:
            raise self._not_found(name)
        return found[0]

    async def status_changed(self, service: Service, *, old_state: str, state: str) -> None:
        """Writes the service.update event; the monitor that saw the change calls it (A-117)."""
        await self._session.announcer.service_changed(service, old_state=old_state, state=state)

    async def _touch(self, name: str, host: str) -> bool:
        now = self._session.now()
        result = await self._session.execute(
            sa.update(_T)
            .where(_T.c.name == name, _T.c.host == host, _T.c.deleted == 0)
            .values(last_seen_up=now, updated_at=now)
        )
        return result.rowcount == 1
