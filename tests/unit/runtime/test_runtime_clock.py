"""The fake clock wakes sleepers in order and only when their time has come."""

from __future__ import annotations

import asyncio

from trimtab_common.runtime.clock import FakeClock


async def test_sleepers_wake_in_the_order_of_their_times():
    clock, woken = FakeClock(), []

    async def sleep(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for seconds in (3, 1, 2):
            group.create_task(sleep(seconds))
        await asyncio.sleep(0)
        await clock.advance(1.5)
        assert woken == [(1, 1)]
        await clock.advance(10)
    assert woken == [(1, 1), (2, 2), (3, 3)]
    assert clock.monotonic() == 11.5
