"""One question for all who ask at the same time, and nothing is remembered after the answer."""

from __future__ import annotations

import asyncio

import pytest

from trimtab_common.runtime.sharing import Shared


class Source:
    """Answers with the number of the question, once it may."""

    def __init__(self):
        self.n_asked = 0
        self.may_answer = asyncio.Event()
        self.error = None

    async def __call__(self):
        self.n_asked += 1
        number = self.n_asked
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return number


async def test_who_asks_meanwhile_gets_the_same_answer_and_who_asks_later_a_new_one():
    shared, source = Shared(), Source()
    tasks = [asyncio.create_task(shared.ask("key", source)) for _ in range(3)]
    other = asyncio.create_task(shared.ask("other", source))
    await asyncio.sleep(0)
    assert (len(shared), "key" in shared) == (2, True)
    source.may_answer.set()
    assert await asyncio.gather(*tasks) == [1, 1, 1]
    assert await other == 2
    assert await shared.ask("key", source) == 3
    assert len(shared) == 0


async def test_a_question_outlives_a_caller_who_hangs_up():
    shared, source = Shared(), Source()
    first, second = (asyncio.create_task(shared.ask("key", source)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    source.may_answer.set()
    assert await second == 1


async def test_an_answer_that_was_just_given_is_not_given_again():
    shared, source = Shared(), Source()
    source.error = ValueError("no")
    task = shared.send("key", source)

    async def first_to_wake():
        """Runs between the end of the task and the callbacks of the task."""
        await source.may_answer.wait()
        assert task.done()
        source.error = None
        return await shared.ask("key", source)

    await asyncio.sleep(0)
    behind = asyncio.create_task(first_to_wake())
    await asyncio.sleep(0)
    source.may_answer.set()
    assert await behind == 2


async def test_an_error_reaches_all_and_cancelling_ends_all():
    shared, source = Shared(), Source()
    source.error = ValueError("no")
    tasks = [asyncio.create_task(shared.ask("key", source)) for _ in range(2)]
    await asyncio.sleep(0)
    source.may_answer.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [source.error] * 2
    source.may_answer.clear()
    waiting = asyncio.create_task(shared.ask("key", source))
    await asyncio.sleep(0)
    shared.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
