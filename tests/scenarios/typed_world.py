"""The typed services of a world on a real gRPC server, and stubs for them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from trimtab.audit.v1 import audit_pb2_grpc, audit_template_pb2_grpc
from trimtab.catalog.v1 import catalog_pb2_grpc
from trimtab.ops.v1 import ops_pb2_grpc
from trimtab.plan.v1 import plan_pb2_grpc
from trimtab_api.auth import DefaultPolicy, NoAuth
from trimtab_api.changes import ChangeFeed
from trimtab_api.typed.action_plans import PlanService
from trimtab_api.typed.audit_templates import AuditTemplateService
from trimtab_api.typed.audits import AuditService
from trimtab_api.typed.catalog import CatalogService
from trimtab_api.typed.gate import Gate
from trimtab_api.typed.services import OpsService
from trimtab_api.typed.watching import Watches
from trimtab_common.runtime.clock import SystemClock
from trimtab_common.runtime.errors import ErrorInterceptor


class Stubs:
    def __init__(self, channel):
        self.channel = channel
        self.catalog = catalog_pb2_grpc.CatalogServiceStub(channel)
        self.templates = audit_template_pb2_grpc.AuditTemplateServiceStub(channel)
        self.audits = audit_pb2_grpc.AuditServiceStub(channel)
        self.plans = plan_pb2_grpc.PlanServiceStub(channel)
        self.ops = ops_pb2_grpc.OpsServiceStub(channel)


def add_typed_services(server, world, gate, watches):
    catalog_pb2_grpc.add_CatalogServiceServicer_to_server(CatalogService(world.deps, gate), server)
    audit_template_pb2_grpc.add_AuditTemplateServiceServicer_to_server(
        AuditTemplateService(world.deps, gate), server
    )
    audit_pb2_grpc.add_AuditServiceServicer_to_server(
        AuditService(world.deps, gate, watches), server
    )
    plan_pb2_grpc.add_PlanServiceServicer_to_server(PlanService(world.deps, gate, watches), server)
    ops_pb2_grpc.add_OpsServiceServicer_to_server(OpsService(world.deps, gate), server)


@asynccontextmanager
async def serving(world, authenticator=None, *, max_stream_age_s=60.0):
    """Streams go by the machine's clock: the world's stands still."""
    gate = Gate(authenticator=authenticator or NoAuth(), policy=DefaultPolicy())
    feed = ChangeFeed(world.store, SystemClock(), poll_s=0.01)
    watches = Watches(feed, gate, SystemClock(), max_stream_age_s=max_stream_age_s)
    server = grpc.aio.server(interceptors=[ErrorInterceptor()])
    add_typed_services(server, world, gate, watches)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    following = asyncio.create_task(feed.run())
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stubs = Stubs(channel)
            stubs.world, stubs.feed, stubs.port = world, feed, port
            yield stubs
    finally:
        await server.stop(0)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def refused(call) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()
