"""The use cases: score one row, score a batch, read Watcher's JSON form. Called by the servicers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import TrimtabError
from trimtab_scoring.engine import (
    BatchEngine,
    EngineFailed,
    FeaturesRefused,
    ScoringEngine,
    check_row,
)

_RANK_OF_A_BATCH = 2
_A = TypeVar("_A")
_R = TypeVar("_R")


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
    """The engine's scores of one row; FeaturesRefused when it is not one for this engine.

    EngineFailed when the engine fails, or gives what are no scores.
    """
    for position, feature in enumerate(features):
        if not _is_finite(feature):
            raise FeaturesRefused(f"Feature {position} must be a finite number, got {feature}.")
    check_row(engine, features)
    scores = list(_called(engine, engine.calculate_score, features))
    if engine.n_scores is not None and len(scores) != engine.n_scores:
        raise EngineFailed(
            f"Scoring engine {engine.name} gave {len(scores)} scores, not {engine.n_scores}."
        )
    for position, score in enumerate(scores):
        if not isinstance(score, int | float | np.number) or not _is_finite(score):
            raise EngineFailed(
                f"Scoring engine {engine.name} gave {score!r} as score {position}, no finite number."
            )
    return scores


def score_batch(engine: ScoringEngine, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores of each row: [rows, n_scores]. Errors as of score_row."""
    if not isinstance(engine, BatchEngine):
        return _table(engine, [score_row(engine, row) for row in rows.tolist()])
    check_row(engine, rows[0].tolist())
    scores = _table(engine, _called(engine, engine.calculate_scores, rows))
    wanted = (len(rows), scores.shape[-1] if engine.n_scores is None else engine.n_scores)
    if scores.shape != wanted:
        raise EngineFailed(
            f"Scoring engine {engine.name} gave scores of shape {scores.shape}, not {wanted}."
        )
    if not np.isfinite(scores).all():
        raise EngineFailed(f"Scoring engine {engine.name} gave scores that are no finite numbers.")
    return scores


def _called(engine: ScoringEngine, calculate: Callable[[_A], _R], argument: _A) -> _R:
    try:
        return calculate(argument)
    except TrimtabError:
        raise
    except Exception as error:
        raise EngineFailed(
            f"Scoring engine {engine.name} failed: {type(error).__name__}: {error}."
        ) from error


def _table(engine: ScoringEngine, scores: object) -> NDArray[np.float64]:
    try:
        table = np.asarray(scores, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise EngineFailed(f"Scoring engine {engine.name} gave no table of numbers.") from error
    if table.ndim != _RANK_OF_A_BATCH:
        raise EngineFailed(f"Scoring engine {engine.name} gave scores of shape {table.shape}.")
    return table


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # an integer above all floats
        return False
