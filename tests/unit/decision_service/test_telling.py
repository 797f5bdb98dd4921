"""A search that goes on tells what it has: seldom, only while somebody may wait, and never instead of a plan."""

from __future__ import annotations

import asyncio
import pickle
from multiprocessing.connection import Pipe
from typing import ClassVar

import pytest

from trimtab_common.domain.errors import Unavailable
from trimtab_common.domain.lifecycle import AuditState
from trimtab_decision import execution, parcel, worker_process
from trimtab_decision.execution import Desk, Execution
from trimtab_decision.framework import Strategy
from trimtab_decision.framework.context import Incumbent
from trimtab_decision.telling import telling
from trimtab_decision.worker_process import Answer
from trimtab_decision.workers import receive

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
    assert (last["uuid"], last["state"]) == (audit.uuid, "ONGOING")
    assert last["search"] == {
        "measure": "hosts in use",
        "incumbent": 16.0,
        "bound": 10.0,
        "gap_pct": 37.5,
        "moves": 4,
        "seconds": 2.0,
    }


def word(value):
    return Incumbent(of="deviation", value=value, elapsed_s=1.0)


async def test_words_are_written_one_after_the_other_and_old_ones_left_out(world):
    audit = await world.add_audit()
    async with telling(world.store, audit) as tell:
        for value in (3.0, 2.0, 1.0):
            tell(word(value))
        async with asyncio.timeout(10):
            while not await progress(world.store):  # noqa: ASYNC110, the record has no event to wait for
                await asyncio.sleep(0)
    (told,) = await progress(world.store)
    assert told["search"] == {"measure": "deviation", "incumbent": 1.0, "moves": 0, "seconds": 1.0}


async def test_a_word_that_cannot_be_written_fails_nothing(world, monkeypatch):
    async def refuse(_work):
        raise Unavailable("the database does not answer")

    audit = await world.add_audit()
    monkeypatch.setattr(world.store, "transact", refuse)
    async with telling(world.store, audit) as tell:
        tell(word(1.0))
        await asyncio.sleep(0)
    assert await progress(world.store) == []


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
