"""The real store on SQLite under a clock of the test's own: it knows when all its work is done.

`FakeClock` may only go on when nobody waits for the database any more, whose answers come from threads.
"""

from __future__ import annotations

import asyncio
import functools
import shutil
import tempfile
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from trimtab_common.runtime.clock import Clock
from trimtab_common.store import Session, Store, StoreUnreachable, open_store
from trimtab_common.store.migrate import upgrade

T = TypeVar("T")
QUIET_LOOKS = 40
_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


@functools.cache
def _empty_database() -> Path:
    """A database with the schema and nothing in it; made once, copied for each world."""
    path = Path(tempfile.mkdtemp(prefix="trimtab-applier-", dir=_IN_MEMORY)) / "empty.db"

    def make() -> None:
        asyncio.run(upgrade(f"sqlite+aiosqlite:///{path}"))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return path


class TimedStore:
    """A store of one test. `failures_ahead`: so many transactions find the database away."""

    def __init__(self, store: Store, path: Path) -> None:
        self.path = path
        self.failures_ahead = 0
        self._store = store
        self._under_way = 0

    @classmethod
    async def open(cls, clock: Clock) -> TimedStore:
        folder = Path(tempfile.mkdtemp(prefix="trimtab-applier-", dir=_IN_MEMORY))
        path = folder / "trimtab.db"
        shutil.copy(_empty_database(), path)
        store = await open_store(f"sqlite+aiosqlite:///{path}", host="node-1", now=clock.now)
        return cls(store, path)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Session]:
        with self._working():
            async with self._store.read() as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Session]:
        with self._working():
            async with self._store.write() as session:
                yield session

    async def transact(self, work: Callable[[Session], Awaitable[T]]) -> T:
        if self.failures_ahead > 0:
            self.failures_ahead -= 1
            raise StoreUnreachable("the database does not answer")
        with self._working():
            return await self._store.transact(work)

    async def settle(self) -> None:
        """Returns when every task waits for time or for nothing."""
        quiet = 0
        while quiet < QUIET_LOOKS:
            await asyncio.sleep(0.0002 if self._under_way else 0)
            quiet = 0 if self._under_way else quiet + 1

    async def close(self) -> None:
        await self._store.close()
        shutil.rmtree(self.path.parent)

    @contextmanager
    def _working(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
