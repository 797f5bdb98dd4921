"""A collector without a cloud: its own servicers over a synthetic model and load.

    python tests/perf/synthetic_collector.py HOSTS SERVERS SEED --config-file trimtab.conf

Everything that other services see of collector is the real thing: streams, digests, heartbeats, metrics.
Only the reading of Nova and the datasource are left out, which would need as many real servers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from synthetic_clouds import synthetic_cloud

from trimtab.model.v1 import metrics_pb2_grpc
from trimtab_collector import metrics_servicer, servicer
from trimtab_collector.datasources.interface import METRICS, MetricQuery, Series, SeriesQuery
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.live_model import LiveModel
from trimtab_common.domain.changes import host_rows, server_rows
from trimtab_common.domain.compute import ComputeModel
from trimtab_common.domain.scope import COMPUTE_SCOPE_SCHEMA
from trimtab_common.domain.snapshot import ComputeSnapshot, MetricsTable
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load

NAME = "synthetic-collector"


class Remembered:
    """A `Datasource` of values that never change."""

    name = "static"
    metrics = METRICS

    def __init__(self, snapshot: ComputeSnapshot, table: MetricsTable) -> None:
        servers = [snapshot.uuid_of(i) for i in range(snapshot.n_servers)]
        self._values: dict[str, Mapping[str, float]] = {}
        for names, columns in ((snapshot.host_name, table.host), (servers, table.server)):
            for metric, column in columns.items():
                self._values[metric] = dict(zip(names, column.tolist(), strict=True))

    async def problem(self) -> str:
        return ""

    async def found_metrics(self) -> frozenset[str]:
        return frozenset(self._values)

    async def query(self, query: MetricQuery, snapshot: ComputeSnapshot) -> Mapping[str, float]:
        del snapshot
        return self._values.get(query.metric, {})

    async def series(self, query: SeriesQuery, snapshot: ComputeSnapshot) -> Mapping[str, Series]:
        del query, snapshot
        return {}

    async def close(self) -> None:
        """Nothing is open."""


async def nothing_to_read() -> None:
    """A `Refresher` without a cloud."""


async def build(settings: CommonSettings, n_hosts: int, n_servers: int, seed: int) -> Service:
    """The service, not started; its model is whole."""
    clock = SystemClock()
    snapshot, table = synthetic_cloud(n_hosts, n_servers, seed)
    live = LiveModel(clock)
    live.model = ComputeModel.from_rows(host_rows(snapshot), server_rows(snapshot), epoch="scale")
    live.mark_built()
    live.mark_synced(full=True)
    service = Service(NAME, settings.collector, settings=settings)
    served = servicer.Served(live=live, refresh=nothing_to_read, scope_schema=COMPUTE_SCOPE_SCHEMA)
    service.add(
        servicer.ModelServicer([served], clock, 3600.0),
        servicer.add_model_service,
        servicer.SERVICE,
    )
    datasources = Datasources(["static"], {"static": Remembered(snapshot, table)})
    service.add(
        metrics_servicer.MetricsServicer(datasources, live),
        metrics_pb2_grpc.add_MetricsServiceServicer_to_server,
        metrics_servicer.SERVICE,
    )
    return service


def main(argv: Sequence[str]) -> int:
    """Serves until told to stop."""
    n_hosts, n_servers, seed = map(int, argv[:3])
    settings, _ = load(list(argv[3:]), prog=NAME, groups={})
    return run(lambda: build(settings, n_hosts, n_servers, seed), settings=settings, name=NAME)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
