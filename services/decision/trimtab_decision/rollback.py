"""Undoes a finished plan by a new one: the inverse of each move, last first (A-076..A-079).

The rules are `domain.inverses`; here is the new plan that they make, and the use case that reads
the record, publishes that plan and launches it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from trimtab_common.domain.errors import Conflict, FailedPrecondition, InvalidArgument
from trimtab_common.domain.inverses import (
    NOTHING_TO_UNDO,
    Inverse,
    NotInvertible,
    inverse_of,
    origin_message,
    reason_for,
    undo_order,
    undone_by,
    was_reverted,
)
from trimtab_common.domain.lifecycle import TERMINAL_PLAN, ActionState, Actor, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Session, Store, running_plan_beside

FINISHED = TERMINAL_PLAN - {PlanState.SUPERSEDED, PlanState.DELETED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What becomes of one action: the uuid of its inverse, or why there is none."""

    action: str
    inverse: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverses:
    """The new plan's actions, parents first, and the report on each old one."""

    actions: tuple[Action, ...]
    report: tuple[Undone, ...]


def derive(
    actions: Sequence[Action],
    wanted: frozenset[str] = frozenset(),
    new_uuid: Callable[[], str] = lambda: str(uuid4()),
    *,
    plan: str = "",
    undone: Mapping[str, Action] | None = None,
) -> Inverses:
    """The inverses of the `wanted` actions of a plan (empty: of all), in reverse dependency order.

    `undone`: what other plans undo already, or have undone, by the uuid of the undone action.
    """
    report: dict[str, Undone] = {}
    inverses: dict[str, Inverse] = {}
    for action in actions:
        if wanted and action.uuid not in wanted:
            continue
        if (by := (undone or {}).get(action.uuid)) is not None:
            problem = f"Action {by.uuid} undoes it: {by.state}."
            report[action.uuid] = Undone(action=action.uuid, problem=problem)
            continue
        try:
            inverses[action.uuid] = inverse_of(action)
        except NotInvertible as why:
            report[action.uuid] = Undone(action=action.uuid, problem=str(why))
        else:
            report[action.uuid] = Undone(action=action.uuid, inverse=new_uuid())
    made = [
        Action(
            uuid=report[uuid].inverse or "",
            action_plan_id=0,
            action_type=inverses[uuid].action_type,
            input_parameters=inverses[uuid].parameters,
            facts=inverses[uuid].facts,
            parents=tuple(sorted(report[parent].inverse or "" for parent in waits)),
            reason=reason_for(uuid, plan),
        )
        for uuid, waits in undo_order(actions, inverses).items()
    ]
    return Inverses(actions=tuple(made), report=tuple(report.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollbacks:
    """The use case. `period_s`: how long after its end a plan may be undone."""

    store: Store
    clock: Clock
    period_s: float
    new_uuid: Callable[[], str] = field(default=lambda: str(uuid4()))

    async def roll_back(
        self, plan_uuid: str, wanted: Sequence[str] = ()
    ) -> tuple[ActionPlan, tuple[Undone, ...]]:
        """The new plan, launched, and what became of each action. `wanted` empty: all of them.

        NotFound: no such plan. FailedPrecondition: it has not ended, ended too long ago, did
        nothing, or is rolled back already. InvalidArgument: `wanted` names an action of another
        plan. Conflict: a running plan touches the same resources.
        """
        async with self.store.read() as session:
            plan = await session.action_plans.get(plan_uuid)
            actions = await session.actions.list_of_plan(plan.uuid)
            undone = _standing(await session.actions.undoing(plan))
        self._check(plan, actions)
        _check_known(wanted, actions, plan)
        _check_left(wanted, actions, undone, plan)
        inverses = derive(actions, frozenset(wanted), self.new_uuid, plan=plan.uuid, undone=undone)
        origin = origin_message(plan.uuid)
        new = ActionPlan(
            uuid=self.new_uuid(),
            audit_id=plan.audit_id,
            strategy_id=plan.strategy_id,
            status_message=origin,
        )
        published = await self.store.publish_plan(
            new,
            inverses.actions,
            cancel_recommended_of_audit=False,
            state=PlanState.RECOMMENDED if inverses.actions else PlanState.SUCCEEDED,
            fence=None,
        )
        if inverses.actions:
            published = await self._launch(published, origin)
        return published, inverses.report

    def _check(self, plan: ActionPlan, actions: Sequence[Action]) -> None:
        if plan.state not in FINISHED:
            raise FailedPrecondition(
                f"Couldn't roll back when state is '{plan.state}'. Only a plan that has ended can "
                "be rolled back."
            )
        ended_at = plan.updated_at or plan.created_at
        if ended_at is None or self.clock.now() - ended_at > timedelta(seconds=self.period_s):
            raise FailedPrecondition(
                f"Action plan {plan.uuid} ended more than {self.period_s:g} s ago and cannot be "
                "rolled back any more ([watcher_decision_engine]action_plan_rollback_period)."
            )
        if not any(action.state is ActionState.SUCCEEDED for action in actions):
            raise FailedPrecondition(
                f"No action of action plan {plan.uuid} SUCCEEDED: there is nothing to roll back."
            )

    async def _launch(self, plan: ActionPlan, origin: str) -> ActionPlan:
        async def launch(session: Session) -> ActionPlan:
            running = await running_plan_beside(session, plan)
            target = PlanState.PENDING if running is None else PlanState.CANCELLED
            return await session.action_plans.transition(
                plan.uuid,
                to=target,
                actor=Actor.DECISION,
                source=PlanState.RECOMMENDED,
                status_message=origin
                if running is None
                else f"{origin} Action plan {running.uuid} runs on the same resources.",
            )

        launched = await self.store.transact(launch)
        if launched.state is PlanState.CANCELLED:
            await self.store.cancel_actions_of_plan(launched.uuid, Actor.DECISION)
            raise Conflict(f"{launched.status_message} Roll back when that has ended.")
        return launched


def _check_known(wanted: Sequence[str], actions: Sequence[Action], plan: ActionPlan) -> None:
    known = {action.uuid for action in actions}
    unknown = [uuid for uuid in wanted if uuid not in known]
    if unknown:
        raise InvalidArgument(f"Action {unknown[0]} is not one of action plan {plan.uuid}.")


def _standing(undoing: Sequence[Action]) -> dict[str, Action]:
    """The inverses that are done or may still be, by what they undo; the others may be tried again."""
    given_up = {ActionState.FAILED, ActionState.CANCELLED, ActionState.SKIPPED}
    return {
        undone: action
        for action in undoing
        if action.state not in given_up and (undone := undone_by(action)) is not None
    }


def _check_left(
    wanted: Sequence[str],
    actions: Sequence[Action],
    undone: Mapping[str, Action],
    plan: ActionPlan,
) -> None:
    """Something that was done is not undone yet (B-301)."""
    done = [
        action
        for action in actions
        if action.state is ActionState.SUCCEEDED and (not wanted or action.uuid in wanted)
    ]
    gone = [one for one in done if one.uuid in undone or was_reverted(one)]
    left = [one for one in done if one not in gone and one.action_type not in NOTHING_TO_UNDO]
    if gone and not left:
        raise FailedPrecondition(f"Action plan {plan.uuid} is already rolled back.")
