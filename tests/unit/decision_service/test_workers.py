from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path

import pytest

from trimtab_decision.errors import PlanningTimedOut, PlanRefused, StrategyFailed, WorkerDied
from trimtab_decision.execution import Execution
from trimtab_decision.framework.errors import UnknownPlugin
from trimtab_decision.workers import Workers


@pytest.fixture
async def workers():
    made = Workers(count=1, timeout_s=30)
    await made.start()
    yield made
    await made.close()


QUESTION = Execution(strategy="dummy", parameters={"para1": 1.0, "para2": "x"})


def pid_of(workers):
    (worker,) = workers._all
    return worker.pid


async def asked(workers, question=QUESTION):
    async with workers.thinking() as desk:
        return await desk.execute(question)


async def test_a_strategy_runs_in_another_process_and_its_answer_comes_back(workers):
    async with workers.thinking() as desk:
        outcome = await desk.execute(QUESTION)
        planned = await desk.order("weight", {}, frozenset())
    assert outcome.n_actions == 3
    assert sorted(step.action.action_type for step in planned) == ["nop", "nop", "sleep"]
    assert pid_of(workers) != os.getpid()


async def test_a_worker_yields_to_the_service(workers):
    ours = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert os.getpriority(os.PRIO_PROCESS, pid_of(workers)) == min(19, ours + 5)


async def test_errors_come_back_as_they_are_and_the_worker_goes_on(workers):
    pid = pid_of(workers)
    with pytest.raises(UnknownPlugin, match="no strategy named 'nobody'"):
        await asked(workers, Execution(strategy="nobody", parameters={}))
    with pytest.raises(StrategyFailed, match="KeyError") as caught:
        await asked(workers, Execution(strategy="dummy", parameters={}))
    assert "Traceback" in caught.value.details["trace"]
    await asked(workers)
    assert pid_of(workers) == pid


async def test_a_worker_that_is_killed_fails_its_audit_and_is_replaced(workers):
    pid = pid_of(workers)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match="memory"):
        await asked(workers)
    assert pid_of(workers) != pid
    await asked(workers)


async def test_a_cancelled_question_ends_its_process_and_leaves_a_fresh_one(workers):
    pid = pid_of(workers)
    os.kill(pid, signal.SIGSTOP)  # thinks for ever
    task = asyncio.create_task(asked(workers))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    await asked(workers)


async def test_a_question_that_takes_too_long_is_stopped(workers):
    pid = pid_of(workers)
    os.kill(pid, signal.SIGSTOP)
    workers._timeout_s = 0.05
    with pytest.raises(PlanningTimedOut, match="planning_timeout_s"):
        await asked(workers)
    workers._timeout_s = 30
    await asked(workers)


def test_our_errors_travel_between_processes():
    error = pickle.loads(pickle.dumps(PlanRefused("no", field="x")))
    assert (error.message, error.details) == ("no", {"field": "x"})


PARENT = """
import asyncio
from trimtab_decision.workers import Workers

async def main():
    workers = Workers(count=1, timeout_s=30)
    await workers.start()
    (worker,) = workers._all
    print(worker.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def test_no_worker_outlives_a_service_that_was_killed():
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    worker = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    async with asyncio.timeout(10):
        while is_running(worker):  # noqa: ASYNC110, the other side is a process
            await asyncio.sleep(0.02)


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # an orphan whose new parent does not collect it is dead all the same
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_a_worker_that_cannot_be_replaced_is_tried_again_and_nobody_waits_for_ever(
    workers, monkeypatch
):
    os.kill(pid_of(workers), signal.SIGKILL)
    with monkeypatch.context() as broken:
        broken.setattr(sys, "executable", "/bin/false")
        with pytest.raises(WorkerDied, match="memory"):
            await asked(workers)
        with pytest.raises(WorkerDied, match="did not start"):
            await asyncio.wait_for(asked(workers), 20)
    await asyncio.wait_for(asked(workers), 20)


@pytest.mark.parametrize(("given", "threads"), [(None, "1"), ("2", "2")])
async def test_a_worker_computes_with_one_thread_unless_told_otherwise(monkeypatch, given, threads):
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if given is not None:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", given)
    workers = Workers(count=1, timeout_s=30)
    await workers.start()
    try:
        assert f"OPENBLAS_NUM_THREADS={threads}".encode() in environment_of(pid_of(workers))
    finally:
        await workers.close()


def environment_of(pid):
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
