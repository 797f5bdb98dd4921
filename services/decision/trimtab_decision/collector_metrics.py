"""Metrics from collector over gRPC: the MetricsReader that `main` wires."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc

from trimtab.model.v1 import metrics_pb2 as pb
from trimtab.model.v1 import metrics_pb2_grpc
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, TrimtabError
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_common.wire import metrics_codec
from trimtab_decision.errors import CollectorUnreachable
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.metrics import Datasource, MetricQuery

_LIST_TIMEOUT_S = 10.0


class CollectorMetrics:
    """Asks MetricsService; one stream for all metrics of a run."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float) -> None:
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel)
        self._timeout_s = timeout_s

    async def read(
        self,
        snapshot: ComputeSnapshot,
        queries: Sequence[MetricQuery],
        datasources: Sequence[str] = (),
    ) -> MetricsTable:
        """See MetricsReader."""
        request = pb.QueryMetricsRequest(
            queries=[
                pb.MetricQuery(
                    metric=query.metric,
                    aggregate=query.aggregate,
                    period_s=query.period_s,
                    granularity_s=query.granularity_s,
                    optional=query.is_optional,
                )
                for query in queries
            ],
            datasources=datasources,
        )
        try:
            call = self._stub.QueryMetrics(request, timeout=self._timeout_s)
            messages = [message async for message in call]
        except grpc.aio.AioRpcError as error:
            raise _translated(from_rpc_error(error)) from error
        # 200,000 values take a tenth of a second to align: not on the event loop
        return await asyncio.to_thread(metrics_codec.table, snapshot, messages)

    async def datasources(self) -> Sequence[Datasource]:
        """See MetricsReader."""
        try:
            answer = await self._stub.ListDatasources(
                pb.ListDatasourcesRequest(), timeout=_LIST_TIMEOUT_S
            )
        except grpc.aio.AioRpcError as error:
            raise _translated(from_rpc_error(error)) from error
        return [
            Datasource(
                name=source.name,
                is_available=source.available,
                problem=source.problem,
                metrics=frozenset(source.metrics),
            )
            for source in answer.datasources
        ]


def _translated(error: TrimtabError) -> TrimtabError:
    if isinstance(error, FailedPrecondition):
        return MetricNotAvailable(error.message)
    if isinstance(error, InvalidArgument):
        return error
    return CollectorUnreachable(
        f"Metrics cannot be read: {error.message.rstrip('.')}. "
        "Create the audit again when collector and its datasource answer."
    )
