"""OpsService: which services are alive."""

from __future__ import annotations

from trimtab.ops.v1 import ops_pb2, ops_pb2_grpc
from trimtab_api import services
from trimtab_api.ports import Deps
from trimtab_api.typed import values
from trimtab_api.typed.gate import Context, Gate
from trimtab_common.store import Query


class OpsService(ops_pb2_grpc.OpsServiceServicer):
    """Shows services by their heartbeats."""

    def __init__(self, deps: Deps, gate: Gate) -> None:
        self._deps = deps
        self._gate = gate

    async def ListServices(  # noqa: N802, named by the proto
        self,
        request: ops_pb2.ListServicesRequest,  # noqa: ARG002, an empty message
        context: Context,
    ) -> ops_pb2.ListServicesResponse:
        """Every service that ever sent a heartbeat."""
        await self._gate.check(context, "service:get_all")
        async with self._deps.store.read() as session:
            found = await session.services.list(Query())
        now, down_time_s = self._deps.clock.now(), self._deps.settings.service_down_time_s
        return ops_pb2.ListServicesResponse(
            services=(
                ops_pb2.Service(
                    name=service.name,
                    host=service.host,
                    status=services.status(service, now=now, down_time_s=down_time_s),
                    last_seen_at=values.timestamp(service.last_seen_up),
                )
                for service in found
            )
        )
