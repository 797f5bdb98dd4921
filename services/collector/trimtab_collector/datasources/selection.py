"""Which datasource answers: the first in order that maps every required metric and is there (C-133).

The choice is for a whole strategy execution, never metric by metric (C-134).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from trimtab_collector.datasources.interface import (
    METRICS,
    Datasource,
    MetricNotAvailable,
    MetricQuery,
    NoDatasourceAvailable,
    Series,
    SeriesQuery,
)
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, Unavailable
from trimtab_common.domain.snapshot import ComputeSnapshot

log = structlog.get_logger(__name__)
REMOVED = frozenset({"ceilometer", "monasca"})


class DatasourceConfigConflict(FailedPrecondition):
    """Two datasources that exclude each other are configured (C-135)."""

    reason = "DATASOURCE_CONFIG_CONFLICT"


def check(order: Sequence[str]) -> None:
    """DatasourceConfigConflict: two of them exclude each other."""
    if {"prometheus", "aetos"} <= set(order):
        raise DatasourceConfigConflict("prometheus and aetos cannot be configured together.")


def removed(name: str) -> str:
    """What is said of a datasource that is only a name today (C-137)."""
    return f"The datasource {name} was removed from OpenStack: use gnocchi or aetos."


class Removed:
    """A `Datasource` that was removed: it says so wherever it is named (C-137)."""

    metrics = METRICS

    def __init__(self, name: str) -> None:
        self.name = name

    async def problem(self) -> str:
        """Why it never answers."""
        return removed(self.name)

    async def found_metrics(self) -> frozenset[str]:
        """None."""
        return frozenset()

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        """MetricNotAvailable."""
        del query, snapshot
        raise MetricNotAvailable(removed(self.name))

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        """MetricNotAvailable."""
        del query, snapshot
        raise MetricNotAvailable(removed(self.name))

    async def close(self) -> None:
        """Nothing is open."""


class Datasources:
    """The configured datasources in order of preference."""

    def __init__(self, order: Sequence[str], built: Mapping[str, Datasource]) -> None:
        check(order)
        for name in REMOVED.intersection(order):
            log.error(removed(name), datasource=name)
        if "prometheus" in order:
            log.warning("the datasource prometheus is deprecated, aetos takes its place")
        self._order = tuple(order)
        self._built = {**{name: Removed(name) for name in REMOVED}, **built}

    def all(self) -> list[Datasource]:
        """Those that can be asked, in order."""
        return [self._built[name] for name in self._order if name in self._built]

    async def choose(
        self, queries: Sequence[MetricQuery], preferred: Sequence[str] = ()
    ) -> Datasource:
        """The one to ask.

        InvalidArgument: nothing is asked. NoDatasourceAvailable: none is configured.
        MetricNotAvailable: none maps every required metric. Unavailable: one does, and is away.
        """
        if not queries:
            raise InvalidArgument("No metric is asked for.")
        order = tuple(preferred) or self._order
        if not order:
            raise NoDatasourceAvailable(
                "No datasource is configured: set [watcher_datasources] datasources."
            )
        required = {query.metric for query in queries if not query.optional}
        away: list[str] = []
        gone: list[str] = []
        for name in order:
            datasource = self._built.get(name)
            if name in REMOVED:
                gone.append(removed(name))
            elif datasource is None:
                log.warning("this datasource is not configured here, skipped", datasource=name)
            elif missing := required - datasource.metrics:
                log.info("lacks metrics, skipped", datasource=name, missing=sorted(missing))
            elif problem := await datasource.problem():
                away.append(problem)
            else:
                return datasource
        if away:
            raise Unavailable(" ".join(away))
        raise MetricNotAvailable(
            " ".join(
                [
                    f"No datasource of {', '.join(order)} supplies {', '.join(sorted(required))}.",
                    *gone,
                ]
            )
        )

    async def close(self) -> None:
        """Ends their connections."""
        for datasource in self._built.values():
            await datasource.close()
