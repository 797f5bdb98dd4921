"""Action plans: launched, cancelled and deleted here, carried out by applier (A §4.5)."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab_api import idents
from trimtab_api.conditions import Guard, any_version
from trimtab_api.ports import Deps, RolledBack
from trimtab_common.domain import lifecycle
from trimtab_common.domain.errors import Conflict, FailedPrecondition, InvalidArgument
from trimtab_common.domain.lifecycle import Actor, PlanState
from trimtab_common.domain.records import ActionPlan
from trimtab_common.domain.resources import ACTION_PLANS
from trimtab_common.runtime import failpoints
from trimtab_common.store import Session, running_plan_beside


async def start(deps: Deps, ident: str, *, guard: Guard = any_version) -> ActionPlan:
    """Launches a RECOMMENDED plan: PENDING in the record, applier woken (A-064).

    FailedPrecondition: it is in another state. Conflict: it overlaps a running plan (A-087).
    """

    async def work(session: Session) -> ActionPlan:
        plan = await session.action_plans.get(idents.parse(ACTION_PLANS, ident))
        guard(plan)
        if plan.state is not PlanState.RECOMMENDED:
            raise FailedPrecondition(f"Couldn't start when state is '{plan.state}'.")
        failpoints.reach("api.plan.start")
        await _check_alone(session, plan)
        return await session.action_plans.transition(
            plan.uuid, to=PlanState.PENDING, actor=Actor.API, source=PlanState.RECOMMENDED
        )

    plan = await deps.store.transact(work)
    failpoints.reach("api.plan.started")
    deps.waker.wake_plan(plan.uuid)
    return plan


async def set_state(
    deps: Deps, ident: str, wanted: str, *, guard: Guard = any_version
) -> ActionPlan:
    """The state changes of PATCH (A-063); TransitionNotAllowed for every other one."""

    async def work(session: Session) -> ActionPlan:
        plan = await session.action_plans.get(idents.parse(ACTION_PLANS, ident))
        guard(plan)
        target = _target_state(plan, wanted)
        if target is PlanState.PENDING:
            await _check_alone(session, plan)
        return await session.action_plans.transition(
            plan.uuid, to=target, actor=Actor.API, source=plan.state
        )

    plan = await deps.store.transact(work)
    failpoints.reach("api.plan.cancel")
    if plan.state is PlanState.CANCELLED:
        await deps.store.cancel_actions_of_plan(plan.uuid, Actor.API)
    else:
        deps.waker.wake_plan(plan.uuid)
    return plan


async def cancel(deps: Deps, ident: str, *, guard: Guard = any_version) -> ActionPlan:
    """Cancels a plan that has not ended, whichever way its state asks for."""
    async with deps.store.read() as session:
        plan = await session.action_plans.get(idents.parse(ACTION_PLANS, ident))
    target = PlanState.CANCELLED
    if plan.state is PlanState.ONGOING:
        target = PlanState.CANCELLING
    return await set_state(deps, plan.uuid, target.value, guard=guard)


async def roll_back(
    deps: Deps, ident: str, actions: Sequence[str] = (), *, guard: Guard = any_version
) -> tuple[ActionPlan, Sequence[RolledBack]]:
    """The plan that undoes this one, already launched, and what became of each action (A-076).

    `actions` empty: all of them. NotFound, FailedPrecondition, InvalidArgument, Conflict.
    """
    for one in actions:
        if idents.parse_uuid(one) is None:
            raise InvalidArgument(f"Expected a uuid but received {one}.")
    async with deps.store.read() as session:
        plan = await session.action_plans.get(idents.parse(ACTION_PLANS, ident))
    guard(plan)
    new, report = await deps.rollbacks.roll_back(plan.uuid, actions)
    async with deps.store.read() as session:
        return await session.action_plans.get(new), report


async def delete(deps: Deps, ident: str, *, guard: Guard = any_version) -> None:
    """Soft-deletes a plan that does not run, with its actions and indicators (A-065).

    FailedPrecondition: it runs, or waits to.
    """

    async def work(session: Session) -> None:
        plan = await session.action_plans.get(idents.parse(ACTION_PLANS, ident))
        guard(plan)
        await session.action_plans.soft_delete(plan.uuid, actor=Actor.API)

    await deps.store.transact(work)


async def _check_alone(session: Session, plan: ActionPlan) -> None:
    running = await running_plan_beside(session, plan)
    if running is not None:
        raise Conflict(
            f"Action plan {running.uuid} is {running.state} and changes some of the same resources. "
            "Start this one when that has ended, or skip the actions that both hold."
        )


def _target_state(plan: ActionPlan, wanted: str) -> PlanState:
    known = {state.value: state for state in PlanState if state is not PlanState.DELETED}
    target = known.get(wanted)
    if target is None:
        raise lifecycle.TransitionNotAllowed(
            f"State transition not allowed: ({plan.state} -> {wanted})"
        )
    lifecycle.check(lifecycle.PLAN, plan.state, target, Actor.API)
    return target
