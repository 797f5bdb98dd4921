"""What a strategy may look at: one scoped snapshot, one metrics table, checked parameters, a seed.

No clock, no network, no settings: a strategy is a pure function of this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.domain.time_series import TimeSeries
from trimtab_decision.framework.destinations import SchedulerFilter, SelectDestinations
from trimtab_decision.framework.errors import ClusterStateNotDefined, MetricNotAvailable
from trimtab_decision.framework.history import History, series_of
from trimtab_decision.framework.solution import gap_pct
from trimtab_decision.framework.workloads import Workloads

Scorer = Callable[[str, Sequence[float]], Sequence[float]]
"""(engine name, features) -> result; asks the scoring service."""


RowsScorer = Callable[[str, NDArray[np.float64]], NDArray[np.float64]]
"""(engine name, [rows, n_features]) -> [rows, n_scores]; one question for many rows."""


def no_scorer(engine: str, features: Sequence[float]) -> Sequence[float]:
    """What answers when there is no scoring service: ClusterStateNotDefined."""
    raise ClusterStateNotDefined(
        f"Scoring engine {engine} was asked for {len(features)} features, "
        "but no scoring service is connected."
    )


def no_rows_scorer(engine: str, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """As no_scorer, for many rows."""
    return np.asarray(no_scorer(engine, rows.ravel().tolist()))


def _no_time() -> float:
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """The best plan so far. `of`: what `value` measures, less is better; moves: migrations that it takes.

    bound: what no plan gets below, None not known.
    """

    of: str
    value: float
    bound: float | None = None
    moves: int = 0
    elapsed_s: float = 0.0

    @property
    def gap_pct(self) -> float | None:
        """By how much the plan is above the bound, in percent of its value."""
        return None if self.bound is None else gap_pct(self.value, self.bound)


Tell = Callable[[Incumbent], None]
"""Takes the best plan so far."""


def tell_nobody(_incumbent: Incumbent) -> None:
    """A `Tell` for plans that nobody waits for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyContext:
    """The read-only inputs of one execution.

    A model is None when the strategy needs none, or there is none. `parameters` are already checked against
    the strategy's schema and carry its defaults.
    filters, selector: which hosts a server may go to besides the hard rules (B-050, B-056); None
    is the default selection by room.
    failed_servers: uuids whose migration failed in earlier plans of the same audit (B-117).
    options: the operator's values of what the strategy's `get_config_opts` declares (A-107).
    score, score_rows: ask a scoring engine; ScoringFailed when it does not answer.
    elapsed_s: seconds since the execution began, for `time_limit_s`.
    tell: takes the best plan so far, as often as there is a better one; see `improved`.
    """

    compute: ComputeSnapshot | None = None
    metrics: MetricsTable = field(default_factory=MetricsTable)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    score: Scorer = no_scorer
    score_rows: RowsScorer = no_rows_scorer
    baremetal: ElementSnapshot | None = None
    storage: ElementSnapshot | None = None
    filters: tuple[SchedulerFilter, ...] = ()
    selector: SelectDestinations | None = None
    failed_servers: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)
    elapsed_s: Callable[[], float] = _no_time
    tell: Tell = tell_nobody

    def improved(self, of: str) -> Callable[[float, float | None, int], None]:
        """What a search calls with (value, bound, moves) at each better plan; `of`: what the value measures.

        What is no number, and what is no better than what was told before, is left out.
        """
        best = (math.inf, 0)

        def told(value: float, bound: float | None, moves: int) -> None:
            nonlocal best
            found = (float(value), int(moves))
            if math.isfinite(found[0]) and found < best:
                best = found
                known = None if bound is None or not math.isfinite(bound) else float(bound)
                self.tell(
                    Incumbent(
                        of=of,
                        value=found[0],
                        bound=known,
                        moves=found[1],
                        elapsed_s=self.elapsed_s(),
                    )
                )

        return told

    @property
    def workloads(self) -> Workloads:
        """The workload characters that servers in scope carry, with what is known to judge them."""
        return Workloads(self.snapshot, self.metrics)

    def series(self, history: History, resource: int) -> TimeSeries | None:
        """How a metric of the host or server at this index went; None when nothing was measured.

        history: as the strategy's `histories` asked for it. MetricNotAvailable: it was not delivered.
        """
        columns = self.metrics.host if history.is_of_hosts else self.metrics.server
        column = columns.get(history.column)
        if column is None:
            raise MetricNotAvailable(f"The history of {history.metric} was not delivered.")
        return series_of(column[resource], history.granularity_s)

    @property
    def snapshot(self) -> ComputeSnapshot:
        """The scoped compute model; ClusterStateNotDefined when there is none (B-036)."""
        if self.compute is None:
            raise ClusterStateNotDefined("The cluster state is not defined.")
        return self.compute
