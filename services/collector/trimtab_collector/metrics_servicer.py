"""The gRPC face of the datasources: one short method per RPC."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator

import structlog

from trimtab.model.v1 import metrics_pb2, metrics_pb2_grpc
from trimtab_collector.datasources.cache import Cached
from trimtab_collector.datasources.interface import Aggregate, MetricQuery, SeriesQuery
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.live_model import LiveModel
from trimtab_collector.servicer import Context
from trimtab_common.domain.errors import InvalidArgument, TrimtabError
from trimtab_common.domain.snapshot import ComputeSnapshot
from trimtab_common.wire.metrics_codec import value_messages

log = structlog.get_logger(__name__)
SERVICE = "trimtab.model.v1.MetricsService"
_SERIES_AT_ONCE = 200


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
        source = Cached(await self._datasources.choose(queries, request.datasources))
        snapshot = self._live.snapshot()
        for query in queries:
            if query.metric not in source.metrics:
                continue  # optional, and not there
            values = await source.query(query, snapshot)
            log.debug("read metric", metric=query.metric, source=source.name, found=len(values))
            for message in value_messages(query.metric, source.name, list(values.items())):
                yield message

    async def QuerySeries(  # noqa: N802, gRPC's name
        self, request: metrics_pb2.QuerySeriesRequest, _context: Context
    ) -> AsyncIterator[metrics_pb2.QuerySeriesResponse]:
        """How a metric went, asked for a few resources at a time: memory stays bounded (B-072)."""
        query = SeriesQuery(
            metric=request.metric,
            aggregate=_aggregate(request.aggregate),
            start_s=request.start_s,
            end_s=request.end_s,
            granularity_s=request.granularity_s or 300,
            resources=frozenset(request.resources),
        )
        source = await self._datasources.choose(
            [MetricQuery(metric=query.metric)], request.datasources
        )
        snapshot = self._live.snapshot()
        known = _resources(query, snapshot)
        for start in range(0, len(known), _SERIES_AT_ONCE):
            part = frozenset(known[start : start + _SERIES_AT_ONCE])
            found = await source.series(dataclasses.replace(query, resources=part), snapshot)
            for resource, series in sorted(found.items()):
                if not (moments := sorted(series)):
                    continue
                yield metrics_pb2.QuerySeriesResponse(
                    metric=query.metric,
                    datasource=source.name,
                    resource=resource,
                    at_s=moments,
                    value=[series[at] for at in moments],
                )

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


def _resources(query: SeriesQuery, snapshot: ComputeSnapshot) -> list[str]:
    """Those of the model that are asked for."""
    if query.is_of_hosts:
        return [name for name in snapshot.host_name if query.wants(name)]
    uuids = (snapshot.uuid_of(i) for i in range(snapshot.n_servers))
    return [uuid for uuid in uuids if query.wants(uuid)]


def _aggregate(text: str) -> Aggregate:
    try:
        return Aggregate(text or "mean")
    except ValueError:
        raise InvalidArgument(
            f"Unknown aggregate {text!r}; known are {', '.join(Aggregate)}."
        ) from None


def _query(message: metrics_pb2.MetricQuery) -> MetricQuery:
    return MetricQuery(
        metric=message.metric,
        aggregate=_aggregate(message.aggregate),
        period_s=message.period_s or 300,
        granularity_s=message.granularity_s or 300,
        optional=message.optional,
    )
