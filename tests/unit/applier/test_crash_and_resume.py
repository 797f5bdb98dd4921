"""The applier dies at each of its steps; another one goes on. Nothing is done twice or lost."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from mortal import Killed, Life, MortalNova, MortalStore
from plan_world import PLAN, World, migrate, nop, sleep

from trimtab_applier.errors import LeaseLost
from trimtab_applier.lease import LeaseKeeper
from trimtab_applier.settings import OnRestart
from trimtab_common.domain.lifecycle import ActionState, PlanState

every_step = pytest.mark.parametrize(
    "stride",
    [
        pytest.param(9, id="some"),
        pytest.param(1, id="all", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
DONE, FAILED, CANCELLED = ActionState.SUCCEEDED, ActionState.FAILED, ActionState.CANCELLED


def disable(host: str):
    return "change_nova_service_state", {
        "resource_id": host,
        "resource_name": host,
        "state": "disabled",
        "disabled_reason": "watcher_disabled",
    }


async def a_world(**settings) -> World:
    world = World(**settings)
    world.step_s = 2.0
    world.nova.add_hosts("h1", "h2", "h3")
    for number in range(4):
        world.nova.add_server(f"s{number}", "h1")
    world.nova.doomed.add("s3")
    await world.plan(
        disable("h1"),
        migrate("s0", "h1", "h2"),
        migrate("s1", "h1", None, kind="cold"),
        migrate("s2", "h1", "h3"),
        migrate("s3", "h1", "h3"),
        sleep(3),
        nop(fail_execute=True),
        parents={1: [0], 2: [0], 3: [1, 2], 4: [1], 5: [3], 6: [3]},
    )
    return world


async def lives(
    world: World, steps: int = 1_000_000, *, life: Life | None = None, owner: str | None = None
) -> bool:
    """One process that dies after so many steps; True if it ended its work before."""
    life = life or Life(steps)
    store, nova = MortalStore(world.store, life), MortalNova(world.nova, life)
    try:
        runner, keeper = await world.runner(owner or f"owner-{steps}", store=store, nova=nova)
        await world.until(runner.run())
        await keeper.release()
    except (Killed, BaseExceptionGroup):
        if not life.is_over:
            raise
        return False
    return True


async def take_over(world: World) -> None:
    """Nobody can, before the stored lease is over; then somebody does, and goes on."""
    terms = world.settings.lease_terms
    if world.lease_left_s:
        early = await LeaseKeeper.acquire(
            world.store, world.clock, terms, uuid=PLAN, owner="too early"
        )
        assert early is None
        await world.passes(world.lease_left_s + world.step_s)


def check_end(world: World) -> None:
    assert world.the_plan.state is PlanState.FAILED  # s3 cannot move, the nop fails
    assert world.states == [DONE, DONE, DONE, DONE, FAILED, DONE, FAILED]
    ledger = Counter(world.nova.ledger)
    moves = {(what, server): n for (what, server), n in ledger.items() if "migrate" in what}
    assert moves == {
        ("live_migrate", "s0"): 1,
        ("cold_migrate", "s1"): 1,
        ("live_migrate", "s2"): 1,
        ("live_migrate", "s3"): 1,
    }
    assert ledger["confirm_resize", "s1"] == 1


@pytest.mark.req("B-291")
@every_step
async def test_a_death_at_any_step_loses_nothing_and_repeats_nothing(stride):
    for steps in range(0, 1000, stride):
        world = await a_world()
        ended = await lives(world, steps)
        if not ended:
            await take_over(world)
            assert await lives(world)
        check_end(world)
        await world.close()
        if ended:
            assert steps > 40
            return
    raise AssertionError("it never ended")


@pytest.mark.req("B-291")
async def test_a_process_that_dies_every_few_steps_gets_there():
    world = await a_world()
    for life in range(200):
        if await lives(world, 5 + life % 4):
            break
        await take_over(world)
    check_end(world)


@pytest.mark.req("B-281")
@every_step
async def test_a_death_at_any_step_of_a_cancel_is_gone_on_with(stride):
    for steps in range(0, 1000, stride):
        world = World()
        world.step_s = 2.0
        world.nova.move_s = 500
        world.nova.add_hosts("h1", "h2")
        world.nova.add_server("s0", "h1")
        await world.plan(
            sleep(1000),
            migrate("s0", "h1", "h2"),
            nop(),
            nop(),
            parents={2: [0], 3: [2]},
        )
        runner, keeper = await world.runner("first")
        running = asyncio.ensure_future(runner.run())
        await world.passes(2)
        await world.request_cancel()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.release()
        ended = await lives(world, steps)
        if not ended:
            await take_over(world)
            assert await lives(world)
        assert world.the_plan.state is PlanState.CANCELLED
        assert world.states == [CANCELLED] * 4
        assert world.the_plan.status_message.startswith("Taken over by the applier on applier-1 at")
        assert world.nova.all["s0"].host == "h1"
        assert Counter(world.nova.ledger) == {
            ("live_migrate", "s0"): 1,
            ("abort_live_migration", "s0"): 1,
        }
        await world.close()
        if ended:
            assert steps > 10
            return
    raise AssertionError("it never ended")


@pytest.mark.req("B-290", "A-103")
async def test_with_on_restart_cancel_the_plan_of_a_dead_applier_is_cancelled_as_in_watcher():
    world = await a_world(on_restart=OnRestart.CANCEL)
    assert not await lives(world, 12)
    await take_over(world)
    assert await lives(world)
    assert world.the_plan.state is PlanState.CANCELLED
    assert "Applier applier-1 was stopped" in world.the_plan.status_message
    assert set(world.states) <= {DONE, CANCELLED}
    assert "Applier applier-1 was stopped" in world.action(6).status_message


@every_step
async def test_a_process_paused_at_any_step_does_nothing_when_it_wakes(stride):
    for step in range(2, 1000, stride):  # the first is before the lease
        world = await a_world()
        life = Life(pauses_at=step)
        first = asyncio.ensure_future(lives(world, life=life, owner="first"))
        while not first.done() and life.awake.is_set():
            await world.passes(2)
        if first.done():
            assert step > 40
            return
        await take_over(world)
        second, _ = await world.runner("second")
        going_on = asyncio.ensure_future(second.run())
        await world.passes(4)
        life.awake.set()
        (error,) = await asyncio.gather(first, return_exceptions=True)
        if isinstance(error, BaseException):
            assert isinstance(error, LeaseLost) or error.subgroup(LeaseLost)
        await world.until(going_on)
        check_end(world)
        await world.close()
    raise AssertionError("it never ended")


async def test_a_write_does_not_start_when_the_lease_ends_before_its_timeout():
    world = await a_world()
    _, keeper = await world.runner("first")
    needed = world.settings.nova.write_timeout_s
    await world.passes(keeper.remaining_s - needed + world.step_s)
    with pytest.raises(LeaseLost):
        keeper.check(needed)
    await keeper.ensure(needed)  # it can still be renewed
    keeper.check(needed)
    await world.passes(world.settings.lease_terms.ttl_s + 1)
    with pytest.raises(LeaseLost):
        await keeper.ensure(0)
