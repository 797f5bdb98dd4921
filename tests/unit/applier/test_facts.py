"""What a plan relied on is looked at before it starts, and before each action (DESIGN 7)."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest
from plan_world import World, migrate, nop, sleep

from trimtab_common.domain.lifecycle import ActionState, PlanState

DONE, FAILED, SKIPPED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.SKIPPED
CANCELLED = ActionState.CANCELLED
FACTS = {
    "host": "h1",
    "state": "active",
    "vcpus": 2,
    "memory_mib": 2048,
    "disk_gib": 10,
    "destination_status": "enabled",
    "destination_state": "up",
}
CLOSED = {"host": "h2", "status": "disabled", "state": "up", "disabled_reason": "watcher_disabled"}
OPEN_H2 = (
    "change_nova_service_state",
    {"resource_id": "h2", "resource_name": "h2", "state": "enabled"},
)


@pytest.fixture
def cloud(world: World) -> World:
    world.nova.add_hosts("h1", "h2")
    for name in ("s0", "s1"):
        world.nova.add_server(name, "h1")
        change_server(world, name, vcpus=2, memory_mib=2048)
    return world


def change_server(world: World, name: str, **values):
    world.nova.all[name] = dataclasses.replace(world.nova.all[name], **values)


def change_host(world: World, name: str, **values):
    world.nova.hosts[name] = dataclasses.replace(world.nova.hosts[name], **values)


CHANGES = {
    "memory": (lambda w: change_server(w, "s0", memory_mib=4096), "memory_mib was 2048, is 4096"),
    "cores": (lambda w: change_server(w, "s0", vcpus=8), "vcpus was 2, is 8"),
    "stopped": (
        lambda w: change_server(w, "s0", vm_state="stopped", status="SHUTOFF"),
        "state was active, is stopped",
    ),
    "target closed": (
        lambda w: change_host(w, "h2", status="disabled"),
        "destination h2 was enabled, is disabled",
    ),
    "target down": (lambda w: change_host(w, "h2", state="down"), "h2 was up, is down"),
    "target gone": (lambda w: w.nova.hosts.pop("h2"), "the destination was there, is gone"),
}


@pytest.mark.req("B-264")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_plan_that_relies_on_what_changed_is_not_begun(cloud: World, change):
    make, said = CHANGES[change]
    facts = {0: FACTS, 1: {**FACTS, "destination_status": None, "destination_state": None}}
    await cloud.plan(migrate("s0", "h1", "h2"), migrate("s1", "h1"), nop(), facts=facts)
    make(cloud)
    await cloud.run()
    assert cloud.the_plan.state is PlanState.FAILED
    assert cloud.the_plan.status_message.startswith(
        "The plan is stale and nothing of it was done: 1 of 3 actions"
    )
    assert said in cloud.the_plan.status_message
    assert cloud.states == [FAILED, CANCELLED, CANCELLED]
    assert said in cloud.action(0).status_message
    assert not cloud.nova.ledger
    assert cloud.events("action_plan.execution") == ["action_plan.execution.error"]


async def test_a_plan_whose_facts_still_hold_is_carried_out(cloud: World):
    facts = {0: FACTS, 1: {**FACTS, "state": "paused"}}
    await cloud.plan(migrate("s0", "h1", "h2"), migrate("s1", "h1", "h2"), facts=facts)
    await cloud.run()
    assert cloud.states == [DONE, DONE]


@pytest.mark.req("B-264")
async def test_a_fact_that_changes_while_the_plan_runs_fails_its_action(cloud: World):
    await cloud.plan(
        sleep(30), migrate("s0", "h1", "h2"), nop(), parents={1: [0]}, facts={1: FACTS}
    )
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(10)
    change_server(cloud, "s0", memory_mib=4096)
    await cloud.until(running)
    assert cloud.states == [DONE, FAILED, DONE]
    assert "memory_mib was 2048, is 4096" in cloud.action(1).status_message
    assert "Create the audit again" in cloud.action(1).status_message
    assert not cloud.nova.ledger


@pytest.mark.req("B-232")
async def test_a_server_that_is_there_already_is_not_moved(cloud: World):
    await cloud.plan(migrate("s0", "h1", "h2"), facts={0: FACTS})
    change_server(cloud, "s0", host="h2")
    await cloud.run()
    assert cloud.states == [SKIPPED]
    assert "already on destination node h2" in cloud.action(0).status_message
    assert cloud.the_plan.state is PlanState.SUCCEEDED
    assert not cloud.nova.ledger


@pytest.mark.parametrize(
    ("changed", "state"),
    [({}, DONE), ({"disabled_reason": "broken fan"}, FAILED), ({"state": "down"}, FAILED)],
)
async def test_a_host_is_opened_only_while_it_is_closed_for_the_reason_that_was_seen(
    cloud: World, changed, state
):
    seen = {"status": "disabled", "disabled_reason": "watcher_disabled"}
    change_host(cloud, "h2", **{**seen, **changed})
    move = {**FACTS, "destination_status": "disabled"}  # which the plan itself opens
    await cloud.plan(
        OPEN_H2, migrate("s0", "h1", "h2"), parents={1: [0]}, facts={0: CLOSED, 1: move}
    )
    await cloud.run()
    assert cloud.states[0] is state
    assert (cloud.the_plan.state is PlanState.SUCCEEDED) == (state is DONE)


async def test_a_nova_that_does_not_answer_at_the_start_leaves_it_to_the_actions(cloud: World):
    await cloud.plan(sleep(20), migrate("s0", "h1", "h2"), parents={1: [0]}, facts={1: FACTS})
    cloud.nova.down = True
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    cloud.nova.down = False
    await cloud.until(running)
    assert cloud.states == [DONE, DONE]
