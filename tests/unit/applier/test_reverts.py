"""`rollback_when_actionplan_failed`: a plan that fails undoes what it did, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, ClassVar

import pytest
from mortal import Killed, Life, MortalNova, MortalStore
from plan_world import PLAN, World, migrate, nop, sleep

from trimtab_applier.actions import ActionPlugin, ActionTypes
from trimtab_applier.errors import ActionFailed
from trimtab_applier.settings import OnCancel
from trimtab_common.domain.lifecycle import ActionState, PlanState

DONE, FAILED, CANCELLED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.CANCELLED
SKIPPED = ActionState.SKIPPED


def disable(host: str) -> tuple[str, dict[str, Any]]:
    return "change_nova_service_state", {
        "resource_id": host,
        "resource_name": host,
        "state": "disabled",
        "disabled_reason": "watcher_maintaining",
    }


async def a_world(**settings: Any) -> World:
    """Host h1 is emptied; s2 cannot move."""
    world = World(**{"rollback_when_failed": True, **settings})
    world.step_s = 2.0
    world.nova.add_hosts("h1", "h2")
    for number in range(3):
        world.nova.add_server(f"s{number}", "h1")
    world.nova.add_server("s3", "h2")
    world.nova.doomed.add("s2")
    await world.plan(
        disable("h1"),
        migrate("s0", "h1", "h2"),
        migrate("s1", "h1", "h2"),
        ("stop", {"resource_id": "s3"}),
        migrate("s2", "h1", "h2"),
        nop(),
        nop(skip_pre_condition=True),
        parents={1: [0], 2: [0], 3: [1], 4: [1, 2, 3], 5: [4], 6: [0]},
    )
    return world


def check_reverted(world: World) -> None:
    assert world.the_plan.state is PlanState.FAILED
    assert world.the_plan.status_message.startswith("Rollback: 4 reverted. One or more actions")
    assert world.states == [DONE, DONE, DONE, DONE, FAILED, CANCELLED, SKIPPED]
    assert [world.nova.all[f"s{n}"].host for n in range(4)] == ["h1", "h1", "h1", "h2"]
    assert world.nova.all["s3"].status == "ACTIVE"
    assert world.nova.hosts["h1"].status == "enabled"
    assert Counter(world.nova.ledger) == {
        ("set_service_status", "h1"): 2,
        ("live_migrate", "s0"): 2,
        ("live_migrate", "s1"): 2,
        ("live_migrate", "s2"): 1,
        ("stop", "s3"): 1,
        ("start", "s3"): 1,
    }


@pytest.mark.req("A-080", "B-300", "B-238")
async def test_when_an_action_fails_what_succeeded_is_reverted_last_first_and_nothing_starts():
    world = await a_world()
    await world.run()
    check_reverted(world)
    undone = world.nova.ledger[5:]
    assert undone[0] == ("start", "s3")
    assert undone.index(("set_service_status", "h1")) < undone.index(("live_migrate", "s0"))
    assert world.action(1).status_message == "Reverted, because the action plan failed."
    assert world.action(1).result["reverted"] == "undone"
    assert world.action(5).status_message.startswith("Not started: another action failed")
    assert world.action(6).result is None
    assert world.events("action_plan.execution")[-1] == "action_plan.execution.error"


@pytest.mark.req("A-080")
async def test_it_is_off_unless_asked_for():
    world = await a_world(rollback_when_failed=False)
    await world.run()
    assert world.the_plan.state is PlanState.FAILED
    assert world.states == [DONE, DONE, DONE, DONE, FAILED, DONE, SKIPPED]
    assert world.nova.all["s0"].host == "h2"
    assert world.the_plan.status_message.startswith("One or more actions were skipped. Failed: ")


@pytest.mark.req("B-300")
async def test_a_revert_that_fails_is_told_and_does_not_stop_the_rest():
    world = await a_world()

    class Moved(Exception):
        pass

    real = world.nova.live_migrate

    async def live_migrate(server: str, host: str | None) -> None:
        if (server, host) == ("s0", "h1"):
            raise Moved("secret")
        await real(server, host)

    world.nova.live_migrate = live_migrate
    del world.nova.all["s3"]  # its stop is skipped, so nothing is to be started
    await world.run()
    assert world.action(1).status_message == "Revert failed: Moved"
    assert world.action(1).state is DONE
    assert world.the_plan.status_message.startswith(
        f"Rollback: 2 reverted, 1 not reverted ({world.action(1).uuid})."
    )
    assert [world.nova.all[f"s{n}"].host for n in range(3)] == ["h2", "h1", "h1"]
    assert world.nova.hosts["h1"].status == "enabled"


@pytest.mark.req("B-304", "B-300")
async def test_a_host_that_an_operator_closed_meanwhile_stays_closed():
    world = await a_world()
    real = world.nova.live_migrate

    async def live_migrate(server: str, host: str | None) -> None:
        if server == "s2":
            await world.nova.set_service_status("service-h1", enabled=False, reason="bad memory")
        await real(server, host)

    world.nova.live_migrate = live_migrate
    await world.run()
    assert world.nova.hosts["h1"].disabled_reason == "bad memory"
    assert "disabled_reason was 'watcher_maintaining', is 'bad memory'" in (
        world.action(0).status_message
    )
    assert "since the action was done" in world.action(0).status_message
    assert "Create the audit again" not in world.action(0).status_message
    assert "undo it by hand" in world.action(0).status_message
    assert "Destination node h1 is not in enabled state" in world.action(1).status_message
    assert world.nova.all["s3"].status == "ACTIVE"  # the others are reverted
    assert world.the_plan.status_message.startswith("Rollback: 1 reverted, 3 not reverted (")


class Wave(ActionPlugin):
    """An outside type with a revert of its own."""

    action_type: ClassVar[str] = "wave"
    description: ClassVar[str] = "Waves"
    schema: ClassVar[dict[str, Any]] = {"type": "object"}
    waved: ClassVar[list[str]] = []

    async def execute(self) -> bool:
        self.waved.append("there")
        return True

    async def revert(self) -> bool:
        if self.context.parameters.get("shy"):
            raise ActionFailed("too shy")
        self.waved.append("back")
        return True


class Walk(Wave):
    action_type: ClassVar[str] = "walk"
    revert = ActionPlugin.revert


@pytest.mark.req("B-300")
async def test_an_outside_type_is_reverted_by_its_own_revert_or_not_at_all(world: World):
    Wave.waved.clear()
    world = World(rollback_when_failed=True)
    world.types = ActionTypes({**world.types.by_name, "wave": Wave, "walk": Walk})
    await world.plan(
        ("wave", {}),
        ("wave", {"shy": True}),
        ("walk", {}),
        sleep(1),
        nop(fail_execute=True),
        parents={4: [0, 1, 2, 3]},
    )
    await world.run()
    assert Wave.waved == ["there"] * 3 + ["back"]
    assert [world.action(n).status_message for n in range(4)] == [
        "Reverted, because the action plan failed.",
        "Revert failed: too shy",
        "Not reverted: Actions of the type walk cannot be undone.",
        "Not reverted: It changed nothing.",
    ]


async def lives(world: World, steps: int) -> bool:
    """One process that dies after so many steps; True if it ended its work before."""
    life = Life(steps)
    store, nova = MortalStore(world.store, life), MortalNova(world.nova, life)
    try:
        runner, keeper = await world.runner(f"owner-{steps}", store=store, nova=nova)
        await world.until(runner.run())
        await keeper.release()
    except (Killed, BaseExceptionGroup):
        if not life.is_over:
            raise
        return False
    return True


@pytest.mark.req("B-300")
@pytest.mark.parametrize(
    "stride",
    [
        pytest.param(7, id="some"),
        pytest.param(1, id="all", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
async def test_a_death_at_any_step_of_a_rollback_reverts_nothing_twice(stride: int):
    for steps in range(0, 1000, stride):
        world = await a_world()
        ended = await lives(world, steps)
        if not ended:
            await world.passes(world.lease_left_s + world.step_s)
            assert await lives(world, 1_000_000)
        check_reverted(world)
        await world.close()
        if ended:
            assert steps > 60
            return
    raise AssertionError("it never ended")


@pytest.mark.req("B-300")
@pytest.mark.parametrize("deaths", [0, 1])
async def test_a_cancel_stops_a_rollback_and_what_is_in_flight_is_ended(deaths: int):
    world = await a_world(max_workers=1, on_cancel=OnCancel.ABORT)
    runner, keeper = await world.runner("first")
    running = asyncio.ensure_future(runner.run())
    while (
        Counter(world.nova.ledger)["live_migrate", "s1"]
        + Counter(world.nova.ledger)["live_migrate", "s0"]
        < 3
    ):
        await world.passes(2)
    await world.request_cancel()
    if deaths:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.release()
        runner, _ = await world.runner("second")
        running = asyncio.ensure_future(runner.run())
    await world.until(running)
    assert world.the_plan.state is PlanState.CANCELLED
    moved = Counter(world.nova.ledger)
    assert moved["live_migrate", "s0"] + moved["live_migrate", "s1"] == 3
    assert sorted(world.nova.all[name].host for name in ("s0", "s1")) == ["h1", "h2"]
    assert world.the_plan.status_message == "Rollback: 3 reverted, 1 left as they are."


async def test_a_plan_that_rolls_back_another_is_not_rolled_back_itself(world: World):
    world = World(rollback_when_failed=True)
    await world.plan(nop(), nop(fail_execute=True), nop(), parents={1: [0], 2: [1]})
    async with world.store.write() as session:
        for number in range(3):
            await session.actions.update(
                world.action(number).uuid, {"reason": f"undoes action x of action plan {PLAN}"}
            )
    await world.run()
    assert world.states == [DONE, FAILED, DONE]
    assert world.the_plan.status_message.startswith(f"Rolls back action plan {PLAN}. Failed: nop")
