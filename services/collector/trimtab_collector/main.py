"""Entry point of collector: wiring only."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import structlog

from trimtab.model.v1 import metrics_pb2_grpc
from trimtab_collector import metrics_servicer, plugins, servicer
from trimtab_collector.compute.loader import Loader
from trimtab_collector.compute.loading import EVERYTHING, Loaded
from trimtab_collector.compute.reading import ComputeReader
from trimtab_collector.compute.sync import ComputeSync
from trimtab_collector.datasources import building
from trimtab_collector.datasources.selection import Datasources
from trimtab_collector.delta_log import DeltaLog
from trimtab_collector.live_model import LiveModel
from trimtab_collector.notifications import guests
from trimtab_collector.notifications.inbox import Inbox
from trimtab_collector.notifications.mailroom import Mailroom
from trimtab_collector.notifications.nova_events import NOVA
from trimtab_collector.notifications.rereads import Rereads
from trimtab_collector.settings import GROUPS, CollectorSettings
from trimtab_common.domain.errors import TrimtabError
from trimtab_common.domain.scope import COMPUTE_SCOPE_SCHEMA
from trimtab_common.openstack import connect
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.placement import Placement
from trimtab_common.openstack.session import CloudSession
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.general_pool import GeneralPool
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load

if TYPE_CHECKING:  # importing the SDK takes a second: done in a thread, at the first call
    from openstack.connection import Connection


log = structlog.get_logger(__name__)
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
    pool = GeneralPool(own.general_workers)
    session = CloudSession(connection, retry=own.retry, clock=clock, pool=pool)
    live = LiveModel(clock, log=DeltaLog(max_entries=own.delta_log_entries))
    loaded = Loaded(EVERYTHING if own.load_all else None)
    reader = ComputeReader(
        Nova(session, extended=own.extended),
        Placement(session),
        extended=own.extended,
        timeout_s=own.read_timeout_s,
        loaded=loaded,
        at_once=own.general_workers,
    )
    inbox = Inbox(
        live,
        clock,
        dialect=guests.joined(NOVA, live.kind),
        extended=own.extended,
        admits=loaded.admits,
    )
    sync = ComputeSync(live, reader, clock, own.sync, inbox, loaded=loaded)
    loader = Loader(live, reader, sync, inbox)
    datasources = building.build(own.datasources, session, clock)
    service = Service(NAME, settings.collector, settings=settings)
    context = plugins.Context(
        session=session,
        pool=pool,
        clock=clock,
        periods_s=own.periods_s,
        poll_interval_s=own.element_poll_interval_s,
        read_timeout_s=own.read_timeout_s,
        maas=own.maas,
    )
    others = [plugin.build(context) for plugin in plugins.chosen(own.plugins)]
    compute = servicer.Served(
        live=live,
        refresh=sync.refresh,
        load=loader.load,
        reread=lambda uuids: inbox.wanted.add(uuids, ()),
        scope_schema=COMPUTE_SCOPE_SCHEMA,
    )
    service.add(
        servicer.ModelServicer(
            [compute, *(other.served for other in others)],
            clock,
            own.max_stream_age_s,
            refresh_interval_s=own.refresh_interval_s,
        ),
        servicer.add_model_service,
        servicer.SERVICE,
    )
    service.add(
        metrics_servicer.MetricsServicer(datasources, live),
        metrics_pb2_grpc.add_MetricsServiceServicer_to_server,
        metrics_servicer.SERVICE,
    )
    tried: Callable[[], Awaitable[None]] | None = None
    if own.notifications is not None:
        mailroom = Mailroom([inbox, *(other.inbox for other in others)])
        # The driver costs 0.2 s to import: only who has a broker pays.
        from trimtab_collector.notifications import consumer as consumers  # noqa: PLC0415, see above

        consumer = consumers.Consumer(own.notifications, mailroom, clock)
        service.background(consumer.run, "notifications")
        service.background(Rereads(live, reader, inbox, clock).run, "rereads")
        tried = consumer.tried
    service.background(partial(_run, sync.run, tried), "compute-sync")
    for other in others:
        service.background(partial(_run_other, other, tried), f"{other.live.kind}-sync")
        service.background(other.rereads.run, f"{other.live.kind}-rereads")
    service.background(partial(_tell_problems, datasources), "datasources")
    service.on_stop(session.close)
    service.on_stop(partial(_end, pool))
    service.on_stop(datasources.close)
    return service


async def _end(pool: GeneralPool) -> None:
    """Whoever still waits in it is not waited for."""
    pool.shutdown(wait=False, cancel_futures=True)


async def _tell_problems(datasources: Datasources) -> None:
    """At the start, so that a wrong endpoint is seen before the first audit (C-153).

    The service goes on: models are worth having without metrics.
    """
    for source in datasources.all():
        if problem := await source.problem():
            log.error("a datasource does not answer", datasource=source.name, problem=problem)
    await asyncio.Event().wait()  # a background task that ends would be started again


async def _run(
    run: Callable[[], Awaitable[None]], tried: Callable[[], Awaitable[None]] | None
) -> None:
    if tried is not None:
        with suppress(TimeoutError):  # a read from before the queue is bound would be repeated
            await asyncio.wait_for(tried(), _FIRST_TRY_S)
    await run()


async def _run_other(
    other: plugins.RunningModel, tried: Callable[[], Awaitable[None]] | None
) -> None:
    if other.wanted is not None and not await other.wanted():
        other.live.problem = "there is no such service in this cloud"
        await asyncio.Event().wait()  # a background task that ends would end the service
    await _run(other.sync.run, tried)


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
