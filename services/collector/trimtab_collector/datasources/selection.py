"""Which datasource answers: the first in order that maps every required metric and is there (C-133).

The choice is for a whole strategy execution, never metric by metric (C-134).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import structlog

from trimtab_collector.datasources.interface import (
    Datasource,
    MetricNotAvailable,
    MetricQuery,
    NoDatasourceAvailable,
)
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, Unavailable

log = structlog.get_logger(__name__)
REMOVED = frozenset({"ceilometer", "monasca"})


class DatasourceConfigConflict(FailedPrecondition):
    """Two datasources that exclude each other are configured (C-135)."""

    reason = "DATASOURCE_CONFIG_CONFLICT"


class Datasources:
    """The configured datasources in order of preference."""

    def __init__(self, order: Sequence[str], built: Mapping[str, Datasource]) -> None:
        if {"prometheus", "aetos"} <= set(order):
            raise DatasourceConfigConflict("prometheus and aetos cannot be configured together.")
        for name in REMOVED.intersection(order):
            log.error("this datasource was removed, use gnocchi or aetos", datasource=name)
        self._order = tuple(order)
        self._built = built

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
        for name in order:
            datasource = self._built.get(name)
            if datasource is None:
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
            f"No datasource of {', '.join(order)} supplies {', '.join(sorted(required))}."
        )

    async def close(self) -> None:
        """Ends their connections."""
        for datasource in self._built.values():
            await datasource.close()
