"""What is undone is known from the record, on every database (B-301, B-303)."""

from __future__ import annotations

import dataclasses

import pytest

from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_decision.rollback import Rollbacks
from trimtab_decision.settings import DecisionSettings


async def ended(world, plan, states):
    """Runs a plan to its end as applier does, its actions to these states."""
    async with world.store.write() as session:
        if (await session.action_plans.state(plan.uuid)) is PlanState.RECOMMENDED:
            await session.action_plans.transition(plan.uuid, to=PlanState.PENDING, actor=Actor.API)
        await session.action_plans.transition(plan.uuid, to=PlanState.ONGOING, actor=Actor.APPLIER)
        actions = await session.actions.list_of_plan(plan.uuid)
        for action, state in zip(actions, states, strict=True):
            for to in (ActionState.ONGOING, state):
                await session.actions.transition(action.uuid, to=to, actor=Actor.APPLIER)
        to = PlanState.FAILED if ActionState.FAILED in states else PlanState.SUCCEEDED
        await session.action_plans.transition(plan.uuid, to=to, actor=Actor.APPLIER)
    return actions


@pytest.mark.req("B-301", "B-303")
async def test_what_was_undone_is_not_undone_again_and_what_failed_may_be(world):
    audit = await world.audit()
    steps = [
        dataclasses.replace(
            action, action_type="stop", input_parameters={"resource_id": action.uuid}, parents=()
        )
        for action in world.actions(2)
    ]
    plan = await world.store.publish_plan(world.plan_of(audit), steps)
    await ended(world, plan, [ActionState.SUCCEEDED] * 2)
    rollbacks = Rollbacks(store=world.store, clock=world.clock, period_s=3600)
    first, report = await rollbacks.roll_back(plan.uuid)
    assert all(one.inverse for one in report)
    with pytest.raises(FailedPrecondition, match="already rolled back"):
        await rollbacks.roll_back(plan.uuid)
    inverses = await ended(world, first, [ActionState.SUCCEEDED, ActionState.FAILED])
    second, report = await rollbacks.roll_back(plan.uuid)
    (again,) = [one for one in report if one.inverse]
    (done,) = [one for one in report if one.problem]
    assert inverses[0].uuid in done.problem
    assert inverses[1].reason == f"undoes action {again.action} of action plan {plan.uuid}"
    await ended(world, second, [ActionState.SUCCEEDED])
    with pytest.raises(FailedPrecondition, match="already rolled back"):
        await rollbacks.roll_back(plan.uuid)
    third, _ = await rollbacks.roll_back(second.uuid)  # an undoing can be undone, too
    async with world.store.read() as session:
        (stop,) = await session.actions.list_of_plan(third.uuid)
    assert stop.action_type == "stop"


@pytest.mark.req("B-302")
@pytest.mark.parametrize(("period_s", "passed_s"), [(3600, 3600), (60, 60)])
async def test_a_plan_is_undone_only_so_long_after_its_end(world, period_s, passed_s):
    plan = await world.plan(1)
    await world.clock.advance(7200)  # it waited; what counts is its end
    await ended(world, plan, [ActionState.SUCCEEDED])
    rollbacks = Rollbacks(store=world.store, clock=world.clock, period_s=period_s)
    await world.clock.advance(passed_s + 1)
    with pytest.raises(FailedPrecondition, match=rf"ended more than {period_s} s ago"):
        await rollbacks.roll_back(plan.uuid)
    await world.clock.advance(-2)
    await rollbacks.roll_back(plan.uuid)


@pytest.mark.req("B-302")
def test_the_window_is_an_hour_unless_set():
    assert DecisionSettings().action_plan_rollback_period_s == 3600.0
