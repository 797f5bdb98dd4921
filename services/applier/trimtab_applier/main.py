"""Entry point of the applier: wiring only. The one service with the right to change the cloud."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab_applier import descriptions, heartbeat
from trimtab_applier.actions import load_action_types
from trimtab_applier.dispatcher import Dispatcher
from trimtab_applier.servicer import ApplierServicer
from trimtab_applier.settings import GROUPS, ApplierSettings, from_conf
from trimtab_common.openstack import connect
from trimtab_common.openstack.nova_writes import NovaClient, NovaWrites
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load
from trimtab_common.store import Store, open_store

NAME = "trimtab-applier"


async def build(
    common: CommonSettings,
    settings: ApplierSettings,
    *,
    store: Store,
    nova: NovaWrites,
    clock: Clock | None = None,
) -> Service:
    """The service, not started. It closes the store when it stops."""
    clock = clock or SystemClock()
    types = load_action_types()
    dispatcher = Dispatcher(
        store=store,
        clock=clock,
        nova=nova,
        types=types,
        settings=settings,
        owner=f"{settings.host}:{os.getpid()}:{uuid.uuid4().hex[:8]}",
    )
    service = Service(NAME, common.applier, settings=common)
    service.add(
        ApplierServicer(dispatcher),
        applier_pb2_grpc.add_ApplierServiceServicer_to_server,
        applier_pb2.DESCRIPTOR.services_by_name["ApplierService"].full_name,
    )
    service.background(dispatcher.run, "dispatcher")
    service.background(
        lambda: descriptions.sync(store, clock, types.descriptions()), "descriptions"
    )
    service.background(
        lambda: heartbeat.beat_forever(
            store, clock, host=settings.host, every_s=settings.heartbeat_every_s
        ),
        "heartbeat",
    )
    service.on_stop(store.close)
    return service


def main(argv: Sequence[str] | None = None) -> int:
    """Serves until told to stop; the exit code."""
    common, conf = load(sys.argv[1:] if argv is None else argv, prog=NAME, groups=GROUPS)
    connect.register(conf, ("nova",))

    async def wired() -> Service:
        settings = from_conf(conf, host=common.host)
        retry = RetryPolicy(
            retries=settings.nova.http_retries, interval_s=settings.nova.http_retry_interval_s
        )
        cloud = CloudSession(connect.connector(conf, common.cloud, ("nova",)), retry=retry)
        store = await open_store(common.database, host=common.host)
        nova = NovaClient(cloud, write_timeout_s=settings.nova.write_timeout_s)
        service = await build(common, settings, store=store, nova=nova)
        service.on_stop(cloud.close)
        return service

    return run(wired, settings=common, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
