"""dummy_min_scorer, dummy_max_scorer, dummy_avg_scorer: a sample container of three engines (B-316).

Each takes one number or more and scores one: the smallest, the largest, the mean.
Worked example: (1, 2, 6) scores (1,), (6,) and (3.0,).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trimtab_scoring.engine import ScoringEngine, check_row


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregateScorer:
    """An engine that folds a row into one number."""

    name: str
    description: str
    fold: Callable[[Sequence[float]], float]
    n_features: int | None = None
    n_scores: int | None = 1

    @property
    def metainfo(self) -> str:
        """The columns: any number of values in, one out."""
        return json.dumps({"feature_columns": ["value"], "result_columns": ["value"]})

    def calculate_score(self, features: Sequence[float]) -> Sequence[float]:
        """One number; FeaturesRefused for an empty row."""
        check_row(self, features)
        return (self.fold(features),)


class DummyAggregatesContainer:
    """Offers the three."""

    def engines(self) -> Iterable[ScoringEngine]:
        """Always the same three."""
        return (
            AggregateScorer(
                name="dummy_min_scorer",
                description="Dummy Scorer calculating the minimum value",
                fold=min,
            ),
            AggregateScorer(
                name="dummy_max_scorer",
                description="Dummy Scorer calculating the maximum value",
                fold=max,
            ),
            AggregateScorer(
                name="dummy_avg_scorer",
                description="Dummy Scorer calculating the average value",
                fold=statistics.fmean,
            ),
        )
