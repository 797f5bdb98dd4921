"""Keeps goals, strategies and scoring engines of the record equal to what is loaded (A-037, B-003).

One replica at a time, by lease. Rows are only removed when no other replica is alive: a replica
with other plug-ins, as during an upgrade, would miss them. A changed plug-in gets a new row and
what pointed to the old one is moved to it. A second run writes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import structlog

from trimtab_common.domain.errors import Conflict, TrimtabError
from trimtab_common.domain.records import Goal, Lease, ScoringEngine, Strategy
from trimtab_common.runtime import failpoints
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Query, Session, Store
from trimtab_decision import dependents, membership
from trimtab_decision.framework import Registry
from trimtab_decision.settings import DecisionSettings

KIND = "syncer"
_KEY = "00000000-0000-0000-0000-000000000000"
"""There is one syncer, so its lease names no resource."""
_ENGINES_KEY = "00000000-0000-0000-0000-000000000001"
_LEASE_S = 60.0

_T = TypeVar("_T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A scoring engine as its service declares it."""

    name: str
    description: str
    metainfo: str


class ScoringEngines(Protocol):
    """Asks the scoring service what it has."""

    async def engines(self) -> Sequence[Engine]:
        """Every engine; Unavailable when the service does not answer."""


class LeaseLost(Conflict):
    """Another replica has taken the sync over."""

    reason = "SYNC_LEASE_LOST"


