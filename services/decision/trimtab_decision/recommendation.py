"""From an audit to a plan not yet stored: choose, gather, think, order.

On the main path: a run asks for a Recommendation and publishes it. Nothing here changes the
record except for the notifications around strategy and planner (B-047).
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, overload
from uuid import UUID, uuid4, uuid5

import structlog

from trimtab_common.domain.errors import NotFound, TrimtabError
from trimtab_common.domain.lifecycle import ActionState, AuditType
from trimtab_common.domain.records import Action, ActionPlan, Audit
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.notify import payloads
from trimtab_common.rules import parameters, triggers
from trimtab_common.runtime import failpoints
from trimtab_common.store import Query, Store
from trimtab_decision import model
from trimtab_decision.collector_elements import ElementsReader
from trimtab_decision.collector_loads import Load, nothing_to_load
from trimtab_decision.errors import PlanningTimedOut, StrategyNotSynced, WorkerDied
from trimtab_decision.execution import Execution, Outcome
from trimtab_decision.framework import PlannedAction, Registry, Strategy
from trimtab_decision.metrics import (
    MetricsReader,
    double_period_queries,
    joined,
    queries_for,
    with_double_period,
)
from trimtab_decision.model import ModelSource
from trimtab_decision.selection import Choice, Selection, better, told
from trimtab_decision.settings import DecisionSettings
from trimtab_decision.telling import telling
from trimtab_decision.workers import Thinker, Thinking

log = structlog.get_logger(__name__)
_SEED_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A plan and its actions, complete but for what the store fills in.

    `messages`: what the strategy wants the operator to know.
    """

    plan: ActionPlan
    actions: Sequence[Action]
    messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommender:
    """Makes recommendations with what `main` hands in."""

    store: Store
    registry: Registry
    thinker: Thinker
    model: ModelSource
    metrics: MetricsReader
    settings: DecisionSettings
    elements: ElementsReader | None = None
    load: Load = nothing_to_load

    async def recommend(self, audit: Audit) -> Recommendation:
        """The plan for this run of the audit.

        Raises the errors of selection, parameters, model, metrics, strategy, efficacy and
        planner, each with a text that an operator can act on.
        """
        problem = await self.load(audit.scope) if self._may_need_compute(audit) else ""
        choice = await self._selection().choose(audit)
        async with self.thinker.thinking() as desk:
            async with self._announced("audit.strategy", audit):
                strategy, outcome = await self._executed(desk, audit, choice)
                failpoints.reach("decision.strategy.after")
            strategy_id = await self._strategy_id(strategy.name)
            async with self._announced("audit.planner", audit):
                name = self.settings.planners.get(strategy.name) or strategy.planner
                name = name or self.settings.default_planner
                options = self.settings.planner_options.get(name, {})
                planned = await desk.order(name, options, await self._runnable())
        failpoints.reach("decision.planner.after")
        plan = ActionPlan(
            uuid=plan_uuid(audit),
            audit_id=audit.id,
            strategy_id=strategy_id,
            global_efficacy=outcome.global_efficacy,
            efficacy_indicators=outcome.indicators,
            explanation={**outcome.explanation, "messages": list(outcome.messages)},
        )
        return Recommendation(
            plan=plan,
            actions=await as_records(planned),
            messages=(problem, *outcome.messages) if problem else outcome.messages,
        )

    def _may_need_compute(self, audit: Audit) -> bool:
        named = self.registry.strategies.get(audit.strategy_name or "")
        known = self.registry.strategies_of(audit.goal_name)
        return any(one.needs_compute_model for one in ([named] if named else known))

    def _selection(self) -> Selection:
        return Selection(
            registry=self.registry,
            model=self.model,
            metrics=self.metrics,
            selector=self.settings.strategy_selector,
            has_elements=self.elements is not None,
        )

    async def _executed(
        self, desk: Thinking, audit: Audit, choice: Choice
    ) -> tuple[Strategy, Outcome]:
        """The solution of the only strategy, or the best of several; it stays on the desk.

        With several, one that fails is passed over; when all do, the first one's error is raised.
        """
        found: list[tuple[Strategy, Outcome]] = []
        errors: list[TrimtabError] = []
        passed_over = [*choice.passed_over]
        for strategy in choice.strategies:
            try:
                found.append((strategy, await self._execute(desk, audit, strategy)))
            except (PlanningTimedOut, WorkerDied):
                raise  # the desk is gone
            except TrimtabError as error:
                errors.append(error)
                passed_over.append((strategy.name, error.message))
        if not found:
            raise errors[0]
        best, outcome = better(self.registry.goal(found[0][0].goal_name), found)
        if best is not choice.strategies[-1]:
            outcome = await self._execute(desk, audit, best)  # only the last one is on the desk
        choosing = told(best, n_tried=len(choice.strategies), passed_over=passed_over)
        messages = (choosing, *outcome.messages) if choosing else outcome.messages
        return best, dataclasses.replace(outcome, messages=messages)

    async def _execute(self, desk: Thinking, audit: Audit, strategy: Strategy) -> Outcome:
        question = await self._question(audit, strategy)
        failpoints.reach("decision.model.taken")
        async with telling(self.store, audit, strategy.name) as tell:
            return await desk.execute(question, tell)

    async def _strategy_id(self, name: str) -> int:
        try:
            async with self.store.read() as session:
                return (await session.strategies.get(name)).id
        except NotFound:
            raise StrategyNotSynced(
                f"Strategy {name} is not in the record yet. "
                "Create the audit again after the next sync, or restart decision."
            ) from None

    async def _runnable(self) -> frozenset[str]:
        """The action types that appliers declared; none before the first applier has started."""
        async with self.store.read() as session:
            return frozenset(await session.action_descriptions.all())

    async def _failed_servers(self, audit: Audit) -> frozenset[str]:
        """Servers whose migration failed in earlier plans of a CONTINUOUS audit (B-117)."""
        if audit.audit_type is not AuditType.CONTINUOUS:
            return frozenset()
        async with self.store.read() as session:
            failed = await session.actions.list(
                Query(
                    filters={
                        "audit_uuid": audit.uuid,
                        "state": ActionState.FAILED,
                        "action_type": "migrate",
                    }
                )
            )
        return frozenset(str(a.input_parameters.get("resource_id", "")) for a in failed)

    async def _question(self, audit: Audit, strategy: Strategy) -> Execution:
        _, given = triggers.split(audit.parameters)
        values = parameters.checked(given, strategy.parameters_schema)
        compute: ComputeSnapshot | None = None
        table = MetricsTable()
        if strategy.needs_compute_model:
            compute = model.current(self.model, max_age_s=self.settings.max_model_age_s)
            log.info(
                "planning on the model",
                audit=audit.uuid,
                strategy=strategy.name,
                epoch=compute.epoch,
                revision=compute.revision,
                taken_at=compute.taken_at.isoformat(),
            )
            sources = self.settings.datasources.get(strategy.name, ())
            if queries := queries_for(type(strategy), values):
                table = await self.metrics.read(compute, queries, sources)
                if double := double_period_queries(type(strategy), queries):
                    longer = await self.metrics.read(compute, double, sources)
                    table = with_double_period(table, longer)
            if histories := strategy.histories(values):
                table = joined(table, await self.metrics.history(compute, histories, sources))
        others = {
            kind: await self.elements.read(kind, audit.scope)
            for kind in sorted(strategy.models(values))
            if self.elements is not None
        }
        return Execution(
            strategy=strategy.name,
            parameters=values,
            compute=compute,
            metrics=table,
            storage=others.get("storage"),
            baremetal=others.get("baremetal"),
            scope=audit.scope,
            seed=values.get("seed", UUID(audit.uuid).int & ((1 << _SEED_BITS) - 1)),
            filters=self.settings.filters.get(strategy.name, ()),
            destinations=self.settings.select_destinations,
            failed_servers=await self._failed_servers(audit),
            options=self.settings.strategy_options.get(strategy.name, {}),
        )

    @asynccontextmanager
    async def _announced(self, what: str, audit: Audit) -> AsyncIterator[None]:
        """`what`.start, then .end or .error with the fault."""
        await self._emit(f"{what}.start", audit)
        try:
            yield
        except TrimtabError as error:
            fault = payloads.fault(exception=type(error).__name__, message=error.message)
            await self._emit(f"{what}.error", audit, priority="ERROR", fault=fault)
            raise
        await self._emit(f"{what}.end", audit)

    async def _emit(self, event: str, audit: Audit, **extra: Any) -> None:
        await self.store.transact(lambda session: session.outbox.emit(event, audit, **extra))


