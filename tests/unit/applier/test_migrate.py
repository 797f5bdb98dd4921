"""The action migrate, on a small Nova in memory."""

from __future__ import annotations

import asyncio
import dataclasses
import json

import pytest
from plan_world import World, migrate

from trimtab_common.domain.errors import PermissionDenied
from trimtab_common.domain.lifecycle import ActionState, PlanState

DONE, FAILED, SKIPPED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.SKIPPED
CANCELLED = ActionState.CANCELLED


@pytest.fixture
def cloud(world: World) -> World:
    world.nova.add_hosts("h1", "h2", "h3")
    for number in range(5):
        world.nova.add_server(f"s{number}", "h1")
    return world


@pytest.mark.req("B-233", "B-261")
@pytest.mark.parametrize("destination", ["h3", None])
async def test_a_live_migration_ends_when_the_server_runs_on_the_destination(
    cloud: World, destination
):
    await cloud.plan(migrate("s0", "h1", destination))
    await cloud.run()
    assert cloud.states == [DONE]
    assert cloud.nova.all["s0"].host == (destination or "h2")
    assert cloud.action(0).result["host"] == (destination or "h2")
    assert json.loads(cloud.action(0).input_parameters) == migrate("s0", "h1", destination)[1]
    assert cloud.nova.ledger == [("live_migrate", "s0")]


@pytest.mark.req("B-234")
@pytest.mark.parametrize("destination", ["h3", None])
async def test_a_cold_migration_is_confirmed(cloud: World, destination):
    await cloud.plan(migrate("s0", "h1", destination, kind="cold"))
    await cloud.run()
    assert cloud.states == [DONE]
    assert cloud.nova.ledger == [("cold_migrate", "s0"), ("confirm_resize", "s0")]
    assert cloud.nova.all["s0"].status == "ACTIVE"


@pytest.mark.req("B-232")
@pytest.mark.parametrize(
    ("step", "state", "word"),
    [
        (migrate("s9", "h1", "h2"), SKIPPED, "Instance s9 not found"),
        (migrate("s0", "h2", "h3"), SKIPPED, "not on source node h2"),
        (migrate("s0", "h1", "h9"), FAILED, "Destination node h9 not found"),
        (migrate("s0", "h1", "h3"), FAILED, "not in enabled state"),
        (migrate("s1", "h1", "h2"), FAILED, "SHUTOFF"),
    ],
)
async def test_what_cannot_move_is_not_touched(cloud: World, step, state, word):
    cloud.nova.hosts["h3"] = dataclasses.replace(cloud.nova.hosts["h3"], status="disabled")
    cloud.nova.add_server("s1", "h1", "SHUTOFF")
    await cloud.plan(step)
    await cloud.run()
    assert cloud.states == [state]
    assert word in cloud.action(0).status_message
    assert not cloud.nova.ledger


@pytest.mark.req("B-232")
async def test_a_paused_server_may_move_live(cloud: World):
    cloud.nova.add_server("s0", "h1", "PAUSED")
    await cloud.plan(migrate("s0", "h1", "h2"))
    await cloud.run()
    assert cloud.states == [DONE]


@pytest.mark.req("B-233")
async def test_a_migration_that_nova_gives_up_fails_with_novas_state(cloud: World):
    cloud.nova.doomed.add("s0")
    await cloud.plan(migrate("s0", "h1", "h2"))
    await cloud.run()
    assert cloud.states == [FAILED]
    assert "1 is error" in cloud.action(0).status_message
    assert "on h1" in cloud.action(0).status_message


@pytest.mark.req("B-231", "B-233")
async def test_a_migration_that_never_ends_fails_after_the_time_limit(cloud: World):
    cloud.nova.move_s = 10_000
    await cloud.plan(migrate("s0", "h1", "h2"))
    await cloud.run()
    assert cloud.states == [FAILED]
    assert 900 <= cloud.clock.monotonic() <= 905


