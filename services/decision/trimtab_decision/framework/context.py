"""What a strategy may look at: one scoped snapshot, one metrics table, checked parameters, a seed.

No clock, no network, no settings: a strategy is a pure function of this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_decision.framework.errors import ClusterStateNotDefined

Scorer = Callable[[str, Sequence[float]], Sequence[float]]
"""(engine name, features) -> result; asks the scoring service."""


def _no_scorer(engine: str, features: Sequence[float]) -> Sequence[float]:
    raise ClusterStateNotDefined(
        f"Scoring engine {engine} was asked for {len(features)} features, "
        "but no scoring service is connected."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyContext:
    """The read-only inputs of one execution.

    `compute` is None for strategies that need no model. `parameters` are already checked against
    the strategy's schema and carry its defaults.
    """

    compute: ComputeSnapshot | None = None
    metrics: MetricsTable = field(default_factory=MetricsTable)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    score: Scorer = _no_scorer

    @property
    def snapshot(self) -> ComputeSnapshot:
        """The scoped compute model; ClusterStateNotDefined when there is none (B-036)."""
        if self.compute is None:
            raise ClusterStateNotDefined("The cluster state is not defined.")
        return self.compute
