"""Entry point of the applier: wiring only. The one service with the right to change the cloud."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab_applier import descriptions, heartbeat, readiness
from trimtab_applier.actions import load_action_types
from trimtab_applier.beyond import Beyond, rereading
from trimtab_applier.dispatcher import Dispatcher
from trimtab_applier.servicer import ApplierServicer
from trimtab_applier.settings import GROUPS, ApplierSettings, from_conf
from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.openstack import connect
from trimtab_common.openstack.cinder_writes import CinderClient
from trimtab_common.openstack.maas import Maas, MaasSettings
from trimtab_common.openstack.nova import Nova
from trimtab_common.openstack.nova_writes import NovaClient, NovaWrites
from trimtab_common.openstack.power_writes import IronicPower, MaasPower, PowerWrites
from trimtab_common.openstack.session import CloudSession, RetryPolicy
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import Clock, SystemClock
from trimtab_common.runtime.identity import owner_name
from trimtab_common.runtime.service import Service, run
from trimtab_common.runtime.settings import CommonSettings, load
from trimtab_common.store import Store, open_store

NAME = "trimtab-applier"
CLOUD_GROUPS = ("nova", "cinder", "ironic")
"""Whose keystoneauth options are read; the first that is filled is the account that acts."""


async def build(
    common: CommonSettings,
    settings: ApplierSettings,
    *,
    store: Store,
    nova: NovaWrites,
    beyond: Beyond | None = None,
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
        owner=owner_name("applier", settings.host),
        beyond=beyond,
    )
    service = Service(NAME, common.applier, settings=common)
    full_name = applier_pb2.DESCRIPTOR.services_by_name["ApplierService"].full_name
    service.add(
        ApplierServicer(dispatcher),
        applier_pb2_grpc.add_ApplierServiceServicer_to_server,
        full_name,
    )

    async def dispatch() -> None:
        try:
            await readiness.until_usable(
                nova, clock, lambda usable: service.report(full_name, serving=usable)
            )
        except FailedPrecondition as too_old:
            service.give_up(too_old)
            return
        await dispatcher.run()

    service.background(dispatch, "dispatcher")
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
    connect.register(conf, CLOUD_GROUPS)

    async def wired() -> Service:
        settings = from_conf(conf, host=common.host)
        retry = RetryPolicy(
            retries=settings.nova.http_retries, interval_s=settings.nova.http_retry_interval_s
        )
        cloud = CloudSession(connect.connector(conf, common.cloud, CLOUD_GROUPS), retry=retry)
        store = await open_store(
            common.database, host=common.host, notification_level=common.notification_level
        )
        write_timeout_s = settings.nova.write_timeout_s
        maas = MaasSettings.from_conf(conf)
        machines: PowerWrites = IronicPower(cloud, write_timeout_s=write_timeout_s)
        collectors = [open_channel(address) for address in common.collectors]
        closing = [cloud.close, *(collector.close for collector in collectors)]
        if maas is not None:
            client = Maas(maas, Nova(cloud))
            machines = MaasPower(client)
            closing.append(client.close)
        service = await build(
            common,
            settings,
            store=store,
            nova=NovaClient(cloud, write_timeout_s=write_timeout_s),
            beyond=Beyond(
                block_storage=CinderClient(cloud, write_timeout_s=write_timeout_s),
                machines=machines,
                reread=rereading(*collectors),
            ),
        )
        for close in closing:
            service.on_stop(close)
        return service

    return run(wired, settings=common, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
