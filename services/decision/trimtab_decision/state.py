"""What a strategy needs and whether it is there: the rows of Watcher's strategy state (A-041)."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trimtab_common.domain.errors import TrimtabError
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.sharing import Shared
from trimtab_decision.collector_elements import KINDS, ElementsReader
from trimtab_decision.framework import Registry, Strategy
from trimtab_decision.metric_bounds import outside
from trimtab_decision.metrics import Datasource, MetricsReader, queries_for
from trimtab_decision.model import ModelSource

AVAILABLE = "available"
NOT_AVAILABLE = "not available"
VALUES_FRESH_S, VALUES_KEPT_S = 30.0, 300.0
"""How long what was said of the measured values holds, and how long it is still said while they are read
again: reading those of 200,000 servers takes seconds."""
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

    def __init__(
        self,
        *,
        registry: Registry,
        model: ModelSource,
        metrics: MetricsReader,
        elements: ElementsReader | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._elements = elements
        self._clock = clock or SystemClock()
        self._turn = asyncio.Lock()
        self._reading: Shared[tuple[str, str], str] = Shared()
        self._said: dict[tuple[str, str], tuple[float, str]] = {}
        self._registry = registry
        self._model = model
        self._metrics = metrics

    async def of(self, name: str) -> list[Row]:
        """Datasource, Metrics, CDM, Name, in this order. UnknownPlugin for a strategy not loaded."""
        strategy = self._registry.strategy(name)
        return [
            *await self._metric_rows(strategy),
            await self._model_row(strategy),
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
            Row(
                type="Metrics",
                state=found,
                mandatory=False,
                comment=await self._out_of_bounds(strategy, source),
            ),
        ]

    async def _out_of_bounds(self, strategy: Strategy, source: Datasource) -> str:
        """Which values, of those that the datasource has now, cannot be right (A-042)."""
        if not (source.is_available and self._model.ready):
            return ""
        key = (strategy.name, source.name)
        said_at_s, text = self._said.get(key, (-math.inf, ""))
        age_s = self._clock.monotonic() - said_at_s
        if age_s < VALUES_FRESH_S:
            return text
        reading = self._reading.send(key, lambda: self._read_again(strategy, source))
        if age_s < VALUES_KEPT_S:
            return text
        try:
            return await asyncio.shield(reading)
        except TrimtabError as error:
            return error.message

    async def _read_again(self, strategy: Strategy, source: Datasource) -> str:
        async with self._turn:  # one strategy's values in memory at a time
            try:
                text = await self._read_out_of_bounds(strategy, source)
            except TrimtabError:
                self._said.pop((strategy.name, source.name), None)  # who asks next hears why
                raise
        self._said[strategy.name, source.name] = (self._clock.monotonic(), text)
        return text

    async def _read_out_of_bounds(self, strategy: Strategy, source: Datasource) -> str:
        snapshot = self._model.snapshot()
        queries = [
            dataclasses.replace(query, is_optional=True)
            for query in queries_for(type(strategy), {})
            if query.metric in source.metrics
        ]
        return outside(snapshot, await self._metrics.read(snapshot, queries, (source.name,)))

    async def _model_row(self, strategy: Strategy) -> Row:
        """All three models; the comment says what is wrong with those that the strategy needs."""
        problem = "" if self._model.ready else self._model.problem
        compute = AVAILABLE if self._model.ready else NOT_AVAILABLE
        if self._model.ready and (reason := self._model.snapshot().stale_reason):
            compute, problem = NOT_AVAILABLE, reason
        others = await self._other_models()
        wanted = {
            "storage": strategy.needs_storage_model,
            "baremetal": strategy.needs_baremetal_model,
        }
        comments = [problem, *(others[kind] for kind in KINDS if wanted[kind])]
        state = [
            {"compute_model": compute},
            *({f"{kind}_model": NOT_AVAILABLE if others[kind] else AVAILABLE} for kind in KINDS),
        ]
        comment = "; ".join([text for text in comments if text])
        return Row(type="CDM", state=state, mandatory=True, comment=comment)

    async def _other_models(self) -> Mapping[str, str]:
        if self._elements is None:
            return dict.fromkeys(KINDS, "decision was given no reader of it")
        try:
            return await self._elements.problems()
        except TrimtabError as error:
            return dict.fromkeys(KINDS, error.message)


def best_source(sources: Sequence[Datasource], required: Sequence[str]) -> Datasource | None:
    """The first that answers and has every required metric; else the first at all (B-035)."""
    for source in sources:
        if source.is_available and source.metrics.issuperset(required):
            return source
    return sources[0] if sources else None