@pytest.mark.parametrize(("host", "state"), [("h1", FAILED), ("h2", DONE)])
async def test_a_migration_whose_record_outlives_it_is_not_waited_for(cloud: World, host, state):
    """A compute that died leaves it `queued` for ever; the server alone tells what became of it."""
    cloud.nova.move_s = 10_000
    await cloud.plan(migrate("s0", "h1", "h2"))
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    cloud.nova.moves[0].status = "queued"
    cloud.nova.all["s0"] = dataclasses.replace(
        cloud.nova.all["s0"], task_state=None, status="ACTIVE", host=host
    )
    await cloud.passes(60)
    await cloud.until(running)
    assert cloud.states == [state]
    if state is FAILED:
        assert cloud.action(0).status_message == (
            "Action failed in execute: Instance s0 is on h1, not on h2; Nova shows 1 is queued"
        )


async def test_a_server_that_is_idle_for_a_moment_is_still_followed(cloud: World):
    cloud.nova.move_s = 100
    await cloud.plan(migrate("s0", "h1", "h2"))
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    moving = cloud.nova.all["s0"]
    cloud.nova.all["s0"] = dataclasses.replace(moving, task_state=None)
    await cloud.passes(15)
    cloud.nova.all["s0"] = moving
    await cloud.passes(60)
    assert cloud.states == [ActionState.ONGOING]
    await cloud.until(running)
    assert cloud.states == [DONE]


async def test_a_lost_answer_is_looked_for_and_not_asked_twice(cloud: World):
    cloud.nova.lose_answers = ["after"]
    await cloud.plan(migrate("s0", "h1", "h2"))
    await cloud.run()
    assert cloud.states == [DONE]
    assert cloud.nova.ledger == [("live_migrate", "s0")]


async def test_a_request_that_never_arrived_is_asked_again_after_looking(cloud: World):
    cloud.nova.lose_answers = ["before"]
    await cloud.plan(migrate("s0", "h1", "h2"))
    await cloud.run()
    assert cloud.states == [DONE]
    assert cloud.nova.ledger == [("live_migrate", "s0")]


async def test_a_conflict_means_running_already_so_it_is_followed(cloud: World):
    await cloud.nova.live_migrate("s0", "h2")
    cloud.nova.all["s0"] = dataclasses.replace(cloud.nova.all["s0"], status="ACTIVE")
    cloud.nova.moves[0].number = 7
    await cloud.plan(migrate("s0", "h1", "h2"))
    # the move began between our look and our request
    earlier = cloud.nova.migrations_of

    async def none_yet(server):
        await earlier(server)
        return []

    cloud.nova.migrations_of = none_yet
    await cloud.run()
    assert cloud.states == [DONE]
    assert len(cloud.nova.ledger) == 1


async def test_nova_being_away_for_a_while_does_not_fail_a_running_move(cloud: World):
    await cloud.plan(migrate("s0", "h1", "h2"))
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    cloud.nova.down = True
    await cloud.passes(100)
    cloud.nova.down = False
    await cloud.until(running)
    assert cloud.states == [DONE]


@pytest.mark.parametrize("answer", [PermissionDenied("not for you"), KeyError("migrations")])
async def test_what_nova_does_not_tell_says_nothing_about_a_running_move(cloud: World, answer):
    await cloud.plan(migrate("s0", "h1", "h2"))
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    migrations = cloud.nova.migrations

    async def refused(**_):
        raise answer

    cloud.nova.migrations = refused
    await cloud.passes(5)
    assert cloud.states == [ActionState.ONGOING]
    cloud.nova.migrations = migrations
    await cloud.until(running)
    assert cloud.states == [DONE]


async def test_a_store_that_is_away_leaves_a_running_move_to_the_next_run(cloud: World):
    """The confirmation needs a longer lease, and the lease the store."""
    cloud.nova.move_s = 12
    await cloud.plan(migrate("s0", "h1", "h2", kind="cold"))
    runner, keeper = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    assert cloud.states == [ActionState.ONGOING]
    cloud.store.failures_ahead = 1_000
    await cloud.passes(6.5)
    cloud.store.failures_ahead = 1  # back just after the confirmation needed it
    await cloud.passes(3)
    with pytest.raises(BaseExceptionGroup):
        await running
    assert cloud.states == [ActionState.ONGOING]
    await keeper.release()
    await cloud.run()
    assert cloud.states == [DONE]