def plan_uuid(audit: Audit) -> str:
    """The uuid of the plan of this run: the same when the run is repeated after a crash.

    A run is told from the one before by the time for which it was due.
    """
    due = "" if audit.next_run_time is None else audit.next_run_time.isoformat()
    return str(uuid5(UUID(audit.uuid), f"plan {due}"))


async def as_records(planned: Sequence[PlannedAction]) -> Sequence[Action]:
    """The actions with uuids in place of indexes, each made when it is asked for."""
    uuids = await asyncio.to_thread(lambda: [str(uuid4()) for _ in range(len(planned))])
    return _Records(planned, uuids)


class _Records(Sequence[Action]):
    """Records of planned actions. `uuids`: by the index of the action."""

    def __init__(self, planned: Sequence[PlannedAction], uuids: Sequence[str]) -> None:
        self._planned = planned
        self._uuids = uuids

    def __len__(self) -> int:
        return len(self._planned)

    @overload
    def __getitem__(self, key: int) -> Action: ...
    @overload
    def __getitem__(self, key: slice) -> list[Action]: ...
    def __getitem__(self, key: int | slice) -> Action | list[Action]:
        if isinstance(key, slice):
            return [self._record(step) for step in self._planned[key]]
        return self._record(self._planned[key])

    def _record(self, step: PlannedAction) -> Action:
        return Action(
            uuid=self._uuids[step.index],
            action_plan_id=0,
            action_type=step.action.action_type,
            input_parameters=dict(step.action.input_parameters),
            parents=tuple(self._uuids[parent] for parent in step.parents),
            reason=step.action.reason or None,
            facts=dict(step.action.facts) or None,
        )
