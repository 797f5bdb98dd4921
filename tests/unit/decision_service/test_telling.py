"""A search that goes on tells what it has: seldom, only while somebody may wait, and never instead of a plan."""

from __future__ import annotations

import asyncio
import pickle
from multiprocessing.connection import Pipe
from typing import ClassVar

import pytest

from trimtab_common.domain.errors import Unavailable
from trimtab_common.domain.lifecycle import Actor, AuditState
from trimtab_decision import execution, parcel, worker_process
from trimtab_decision import telling as telling_module
from trimtab_decision.execution import Desk, Execution
from trimtab_decision.framework import Strategy, StrategyContext
from trimtab_decision.framework.context import Incumbent
from trimtab_decision.framework.registry import STRATEGIES_GROUP
from trimtab_decision.telling import telling
from trimtab_decision.worker_process import Answer
from trimtab_decision.workers import Workers, receive

MOMENTS_S = [0.1, 0.5, 0.7, 0.75, 2.0]


class Searching(Strategy):
    """Finds a better plan at each of MOMENTS_S."""

    name: ClassVar[str] = "dummy"
    display_name: ClassVar[str] = "Dummy strategy"
    goal_name: ClassVar[str] = "dummy"

    def do_execute(self, context, solution):
        improved = context.improved("hosts in use")
        for number, moment in enumerate(MOMENTS_S):
            Clock.now_s = moment
            improved(20 - number, 10, number)
        solution.add_action("nop", input_parameters={"message": "x"}, reason="r")


class Clock:
    now_s = 0.0

    @classmethod
    def monotonic(cls):
        return cls.now_s


@pytest.fixture
def searching(world, monkeypatch):
    monkeypatch.setattr(execution, "time", Clock)
    Clock.now_s = 0.0
    world.registry.strategies["dummy"] = Searching
    return world.registry


QUESTION = Execution(strategy="dummy", parameters={})


def test_nothing_is_told_at_first_and_then_seldom(searching):
    told = []
    Desk(searching).execute(QUESTION, told.append)
    assert [(one.elapsed_s, one.value, one.bound, one.gap_pct) for one in told] == [
        (0.5, 19, 10, pytest.approx(900 / 19)),
        (0.75, 17, 10, pytest.approx(700 / 17)),
        (2.0, 16, 10, pytest.approx(600 / 16)),
    ]


async def progress(store):
    """The searches that the record tells of, in order."""
    async with store.read() as session:
        rows = await session.tail.since(0, 500)
        waiting = {row.event_type for row in await session.outbox.unpublished(500)}
    assert "audit.strategy.progress" not in waiting  # it is never sent to the bus
    kind = "audit.strategy.progress"
    return [row.payload["watcher_object.data"] for row in rows if row.event_type == kind]


@pytest.mark.usefixtures("searching")
async def test_the_record_tells_of_the_search_of_an_audit(world):
    audit = await world.add_audit()
    done = await world.run(audit)
    assert done.state is AuditState.SUCCEEDED
    *_, last = await progress(world.store)
    assert last["uuid"] == audit.uuid
    assert last["search"] == {
        "strategy": "dummy",
        "measure": "hosts in use",
        "incumbent": 16.0,
        "bound": 10.0,
        "gap_pct": 37.5,
        "moves": 4,
        "seconds": 2.0,
    }


@pytest.fixture
async def audit(world):
    """One that is being planned."""
    made = await world.add_audit()
    return await in_state(world, made, AuditState.ONGOING)


async def in_state(world, audit, state):
    async with world.store.write() as session:
        return await session.audits.transition(audit.uuid, to=state, actor=Actor.DECISION)


def word(value):
    return Incumbent(of="deviation", value=value, elapsed_s=1.0)


async def test_words_are_written_one_after_the_other_and_old_ones_left_out(world, audit):
    async with telling(world.store, audit, "s") as tell:
        for value in (3.0, 2.0, 1.0):
            tell(word(value))
        async with asyncio.timeout(10):
            while not await progress(world.store):  # noqa: ASYNC110, the record has no event to wait for
                await asyncio.sleep(0)
    (told,) = await progress(world.store)
    assert told["search"] == {
        "strategy": "s",
        "measure": "deviation",
        "incumbent": 1.0,
        "moves": 0,
        "seconds": 1.0,
    }


