"""change_nova_service_state, stop and resize."""

from __future__ import annotations

import pytest
from plan_world import World

from trimtab_common.domain.lifecycle import ActionState

DONE, FAILED, SKIPPED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.SKIPPED


@pytest.fixture
def cloud(world: World) -> World:
    world.nova.add_hosts("h1", "h2")
    world.nova.add_server("s0", "h1")
    return world


def state(wanted, **more):
    return "change_nova_service_state", {"resource_id": "hypervisor-h1", "state": wanted, **more}


@pytest.mark.req("B-236")
@pytest.mark.parametrize("name", ["h1", None])
async def test_a_host_is_disabled_with_a_reason(cloud: World, name):
    more = {"resource_name": name} if name else {}
    await cloud.plan(state("disabled", disabled_reason="watcher_maintaining", **more))
    await cloud.run()
    assert cloud.states == [DONE]
    assert cloud.nova.hosts["h1"].disabled_reason == "watcher_maintaining"


@pytest.mark.req("B-236")
@pytest.mark.parametrize(
    ("step", "outcome"),
    [
        (state("enabled", resource_name="h1"), SKIPPED),
        (state("disabled", resource_name="h9"), SKIPPED),
        (("change_nova_service_state", {"resource_id": "nothing", "state": "disabled"}), SKIPPED),
        (state("up", resource_name="h1"), FAILED),
    ],
)
async def test_a_host_that_needs_nothing_is_left_alone(cloud: World, step, outcome):
    await cloud.plan(step)
    await cloud.run()
    assert cloud.states == [outcome]
    assert not cloud.nova.ledger


async def test_a_lost_answer_about_a_host_is_asked_again(cloud: World):
    cloud.nova.lose_answers = ["before"]
    await cloud.plan(state("disabled", resource_name="h1"))
    await cloud.run()
    assert cloud.states == [DONE]
    assert cloud.nova.hosts["h1"].disabled_reason == "watcher_disabled"


@pytest.mark.req("B-238")
async def test_a_server_is_stopped_and_a_stopped_one_skipped(cloud: World):
    cloud.nova.add_server("s1", "h1", "SHUTOFF")
    await cloud.plan(*[("stop", {"resource_id": uuid}) for uuid in ("s0", "s1", "s9")])
    await cloud.run()
    assert cloud.states == [DONE, SKIPPED, SKIPPED]
    assert cloud.nova.ledger == [("stop", "s0")]


@pytest.mark.req("B-237")
async def test_a_server_is_resized_and_confirmed(cloud: World):
    await cloud.plan(
        *[
            ("resize", {"resource_id": uuid, "flavor": flavor})
            for uuid, flavor in (("s0", "m2"), ("s9", "m2"), ("s0", "m9"))
        ],
        parents={2: [0]},
    )
    await cloud.run()
    assert cloud.states == [DONE, SKIPPED, FAILED]
    assert cloud.nova.ledger == [("resize", "s0"), ("confirm_resize", "s0")]
