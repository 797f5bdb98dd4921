"""Whole appliers on a real store and the emulated cloud, over HTTP."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mortal import Killed, Life, MortalNova, MortalStore
from real_parts import (
    actions_of,
    ask,
    cloud_session,
    eventually,
    nova_client,
    plan_of,
    publish,
    sqlite_store,
)

from trimtab_applier.actions import load_action_types
from trimtab_applier.dispatcher import Dispatcher
from trimtab_applier.settings import ApplierSettings, NovaSettings
from trimtab_common.domain.lifecycle import ActionState, PlanState
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.store import Store
from trimtab_fakecloud import CloudSpec, FakeCloud, running_fakecloud

DONE = ActionState.SUCCEEDED
QUICK = NovaSettings(
    migration_interval_s=0.1,
    migration_max_retries=200,
    poll_s=0.05,
    write_timeout_s=1.0,
    http_retry_interval_s=0.05,
)


class Site:
    """A store and a cloud."""

    def __init__(self, store: Store, cloud: FakeCloud, stack: AsyncExitStack) -> None:
        self.store = store
        self.cloud = cloud
        self._stack = stack

    async def dispatcher(self, host: str, *, life: Life | None = None, **more: Any) -> Dispatcher:
        session = cloud_session(self.cloud)
        self._stack.push_async_callback(session.close)
        nova: Any = nova_client(session)
        store: Any = self.store
        if life is not None:
            nova, store = MortalNova(nova, life), MortalStore(store, life)
        settings = ApplierSettings(
            host=host, max_workers=8, lease_s=3.0, sweep_every_s=0.2, nova=QUICK, **more
        )
        return Dispatcher(
            store=store,
            clock=SystemClock(),
            nova=nova,
            types=load_action_types(),
            settings=settings,
            owner=host,
        )

    def moves(self, number: int) -> list[tuple[str, dict[str, Any]]]:
        """Live migrations of that many servers, each to the next host."""
        hosts = list(self.cloud.state.hosts)
        active = [s for s in self.cloud.state.servers_newest_first() if s.status == "ACTIVE"]
        return [
            (
                "migrate",
                {
                    "resource_id": server.id,
                    "migration_type": "live",
                    "source_node": server.host,
                    "destination_node": hosts[(hosts.index(server.host) + 1) % len(hosts)],
                },
            )
            for server in active[:number]
        ]

    def accepted(self) -> Counter[str]:
        """Live migrations that the cloud accepted, by server."""
        return Counter(
            entry.path.split("/")[-2]
            for entry in self.cloud.ledger.writes("compute", "/action")
            if "os-migrateLive" in (entry.body or {}) and entry.status < 400
        )


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    spec = CloudSpec(
        hosts=12, servers=24, seed=3, migration_s=0.2, max_concurrent_live_migrations=8
    )
    async with AsyncExitStack() as stack:
        cloud = await stack.enter_async_context(running_fakecloud(spec))
        store = await sqlite_store(tmp_path / "trimtab.db")
        stack.push_async_callback(store.close)
        yield Site(store, cloud, stack)


@asynccontextmanager
async def running(dispatcher: Dispatcher) -> AsyncIterator[Dispatcher]:
    task = asyncio.create_task(dispatcher.run())
    try:
        yield dispatcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(site: Site, plan: str) -> bool:
    state = (await plan_of(site.store, plan)).state
    return state in (PlanState.SUCCEEDED, PlanState.FAILED, PlanState.CANCELLED)


@pytest.mark.req("B-270", "B-233", "A-099")
async def test_a_plan_of_live_migrations_is_carried_out(site: Site):
    steps = site.moves(10)
    plan = await publish(site.store, steps, {number: [number - 3] for number in range(3, 10)})
    async with running(await site.dispatcher("a")):
        await eventually(lambda: ended(site, plan))
    assert (await plan_of(site.store, plan)).state is PlanState.SUCCEEDED
    assert [a.state for a in await actions_of(site.store, plan)] == [DONE] * 10
    for _, parameters in steps:
        server = site.cloud.state.server(parameters["resource_id"])
        assert server.host == parameters["destination_node"]
    assert set(site.accepted().values()) == {1}


@pytest.mark.req("B-277")
async def test_thirty_actions_with_failures_all_run(site: Site):
    moves = site.moves(10)
    moves[3][1]["source_node"] = "elsewhere"
    moves[4][1]["destination_node"] = "nowhere"
    steps = [*moves, *[("nop", {"message": None})] * 18, *[("sleep", {"duration": 0.05})] * 2]
    plan = await publish(site.store, steps, {n: [n - 1] for n in range(10, 30, 2)})
    async with running(await site.dispatcher("a")):
        await eventually(lambda: ended(site, plan))
    found = await plan_of(site.store, plan)
    assert found.state is PlanState.FAILED
    assert found.status_message.startswith("One or more actions were skipped.")
    states = Counter(action.state for action in await actions_of(site.store, plan))
    assert states == {DONE: 28, ActionState.SKIPPED: 1, ActionState.FAILED: 1}


@pytest.mark.req("B-280", "B-281", "B-235")
async def test_a_cancel_in_the_middle_leaves_no_server_on_its_way(site: Site):
    site.cloud.state.faults.update({"migration_s": 30.0})
    steps = site.moves(6)
    plan = await publish(site.store, steps, {n: [n - 2] for n in range(2, 6)})
    async with running(await site.dispatcher("a")) as dispatcher:

        async def under_way() -> bool:
            return len(site.accepted()) == 2

        await eventually(under_way)
        await ask(site.store, plan, PlanState.CANCELLING)
        dispatcher.wake(plan)
        await eventually(lambda: ended(site, plan))
    assert (await plan_of(site.store, plan)).state is PlanState.CANCELLED
    states = [action.state for action in await actions_of(site.store, plan)]
    assert states == [ActionState.CANCELLED] * 6
    for _, parameters in steps:
        server = site.cloud.state.server(parameters["resource_id"])
        assert (server.host, server.task_state) == (parameters["source_node"], None)


@pytest.mark.req("B-291", "A-110")
async def test_a_plan_whose_applier_dies_is_finished_by_the_other(site: Site):
    plan = await publish(
        site.store, site.moves(10), {number: [number - 3] for number in range(3, 10)}
    )
    life = Life(30)
    mortal = asyncio.create_task((await site.dispatcher("a", life=life)).run())

    async def dead() -> bool:
        return life.is_over

    await eventually(dead)
    async with running(await site.dispatcher("b")):
        await eventually(lambda: ended(site, plan))
        assert (await plan_of(site.store, plan)).hostname == "b"
    mortal.cancel()
    (end,) = await asyncio.gather(mortal, return_exceptions=True)
    assert isinstance(end, BaseException)
    assert Killed is not None
    assert (await plan_of(site.store, plan)).state is PlanState.SUCCEEDED
    assert site.accepted().total() == 10
    assert set(site.accepted().values()) == {1}


@pytest.mark.req("A-110", "B-270")
async def test_two_appliers_on_one_store_share_the_plans_and_run_each_once(site: Site):
    steps = site.moves(12)
    plans = [await publish(site.store, steps[start : start + 3]) for start in range(0, 12, 3)]
    async with running(await site.dispatcher("a")), running(await site.dispatcher("b")):
        for plan in plans:
            await eventually(lambda plan=plan: ended(site, plan))
    hosts = {(await plan_of(site.store, plan)).hostname for plan in plans}
    assert hosts == {"a", "b"}
    assert site.accepted().total() == 12
    assert set(site.accepted().values()) == {1}
