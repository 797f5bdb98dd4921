"""One question for all who ask the same at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Shared(Generic[K, V]):
    """Questions that are on their way, by what they ask; nothing is remembered after the answer.

    A question outlives a caller who hangs up, so it needs a deadline of its own.
    """

    def __init__(self) -> None:
        self._asking: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._asking)

    def __contains__(self, key: K) -> bool:
        return key in self._asking

    async def ask(self, key: K, question: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Joins the question that is on its way, or sends it. Raises what it raises."""
        return await asyncio.shield(self.send(key, question))

    def send(self, key: K, question: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """The same, without waiting for the answer."""
        task = self._asking.get(key)
        if task is None or task.done():  # its callback may not have run yet
            task = asyncio.create_task(question())
            self._asking[key] = task
            task.add_done_callback(lambda done: self._answered(key, done))
        return task

    def _answered(self, key: K, task: asyncio.Task[V]) -> None:
        if self._asking.get(key) is task:
            del self._asking[key]
        if not task.cancelled():
            task.exception()  # seen here, when every caller has hung up

    def cancel(self) -> None:
        """Ends all that is on its way."""
        for task in self._asking.values():
            task.cancel()
