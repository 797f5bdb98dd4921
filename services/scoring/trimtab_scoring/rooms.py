"""Where engines run: each in threads of its own, so that a slow one delays nobody but its callers.

Called by the servicers with work to do. A thread cannot be stopped, so one whose engine hangs is
lost until it returns; the others of that engine go on, and when all are taken new callers are told
at once. The threads end with the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from trimtab_common.domain.errors import DeadlineExceeded
from trimtab_scoring.engine import EngineBusy

_T = TypeVar("_T")


class EngineTimedOut(DeadlineExceeded):
    """The engine took longer than its caller would wait."""

    reason = "SCORING_ENGINE_TIMED_OUT"


class Rooms:
    """Runs work for engines. `threads`: of one engine; `waiting`: calls that it may have in all."""

    def __init__(self, *, threads: int, waiting: int, timeout_s: float) -> None:
        self._threads = threads
        self._waiting = waiting
        self._timeout_s = timeout_s
        self._rooms: dict[str, _Room] = {}

    async def run(
        self, engine: str, work: Callable[[], _T], *, remaining_s: float | None = None
    ) -> _T:
        """What the work gives. EngineBusy, EngineTimedOut, or what the work raises.

        remaining_s: what is left of the caller's own deadline; None for none.
        """
        room = self._rooms.setdefault(engine, _Room(engine, self._threads))
        if room.n_calls >= self._waiting:
            raise EngineBusy(
                f"Scoring engine {engine} has {room.n_calls} calls under way, its limit;"
                " it is too slow for so many, or hangs. Try again later."
            )
        limit_s = self._timeout_s if remaining_s is None else min(self._timeout_s, remaining_s)
        call = _Call(asyncio.get_running_loop(), work)
        room.put(call)
        try:
            result: _T = await asyncio.wait_for(call.future, limit_s)
        except TimeoutError:
            raise EngineTimedOut(
                f"Scoring engine {engine} did not answer within {limit_s:.3g} s."
            ) from None
        return result

    def keep(self, engines: Collection[str]) -> None:
        """Closes the rooms of engines that are not among these any more."""
        for name in self._rooms.keys() - set(engines):
            self._rooms.pop(name).close()


class _Call:
    """Work whose result somebody waits for, or no longer."""

    def __init__(self, loop: asyncio.AbstractEventLoop, work: Callable[[], Any]) -> None:
        self.future: asyncio.Future[Any] = loop.create_future()
        self._loop = loop
        self._work = work

    def run(self) -> None:
        """Works, unless nobody waits any more, and tells."""
        if self.future.cancelled():
            return
        try:
            result, error = self._work(), None
        except BaseException as raised:  # noqa: BLE001, told to the caller, who raises it
            result, error = None, raised
        try:
            self._loop.call_soon_threadsafe(self._tell, result, error)
        except RuntimeError:
            return  # the loop is closed: the service has stopped

    def _tell(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class _Room:
    """The threads of one engine, started when they are needed. `n_calls`: waiting and under way."""

    def __init__(self, engine: str, threads: int) -> None:
        self.n_calls = 0
        self._engine = engine
        self._max_threads = threads
        self._n_threads = 0
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()

    def put(self, call: _Call) -> None:
        """Has the call done by the next thread that is free."""
        with self._lock:
            self.n_calls += 1
            needed = min(self.n_calls, self._max_threads)
            missing, self._n_threads = needed - self._n_threads, max(needed, self._n_threads)
        for _ in range(missing):
            threading.Thread(target=self._work, name=f"engine-{self._engine}", daemon=True).start()
        self._calls.put(call)

    def close(self) -> None:
        """Ends each thread after what it does now."""
        for _ in range(self._n_threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.run()
            finally:
                with self._lock:
                    self.n_calls -= 1
