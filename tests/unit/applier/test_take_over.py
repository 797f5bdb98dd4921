"""How soon another applier goes on, what the operator is told meanwhile, and what nobody may do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter

import pytest
import sqlalchemy as sa
from mortal import Life, MortalNova, MortalStore
from plan_world import PLAN, World, migrate, nop

from trimtab_applier.dispatcher import Dispatcher
from trimtab_applier.settings import ApplierSettings
from trimtab_common.domain.lifecycle import ActionState, Actor, PlanState
from trimtab_common.runtime import failpoints

WITHIN_S = 30.0
MAX_STATEMENTS_PER_ACTION = 10
"""Two transactions, each: the lease held, the plan seen, the action read and changed, one INSERT of events."""


@pytest.fixture
async def cloud() -> World:
    world = World()
    world.nova.add_hosts("h1", "h2")
    world.nova.move_s = 200
    world.nova.add_server("s0", "h1")
    await world.plan(migrate("s0", "h1", "h2"))
    return world


def dispatcher(world: World, name: str, life: Life | None = None, owner: str = "") -> Dispatcher:
    store, nova = world.store, world.nova
    if life is not None:
        store, nova = MortalStore(store, life), MortalNova(nova, life)
    return Dispatcher(
        store=store,
        clock=world.clock,
        nova=nova,
        types=world.types,
        settings=ApplierSettings(host=name),
        owner=owner or f"applier@{name}/0/1.1/ab",
    )


async def begun_and_killed(world: World, owner: str = "") -> None:
    life = Life()
    first = asyncio.ensure_future(dispatcher(world, "first", life, owner).run())
    while not world.nova.ledger:
        await world.passes(1)
    life.is_over = True
    await world.passes(0.2)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


@pytest.mark.req("A-116", "B-291")
async def test_a_killed_appliers_plan_is_gone_on_with_within_thirty_seconds_and_says_so(
    cloud: World,
):
    await begun_and_killed(cloud)
    killed_at = cloud.clock.monotonic()
    second = asyncio.ensure_future(dispatcher(cloud, "second").run())
    said = set()
    while cloud.the_plan.hostname == "first":
        await cloud.passes(1)
        said.add(cloud.the_plan.status_message)
        assert cloud.clock.monotonic() - killed_at <= WITHIN_S
    (waiting,) = [text for text in said if text and text.startswith("Waiting")]
    assert "the applier on first was last heard of at" in waiting
    assert "another one goes on at" in waiting
    assert cloud.the_plan.status_message.startswith("Taken over by the applier on second at ")
    while cloud.the_plan.state is PlanState.ONGOING:
        await cloud.passes(5)
    assert cloud.the_plan.state is PlanState.SUCCEEDED
    assert cloud.the_plan.status_message.startswith("Taken over by the applier on second at ")
    assert Counter(cloud.nova.ledger) == {("live_migrate", "s0"): 1}
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


async def test_a_plan_whose_applier_renews_says_nothing(cloud: World):
    first = asyncio.ensure_future(dispatcher(cloud, "first").run())
    second = asyncio.ensure_future(dispatcher(cloud, "second").run())
    await cloud.passes(60)
    assert cloud.the_plan.status_message is None
    for task in (first, second):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)


def an_ended_process() -> str:
    script = "from trimtab_common.runtime import identity; print(identity.owner_name('a', 'first'))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.req("A-103", "B-291")
async def test_on_the_machine_that_saw_it_end_the_plan_goes_on_at_once(cloud: World):
    await begun_and_killed(cloud, owner=an_ended_process())
    second = asyncio.ensure_future(dispatcher(cloud, "second").run())
    await cloud.passes(2)
    assert cloud.the_plan.hostname == "second"
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)


@pytest.mark.req("B-291")
async def test_what_a_process_asked_for_as_it_ended_is_waited_for_before_it_is_asked_again(
    cloud: World,
):
    """The request may still be on its way; nothing shows that it was ever sent."""
    runner, keeper = await cloud.runner(an_ended_process())
    await cloud.store.transact(
        lambda session: session.leases.renew(keeper.lease, cloud.settings.lease_terms.stored_s)
    )
    life = Life(5)  # it dies at the write, which never arrives
    dying, _ = await cloud.runner(
        keeper.lease.owner, store=MortalStore(cloud.store, life), nova=MortalNova(cloud.nova, life)
    )
    with pytest.raises(BaseExceptionGroup):
        await cloud.until(dying.run())
    assert cloud.states == [ActionState.ONGOING]
    assert not cloud.nova.ledger
    del runner
    next_one, held = await cloud.runner("next")
    assert held.lease.taken_early
    going_on = asyncio.ensure_future(next_one.run())
    margin_s = cloud.settings.lease_terms.margin_s
    await cloud.passes(margin_s - 1)
    assert not cloud.nova.ledger
    await cloud.passes(3)
    assert cloud.nova.ledger == [("live_migrate", "s0")]
    await cloud.until(going_on)
    assert cloud.states == [ActionState.SUCCEEDED]


async def test_an_action_costs_few_statements():
    world = World()
    await world.plan(*[nop()] * 20)
    statements: list[str] = []
    engine = world.store._engine.sync_engine

    def note(_connection, _cursor, statement, *_more) -> None:
        if not statement.startswith("BEGIN"):
            statements.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    await world.run()
    around = 30  # the plan's own start and end, renewals, looks for a cancel
    assert (len(statements) - around) / 20 <= MAX_STATEMENTS_PER_ACTION, statements[around:50]


async def test_a_plan_that_broke_here_and_ended_elsewhere_is_forgotten():
    world = World()
    await world.plan(nop())
    here = dispatcher(world, "first")
    running = asyncio.ensure_future(here.run())
    failpoints.arm("applier.plan.loaded=error")
    try:
        await world.passes(0.5)
    finally:
        failpoints.arm("")
    assert PLAN in here._breaks
    async with world.store.write() as session:
        await session.action_plans.transition(PLAN, to=PlanState.CANCELLED, actor=Actor.API)
    await world.passes(5)
    assert not here._breaks
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
