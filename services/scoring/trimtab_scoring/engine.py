"""What a scoring engine is: the interface that plug-ins implement and the servicers call.

An engine turns one row of features into one row of scores. A container offers several engines,
which may come and go while the service runs (B-311).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import InvalidArgument, ResourceExhausted, TrimtabError


class FeaturesRefused(InvalidArgument):
    """The features are too few, too many or not numbers."""

    reason = "FEATURES_REFUSED"


class EngineFailed(TrimtabError):
    """The engine answered with an error, or with what are no scores."""

    reason = "SCORING_ENGINE_FAILED"


class EngineBusy(ResourceExhausted):
    """As many questions wait for this engine as it may have."""

    reason = "SCORING_ENGINE_BUSY"


class ScoringEngine(Protocol):
    """One scoring engine. A new version of a model is a new name (B-314)."""

    @property
    def name(self) -> str:
        """Unique among all engines."""

    @property
    def description(self) -> str:
        """One sentence for people."""

    @property
    def metainfo(self) -> str:
        """JSON text that says what the columns of features and scores mean; see `columns`."""

    @property
    def n_features(self) -> int | None:
        """Length of a row of features; None for any length from one."""

    @property
    def n_scores(self) -> int | None:
        """Length of a row of scores; None when it is not known beforehand."""

    def calculate_score(self, features: Sequence[float]) -> Sequence[float]:
        """Scores of one row: pure, called in a thread. Raises FeaturesRefused."""


@runtime_checkable
class BatchEngine(Protocol):
    """An engine that scores many rows at once: worth having when that is cheaper."""

    def calculate_scores(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """[rows, n_features] to [rows, n_scores]; called in a thread in place of calculate_score."""


class ScoringEngineContainer(Protocol):
    """Offers engines; asked again each time that engines are listed."""

    def engines(self) -> Iterable[ScoringEngine]:
        """The engines that exist now."""


def check_row(engine: ScoringEngine, features: Sequence[float]) -> None:
    """Raises FeaturesRefused unless the row has the engine's length."""
    if engine.n_features is None:
        if not features:
            raise FeaturesRefused(
                f"Scoring engine {engine.name} needs at least one feature, got 0."
            )
    elif len(features) != engine.n_features:
        raise FeaturesRefused(
            f"Scoring engine {engine.name} needs {engine.n_features} features, got {len(features)}."
        )
