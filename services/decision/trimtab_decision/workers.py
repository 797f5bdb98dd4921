"""The planning workers: processes that think while the event loop stays free.

On the main path: an audit's run takes a worker, asks it to `execute`, then to `order`. Each worker is one process with
one pipe, so that a plan that takes too long, or that nobody wants any more, is stopped by ending
its process without touching the others.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from multiprocessing.connection import Connection, Pipe
from typing import Any, Protocol

import structlog

from trimtab_common.domain.errors import TrimtabError
from trimtab_decision import parcel, worker_process
from trimtab_decision.errors import PlanningTimedOut, WorkerDied
from trimtab_decision.execution import Execution, Outcome
from trimtab_decision.framework import PlannedAction
from trimtab_decision.framework.context import Incumbent, Tell, tell_nobody
from trimtab_decision.worker_process import Job

log = structlog.get_logger(__name__)

ONE_CORE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""For a worker, unless the operator says otherwise: threads of numpy's that wait for each other make two plans at
once take half as long again, and sums whose parts depend on the machine may make other plans."""
START_TIMEOUT_S = 60.0
_END_TIMEOUT_S = 5.0
_PROGRAM = "import gc; gc.disable(); from trimtab_decision.worker_process import main; main()"


class Thinking(Protocol):
    """One plan in the making; see `execution.Desk`."""

    async def execute(self, question: Execution, tell: Tell = tell_nobody) -> Outcome:
        """What the strategy promises. `tell`: takes the best plan so far, in the event loop."""

    async def order(
        self, planner: str, options: Mapping[str, Any], runnable: frozenset[str]
    ) -> Sequence[PlannedAction]:
        """Its actions with their parents, verified."""


class Thinker(Protocol):
    """Makes plans somewhere."""

    def thinking(self) -> AbstractAsyncContextManager[Thinking]:
        """Room for one plan; waits until there is some."""


def receive(
    pipe: Connection[Any, Any],
    timeout_s: float,
    unpack: Callable[[parcel.Receive], Any] = parcel.unpack,
    tell: Tell = tell_nobody,
) -> Any:
    """A worker's next answer, in at most so many seconds; blocks. `tell`: takes what comes before it."""
    until = time.monotonic() + timeout_s
    while True:
        if not pipe.poll(max(0.0, until - time.monotonic())):
            raise TimeoutError
        answer: worker_process.Answer = pipe.recv()
        if answer.error is not None:
            raise answer.error
        if answer.incumbent is None:
            return unpack(pipe.recv_bytes)
        tell(answer.incumbent)


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, scoring_address: str | None, scoring_timeout_s: float) -> None:
        ours, theirs = Pipe()
        self._pipe: Connection[Any, Any] = ours
        # Not multiprocessing: it would import our whole main module again in each worker.
        self._process = subprocess.Popen(  # noqa: S603, our own interpreter and our own words
            [
                *(sys.executable, "-P", "-c", _PROGRAM),
                *(str(theirs.fileno()), scoring_address or "", str(scoring_timeout_s)),
            ],
            pass_fds=[theirs.fileno()],
            env={**ONE_CORE, **os.environ},
        )
        theirs.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    def ready(self) -> None:
        """Returns when the process has loaded the plug-ins; blocks, so call it in a thread."""
        receive(self._pipe, START_TIMEOUT_S)

    def execute(self, question: Execution, tell: Tell, timeout_s: float) -> Any:
        """The answer to one question; blocks, so call it in a thread."""
        self._pipe.send(Job.EXECUTE)
        worker_process.send(self._pipe, parcel.pack_question(question))
        return receive(self._pipe, timeout_s, tell=tell)

    def order(
        self, planner: str, options: Mapping[str, Any], runnable: frozenset[str], timeout_s: float
    ) -> Any:
        """The plan of what was executed last; blocks, so call it in a thread."""
        self._pipe.send(Job.ORDER)
        self._pipe.send((planner, dict(options), runnable))
        return receive(self._pipe, timeout_s, parcel.unpack_later)

    def end(self) -> None:
        """Ends the process now; whoever waits in `ask` gets EOFError."""
        self._process.kill()
        self._process.wait(_END_TIMEOUT_S)
        self._pipe.close()


