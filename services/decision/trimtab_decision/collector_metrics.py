"""Metrics from collector over gRPC: the MetricsReader that `main` wires."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Sequence

import grpc
import numpy as np
from numpy.typing import NDArray

from trimtab.model.v1 import metrics_pb2 as pb
from trimtab.model.v1 import metrics_pb2_grpc
from trimtab_common.domain.errors import FailedPrecondition, InvalidArgument, TrimtabError
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.errors import from_rpc_error
from trimtab_common.runtime.sharing import Shared
from trimtab_common.wire import metrics_codec
from trimtab_decision.errors import CollectorUnreachable
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.framework.history import History
from trimtab_decision.metrics import Datasource, MetricQuery

_LIST_TIMEOUT_S = 10.0


class CollectorMetrics:
    """Asks MetricsService; one stream for all metrics of a run."""

    def __init__(
        self, channel: grpc.aio.Channel, *, timeout_s: float, clock: Clock | None = None
    ) -> None:
        self._stub = metrics_pb2_grpc.MetricsServiceStub(channel)
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._reading: Shared[Hashable, MetricsTable] = Shared()

    async def read(
        self,
        snapshot: ComputeSnapshot,
        queries: Sequence[MetricQuery],
        datasources: Sequence[str] = (),
    ) -> MetricsTable:
        """See MetricsReader. Audits that ask the same of the same model at once share one reading."""
        key = (snapshot.epoch, snapshot.revision, tuple(queries), tuple(datasources))
        return await self._reading.ask(key, lambda: self._read(snapshot, queries, datasources))

    async def _read(
        self, snapshot: ComputeSnapshot, queries: Sequence[MetricQuery], datasources: Sequence[str]
    ) -> MetricsTable:
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

    async def history(
        self,
        snapshot: ComputeSnapshot,
        histories: Sequence[History],
        datasources: Sequence[str] = (),
    ) -> MetricsTable:
        """See MetricsReader. One stream a metric; collector reads some resources at a time."""
        host: dict[str, NDArray[np.float64]] = {}
        server: dict[str, NDArray[np.float64]] = {}
        source = ""
        for history in histories:
            columns = host if history.is_of_hosts else server
            try:
                columns[history.column], source = await self._past(snapshot, history, datasources)
            except MetricNotAvailable:
                if not history.is_optional:
                    raise
        return MetricsTable(host=host, server=server, source=source)

    async def _past(
        self, snapshot: ComputeSnapshot, history: History, datasources: Sequence[str]
    ) -> tuple[NDArray[np.float64], str]:
        n_resources = snapshot.n_hosts if history.is_of_hosts else snapshot.n_servers
        history.check_size(n_resources)
        step_s, n_steps = history.granularity_s, history.n_steps
        end_s = self._clock.now().timestamp() // step_s * step_s
        start_s = end_s - n_steps * step_s
        values = np.full((n_resources, n_steps), np.nan)
        hosts = {name: i for i, name in enumerate(snapshot.host_name)}
        source = ""
        request = pb.QuerySeriesRequest(
            metric=history.metric,
            aggregate=history.aggregate,
            start_s=start_s,
            end_s=end_s,
            granularity_s=step_s,
            datasources=datasources,
        )
        try:
            async for message in self._stub.QuerySeries(request, timeout=self._timeout_s):
                source = message.datasource
                find = hosts.get if history.is_of_hosts else snapshot.find_server
                if (row := find(message.resource)) is None:
                    continue  # it came after the snapshot
                places = ((np.array(message.at_s) - start_s) // step_s).astype(np.int64)
                inside = (places >= 0) & (places < n_steps)
                values[row, places[inside]] = np.array(message.value)[inside]
        except grpc.aio.AioRpcError as error:
            raise _translated(from_rpc_error(error)) from error
        values.setflags(write=False)
        return values, source

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
