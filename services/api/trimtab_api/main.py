"""Wires the api service: store, channels, the REST core with its two doors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import uuid
from collections.abc import Iterator, Sequence

import structlog
import uvicorn
from oslo_config import cfg

from trimtab.audit.v1 import (
    audit_pb2,
    audit_pb2_grpc,
    audit_template_pb2,
    audit_template_pb2_grpc,
)
from trimtab.catalog.v1 import catalog_pb2, catalog_pb2_grpc
from trimtab.ops.v1 import ops_pb2, ops_pb2_grpc
from trimtab.plan.v1 import plan_pb2, plan_pb2_grpc
from trimtab.rest.v1 import rest_pb2, rest_pb2_grpc
from trimtab_api import asgi
from trimtab_api.auth import NoAuth
from trimtab_api.changes import ChangeFeed
from trimtab_api.keystone import KeystoneAuthenticator, KeystoneClient
from trimtab_api.outbox.bus import make_buses
from trimtab_api.outbox.publisher import OutboxPublisher
from trimtab_api.outbox.settings import GROUPS as OUTBOX_GROUPS
from trimtab_api.outbox.settings import OutboxSettings
from trimtab_api.policies import FilePolicy
from trimtab_api.ports import Deps
from trimtab_api.remote import CollectorModels, DecisionRollbacks, DecisionStates
from trimtab_api.rest import RestApi
from trimtab_api.servicer import WatcherRest
from trimtab_api.settings import GROUPS, ApiSettings
from trimtab_api.typed.action_plans import PlanService
from trimtab_api.typed.audit_templates import AuditTemplateService
from trimtab_api.typed.audits import AuditService
from trimtab_api.typed.catalog import CatalogService
from trimtab_api.typed.gate import Gate
from trimtab_api.typed.services import OpsService
from trimtab_api.typed.watching import Watches
from trimtab_api.wake import GrpcWaker
from trimtab_common.domain.errors import FailedPrecondition
from trimtab_common.openstack.connect import connector
from trimtab_common.runtime import service as services
from trimtab_common.runtime import settings as runtime_settings
from trimtab_common.runtime.channels import open_channel
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.runtime.service import Service
from trimtab_common.runtime.settings import CommonSettings
from trimtab_common.store import Store, open_store

log = structlog.get_logger(__name__)
NAME = "api"
AUTH_GROUP = "keystone_authtoken"


class HttpServer(uvicorn.Server):
    """Uvicorn inside a service that handles the signals itself and owns the address."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self._listener = _listen(address)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves SIGTERM and SIGINT to `runtime.service`."""
        yield

    async def run_door(self) -> None:
        """Serves until cancelled."""
        await self.serve(sockets=[self._listener.dup()])  # uvicorn closes what it is given

    async def close(self) -> None:
        """Gives the address back."""
        self._listener.close()


