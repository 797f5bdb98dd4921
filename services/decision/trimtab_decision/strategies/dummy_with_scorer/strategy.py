"""Dummy with scorer: asks two sample engines of the scoring service and says what they said (B-082).

Goal: dummy. Metrics: none. A sample for people who write strategies that use a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import ScoreNotUnderstood
from trimtab_decision.strategies.dummy_with_scorer import params

WORKLOADS = ("idle", "cpu-intensive", "memory-intensive", "disk-intensive")
"""In the order of dummy_scorer's metainfo."""
N_FEATURES, N_NUMBERS, BELOW = 9, 20, 1000
SLEEP_S = 5.0


class DummyWithScorer(Strategy):
    """Random features in, a label and an average out."""

    name: ClassVar[str] = "dummy_with_scorer"
    display_name: ClassVar[str] = "Dummy Strategy using sample Scoring Engines"
    goal_name: ClassVar[str] = "dummy"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Ask and tell. StrategyFailed when the engines do not answer."""
        rng = np.random.default_rng(context.seed)
        features = np.round(rng.random(N_FEATURES) * 100.0, 3).tolist()
        numbers = rng.choice(BELOW, size=N_NUMBERS, replace=False).tolist()
        label = _label(context.score("dummy_scorer", features))
        average = context.score("dummy_avg_scorer", numbers)
        if len(average) != 1:
            raise ScoreNotUnderstood(f"dummy_avg_scorer gave {len(average)} numbers instead of 1.")
        reason = "The dummy strategy with scorer always does this."
        for message in (
            "Hello from Dummy Strategy with Scorer!",
            f"Detected Workload: {label}",
            f"AVG Scorer result: {average[0]}",
        ):
            solution.add_action("nop", input_parameters={"message": message}, reason=reason)
        solution.add_action("sleep", input_parameters={"duration": SLEEP_S}, reason=reason)


def _label(scores: Any) -> str:
    number = int(scores[0]) if len(scores) else -1
    if not 0 <= number < len(WORKLOADS):
        raise ScoreNotUnderstood(
            f"dummy_scorer gave workload {number}; known are 0 to {len(WORKLOADS) - 1}."
        )
    return WORKLOADS[number]
