"""What a run does with a plan of nops and sleeps: order, outcomes, rules, cancel."""

from __future__ import annotations

import asyncio

import pytest
from plan_world import PLAN, World, nop, sleep, uuid_of

from trimtab_applier.graph import ExecutionRule
from trimtab_applier.outcome import short_cause
from trimtab_applier.settings import OnCancel
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState

DONE, FAILED, SKIPPED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.SKIPPED
PENDING, CANCELLED = ActionState.PENDING, ActionState.CANCELLED


@pytest.mark.req("B-271", "A-098")
async def test_independent_actions_run_together_and_children_after_parents(world: World):
    await world.plan(sleep(10), sleep(10), sleep(10), parents={2: [0, 1]})
    await world.run()
    assert world.the_plan.state is PlanState.SUCCEEDED
    assert world.states == [DONE] * 3
    assert 20 <= world.clock.monotonic() < 23


@pytest.mark.req("B-271")
async def test_no_more_than_max_workers_run_at_once():
    world = World(max_workers=2)
    await world.plan(*[sleep(10)] * 6)
    await world.run()
    assert 30 <= world.clock.monotonic() < 34


@pytest.mark.req("B-271")
@pytest.mark.parametrize(
    "parents", [{0: ["99999999-0000-4000-8000-000000000000"]}, {0: [1], 1: [0]}, {0: [0]}]
)
async def test_a_wrong_graph_fails_the_plan_before_anything_runs(world: World, parents):
    await world.plan(nop(), nop(), nop(), parents=parents)
    await world.run()
    assert world.the_plan.state is PlanState.FAILED
    assert world.the_plan.status_message
    assert world.states == [CANCELLED] * 3
    assert not world.events("action.execution")
    assert world.events("action_plan.execution") == ["action_plan.execution.error"]


@pytest.mark.req("B-270", "A-111", "C-120")
async def test_the_host_is_recorded(world: World):
    await world.plan(nop())
    await world.run()
    assert world.the_plan.hostname == "applier-1"


@pytest.mark.req("B-273", "A-100", "B-240")
@pytest.mark.parametrize(
    ("flag", "state", "message"),
    [
        ("skip_pre_condition", SKIPPED, "Action was skipped automatically: Skipped in pre_cond"),
        ("fail_pre_condition", FAILED, "Action failed in pre_condition: Failed in pre_condition"),
        ("fail_execute", FAILED, "Action failed in execute: nop did not succeed"),
        ("fail_post_condition", FAILED, "Action failed in post_condition: Failed in post"),
    ],
)
async def test_each_phase_that_fails_is_named(world: World, flag, state, message):
    await world.plan(nop(**{flag: True}))
    await world.run()
    assert world.action(0).state is state
    assert world.action(0).status_message.startswith(message)


@pytest.mark.req("B-274", "B-277")
async def test_children_of_a_failed_action_still_run_and_the_plan_fails(world: World):
    await world.plan(nop(fail_execute=True), nop(), parents={1: [0]})
    await world.run()
    assert world.states == [FAILED, DONE]
    assert world.the_plan.state is PlanState.FAILED
    assert world.events("action_plan.execution") == [
        "action_plan.execution.start",
        "action_plan.execution.error",
    ]


@pytest.mark.req("B-277")
async def test_a_failed_plan_says_which_action_failed_first_and_why_in_one_sentence(world: World):
    await world.plan(nop(), nop(fail_execute=True), ("teleport", {}), parents={1: [0], 2: [1]})
    await world.run()
    assert world.the_plan.status_message == (
        f"Failed: nop {uuid_of(1)} ({short_cause(world.action(1).status_message)}), "
        f"teleport {uuid_of(2)}."
    )
    assert "nop did not succeed" in world.the_plan.status_message


@pytest.mark.parametrize(
    ("said", "cause"),
    [
        ("Action failed in execute: No valid host. Free some room.", "No valid host"),
        ("Timeout", "Timeout"),
        ("x" * 300, "x" * 99 + "…"),
        (None, ""),
    ],
)
def test_a_cause_is_one_short_sentence(said, cause):
    assert short_cause(said) == cause


@pytest.mark.req("B-277", "A-101")
async def test_a_skipped_action_only_leaves_a_message(world: World):
    await world.plan(nop(skip_pre_condition=True), nop(), parents={1: [0]})
    await world.run()
    assert world.states == [SKIPPED, DONE]
    assert world.the_plan.state is PlanState.SUCCEEDED
    assert world.the_plan.status_message == "One or more actions were skipped."