def _listen(address: str) -> socket.socket:
    """FailedPrecondition when the address is taken; uvicorn itself would end the process."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=2048)
    except OSError as error:
        raise FailedPrecondition(
            f"api cannot listen for HTTP on {address}: {error.strerror}. Stop what listens there "
            "or choose another address as [trimtab]api_http."
        ) from None


async def build(common: CommonSettings, settings: ApiSettings, conf: cfg.ConfigOpts) -> Service:
    """The service, ready to start."""
    if not (services.is_loopback(common.api_http) or common.insecure):
        raise FailedPrecondition(
            f"api would answer HTTP on {common.api_http}, reachable from other machines. Bind "
            "[trimtab]api_http to 127.0.0.1, or set [trimtab]insecure=true if that is wanted."
        )
    service = Service(NAME, common.api_grpc, settings=common)
    store = await open_store(
        common.database, host=common.host, notification_level=common.notification_level
    )
    service.on_stop(store.close)
    decision, applier = open_channel(common.decision), open_channel(common.applier)
    collector = open_channel(*common.collectors)
    for channel in (decision, applier, collector):
        service.on_stop(channel.close)
    waker = GrpcWaker(decision=decision, applier=applier)
    service.on_stop(waker.close)
    deps = Deps(
        store=store,
        clock=SystemClock(),
        new_uuid=lambda: str(uuid.uuid4()),
        waker=waker,
        strategy_states=DecisionStates(decision),
        rollbacks=DecisionRollbacks(decision),
        models=CollectorModels(collector),
        settings=settings,
    )
    gate = Gate(
        authenticator=await make_authenticator(settings, conf, cloud=common.cloud),
        policy=FilePolicy(conf, clock=deps.clock),
    )
    service.on_stop(gate.authenticator.close)
    api = RestApi(deps, authenticator=gate.authenticator, policy=gate.policy)
    feed = ChangeFeed(store, deps.clock)
    watches = Watches(feed, gate, deps.clock, max_stream_age_s=settings.max_stream_age_s)
    service.background(feed.run, "change feed")
    for servicer, add_to_server, module, name in (
        (
            WatcherRest(api),
            rest_pb2_grpc.add_WatcherRestServicer_to_server,
            rest_pb2,
            "WatcherRest",
        ),
        (
            CatalogService(deps, gate),
            catalog_pb2_grpc.add_CatalogServiceServicer_to_server,
            catalog_pb2,
            "CatalogService",
        ),
        (
            AuditTemplateService(deps, gate),
            audit_template_pb2_grpc.add_AuditTemplateServiceServicer_to_server,
            audit_template_pb2,
            "AuditTemplateService",
        ),
        (
            AuditService(deps, gate, watches),
            audit_pb2_grpc.add_AuditServiceServicer_to_server,
            audit_pb2,
            "AuditService",
        ),
        (
            PlanService(deps, gate, watches),
            plan_pb2_grpc.add_PlanServiceServicer_to_server,
            plan_pb2,
            "PlanService",
        ),
        (
            OpsService(deps, gate),
            ops_pb2_grpc.add_OpsServiceServicer_to_server,
            ops_pb2,
            "OpsService",
        ),
    ):
        full_name = module.DESCRIPTOR.services_by_name[name].full_name
        service.add(servicer, add_to_server, full_name)
    publisher = _publisher(store, OutboxSettings.from_conf(conf), common, service)
    service.background(publisher.run, "outbox")
    http = _http_server(api, gate, common.api_http, settings)
    service.on_stop(http.close)
    service.background(http.run_door, "http door")
    return service


def _publisher(
    store: Store, settings: OutboxSettings, common: CommonSettings, service: Service
) -> OutboxPublisher:
    buses = make_buses(settings)
    if buses is not None:
        service.on_stop(buses.close)
    owner = f"{common.host}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
    return OutboxPublisher(store, buses, clock=SystemClock(), owner=owner)


def _http_server(api: RestApi, gate: Gate, address: str, settings: ApiSettings) -> HttpServer:
    app = asgi.create_app(
        api,
        max_body_bytes=settings.max_body_bytes,
        trust_forwarded_headers=settings.trust_forwarded_headers,
        gate=gate,
    )
    return HttpServer(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        ),
        address,
    )


async def make_authenticator(
    settings: ApiSettings, conf: cfg.ConfigOpts, *, cloud: str | None
) -> NoAuth | KeystoneAuthenticator:
    """FailedPrecondition when the configuration names no Keystone to ask; no network yet."""
    if settings.auth == "none":
        log.warning("auth = none: everybody who reaches this service is an administrator")
        return NoAuth()
    client = await asyncio.to_thread(KeystoneClient, connector(conf, cloud, (AUTH_GROUP,)))
    return KeystoneAuthenticator(
        client,
        clock=SystemClock(),
        cache_s=settings.token_cache_s,
        challenge_url=settings.www_authenticate_uri,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs until SIGTERM or SIGINT."""
    arguments = sys.argv[1:] if argv is None else argv
    common, conf = runtime_settings.load(
        arguments, prog="trimtab-api", groups={**GROUPS, **OUTBOX_GROUPS}
    )
    settings = ApiSettings.from_conf(conf, debug=common.debug)
    return services.run(lambda: build(common, settings, conf), settings=common, name=NAME)


if __name__ == "__main__":
    sys.exit(main())
