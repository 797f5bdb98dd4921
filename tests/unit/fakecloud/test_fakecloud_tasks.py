"""The fake cloud leaves nothing running behind it."""

from __future__ import annotations

import asyncio

from trimtab_fakecloud.compute.tasks import Tasks


async def test_what_ending_work_starts_is_ended_too():
    tasks = Tasks()
    began = asyncio.Event()

    async def waiting() -> None:
        await asyncio.Event().wait()

    async def flying() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            tasks.start(waiting())

    tasks.start(flying())
    await began.wait()
    await tasks.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