class Workers:
    """`count` warm processes; a question waits for a free one."""

    def __init__(
        self,
        *,
        count: int,
        timeout_s: float,
        scoring_address: str | None = None,
        scoring_timeout_s: float = 60.0,
    ) -> None:
        self._count = count
        self._timeout_s = timeout_s
        self._scoring = (scoring_address, scoring_timeout_s)
        # None: the place of a worker that could not be started again.
        self._free: asyncio.LifoQueue[_Worker | None] = asyncio.LifoQueue()
        self._all: set[_Worker] = set()

    async def start(self) -> None:
        """Starts every worker and waits until each has loaded the plug-ins."""
        for worker in await asyncio.gather(*(self._started() for _ in range(self._count))):
            self._free.put_nowait(worker)

    async def _started(self) -> _Worker:
        worker = await asyncio.to_thread(_Worker, *self._scoring)
        self._all.add(worker)
        try:
            await asyncio.to_thread(worker.ready)
        except (EOFError, OSError, TimeoutError):
            self._all.discard(worker)
            await asyncio.to_thread(worker.end)
            raise WorkerDied(
                "A planning worker did not start. Look at decision's log: a plug-in that cannot "
                "be imported, or want of memory, are the usual causes."
            ) from None
        return worker

    async def close(self) -> None:
        """Ends every worker, whatever it does."""
        for worker in list(self._all):
            self._all.discard(worker)
            await asyncio.to_thread(worker.end)

    @asynccontextmanager
    async def thinking(self) -> AsyncIterator[Thinking]:
        """A worker of one's own; one that was left in the middle of a question is replaced.

        WorkerDied when it could not be replaced, then or now.
        """
        worker = await self._free.get()
        if worker is None:
            try:
                worker = await self._started()
            finally:
                if worker is None:
                    self._free.put_nowait(None)
        asking = _Asking(worker, self._timeout_s)
        try:
            yield asking
        finally:
            if not asking.is_broken:
                self._free.put_nowait(worker)
            elif worker in self._all:  # else the service is closing
                await asyncio.shield(self._replace(worker))

    async def _replace(self, worker: _Worker) -> None:
        log.warning("planning worker is replaced")
        self._all.discard(worker)
        await asyncio.to_thread(worker.end)
        fresh: _Worker | None = None
        try:
            fresh = await self._started()
        except WorkerDied as error:
            log.error("planning worker not replaced, trying again later", problem=error.message)  # noqa: TRY400, one line is enough
        self._free.put_nowait(fresh)


class _Asking:
    """Asks one worker. `is_broken`: it owes an answer, or died."""

    def __init__(self, worker: _Worker, timeout_s: float) -> None:
        self._worker = worker
        self._timeout_s = timeout_s
        self.is_broken = False

    async def execute(self, question: Execution, tell: Tell = tell_nobody) -> Outcome:
        """See Desk; also PlanningTimedOut and WorkerDied."""
        loop = asyncio.get_running_loop()

        def told(incumbent: Incumbent) -> None:
            loop.call_soon_threadsafe(tell, incumbent)

        outcome: Outcome = await self._ask(self._worker.execute, question, told)
        return outcome

    async def order(
        self, planner: str, options: Mapping[str, Any], runnable: frozenset[str]
    ) -> Sequence[PlannedAction]:
        """See Desk; also PlanningTimedOut and WorkerDied."""
        planned: Sequence[PlannedAction] = await self._ask(
            self._worker.order, planner, options, runnable
        )
        return planned

    async def _ask(self, ask: Callable[..., Any], *arguments: Any) -> Any:
        self.is_broken = True
        try:
            result = await asyncio.to_thread(ask, *arguments, self._timeout_s)
        except TimeoutError:
            raise PlanningTimedOut(
                f"Planning took longer than {self._timeout_s:.0f} s and was stopped. Give the "
                "audit a smaller scope, or raise [watcher_decision_engine] planning_timeout_s."
            ) from None
        except (EOFError, OSError):
            raise WorkerDied(
                "The process that planned this audit ended, most likely for want of memory. "
                "Give the audit a smaller scope, or decision more memory."
            ) from None
        except TrimtabError:
            self.is_broken = False  # an answer like any other
            raise
        self.is_broken = False
        return result