async def test_the_last_word_is_written_before_the_plan(world, audit):
    async with telling(world.store, audit, "s") as tell:
        tell(word(1.0))
    assert len(await progress(world.store)) == 1


async def test_nothing_is_told_of_an_audit_that_was_cancelled_meanwhile(world, audit):
    async with telling(world.store, audit, "s") as tell:
        await in_state(world, audit, AuditState.CANCELLED)
        tell(word(1.0))
    assert await progress(world.store) == []


@pytest.mark.parametrize("error", [Unavailable("the database does not answer"), TypeError("odd")])
async def test_a_word_that_cannot_be_written_fails_nothing(world, audit, monkeypatch, error):
    async def refuse(_work):
        raise error

    monkeypatch.setattr(world.store, "transact", refuse)
    async with telling(world.store, audit, "s") as tell:
        tell(word(1.0))
        await asyncio.sleep(0)
    assert await progress(world.store) == []


async def test_a_record_that_hangs_holds_no_plan_back_for_long(world, audit, monkeypatch):
    async def hang(_work):
        await asyncio.Event().wait()

    monkeypatch.setattr(world.store, "transact", hang)
    monkeypatch.setattr(telling_module, "LAST_WORD_S", 0.01)
    async with asyncio.timeout(10), telling(world.store, audit, "s") as tell:
        tell(word(1.0))


def test_only_better_plans_are_told_and_only_numbers():
    told = []
    improved = StrategyContext(tell=told.append).improved("hosts in use")
    for value, moves in [(9, 5), (float("nan"), 0), (9, 7), (9, 4.0), (8, 50), (9, 1)]:
        improved(value, float("nan"), moves)
    assert [(one.value, one.bound, one.moves) for one in told] == [
        (9.0, None, 5),
        (9.0, None, 4),
        (8.0, None, 50),
    ]


PLUGIN = """
import time
from trimtab_decision.framework import Strategy

class Patient(Strategy):
    name = "patient"
    display_name = "Patient"
    goal_name = "dummy"

    def do_execute(self, context, solution):
        time.sleep(0.3)
        context.improved("hosts in use")(7, 5, 3)
        solution.add_action("nop", input_parameters={"message": "x"}, reason="r")
"""


async def test_a_worker_tells_while_it_works(tmp_path, monkeypatch):
    (tmp_path / "patient_plugin.py").write_text(PLUGIN)
    declared = tmp_path / "patient-1.dist-info"
    declared.mkdir()
    (declared / "METADATA").write_text("Metadata-Version: 2.1\nName: patient\nVersion: 1\n")
    (declared / "entry_points.txt").write_text(
        f"[{STRATEGIES_GROUP}]\npatient = patient_plugin:Patient\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    workers = Workers(count=1, timeout_s=30)
    await workers.start()
    told = []
    try:
        async with workers.thinking() as desk:
            await desk.execute(Execution(strategy="patient", parameters={}), told.append)
    finally:
        await workers.close()
    assert [(one.value, one.bound, one.moves) for one in told] == [(7.0, 5.0, 3)]
    assert told[0].elapsed_s >= 0.3


def test_a_worker_sends_what_it_has_before_its_answer():
    ours, theirs = Pipe()
    for value in (3.0, 2.0):
        worker_process.tell(theirs, word(value))
    worker_process.send(theirs, [pickle.dumps(Answer()), *parcel.pack("the answer")])
    told = []
    assert receive(ours, 10.0, tell=told.append) == "the answer"
    assert [one.value for one in told] == [3.0, 2.0]


def test_words_do_not_lengthen_the_time_that_a_plan_may_take():
    ours, theirs = Pipe()
    worker_process.tell(theirs, word(1.0))
    with pytest.raises(TimeoutError):
        receive(ours, 0.05)
