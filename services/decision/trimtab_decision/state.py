"""What a strategy needs and whether it is there: the rows of Watcher's strategy state (A-041)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trimtab_common.domain.errors import TrimtabError
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.metrics import Datasource, MetricsReader
from trimtab_decision.model import ModelSource

AVAILABLE = "available"
NOT_AVAILABLE = "not available"
NO_DATASOURCE = "Datasource is not presented for this strategy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One requirement. `state`: a text, or a list of single-member objects."""

    type: str
    state: Any
    mandatory: bool
    comment: str = ""


class StrategyStates:
    """Answers for every strategy of this process."""

    def __init__(self, *, registry: Registry, model: ModelSource, metrics: MetricsReader) -> None:
        self._registry = registry
        self._model = model
        self._metrics = metrics

    async def of(self, name: str) -> list[Row]:
        """Datasource, Metrics, CDM, Name, in this order. UnknownPlugin for a strategy not loaded."""
        strategy = self._registry.strategy(name)
        return [
            *await self._metric_rows(strategy),
            self._model_row(),
            Row(type="Name", state=strategy.name, mandatory=False),
        ]

    async def _metric_rows(self, strategy: Strategy) -> list[Row]:
        wanted = strategy.metrics()
        if not wanted:
            return [
                Row(type="Datasource", state=NO_DATASOURCE, mandatory=True),
                Row(type="Metrics", state=[], mandatory=False),
            ]
        try:
            sources = await self._metrics.datasources()
        except TrimtabError as error:
            sources, problem = [], error.message
        else:
            problem = "" if sources else "No datasource is configured in collector."
        source = best_source(sources, strategy.required_metrics)
        if source is None:
            missing = [{metric: NOT_AVAILABLE} for metric in wanted]
            return [
                Row(
                    type="Datasource",
                    state=f"none: {NOT_AVAILABLE}",
                    mandatory=True,
                    comment=problem,
                ),
                Row(type="Metrics", state=missing, mandatory=False),
            ]
        status = AVAILABLE if source.is_available else NOT_AVAILABLE
        found = [
            {metric: AVAILABLE if metric in source.metrics else NOT_AVAILABLE} for metric in wanted
        ]
        return [
            Row(
                type="Datasource",
                state=f"{source.name}: {status}",
                mandatory=True,
                comment=source.problem,
            ),
            Row(type="Metrics", state=found, mandatory=False),
        ]

    def _model_row(self) -> Row:
        problem = "" if self._model.ready else self._model.problem
        compute = AVAILABLE if self._model.ready else NOT_AVAILABLE
        if self._model.ready and (reason := self._model.snapshot().stale_reason):
            compute, problem = NOT_AVAILABLE, reason
        state = [
            {"compute_model": compute},
            {"storage_model": NOT_AVAILABLE},
            {"baremetal_model": NOT_AVAILABLE},
        ]
        return Row(type="CDM", state=state, mandatory=True, comment=problem)


def best_source(sources: Sequence[Datasource], required: Sequence[str]) -> Datasource | None:
    """The first that answers and has every required metric; else the first at all (B-035)."""
    for source in sources:
        if source.is_available and source.metrics.issuperset(required):
            return source
    return sources[0] if sources else None