class _Fenced:
    """Writes of one sync: each renews the lease in its own transaction, or does not happen."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self._lease = lease

    async def step(self, work: Callable[[Session], Awaitable[_T]]) -> _T:
        """One write transaction, tried again while the database is busy. LeaseLost."""

        async def fenced(session: Session) -> _T:
            if await session.leases.renew(self._lease, _LEASE_S) is None:
                raise LeaseLost(f"The lease of the sync (fence {self._lease.fence}) is lost.")
            return await work(session)

        return await self._store.transact(fenced)


class Syncer:
    """Compares and writes; `main` runs it at start and then now and then."""

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        scoring: ScoringEngines,
        settings: DecisionSettings,
        clock: Clock,
        owner: str,
    ) -> None:
        self._store = store
        self._registry = registry
        self._scoring = scoring
        self._settings = settings
        self._clock = clock
        self._owner = owner
        self._synced_engines: tuple[Engine, ...] | None = None

    async def sync(self) -> bool:
        """Brings the record up to date; False when another replica is doing it."""
        lease = await self._lease(_KEY)
        if lease is None:
            return False
        record = _Fenced(self._store, lease)
        try:
            await self._sync_goals(record)
            failpoints.reach("decision.sync.goals")
            await self._sync_strategies(record)
            failpoints.reach("decision.sync.strategies")
            await self._sync_engines()
            await self._report_orphans()
        except LeaseLost as lost:
            log.warning("sync given up, another replica has it", problem=lost.message)
            return False
        finally:
            await self._store.transact(lambda session: session.leases.release(lease))
        return True

    async def _is_alone(self, session: Session) -> bool:
        down = timedelta(seconds=self._settings.service_down_time_s)
        alive = await membership.alive_hosts(session, self._clock.now() - down)
        others = alive - {self._settings.host}
        if others:
            log.info("sync removes nothing while other replicas are alive", hosts=sorted(others))
        return not others

    async def _sync_goals(self, record: _Fenced) -> None:
        async with self._store.read() as session:
            stored = {goal.name: goal for goal in await session.goals.list()}
        for name, loaded in self._registry.goals.items():
            wanted = Goal(
                uuid=str(uuid4()),
                name=name,
                display_name=loaded.display_name,
                efficacy_specification=loaded.efficacy.as_dicts(),
            )
            old = stored.get(name)
            if old is None or not _same_goal(old, wanted):
                await record.step(partial(_replace, table="goals", old=old, new=wanted))
                log.info("goal synced", goal=name, changed=old is not None)
        for name in stored.keys() - self._registry.goals.keys():
            if await record.step(partial(self._remove, table="goals", uuid=stored[name].uuid)):
                log.warning("goal removed: nothing loaded declares it", goal=name)
        await self._follow(record, dependents.follow_goals, await self._heirs("goals"))

    async def _sync_strategies(self, record: _Fenced) -> None:
        async with self._store.read() as session:
            goals = {goal.name: goal for goal in await session.goals.list()}
            stored = {strategy.name: strategy for strategy in await session.strategies.list()}
        for name, loaded in self._registry.strategies.items():
            if loaded.goal_name not in goals:
                log.error("strategy of an unknown goal", strategy=name, goal=loaded.goal_name)
                continue
            wanted = Strategy(
                uuid=str(uuid4()),
                name=name,
                display_name=loaded.display_name,
                goal_id=goals[loaded.goal_name].id,
                parameters_spec=dict(loaded.parameters_schema),
            )
            old = stored.get(name)
            if old is None or not _same_strategy(old, wanted):
                await record.step(partial(_replace, table="strategies", old=old, new=wanted))
                log.info("strategy synced", strategy=name, changed=old is not None)
        for name in stored.keys() - self._registry.strategies.keys():
            if await record.step(partial(self._remove, table="strategies", uuid=stored[name].uuid)):
                log.warning("strategy removed: nothing loaded declares it", strategy=name)
        await self._follow(record, dependents.follow_strategies, await self._heirs("strategies"))

    async def _follow(
        self,
        record: _Fenced,
        follow: Callable[[Session, dependents.Heirs], Awaitable[int]],
        heirs: dependents.Heirs,
    ) -> None:
        """Chunk by chunk until nothing points to what is gone."""
        moved = len(heirs)
        while moved:
            moved = await record.step(lambda session: follow(session, heirs))

    async def _heirs(self, table: str) -> dict[int, int | None]:
        """The rows that are gone, now or before a sync that did not come to its end."""
        async with self._store.read() as session:
            rows = await getattr(session, table).list(Query(show_deleted=True))
        living = {row.name: row.id for row in rows if row.deleted_at is None}
        return {row.id: living.get(row.name) for row in rows if row.deleted_at is not None}

    async def _remove(self, session: Session, *, table: str, uuid: str) -> bool:
        """Whether the row was removed: none is while another replica may declare it."""
        if not await self._is_alone(session):
            return False
        await getattr(session, table).soft_delete(uuid)
        return True

    async def follow_engines(self) -> None:
        """Brings the engines of the record up to date when the scoring service has others."""
        try:
            engines = tuple(await self._scoring.engines())
        except TrimtabError:
            return
        if engines != self._synced_engines:
            await self._sync_engines()

    async def _lease(self, key: str) -> Lease | None:
        return await self._store.transact(
            lambda session: session.leases.acquire(KIND, key, self._owner, _LEASE_S)
        )

    async def _sync_engines(self) -> None:
        """Writes what changed, by a lease of their own: they come and go at other times.

        A scoring service that does not answer says nothing about its engines.
        """
        try:
            engines = tuple(await self._scoring.engines())
        except TrimtabError as error:
            log.info("scoring engines not synced", problem=error.message)
            return
        lease = await self._lease(_ENGINES_KEY)
        if lease is None:
            return  # another replica does it
        try:
            await self._write_engines(_Fenced(self._store, lease), engines)
            self._synced_engines = engines
        except LeaseLost as lost:
            log.info("engines not synced, another replica has the lease", problem=lost.message)
        finally:
            await self._store.transact(lambda session: session.leases.release(lease))

    async def _write_engines(self, record: _Fenced, engines: Sequence[Engine]) -> None:
        loaded = {engine.name: engine for engine in engines}
        table = "scoring_engines"
        async with self._store.read() as session:
            stored = {engine.name: engine for engine in await session.scoring_engines.list()}
        for name, engine in loaded.items():
            old = stored.get(name)
            wanted = ScoringEngine(
                uuid=str(uuid4()),
                name=name,
                description=engine.description,
                metainfo=engine.metainfo,
            )
            if old is None or not _same_engine(old, wanted):
                await record.step(partial(_replace, table=table, old=old, new=wanted))
        for name in stored.keys() - loaded.keys():
            await record.step(partial(self._remove, table=table, uuid=stored[name].uuid))

    async def _report_orphans(self) -> None:
        """Templates whose goal is gone (B-005)."""
        async with self._store.read() as session:
            known = {goal.id for goal in await session.goals.list()}
            templates = await session.audit_templates.list()
        for template in templates:
            if template.goal_id not in known:
                log.error(
                    "the goal of an audit template no longer exists; give it another or delete it",
                    audit_template=template.name,
                    goal=template.goal_name,
                )


async def _replace(
    session: Session, *, table: str, old: Goal | Strategy | ScoringEngine | None, new: Any
) -> None:
    if old is not None:
        await getattr(session, table).soft_delete(old.uuid)
    await getattr(session, table).create(new)


def _same_goal(one: Goal, other: Goal) -> bool:
    return (one.display_name, one.efficacy_specification) == (
        other.display_name,
        other.efficacy_specification,
    )


def _same_strategy(one: Strategy, other: Strategy) -> bool:
    return (one.display_name, one.goal_id, one.parameters_spec) == (
        other.display_name,
        other.goal_id,
        other.parameters_spec,
    )


def _same_engine(one: ScoringEngine, other: ScoringEngine) -> bool:
    return (one.description, one.metainfo) == (other.description, other.metainfo)
