"""A strategy's questions to the scoring service: answered, or ended in time with a text that helps."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import numpy as np
import pytest

from trimtab_common.runtime.settings import CommonSettings
from trimtab_decision.execution import Desk, Execution
from trimtab_decision.framework.errors import ScoringFailed
from trimtab_decision.plugins import load_registry
from trimtab_decision.scorer import RemoteScoring
from trimtab_decision.workers import Workers
from trimtab_scoring.engines.dummy_aggregates import AggregateScorer
from trimtab_scoring.main import build
from trimtab_scoring.registry import EngineRegistry
from trimtab_scoring.settings import ScoringSettings

released = threading.Event()


def slow(features):
    released.wait(20)
    return max(features)


QUESTION = Execution(
    strategy="dummy_with_scorer", parameters={"param1": 1.0, "param2": "x"}, seed=3
)


@pytest.fixture
async def address():
    released.clear()
    engines = EngineRegistry(plugins=lambda _group: ())
    engines._engines = (*engines._engines, AggregateScorer(name="slow", description="", fold=slow))
    settings = CommonSettings(host="test", scoring="127.0.0.1:0", metrics_offset=0)
    service = await build(settings, engines, ScoringSettings())
    await service.start()
    yield f"127.0.0.1:{service.bound_port}"
    released.set()
    await service.stop(grace_s=0)


async def in_thread(work, *arguments):
    return await asyncio.to_thread(work, *arguments)


async def problem_of(scoring, engine):
    with pytest.raises(ScoringFailed) as refused:
        await in_thread(scoring.row, engine, [1.0])
    return refused.value.message


@pytest.mark.req("B-312", "B-316")
async def test_a_worker_asks_the_service_for_dummy_with_scorer(address):
    workers = Workers(count=1, timeout_s=60, scoring_address=address)
    await workers.start()
    try:
        async with workers.thinking() as desk:
            outcome = await desk.execute(QUESTION)
            planned = await desk.order("weight", {}, frozenset())
    finally:
        await workers.close()
    assert outcome.n_actions == 4
    told = [step.action.input_parameters.get("message", "") for step in planned]
    assert any(text.startswith("Detected Workload") for text in told)


@pytest.mark.req("B-310")
async def test_many_rows_are_one_question(address):
    scoring = RemoteScoring(address, timeout_s=10)
    rows = np.arange(30_000.0).reshape(15_000, 2)
    scores = await in_thread(scoring.rows, "dummy_max_scorer", rows)
    assert scores.shape == (15_000, 1)
    assert np.array_equal(scores[:, 0], rows[:, 1])
    assert (await in_thread(scoring.rows, "dummy_max_scorer", rows[:0])).size == 0
    assert list(await in_thread(scoring.row, "dummy_avg_scorer", [1.0, 3.0])) == [2.0]


@pytest.mark.req("B-312")
async def test_a_slow_engine_takes_no_more_than_the_plan_may_wait(address):
    scoring = RemoteScoring(address, timeout_s=0.5)
    scoring.begin()
    began = time.monotonic()
    told = [await problem_of(scoring, "slow")]
    while "not asked any more" not in told[-1] and len(told) < 50:
        told.append(await problem_of(scoring, "slow"))
    assert "Scoring engine slow did not answer within" in told[0]
    assert "scoring_timeout_s" in told[-1]
    assert time.monotonic() - began < 10
    scoring.begin()
    assert list(await in_thread(scoring.row, "dummy_max_scorer", [1.0])) == [1.0]


@pytest.mark.req("B-311", "B-312")
async def test_an_unknown_engine_is_named(address):
    with pytest.raises(ScoringFailed, match=r"nobody could not be found.*dummy_scorer") as refused:
        await in_thread(RemoteScoring(address, timeout_s=5).row, "nobody", [1.0])
    assert refused.value.details["scoring_reason"] == "SCORING_ENGINE_NOT_FOUND"


@pytest.mark.req("B-312")
def test_without_a_scoring_service_only_the_strategy_that_asks_fails_and_at_once():
    with socket.socket() as taken:  # bound, not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        desk = Desk(
            load_registry(entry_points=False),
            RemoteScoring(f"127.0.0.1:{taken.getsockname()[1]}", timeout_s=30),
        )
        began = time.monotonic()
        with pytest.raises(ScoringFailed, match="dummy_scorer was not reached: UNAVAILABLE"):
            desk.execute(QUESTION)
        assert time.monotonic() - began < 10
        other = Execution(strategy="dummy", parameters={"para1": 1.0, "para2": "x"})
        assert desk.execute(other).n_actions == 3
