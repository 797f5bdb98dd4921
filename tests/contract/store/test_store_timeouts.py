from __future__ import annotations

import asyncio
import contextlib
from uuid import uuid4

import pytest
import sqlalchemy as sa

from trimtab_common.domain.records import Lease
from trimtab_common.store import Store, StoreUnreachable, engine
from trimtab_common.store.migrate import upgrade
from trimtab_common.store.session import StoreOptions


@pytest.mark.parametrize(
    ("server", "sleep"), [("postgres_url", "pg_sleep(20)"), ("mariadb_url", "sleep(20)")]
)
@pytest.mark.timeout(10)
async def test_a_statement_that_is_never_answered_ends_as_unreachable(request, server, sleep):
    url = engine.parse_url(request.getfixturevalue(server))
    slow = Store(engine.make_engine(url, statement_timeout_s=0.3), StoreOptions())
    try:
        with pytest.raises(StoreUnreachable):
            async with slow.read() as session:
                await session.execute(sa.text(f"SELECT {sleep}"))
        async with slow.read() as session:  # and the next one gets a connection that works
            assert (await session.execute(sa.text("SELECT 1"))).scalar() == 1
    finally:
        await slow.close()


async def take_over_meanwhile(stopped: Store, lease: Lease, other: Store) -> None:
    async with stopped.write() as session:
        await session.leases.check(lease)  # its row lock lasts until the transaction ends
        taken = None
        while taken is None:
            taken = await other.transact(
                lambda session: session.leases.acquire("plan", lease.uuid, "other", 30)
            )
        assert (taken.owner, taken.fence) == ("other", 2)
        await session.leases.now()


@pytest.mark.req("A-116")
@pytest.mark.parametrize("server", ["postgres_url", "mariadb_url"])
@pytest.mark.timeout(60)
async def test_a_process_that_stops_inside_a_transaction_does_not_keep_its_lease(request, server):
    """As SIGSTOP or a frozen machine do it: the connection stays, and says nothing more."""
    text = request.getfixturevalue(server)
    await upgrade(text)
    url = engine.parse_url(text)
    stopped, other = (
        Store(engine.make_engine(url, idle_transaction_s=1), StoreOptions()) for _ in range(2)
    )
    uuid = str(uuid4())
    try:
        lease = await stopped.transact(lambda s: s.leases.acquire("plan", uuid, "stopped", 0.5))
        with pytest.raises(StoreUnreachable):
            await take_over_meanwhile(stopped, lease, other)
    finally:
        await stopped.close()
        await other.close()


@pytest.mark.timeout(60)
async def test_who_is_cancelled_in_the_middle_of_a_query_ends(world):
    """Also when the cancellation comes together with the answer, which some drivers then forget."""

    async def ask_for_ever() -> None:
        while True:
            async with world.store.read() as session:
                await session.execute(sa.text("SELECT 1"))

    for number in range(400):
        asking = asyncio.create_task(ask_for_ever())
        await asyncio.sleep(number % 40 / 10_000)
        asking.cancel()
        done, _ = await asyncio.wait({asking}, timeout=2)
        assert done, f"cancelled {number} times; this one goes on"


@pytest.mark.timeout(10)
async def test_a_cancellation_that_was_forgotten_inside_of_a_transaction_is_raised_at_its_end(
    world,
):
    async def work() -> None:
        async with world.store.read() as session:
            await session.execute(sa.text("SELECT 1"))
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        raise AssertionError("it goes on")

    working = asyncio.create_task(work())
    await asyncio.sleep(0.1)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
