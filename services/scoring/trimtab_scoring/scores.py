"""The use cases: score one row, score a batch, read Watcher's JSON form. Called by the servicers."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import Bug
from trimtab_scoring.engine import FeaturesRefused, ScoringEngine


def parse_features(text: str) -> list[float]:
    """The features of Watcher's JSON form; FeaturesRefused unless a list of finite numbers."""
    try:
        features = json.loads(text)
    except ValueError as error:
        raise FeaturesRefused(f"Features are not valid JSON: {error}.") from error
    if not isinstance(features, list):
        raise FeaturesRefused(f"Features must be a JSON list, got {type(features).__name__}.")
    for position, feature in enumerate(features):
        if isinstance(feature, bool) or not isinstance(feature, int | float):
            raise FeaturesRefused(f"Feature {position} must be a number, got {feature!r}.")
    return features


def score_row(engine: ScoringEngine, features: Sequence[float]) -> list[float]:
    """The engine's scores of one row; FeaturesRefused when it is not one for this engine."""
    for position, feature in enumerate(features):
        if not math.isfinite(feature):
            raise FeaturesRefused(f"Feature {position} must be a finite number, got {feature}.")
    scores = list(engine.calculate_score(features))
    if len(scores) != engine.n_scores:
        raise Bug(f"Scoring engine {engine.name} gave {len(scores)} scores, not {engine.n_scores}.")
    return scores


def score_batch(engine: ScoringEngine, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of each row: [rows, n_scores]."""
    return np.array([score_row(engine, row) for row in rows.tolist()], dtype=np.float64)
