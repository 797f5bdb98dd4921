"""A small store in memory with the parts of the interface that the applier uses.

Transactions are atomic and serial, transitions obey the lifecycle tables and the fence, so that
crash tests can stop the applier at any of them. Nothing yet holds it to the contract suite of the
real store; `test_applier_on_fakecloud` runs whole plans on that one.
"""

from __future__ import annotations

import asyncio
import copy
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from trimtab_common.domain import lifecycle
from trimtab_common.domain.errors import Conflict, NotFound
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan, Lease, Service
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import StoreUnreachable


@dataclasses.dataclass
class Tables:
    plans: dict[str, ActionPlan] = dataclasses.field(default_factory=dict)
    actions: dict[str, Action] = dataclasses.field(default_factory=dict)
    leases: dict[str, Lease] = dataclasses.field(default_factory=dict)
    services: dict[tuple[str, str], Service] = dataclasses.field(default_factory=dict)
    descriptions: dict[str, str] = dataclasses.field(default_factory=dict)
    events: list[tuple[str, str]] = dataclasses.field(default_factory=list)


class MemoryStore:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.tables = Tables()
        self.failures_ahead = 0
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[MemorySession]:
        await asyncio.sleep(0)
        yield MemorySession(self, self.tables)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[MemorySession]:
        async with self._turn:
            await asyncio.sleep(0)
            draft = dataclasses.replace(
                self.tables,
                **{
                    f.name: copy.copy(getattr(self.tables, f.name))
                    for f in dataclasses.fields(Tables)
                },
            )
            yield MemorySession(self, draft)
            await asyncio.sleep(0)
            self.tables = draft

    async def transact(self, work: Any) -> Any:
        if self.failures_ahead > 0:
            self.failures_ahead -= 1
            raise StoreUnreachable("the database does not answer")
        async with self.write() as session:
            return await work(session)

    async def close(self) -> None:
        pass


class MemorySession:
    def __init__(self, store: MemoryStore, tables: Tables) -> None:
        self.store = store
        self.tables = tables
        self.action_plans = _Plans(self, tables.plans, lifecycle.PLAN, "action_plan")
        self.actions = _Actions(self, tables.actions, lifecycle.ACTION, "action")
        self.leases = _Leases(self)
        self.outbox = _Outbox(self)
        self.services = _Services(self)
        self.action_descriptions = _Descriptions(self)


class _Stateful:
    def __init__(self, session: MemorySession, rows: dict, table: Any, noun: str) -> None:
        self._session = session
        self._rows = rows
        self._table = table
        self._noun = noun

    async def get(self, ident: str) -> Any:
        if ident not in self._rows:
            raise NotFound(f"{self._noun} {ident} could not be found.")
        return self._rows[ident]

    async def create(self, row: Any) -> Any:
        row = dataclasses.replace(row, id=len(self._rows) + 1)
        self._rows[row.uuid] = row
        return row

    async def transition(self, uuid, *, to, actor: Actor, source=None, fence=None, **columns):
        self._session.leases.check(fence)
        row = await self.get(uuid)
        states = {source} if isinstance(source, PlanState | ActionState) else set(source or ())
        if states and row.state not in states:
            raise Conflict(f"{self._noun} {uuid} is {row.state}")
        lifecycle.check(self._table, row.state, to, actor)
        self._rows[uuid] = dataclasses.replace(row, state=to, **columns)
        self._session.tables.events.append((f"{self._noun}.update", uuid))
        return self._rows[uuid]

    async def update(self, uuid, values, *, fence=None):
        self._session.leases.check(fence)
        self._rows[uuid] = dataclasses.replace(await self.get(uuid), **values)
        return self._rows[uuid]


class _Plans(_Stateful):
    async def list(self, query: Any) -> list[ActionPlan]:
        states = query.filters["state__in"]
        return [row for row in self._rows.values() if row.state in states]


class _Actions(_Stateful):
    async def list_of_plan(self, plan_uuid: str) -> list[Action]:
        rows = [row for row in self._rows.values() if row.action_plan_uuid == plan_uuid]
        return sorted(rows, key=lambda row: row.id)


class _Leases:
    def __init__(self, session: MemorySession) -> None:
        self._rows = session.tables.leases
        self._clock = session.store.clock

    def check(self, fence: Lease | None) -> None:
        if fence is None:
            return
        current = self._rows.get(fence.uuid)
        if current is None or current.fence != fence.fence or current.owner != fence.owner:
            raise Conflict(f"The lease on {fence.uuid} is no longer the current one")

    async def acquire(self, kind: str, uuid: str, owner: str, ttl_s: float) -> Lease | None:
        now = self._clock.now()
        current = self._rows.get(uuid)
        if current is not None and current.until_at > now and current.owner != owner:
            return None
        fence = 1 if current is None else current.fence + 1
        until_at = now + timedelta(seconds=ttl_s)
        self._rows[uuid] = Lease(kind=kind, uuid=uuid, owner=owner, fence=fence, until_at=until_at)
        return self._rows[uuid]

    async def get(self, kind: str, uuid: str) -> Lease | None:
        del kind
        return self._rows.get(uuid)

    async def now(self) -> Any:
        return self._clock.now()

    async def renew(self, lease: Lease, ttl_s: float) -> Lease | None:
        try:
            self.check(lease)
        except Conflict:
            return None
        until_at = self._clock.now() + timedelta(seconds=ttl_s)
        self._rows[lease.uuid] = dataclasses.replace(lease, until_at=until_at)
        return self._rows[lease.uuid]

    async def release(self, lease: Lease) -> None:
        current = self._rows.get(lease.uuid)
        if current is not None and current.fence == lease.fence:
            self._rows[lease.uuid] = dataclasses.replace(current, until_at=self._clock.now())


class _Outbox:
    def __init__(self, session: MemorySession) -> None:
        self._session = session

    async def emit(self, event_type, subject, *, priority="INFO", fault=None) -> None:
        del priority, fault
        self._session.tables.events.append((event_type, subject.uuid))


class _Services:
    def __init__(self, session: MemorySession) -> None:
        self._session = session

    async def beat(self, name: str, host: str) -> Service:
        service = Service(name=name, host=host, last_seen_up=self._session.store.clock.now())
        self._session.tables.services[(name, host)] = service
        return service


class _Descriptions:
    def __init__(self, session: MemorySession) -> None:
        self._session = session

    async def sync(self, texts: dict[str, str]) -> None:
        self._session.tables.descriptions.update(texts)
