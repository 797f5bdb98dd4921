"""Runs what takes time in the background, and ends it with the cloud."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Tasks:
    """Background work of the cloud. A failure is a bug of the fake and surfaces at ``close``."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._failures: list[BaseException] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin in the background."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    async def close(self) -> None:
        """Stop what still runs.

        Raises:
            ExceptionGroup: some work failed in a way that the fake does not intend.
        """
        while running := list(self._running):  # what ends may start what waited for it
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        failures = [f for f in self._failures if isinstance(f, Exception)]
        if failures:
            raise ExceptionGroup("background work of the fake cloud failed", failures)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failures.append(failure)
