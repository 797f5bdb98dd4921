"""A process that dies at its n-th step, or is stopped for a while.

A step is the begin or the end of a transaction or of a write to the cloud. A dead process does
nothing any more: every later call to the store or to Nova raises. A stopped one hangs in its next
call until it wakes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any


class Killed(BaseException):
    """kill -9."""


class Life:
    def __init__(self, steps: int = 1_000_000, *, pauses_at: int | None = None) -> None:
        self.left = steps
        self.until_pause = pauses_at
        self.is_over = False
        self.awake = asyncio.Event()
        self.awake.set()

    async def step(self, *, may_pause: bool = True) -> None:
        if self.until_pause is not None and may_pause:
            self.until_pause -= 1
            if self.until_pause == 0:
                self.awake.clear()
        await self.look()
        self.left -= 1
        if self.left < 0:
            self.is_over = True
            raise Killed

    async def look(self) -> None:
        await self.awake.wait()
        if self.is_over:
            raise Killed


class MortalStore:
    def __init__(self, store: Any, life: Life) -> None:
        self._store = store
        self._life = life

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        await self._life.look()
        async with self._store.read() as session:
            yield session

    async def transact(self, work: Callable[[Any], Any]) -> Any:
        await self._life.step()
        result = await self._store.transact(work)
        await self._life.step()
        return result


class MortalNova:
    WRITES = (
        "live_migrate",
        "cold_migrate",
        "resize",
        "confirm_resize",
        "abort_live_migration",
        "stop",
        "start",
        "set_service_status",
    )

    def __init__(self, nova: Any, life: Life) -> None:
        self._nova = nova
        self._life = life

    def __getattr__(self, name: str) -> Any:
        inner = getattr(self._nova, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            if name not in self.WRITES:
                await self._life.look()
                return await inner(*args, **kwargs)
            # a pause between the check of the lease and the request is what nobody can exclude
            await self._life.step(may_pause=False)
            result = await inner(*args, **kwargs)
            await self._life.step()
            return result

        return call
