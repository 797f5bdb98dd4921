"""Entry point of collector: wiring only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from trimtab.model.v1 import metrics_pb2_grpc
from trimtab_collector import metrics_servicer, servicer
from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.compute.sync import ComputeSync
from trimtab_collector.datasources.interface import Datasource
from trimtab_collector.datasources.prometheus import Prometheus
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.datasources.static import Static
from trimtab_collector.live_model import LiveModel
from trimtab_collector.notifications.consumer import Consumer
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.notifications.rereads import Rereads
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.openstack import connect
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, at the first call
    from openstack.connection import Connection

NAME = "trimtab-collector"
_FIRST_TRY_S = 3.0


async def build(
    settings: CommonSettings,
    own: CollectorSettings,
    connection: Callable[[], Connection],
    clock: Clock | None = None,
) -> Service:
    """The service, not started. `connection` is called when the cloud is first read."""
    clock = clock or SystemClock()
    session = CloudSession(connection, retry=own.retry, clock=clock)
    live = LiveModel(clock)
    reader = ComputeReader(
        Nova(session), Placement(session), extended=own.extended, timeout_s=own.read_timeout_s
    )
    inbox = Inbox(live, clock, extended=own.extended)
    sync = ComputeSync(live, reader, clock, own.sync, inbox)
    datasources = Datasources(own.datasources, _datasources(own, clock))
    service = Service(NAME, settings.collector, settings=settings)
    service.add(
        servicer.ModelServicer(live, sync.refresh, clock, own.max_stream_age_s),
        servicer.add_model_service,
        servicer.SERVICE,
    )
    service.add(
        metrics_servicer.MetricsServicer(datasources, live),
        metrics_pb2_grpc.add_MetricsServiceServicer_to_server,
        metrics_servicer.SERVICE,
    )
    if own.notifications is None:
        service.background(sync.run, "compute-sync")
    else:
        consumer = Consumer(own.notifications, inbox, clock)
        rereads = Rereads(live, reader, inbox, clock)
        service.background(consumer.run, "notifications")
        service.background(rereads.run, "rereads")
        service.background(lambda: _after_first_try(consumer, sync), "compute-sync")
    service.on_stop(session.close)
    service.on_stop(datasources.close)
    return service


async def _after_first_try(consumer: Consumer, sync: ComputeSync) -> None:
    with suppress(TimeoutError):  # a read from before the queue is bound would have to be repeated
        await asyncio.wait_for(consumer.tried(), _FIRST_TRY_S)
    await sync.run()


def _datasources(own: CollectorSettings, clock: Clock) -> dict[str, Datasource]:
    built: dict[str, Datasource] = {}
    if own.prometheus is not None:
        built[Prometheus.name] = Prometheus(own.prometheus, clock)
    if own.static_path is not None:
        built[Static.name] = Static(own.static_path)
    return built


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until told to stop; the exit code."""
    settings, conf = load(sys.argv[1:] if argv is None else argv, prog=NAME, groups=GROUPS)
    try:
        own = CollectorSettings.from_conf(conf, host=settings.host, address=settings.collector)
        connection = connect.connector(conf, settings.cloud)
    except TrimtabError as error:
        sys.stderr.write(f"{NAME}: {error.message}\n")
        return 2
    return run(lambda: build(settings, own, connection), settings=settings, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