async def test_all_moves_in_flight_share_one_read_a_second(cloud: World):
    await cloud.plan(*[migrate(f"s{n}", "h1", "h2") for n in range(4)])
    await cloud.run()
    assert cloud.states == [DONE] * 4
    assert cloud.nova.bulk_reads <= cloud.nova.move_s + 3


@pytest.mark.req("B-235", "B-281")
async def test_cancel_aborts_a_live_migration_and_leaves_the_server_where_it_was(cloud: World):
    await cloud.plan(migrate("s0", "h1", "h2"), migrate("s1", "h1", "h2"), parents={1: [0]})
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    await cloud.request_cancel()
    await cloud.until(running)
    assert cloud.states == [CANCELLED, CANCELLED]
    assert cloud.the_plan.state is PlanState.CANCELLED
    assert cloud.nova.all["s0"].host == "h1"
    assert cloud.nova.ledger == [("live_migrate", "s0"), ("abort_live_migration", "s0")]


@pytest.mark.req("B-235", "B-281")
async def test_a_migration_that_ends_before_the_abort_is_a_success(cloud: World):
    cloud.nova.move_s = 20.5
    await cloud.plan(migrate("s0", "h1", "h2"))
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(20.7)
    await cloud.request_cancel()
    runner.wake()
    await cloud.until(running)
    assert cloud.states == [DONE]
    assert cloud.the_plan.state is PlanState.CANCELLED


@pytest.mark.req("B-282")
async def test_a_cold_migration_runs_to_its_end_when_the_plan_is_cancelled(cloud: World):
    await cloud.plan(migrate("s0", "h1", "h2", kind="cold"))
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(5)
    await cloud.request_cancel()
    await cloud.until(running)
    assert cloud.states == [DONE]
    assert cloud.the_plan.state is PlanState.CANCELLED


async def test_an_abort_waits_for_a_request_that_may_still_arrive(cloud: World):
    await cloud.plan(migrate("s0", "h1", "h2"))
    cloud.nova.lose_answers = ["before"]
    runner, _ = await cloud.runner()
    running = asyncio.ensure_future(runner.run())
    await cloud.passes(0.5)  # asked, and no answer came
    assert cloud.states == [ActionState.ONGOING]
    await cloud.request_cancel()
    await cloud.passes(3)
    await cloud.nova.live_migrate("s0", "h2")  # Nova was only slow
    await cloud.until(running)
    assert cloud.states == [CANCELLED]
    assert cloud.nova.all["s0"].host == "h1"
    assert cloud.nova.moves[0].status == "cancelled"


async def test_moves_that_went_on_before_a_restart_count_towards_the_limit():
    world = World(max_parallel_migrations_per_host=1)
    world.nova.add_hosts("h1", "h2", "h3")
    for number in range(2):
        world.nova.add_server(f"s{number}", "h1")
    await world.plan(*[migrate(f"s{n}", "h1", f"h{n + 2}") for n in range(2)])
    first, keeper = await world.runner()
    running = asyncio.ensure_future(first.run())
    await world.passes(5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await keeper.release()
    second, _ = await world.runner("second")
    going_on = asyncio.ensure_future(second.run())
    await world.passes(5)
    assert world.states == [ActionState.ONGOING, ActionState.PENDING]
    await world.until(going_on)
    assert world.states == [DONE] * 2


async def test_moves_out_of_one_host_keep_to_the_limit():
    world = World(max_parallel_migrations_per_host=1)
    world.nova.add_hosts("h1", "h2", "h3")
    for number in range(3):
        world.nova.add_server(f"s{number}", "h1")
    await world.plan(*[migrate(f"s{n}", "h1", f"h{n % 2 + 2}") for n in range(3)])
    await world.run()
    assert world.states == [DONE] * 3
    assert world.clock.monotonic() >= 60
