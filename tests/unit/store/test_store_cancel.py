"""A task that is cancelled in the middle of a transaction leaves nothing locked."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from trimtab_common.store import Session, open_store


async def test_the_store_can_be_written_after_a_writer_was_cancelled(tmp_path: Path):
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/trimtab.db", migrate=True)

    async def beat(session: Session) -> None:
        await session.services.beat("watcher-applier", "node-1")

    rng = random.Random(1)
    for _ in range(60):
        writers = [asyncio.create_task(store.transact(beat)) for _ in range(2)]
        await asyncio.sleep(rng.random() * 0.008)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await asyncio.wait_for(store.transact(beat), 10)
    await store.close()


async def test_a_store_that_closes_waits_for_what_is_still_undone(tmp_path: Path):
    store = await open_store(f"sqlite+aiosqlite:///{tmp_path}/trimtab.db", migrate=True)
    begun, told = asyncio.Event(), []

    async def slow_to_end() -> None:
        async with store.write() as session:
            try:
                await session.services.beat("watcher-applier", "node-1")
                begun.set()
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.05)
                told.append("ended")

    writer = asyncio.create_task(slow_to_end())
    await begun.wait()
    writer.cancel()
    await store.close()
    assert told == ["ended"]
    await asyncio.gather(writer, return_exceptions=True)