@pytest.mark.req("B-272", "B-279")
async def test_an_action_that_an_admin_skipped_does_not_run(world: World):
    await world.plan(nop(fail_execute=True), nop(), parents={1: [0]})
    async with world.store.write() as session:
        await session.actions.transition(uuid_of(0), to=SKIPPED, actor=Actor.API)
    await world.run()
    assert world.states == [SKIPPED, DONE]
    assert len(world.events("action.execution")) == 2


@pytest.mark.req("A-108", "B-262")
async def test_parameters_that_the_schema_refuses_fail_the_action(world: World):
    await world.plan(nop(surprise=1), ("teleport", {}))
    await world.run()
    assert world.states == [FAILED, FAILED]
    assert "surprise" in world.action(0).status_message
    assert "teleport" in world.action(1).status_message


@pytest.mark.req("B-275", "B-276")
@pytest.mark.parametrize(
    ("flags", "parents", "states"),
    [
        ([{}, {}, {}], {1: [0], 2: [1]}, [DONE, SKIPPED, SKIPPED]),
        ([{"fail_execute": True}, {}, {}], {1: [0], 2: [1]}, [FAILED, DONE, SKIPPED]),
        ([{"fail_pre_condition": True}, {}], {1: [0]}, [FAILED, DONE]),
        ([{"skip_pre_condition": True}, {}], {1: [0]}, [SKIPPED, DONE]),
        ([{"fail_execute": True}, {}, {}], {2: [0, 1]}, [FAILED, DONE, SKIPPED]),
    ],
)
async def test_under_rule_any_children_run_only_if_no_parent_succeeded(flags, parents, states):
    world = World(action_execution_rule={"dummy": ExecutionRule.ANY})
    await world.plan(*[nop(**flag) for flag in flags], parents=parents)
    await world.run()
    assert world.states == states


@pytest.mark.req("B-280", "B-281", "B-284", "A-102")
async def test_cancel_aborts_what_runs_and_starts_nothing_new(world: World):
    await world.plan(nop(), sleep(1000), sleep(2000), nop(), parents={1: [0], 2: [0], 3: [1, 2]})
    runner, _ = await world.runner()
    running = asyncio.ensure_future(runner.run())
    await world.passes(5)
    await world.request_cancel()
    runner.wake()
    before = world.clock.monotonic()
    await world.until(running)
    assert world.clock.monotonic() - before <= 1
    assert world.states == [DONE, CANCELLED, CANCELLED, CANCELLED]
    assert world.the_plan.state is PlanState.CANCELLED
    assert world.events("action_plan.cancel") == [
        "action_plan.cancel.start",
        "action_plan.cancel.end",
    ]
    assert len(world.events("action.cancel.end")) == 3


@pytest.mark.req("B-280")
async def test_a_cancel_is_noticed_without_a_wake_up_within_a_second(world: World):
    await world.plan(sleep(1000))
    runner, _ = await world.runner()
    running = asyncio.ensure_future(runner.run())
    await world.passes(5)
    await world.request_cancel()
    before = world.clock.monotonic()
    await world.until(running)
    assert world.clock.monotonic() - before <= 1.5
    assert world.the_plan.state is PlanState.CANCELLED


@pytest.mark.req("B-282")
async def test_with_on_cancel_wait_running_actions_end_by_themselves():
    world = World(on_cancel=OnCancel.WAIT)
    await world.plan(sleep(30), nop(), parents={1: [0]})
    runner, _ = await world.runner()
    running = asyncio.ensure_future(runner.run())
    await world.passes(5)
    await world.request_cancel()
    await world.until(running)
    assert world.states == [DONE, CANCELLED]
    assert world.the_plan.state is PlanState.CANCELLED


@pytest.mark.req("B-283")
@pytest.mark.parametrize("flags", [{}, {"fail_execute": True}])
async def test_a_cancel_that_comes_when_no_further_action_starts_still_ends_cancelled(flags):
    world = World(on_cancel=OnCancel.WAIT)
    await world.plan(nop(**flags), sleep(30))
    runner, _ = await world.runner()
    running = asyncio.ensure_future(runner.run())
    await world.passes(5)
    assert world.states[0] in (DONE, FAILED)
    await world.request_cancel()
    await world.until(running)
    assert world.states[1] is DONE
    assert world.the_plan.state is PlanState.CANCELLED


@pytest.mark.req("B-283")
async def test_a_plan_cancelled_before_the_worker_starts_runs_nothing(world: World):
    await world.plan(nop(), state=PlanState.CANCELLED)
    await world.run()
    assert world.states == [PENDING]
    assert not world.events("action")
    assert world.the_plan.uuid == PLAN
