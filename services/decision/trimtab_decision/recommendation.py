"""From an audit to a plan not yet stored: choose, gather, think, order.

On the main path: a run asks for a Recommendation and publishes it. Nothing here changes the
record except for the notifications around strategy and planner (B-047).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4, uuid5

from trimtab_common.domain.errors import NotFound, TrimtabError
from trimtab_common.domain.records import Action, ActionPlan, Audit
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.notify import payloads
from trimtab_common.store import Store
from trimtab_decision import model
from trimtab_decision.errors import StrategyNotSynced
from trimtab_decision.execution import Execution
from trimtab_decision.framework import PlannedAction, Registry, Strategy
from trimtab_decision.framework.parameters import check_parameters
from trimtab_decision.metrics import MetricsReader, queries_for
from trimtab_decision.model import ModelSource
from trimtab_decision.settings import DecisionSettings
from trimtab_decision.workers import Thinker

_SEED_BITS = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """A plan and its actions, complete but for what the store fills in.

    `messages`: what the strategy wants the operator to know.
    """

    plan: ActionPlan
    actions: tuple[Action, ...]
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

    async def recommend(self, audit: Audit) -> Recommendation:
        """The plan for this run of the audit.

        Raises the errors of selection, parameters, model, metrics, strategy, efficacy and
        planner, each with a text that an operator can act on.
        """
        strategy = self.registry.select_strategy(audit.goal_name, audit.strategy_name)
        strategy_id = await self._strategy_id(strategy.name)
        async with self.thinker.thinking() as desk:
            async with self._announced("audit.strategy", audit):
                question = await self._question(audit, strategy)
                outcome = await desk.execute(question)
            async with self._announced("audit.planner", audit):
                name = strategy.planner or self.settings.default_planner
                options = self.settings.planner_options.get(name, {})
                planned = await desk.order(name, options)
        plan = ActionPlan(
            uuid=plan_uuid(audit),
            audit_id=audit.id,
            strategy_id=strategy_id,
            global_efficacy=outcome.global_efficacy,
            efficacy_indicators=outcome.indicators,
        )
        return Recommendation(plan=plan, actions=as_records(planned), messages=outcome.messages)

    async def _strategy_id(self, name: str) -> int:
        try:
            async with self.store.read() as session:
                return (await session.strategies.get(name)).id
        except NotFound:
            raise StrategyNotSynced(
                f"Strategy {name} is not in the record yet. "
                "Create the audit again after the next sync, or restart decision."
            ) from None

    async def _question(self, audit: Audit, strategy: Strategy) -> Execution:
        values = check_parameters(strategy.parameters_schema, audit.parameters)
        compute: ComputeSnapshot | None = None
        table = MetricsTable()
        if strategy.needs_compute_model:
            compute = model.current(self.model, max_age_s=self.settings.max_model_age_s)
            queries = queries_for(type(strategy), values)
            if queries:
                table = await self.metrics.read(
                    compute, queries, self.settings.datasources.get(strategy.name, ())
                )
        return Execution(
            strategy=strategy.name,
            parameters=values,
            compute=compute,
            metrics=table,
            scope=audit.scope,
            seed=UUID(audit.uuid).int & ((1 << _SEED_BITS) - 1),
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


def as_records(planned: Sequence[PlannedAction]) -> tuple[Action, ...]:
    """The actions with uuids in place of indexes."""
    uuids = [str(uuid4()) for _ in planned]
    return tuple(
        Action(
            uuid=uuids[step.index],
            action_plan_id=0,
            action_type=step.action.action_type,
            input_parameters=dict(step.action.input_parameters),
            parents=tuple(uuids[parent] for parent in step.parents),
            reason=step.action.reason or None,
            facts=dict(step.action.facts) or None,
        )
        for step in planned
    )
