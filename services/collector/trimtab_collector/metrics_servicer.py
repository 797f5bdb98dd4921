"""The gRPC face of the datasources: one short method per RPC."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_collector.datasources.interface import Aggregate, MetricQuery
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.live_model import LiveModel
from trimtab_collector.servicer import Context
from trimtab_common.domain.errors import InvalidArgument, TrimtabError
from trimtab_common.wire.metrics_codec import value_messages

log = structlog.get_logger(__name__)
SERVICE = "trimtab.model.v1.MetricsService"


class MetricsServicer(metrics_pb2_grpc.MetricsServiceServicer):
    """MetricsService over the configured datasources."""

    def __init__(self, datasources: Datasources, live: LiveModel) -> None:
        self._datasources = datasources
        self._live = live

    async def QueryMetrics(  # noqa: N802, gRPC's name
        self, request: metrics_pb2.QueryMetricsRequest, _context: Context
    ) -> AsyncIterator[metrics_pb2.QueryMetricsResponse]:
        """Each metric of all resources that have a value, from one datasource."""
        queries = [_query(message) for message in request.queries]
        source = await self._datasources.choose(queries, request.datasources)
        snapshot = self._live.snapshot()
        for query in queries:
            if query.metric not in source.metrics:
                continue  # optional, and not there
            values = await source.query(query, snapshot)
            log.debug("read metric", metric=query.metric, source=source.name, found=len(values))
            for message in value_messages(query.metric, source.name, list(values.items())):
                yield message

    async def ListDatasources(  # noqa: N802, gRPC's name
        self, _request: metrics_pb2.ListDatasourcesRequest, _context: Context
    ) -> metrics_pb2.ListDatasourcesResponse:
        """Which are configured, whether they answer and what they have; never fails (C-125)."""
        found = []
        for source in self._datasources.all():
            problem = await source.problem()
            metrics: frozenset[str] = frozenset()
            if not problem:
                try:
                    metrics = await source.found_metrics()
                except TrimtabError as error:
                    problem = error.message
            found.append(
                metrics_pb2.Datasource(
                    name=source.name,
                    available=not problem,
                    problem=problem,
                    metrics=sorted(metrics),
                )
            )
        return metrics_pb2.ListDatasourcesResponse(datasources=found)


def _query(message: metrics_pb2.MetricQuery) -> MetricQuery:
    try:
        aggregate = Aggregate(message.aggregate or "mean")
    except ValueError:
        raise InvalidArgument(
            f"Unknown aggregate {message.aggregate!r}; known are {', '.join(Aggregate)}."
        ) from None
    return MetricQuery(
        metric=message.metric,
        aggregate=aggregate,
        period_s=message.period_s or 300,
        granularity_s=message.granularity_s or 300,
        optional=message.optional,
    )
