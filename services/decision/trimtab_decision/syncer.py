"""Keeps goals, strategies and scoring engines of the record equal to what is loaded (A-037, B-003).

One replica at a time, by lease. Rows are only removed when no other replica is alive: a replica
with other plug-ins, as during an upgrade, would miss them. A changed plug-in gets a new row and
what pointed to the old one is moved to it. A second run writes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

import structlog

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.records import Goal, ScoringEngine, Strategy
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Session, Store
from trimtab_decision import dependents, membership
from trimtab_decision.framework import Registry
from trimtab_decision.settings import DecisionSettings

KIND = "syncer"
_KEY = "00000000-0000-0000-0000-000000000000"
"""There is one syncer, so its lease names no resource."""
_LEASE_S = 60.0

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

    async def sync(self) -> bool:
        """Brings the record up to date; False when another replica is doing it."""
        lease = await self._store.transact(
            lambda session: session.leases.acquire(KIND, _KEY, self._owner, _LEASE_S)
        )
        if lease is None:
            return False
        try:
            may_remove = await self._is_alone()
            goals = await self._sync_goals(may_remove=may_remove)
            await self._sync_strategies(goals, may_remove=may_remove)
            await self._sync_engines(may_remove=may_remove)
            await self._report_orphans()
        finally:
            await self._store.transact(lambda session: session.leases.release(lease))
        return True

    async def _is_alone(self) -> bool:
        down = timedelta(seconds=self._settings.service_down_time_s)
        async with self._store.read() as session:
            alive = await membership.alive_hosts(session, self._clock.now() - down)
        others = alive - {self._settings.host}
        if others:
            log.info("sync removes nothing while other replicas are alive", hosts=sorted(others))
        return not others

    async def _sync_goals(self, *, may_remove: bool) -> Mapping[str, Goal]:
        """The goals of the record by name, afterwards."""
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
                async with self._store.write() as session:
                    stored[name] = await self._replace_goal(session, old, wanted)
        for name in stored.keys() - self._registry.goals.keys():
            if not may_remove:
                continue
            gone = stored[name]
            log.warning("goal removed: nothing loaded declares it", goal=name)
            async with self._store.write() as session:
                await dependents.cancel_audits(session, {"goal_id": gone.id})
                await session.goals.soft_delete(gone.uuid)
        return stored

    async def _replace_goal(self, session: Session, old: Goal | None, wanted: Goal) -> Goal:
        if old is not None:
            await session.goals.soft_delete(old.uuid)
        new = await session.goals.create(wanted)
        log.info("goal synced", goal=new.name, changed=old is not None)
        if old is not None:
            await dependents.repoint_goal(session, old.id, new.id)
        return new

    async def _sync_strategies(self, goals: Mapping[str, Goal], *, may_remove: bool) -> None:
        async with self._store.read() as session:
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
            if old is not None and _same_strategy(old, wanted):
                continue
            async with self._store.write() as session:
                await self._replace_strategy(session, old, wanted)
        for name in stored.keys() - self._registry.strategies.keys():
            if not may_remove:
                continue
            gone = stored[name]
            log.warning("strategy removed: nothing loaded declares it", strategy=name)
            async with self._store.write() as session:
                await dependents.forget_strategy(session, gone.id)
                await session.strategies.soft_delete(gone.uuid)

    async def _replace_strategy(
        self, session: Session, old: Strategy | None, wanted: Strategy
    ) -> None:
        if old is not None:
            await session.strategies.soft_delete(old.uuid)
        new = await session.strategies.create(wanted)
        log.info("strategy synced", strategy=new.name, changed=old is not None)
        if old is not None:
            await dependents.repoint_strategy(session, old.id, new.id)

    async def _sync_engines(self, *, may_remove: bool) -> None:
        """A scoring service that does not answer says nothing about its engines."""
        try:
            loaded = {engine.name: engine for engine in await self._scoring.engines()}
        except TrimtabError as error:
            log.info("scoring engines not synced", problem=error.message)
            return
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
            if old is not None and _same_engine(old, wanted):
                continue
            async with self._store.write() as session:
                if old is not None:
                    await session.scoring_engines.soft_delete(old.uuid)
                await session.scoring_engines.create(wanted)
        for name in stored.keys() - loaded.keys():
            if may_remove:
                async with self._store.write() as session:
                    await session.scoring_engines.soft_delete(stored[name].uuid)

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
