"""Leases: the right to work on one resource, with a fence that only ever grows.

On the main path: decision and applier hold one per audit or plan they run, the syncer and the
outbox publisher one each. A released lease keeps its row, because its fence must not restart.

A holder on this machine that is known to have ended (`runtime.identity`) holds nothing.

Until when a lease runs is judged by the database's clock (on SQLite by this machine's), so that
hosts need not agree on the time. A holder should count its own time to live from before `acquire`
on its monotonic clock.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa
import sqlalchemy.exc as sa_exc

from trimtab_common.domain.errors import Conflict
from trimtab_common.domain.records import Lease
from trimtab_common.runtime import identity
from trimtab_common.store import tables
from trimtab_common.store.query import MAX_IN
from trimtab_common.store.types import UtcDateTime

if TYPE_CHECKING:
    from trimtab_common.store.session import Session

_T = tables.leases
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Leases:
    """The leases of one transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._checked: set[tuple[str, str, int]] = set()

    async def acquire(self, kind: str, uuid: str, owner: str, ttl_s: float) -> Lease | None:
        """The lease when it is free, expired, or held by `owner` already; None: another holds it.

        One whose holder has ended is free, too; the answer says `taken_early`.

        Each acquisition raises the fence, so that an owner that takes its own lease again (after
        a restart, or in another task) makes the older one worthless.
        """
        now = await self.now()
        until_at = now + timedelta(seconds=ttl_s)
        wanted = Lease(kind=kind, uuid=uuid, owner=owner, fence=1, until_at=until_at)
        if await self._take(wanted, sa.or_(_T.c.until_at <= now, _T.c.owner.in_(["", owner]))):
            return dataclasses.replace(wanted, fence=await self._fence(kind, uuid))
        held = await self.get(kind, uuid)
        if held is not None:
            if not identity.has_ended(held.owner) or not await self._take(
                wanted, _is_current(held)
            ):
                return None
            return dataclasses.replace(wanted, fence=held.fence + 1, taken_early=True)
        return await self._insert(wanted)

    async def renew(self, lease: Lease, ttl_s: float) -> Lease | None:
        """The lease with a later end; None when somebody else took it or it was released."""
        until_at = await self.now() + timedelta(seconds=ttl_s)
        changed = await self._session.execute(
            sa.update(_T).where(_is_current(lease)).values(until_at=until_at)
        )
        return dataclasses.replace(lease, until_at=until_at) if changed.rowcount == 1 else None

    async def release(self, lease: Lease) -> None:
        """Frees it; nothing happens when somebody else took it meanwhile."""
        await self._session.execute(
            sa.update(_T).where(_is_current(lease)).values(owner="", until_at=await self.now())
        )

    async def expired(self, kind: str) -> list[Lease]:
        """The leases whose owner let them run out: work that nobody does now."""
        statement = (
            sa.select(_T.c.kind, _T.c.uuid, _T.c.owner, _T.c.fence, _T.c.until_at)
            .where(_T.c.kind == kind, _T.c.owner != "", _T.c.until_at <= await self.now())
            .order_by(_T.c.until_at)
        )
        rows = (await self._session.execute(statement)).mappings()
        return [Lease(**row) for row in rows]

    async def held(self, kind: str, uuids: Collection[str]) -> dict[str, Lease]:
        """By uuid, those of these leases that somebody holds now: nobody else can take them."""
        now = await self.now()
        statement = sa.select(_T.c.kind, _T.c.uuid, _T.c.owner, _T.c.fence, _T.c.until_at).where(
            _T.c.kind == kind, _T.c.uuid.in_(list(uuids)), _T.c.owner != "", _T.c.until_at > now
        )
        rows = (await self._session.execute(statement)).mappings()
        return {row["uuid"]: Lease(**row) for row in rows if not identity.has_ended(row["owner"])}

    async def prune(self, *, ended_before: datetime, limit: int = MAX_IN) -> int:
        """Removes rows that nobody asked for since then; returns how many.

        Their fences start again, which is safe: no owner has the name of another.
        """
        statement = sa.select(_T.c.id).where(_T.c.until_at < ended_before).limit(limit)
        ids = list((await self._session.execute(statement)).scalars())
        if ids:
            gone = sa.delete(_T).where(_T.c.id.in_(ids), _T.c.until_at < ended_before)
            await self._session.execute(gone)
        return len(ids)

    async def get(self, kind: str, uuid: str) -> Lease | None:
        """Who holds it, expired or not; None when it is free."""
        statement = sa.select(_T.c.kind, _T.c.uuid, _T.c.owner, _T.c.fence, _T.c.until_at).where(
            _T.c.kind == kind, _T.c.uuid == uuid, _T.c.owner != ""
        )
        row = (await self._session.execute(statement)).mappings().first()
        return None if row is None else Lease(**row)

    async def check(self, lease: Lease | None) -> None:
        """Conflict unless this is still the current lease; holds it so until the commit.

        The shared row lock keeps a take-over waiting until this transaction ends; without it a
        write could commit just after the lease had gone.
        """
        if lease is None:
            return
        key = (lease.kind, lease.uuid, lease.fence)
        if key in self._checked:
            return
        statement = sa.select(_T.c.id).where(_is_current(lease)).with_for_update(read=True)
        if (await self._session.execute(statement)).first() is None:
            raise Conflict(
                f"The lease {lease.kind} {lease.uuid} (fence {lease.fence}) is no longer held "
                f"by {lease.owner}.",
                kind=lease.kind,
                uuid=lease.uuid,
            )
        self._checked.add(key)

    async def one_at_a_time(self, kind: str) -> None:
        """Only one transaction at a time goes on from here, until its commit.

        For a look at many rows before a write to one, which compare-and-set does not guard: who
        comes second waits here, and then sees what the first wrote. On SQLite every writer does so
        from its beginning.
        """
        statement = (
            sa.select(_T.c.id).where(_T.c.kind == kind, _T.c.uuid == _NOBODY).with_for_update()
        )
        while (await self._session.execute(statement)).first() is None:
            await self._insert(
                Lease(kind=kind, uuid=_NOBODY, owner="", fence=1, until_at=await self.now())
            )

    async def now(self) -> datetime:
        """The database's time, or the store's own clock where they are the same machine."""
        expression = _CLOCKS.get(self._session.dialect)
        if expression is None or self._session.options.has_own_clock:
            return self._session.now()
        statement = sa.select(sa.type_coerce(sa.literal_column(expression), UtcDateTime))
        result: datetime = (await self._session.execute(statement)).scalar_one()
        return result

    async def _take(self, wanted: Lease, when: sa.ColumnElement[bool]) -> bool:
        taken = await self._session.execute(
            sa.update(_T)
            .where(_T.c.kind == wanted.kind, _T.c.uuid == wanted.uuid, when)
            .values(owner=wanted.owner, until_at=wanted.until_at, fence=_T.c.fence + 1)
        )
        return taken.rowcount == 1

    async def _fence(self, kind: str, uuid: str) -> int:
        statement = sa.select(_T.c.fence).where(_T.c.kind == kind, _T.c.uuid == uuid)
        return int((await self._session.execute(statement)).scalar_one())

    async def _insert(self, lease: Lease) -> Lease | None:
        values = {
            "kind": lease.kind,
            "uuid": lease.uuid,
            "owner": lease.owner,
            "fence": lease.fence,
            "until_at": lease.until_at,
        }
        try:
            async with self._session.savepoint():
                await self._session.execute(sa.insert(_T).values(values))
        except sa_exc.IntegrityError:
            return None  # somebody inserted it since the UPDATE
        return lease


_CLOCKS = {
    "postgresql": "clock_timestamp()",
    "mysql": "UTC_TIMESTAMP(6)",
    "mariadb": "UTC_TIMESTAMP(6)",
}


def _is_current(lease: Lease) -> sa.ColumnElement[bool]:
    return sa.and_(
        _T.c.kind == lease.kind,
        _T.c.uuid == lease.uuid,
        _T.c.owner == lease.owner,
        _T.c.fence == lease.fence,
    )
