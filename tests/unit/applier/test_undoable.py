"""What applier commits about an action is what decision needs to undo it."""

from __future__ import annotations

from typing import Any

import pytest
from plan_world import PLAN, World

from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action
from trimtab_decision.rollback import derive


@pytest.mark.req("A-077", "A-079")
async def test_the_record_of_a_finished_plan_is_enough_to_derive_its_inverse(world: World):
    world.nova.add_hosts("h1", "h2")
    world.nova.add_server("s0", "h1")
    world.nova.add_server("s1", "h2")
    before = world.nova.all["s1"].flavor
    await world.plan(
        (
            "change_nova_service_state",
            {"resource_id": "x", "resource_name": "h1", "state": "disabled"},
        ),
        (
            "migrate",
            {
                "resource_id": "s0",
                "migration_type": "live",
                "source_node": "h1",
                "destination_node": "h2",
            },
        ),
        ("resize", {"resource_id": "s1", "flavor": "m2"}),
        ("nop", {"message": None}),
        parents={1: [0], 2: [1], 3: [2]},
    )
    await world.run()
    assert world.states == [ActionState.SUCCEEDED] * 4
    async with world.store.read() as session:
        actions = await session.actions.list_of_plan(PLAN)
    undone = derive(actions)
    by_type = {action.action_type: action for action in undone.actions}
    resized, moved = by_type["resize"], by_type["migrate"]
    enabled = by_type["change_nova_service_state"]
    assert (resized.action_type, resized.input_parameters) == (
        "resize",
        {"resource_id": "s1", "flavor": before},
    )
    assert before
    assert (moved.action_type, moved.input_parameters) == (
        "migrate",
        {
            "resource_id": "s0",
            "migration_type": "live",
            "source_node": "h2",
            "destination_node": "h1",
        },
    )
    assert (enabled.action_type, enabled.input_parameters) == (
        "change_nova_service_state",
        {"resource_id": "x", "resource_name": "h1", "state": "enabled"},
    )
    assert (resized.parents, enabled.parents) == ((), ())
    assert set(moved.parents) == {resized.uuid, enabled.uuid}  # not back to a closed host (B-217)
    assert undone.actions[-1] is moved
    assert [one.problem for one in undone.report] == [None, None, None, "It changed nothing."]


def ended(kind: str, parameters: dict[str, Any], **intent: Any) -> Action:
    return Action(
        uuid="a1",
        action_plan_id=1,
        action_type=kind,
        input_parameters=parameters,
        intent=intent,
        state=ActionState.SUCCEEDED,
    )


@pytest.mark.req("B-303")
@pytest.mark.parametrize(
    ("action", "inverse"),
    [
        (
            ended(
                "volume_migrate",
                {"resource_id": "v", "migration_type": "migrate", "destination_node": "p2"},
                way="migrate",
                prior_pool="p1",
                prior_type="t1",
            ),
            {"resource_id": "v", "migration_type": "migrate", "destination_node": "p1"},
        ),
        (
            ended(
                "volume_migrate",
                {"resource_id": "v", "migration_type": "swap", "destination_type": "t2"},
                way="retype",
                prior_pool="p1",
                prior_type="t1",
            ),
            {"resource_id": "v", "migration_type": "retype", "destination_type": "t1"},
        ),
        (
            ended(
                "change_node_power_state", {"resource_id": "n", "state": "off"}, prior_power="on"
            ),
            {"resource_id": "n", "state": "on"},
        ),
    ],
)
def test_volumes_go_back_and_machines_are_switched_back(action, inverse):
    (made,) = derive([action]).actions
    assert (made.action_type, made.input_parameters) == (action.action_type, inverse)


def test_a_machine_that_was_so_before_has_nothing_to_undo():
    same = ended("change_node_power_state", {"resource_id": "n", "state": "on"}, prior_power="on")
    found = derive([same])
    assert not found.actions
    assert "was on before" in str(found.report[0].problem)
