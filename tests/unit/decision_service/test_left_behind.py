"""Recommended plans that the cloud has left behind (C-174), and what an audit was planned on (C-121)."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest
import structlog
from test_triggers import with_hosts, with_servers

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.lifecycle import ActionState, Actor, AuditState, PlanState
from trimtab_common.domain.records import Action, ActionPlan
from trimtab_decision.left_behind import LeftBehind

INTERVAL_S = 60.0
SERVERS = [str(uuid.UUID(int=number)) for number in (1, 2, 3)]
RELIES = {
    "host": "h1", "state": "active", "vcpus": 2, "memory_mib": 1024, "disk_gib": 10,
    "destination_status": "enabled", "destination_state": "up",
}  # fmt: skip
CLOSED = {"host": "h3", "status": "disabled", "state": "up", "disabled_reason": "watcher_disabled"}


def a_model():
    """Three hosts, the last one closed by us; three servers on the first."""
    model = with_servers(with_hosts("h1", "h2", "h3"), 1, 2, 3)
    return replace(
        model,
        server_demand=np.array([[2, 1024, 10]] * 3),
        server_state=np.full(3, ServerState.ACTIVE, dtype=np.int8),
        host_enabled=np.array([True, True, False]),
        host_disabled_reason=(None, None, "watcher_disabled"),
    )


def changed(name, index, value):
    def change(model):
        column = getattr(model, name)
        if isinstance(column, tuple):
            return replace(model, **{name: (*column[:index], value, *column[index + 1 :])})
        column = column.copy()
        column[index] = value
        return replace(model, **{name: column})

    return change


def migrate(server, destination="h2", facts=RELIES):
    inputs = {"resource_id": server, "source_node": "h1", "destination_node": destination}
    return Action(
        uuid=str(uuid.uuid4()), action_plan_id=0, action_type="migrate",
        input_parameters=inputs, facts=facts,
    )  # fmt: skip


def opens_h3():
    inputs = {"resource_id": "h3", "resource_name": "h3", "state": "enabled"}
    return Action(
        uuid=str(uuid.uuid4()), action_plan_id=0, action_type="change_nova_service_state",
        input_parameters=inputs, facts=CLOSED,
    )  # fmt: skip


@pytest.fixture
async def plan(world):
    """A recommended plan, older than the interval, of three actions that rely on facts."""
    world.model.now = a_model()
    audit = await world.add_audit(state=AuditState.SUCCEEDED)
    made = await world.store.publish_plan(
        ActionPlan(uuid=str(uuid.uuid4()), audit_id=audit.id, strategy_id=audit.strategy_id),
        [migrate(SERVERS[0]), migrate(SERVERS[1]), opens_h3()],
    )
    await world.clock.advance(INTERVAL_S)
    return made


@pytest.fixture
def looker(world):
    return LeftBehind(
        store=world.store, model=world.model, clock=world.clock, interval_s=INTERVAL_S
    )


async def state_of(world, plan):
    async with world.store.read() as session:
        found = await session.action_plans.get(plan.uuid)
    return found.state, found.status_message or ""


CHANGES = {
    "flavor": (changed("server_demand", (0, 0), 8), "vcpus was 2, is 8"),
    "stopped": (
        changed("server_state", 1, ServerState.STOPPED),
        f"{SERVERS[1]}: state was active, is stopped",
    ),
    "target closed": (
        changed("host_enabled", 1, value=False),
        "destination h2 was enabled, is disabled",
    ),
    "target down": (changed("host_up", 1, value=False), "destination h2 was up, is down"),
    "another reason": (
        changed("host_disabled_reason", 2, "broken fan"),
        "h3: disabled_reason was 'watcher_disabled', is 'broken fan'",
    ),
}


@pytest.mark.req("C-174")
@pytest.mark.parametrize("name", CHANGES)
async def test_a_plan_whose_facts_changed_is_superseded_and_says_what_did(
    world, plan, looker, name
):
    change, words = CHANGES[name]
    assert await looker.look() == 0
    world.model.now = change(a_model())
    assert await looker.look() == 1
    state, message = await state_of(world, plan)
    assert state is PlanState.SUPERSEDED
    assert words in message
    assert "Create the audit again" in message
    assert await world.events(plan.uuid) != []
    assert await looker.look() == 0


@pytest.mark.req("C-174")
@pytest.mark.parametrize(
    "change",
    [
        changed("host_up", 0, value=False),  # of which nobody said that it must be up
        changed("server_state", 2, ServerState.STOPPED),  # not in the plan
        changed("server_state", 0, ServerState.PAUSED),  # moves live as well
        changed("server_host", 0, 1),  # there already: its action is skipped
        lambda _model: with_servers(with_hosts("h1", "h2", "h3")),  # gone: skipped
    ],
    ids=["source down", "another server", "paused", "moved", "gone"],
)
async def test_a_plan_stands_while_what_it_relies_on_does(world, plan, looker, change):
    closed = {"host_enabled": np.array([True, True, False])}
    world.model.now = replace(
        change(a_model()), host_disabled_reason=(None, None, "watcher_disabled"), **closed
    )
    assert await looker.look() == 0
    assert (await state_of(world, plan))[0] is PlanState.RECOMMENDED


@pytest.mark.req("C-174")
@pytest.mark.parametrize("doubt", ["too young", "partial", "stale", "not confirmed", "no model"])
async def test_in_doubt_a_plan_stands(world, plan, looker, doubt):
    world.model.now = CHANGES["stopped"][0](a_model())
    if doubt == "too young":
        await world.clock.advance(-1)
    elif doubt == "partial":
        world.model.now = replace(world.model.now, partial=True)
    elif doubt == "stale":
        world.model.now = replace(world.model.now, stale_reason="Nova is away")
    elif doubt == "not confirmed":
        world.model.age_s = INTERVAL_S + 1
    else:
        world.model.now = None
    assert await looker.look() == 0
    assert (await state_of(world, plan))[0] is PlanState.RECOMMENDED


@pytest.mark.req("C-174")
@pytest.mark.usefixtures("plan")
async def test_a_plan_that_was_too_young_is_looked_at_when_it_is_old_enough(world, looker):
    world.model.now = CHANGES["stopped"][0](a_model())
    await world.clock.advance(-1)
    assert await looker.look() == 0
    await world.clock.advance(1)
    assert await looker.look() == 1


@pytest.mark.req("C-174")
async def test_skipped_actions_and_started_plans_are_left_alone(world, plan, looker):
    world.model.now = CHANGES["stopped"][0](a_model())
    stopped = next(
        a for a in await world.actions(plan) if a.input_parameters["resource_id"] == SERVERS[1]
    )
    async with world.store.write() as session:
        await session.actions.transition(stopped.uuid, to=ActionState.SKIPPED, actor=Actor.API)
    assert await looker.look() == 0
    world.model.now = CHANGES["target down"][0](a_model())
    async with world.store.write() as session:
        await session.action_plans.transition(plan.uuid, to=PlanState.PENDING, actor=Actor.API)
    assert await looker.look() == 0
    assert (await state_of(world, plan))[0] is PlanState.PENDING


@pytest.mark.req("C-174")
async def test_a_fact_on_the_last_page_of_a_long_plan_counts(world, looker):
    world.model.now = a_model()
    audit = await world.add_audit(state=AuditState.SUCCEEDED)
    plan = await world.store.publish_plan(
        ActionPlan(uuid=str(uuid.uuid4()), audit_id=audit.id, strategy_id=audit.strategy_id),
        [*(migrate(SERVERS[0]) for _ in range(1100)), migrate(SERVERS[1])],
    )
    await world.clock.advance(INTERVAL_S)
    world.model.now = CHANGES["stopped"][0](a_model())
    assert await looker.look() == 1
    assert (await state_of(world, plan))[0] is PlanState.SUPERSEDED


@pytest.mark.req("C-121")
async def test_what_an_audit_was_planned_on_is_in_the_log(world):
    world.model.now = replace(a_model(), epoch="e7", revision=4711)
    audit = await world.add_audit("server_consolidation", "basic")
    with structlog.testing.capture_logs() as logs:
        await world.run(audit)
    (line,) = [line for line in logs if line["event"] == "planning on the model"]
    assert (line["audit"], line["epoch"], line["revision"]) == (audit.uuid, "e7", 4711)
