from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import timedelta

import pytest

from trimtab_common.domain.errors import Conflict
from trimtab_common.domain.lifecycle import ActionState, Actor
from trimtab_common.store import open_store

UUID = "11111111-1111-4111-8111-111111111111"


async def acquire(store, owner, *, ttl_s=30.0, uuid=UUID):
    async with store.write() as session:
        return await session.leases.acquire("plan", uuid, owner, ttl_s)


async def test_a_lease_is_for_one_owner_until_it_ends_and_its_fence_grows(world):
    first = await acquire(world.store, "a")
    assert first.fence == 1
    assert await acquire(world.store, "b") is None
    await world.clock.advance(30)
    second = await acquire(world.store, "b")
    assert (second.owner, second.fence) == ("b", 2)
    async with world.store.write() as session:
        assert await session.leases.renew(first, 30) is None
        await session.leases.release(first)
        assert await session.leases.get("plan", UUID) == second


async def test_the_fence_grows_over_a_release_and_when_an_owner_takes_its_own_again(world):
    first = await acquire(world.store, "a")
    again = await acquire(world.store, "a")
    assert again.fence == 2
    async with world.store.write() as session:
        assert await session.leases.renew(first, 30) is None
        await session.leases.release(again)
        assert await session.leases.get("plan", UUID) is None
    assert (await acquire(world.store, "b")).fence == 3


async def test_renewing_moves_the_end_and_an_unrenewed_lease_shows_as_expired(world):
    lease = await acquire(world.store, "a")
    other = await acquire(world.store, "a", uuid=UUID.replace("1", "2"))
    await world.clock.advance(20)
    async with world.store.write() as session:
        renewed = await session.leases.renew(lease, 30)
        await session.leases.release(other)
    assert renewed.until_at == lease.until_at + timedelta(seconds=20)
    await world.clock.advance(20)
    async with world.store.read() as session:
        assert await session.leases.expired("plan") == []
    await world.clock.advance(20)
    async with world.store.read() as session:
        assert await session.leases.expired("plan") == [renewed]
        assert await session.leases.expired("audit") == []


async def test_of_many_that_want_a_new_lease_one_gets_it(world):
    async def want(owner):
        return await world.store.transact(
            lambda session: session.leases.acquire("plan", UUID, owner, 30)
        )

    got = await asyncio.gather(*(want(f"owner-{number}") for number in range(8)))
    assert len([lease for lease in got if lease]) == 1


async def test_a_lost_lease_stops_every_kind_of_write(world):
    plan = await world.plan(2)
    lease = await acquire(world.store, "a", uuid=plan.uuid)
    async with world.store.write() as session:
        (action, other) = await session.actions.list_of_plan(plan.uuid)
        await session.actions.update(action.uuid, {"intent": {"n": 1}}, fence=lease)
        await session.actions.transition(
            action.uuid, to=ActionState.ONGOING, actor=Actor.APPLIER, fence=lease
        )
    await world.clock.advance(60)
    assert await acquire(world.store, "b", uuid=plan.uuid)

    async def update(session):
        await session.actions.update(action.uuid, {"intent": {"n": 2}}, fence=lease)

    async def transition(session):
        await session.actions.transition(
            action.uuid, to=ActionState.FAILED, actor=Actor.APPLIER, fence=lease
        )

    async def many(session):
        await session.actions.transition_many(
            [other.uuid], ActionState.CANCELLED, Actor.APPLIER, ActionState.PENDING, fence=lease
        )

    for write in (update, transition, many):
        with pytest.raises(Conflict, match="no longer held by a"):
            await world.store.transact(write)
    with pytest.raises(Conflict):
        await world.store.publish_plan(
            world.plan_of(await world.audit()), world.actions(1), fence=lease
        )
    async with world.store.read() as session:
        assert (await session.actions.get(action.uuid)).intent == {"n": 1}
        assert len(await session.action_plans.list()) == 1


async def test_without_a_clock_of_the_tests_a_lease_goes_by_the_databases_time(store, database_url):
    del store
    own = await open_store(database_url)
    try:
        assert (await acquire(own, "a", ttl_s=3600)).fence == 1
        assert await acquire(own, "b") is None
        lease = await acquire(own, "c", ttl_s=-1, uuid=UUID.replace("1", "3"))
        assert (await acquire(own, "d", uuid=lease.uuid)).fence == 2
        async with own.read() as session:
            drift = await session.leases.now() - session.now()
            assert abs(drift.total_seconds()) < 5
    finally:
        await own.close()


def an_ended_process() -> str:
    script = "from trimtab_common.runtime import identity; print(identity.owner_name('a', 'h'))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.req("A-116")
async def test_a_lease_whose_holder_has_ended_is_free_at_once_and_says_so(world):
    first = await acquire(world.store, an_ended_process())
    assert not first.taken_early
    async with world.store.read() as session:
        assert await session.leases.held("plan", [UUID]) == {}
    second = await acquire(world.store, "b")
    assert (second.owner, second.fence, second.taken_early) == ("b", 2, True)
    async with world.store.write() as session:
        assert await session.leases.renew(first, 30) is None
        assert (await session.leases.held("plan", [UUID]))[UUID].fence == second.fence


async def test_of_many_that_find_an_ended_holder_one_takes_its_lease(world):
    await acquire(world.store, an_ended_process())

    async def want(owner):
        return await world.store.transact(
            lambda session: session.leases.acquire("plan", UUID, owner, 30)
        )

    got = await asyncio.gather(*(want(f"owner-{number}") for number in range(8)))
    assert len([lease for lease in got if lease]) == 1


async def test_leases_that_nobody_asked_for_in_a_long_time_are_removed(world):
    old, kept = UUID.replace("1", "2"), UUID
    await acquire(world.store, "a", uuid=old)
    await world.clock.advance(3600)
    held = await acquire(world.store, "b", uuid=kept)
    before = world.clock.now() - timedelta(seconds=60)
    removed = await world.store.transact(lambda session: session.leases.prune(ended_before=before))
    assert removed == 1
    async with world.store.write() as session:
        assert await session.leases.get("plan", old) is None
        assert await session.leases.get("plan", kept) == held
