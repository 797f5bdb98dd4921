"""Recommended plans that a success or a changed host supersedes, where the operator wants it."""

import dataclasses

import numpy as np
import pytest
from decision_world import snapshot

from trimtab_common.domain.lifecycle import Actor, PlanState
from trimtab_decision.settings import DecisionSettings
from trimtab_decision.superseding import Supersede, Superseding

HERE = [{"compute": [{"availability_zones": [{"name": "here"}]}]}]


def superseding(world, **policies):
    return Superseding(store=world.store, model=world.model, clock=world.clock, **policies)


async def plan_of(world, scope=(), state=PlanState.RECOMMENDED):
    audit = await world.add_audit(scope=list(scope))
    return await world.add_plan(state, audit=audit)


async def succeed(world, plan):
    async with world.store.write() as session:
        for to, actor in (
            (PlanState.PENDING, Actor.API),
            (PlanState.ONGOING, Actor.APPLIER),
            (PlanState.SUCCEEDED, Actor.APPLIER),
        ):
            await session.action_plans.transition(plan.uuid, to=to, actor=actor, hostname="h")


async def state_of(world, plan):
    async with world.store.read() as session:
        return await session.action_plans.get(plan.uuid)


def switched(world, **columns):
    now = world.model.now
    world.model.now = dataclasses.replace(now, revision=now.revision + 1, **columns)


@pytest.mark.req("A-097")
@pytest.mark.parametrize(
    ("policy", "elsewhere", "alike"),
    [
        (Supersede.NONE, PlanState.RECOMMENDED, PlanState.RECOMMENDED),
        (Supersede.SCOPE, PlanState.RECOMMENDED, PlanState.SUPERSEDED),
        (Supersede.ALL, PlanState.SUPERSEDED, PlanState.SUPERSEDED),
    ],
)
async def test_a_plan_that_succeeds_supersedes_those_made_before(world, policy, elsewhere, alike):
    other, same, ran = [await plan_of(world, scope) for scope in ((), HERE, HERE)]
    await world.clock.advance(10)
    await succeed(world, ran)
    await world.clock.advance(10)
    newer = await plan_of(world, HERE)
    await superseding(world, on_success=policy).look()
    assert (await state_of(world, other)).state is elsewhere
    assert (await state_of(world, same)).state is alike
    assert (await state_of(world, newer)).state is PlanState.RECOMMENDED
    if alike is PlanState.SUPERSEDED:
        assert (await state_of(world, same)).status_message == (
            f"Action plan {ran.uuid} succeeded after this was made."
        )


@pytest.mark.req("A-097")
@pytest.mark.parametrize(
    ("policy", "outside"),
    [
        (Supersede.NONE, PlanState.RECOMMENDED),
        (Supersede.SCOPE, PlanState.RECOMMENDED),
        (Supersede.ALL, PlanState.SUPERSEDED),
    ],
)
async def test_a_host_that_changes_supersedes_the_plans_that_see_it(world, policy, outside):
    world.model.now = dataclasses.replace(
        snapshot(), zones=("here", "there"), host_zone=np.array([0, 1], dtype=np.int32)
    )
    looking = superseding(world, on_change=policy)
    here, whole = [await plan_of(world, scope) for scope in (HERE, ())]
    await looking.look()
    await world.clock.advance(10)
    fresh = await plan_of(world)
    switched(world, host_enabled=np.array([True, False]))
    await looking.look()
    assert (await state_of(world, here)).state is outside
    seen = PlanState.RECOMMENDED if policy is Supersede.NONE else PlanState.SUPERSEDED
    assert (await state_of(world, whole)).state is seen
    assert (await state_of(world, fresh)).state is PlanState.RECOMMENDED
    if policy is not Supersede.NONE:
        assert "host-b" in (await state_of(world, whole)).status_message


async def test_a_model_that_stays_as_it_was_supersedes_nothing(world):
    looking = superseding(world, on_change=Supersede.ALL)
    plan = await plan_of(world)
    assert await looking.look() == 0
    switched(world)
    assert await looking.look() == 0
    assert (await state_of(world, plan)).state is PlanState.RECOMMENDED


@pytest.mark.req("A-097")
def test_both_are_off_unless_set():
    settings = DecisionSettings()
    policies = {settings.supersede_on_success, settings.supersede_on_change}
    assert policies == {Supersede.NONE}
