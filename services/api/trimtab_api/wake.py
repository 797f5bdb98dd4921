"""Wake-ups over gRPC: fire and forget, after the commit. Who misses one finds the work by sweep."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc.aio
import structlog

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab.decision.v1 import decision_pb2, decision_pb2_grpc
from trimtab_common.runtime import failpoints

log = structlog.get_logger(__name__)
TIMEOUT_S = 2.0
MAX_IN_FLIGHT = 100
"""Beyond this a wake-up is dropped: whoever does not answer will sweep when it is back."""


class GrpcWaker:
    """Tells decision and applier about work; see `ports.Waker`."""

    def __init__(self, *, decision: grpc.aio.Channel, applier: grpc.aio.Channel) -> None:
        self._decision: decision_pb2_grpc.DecisionServiceAsyncStub = (
            decision_pb2_grpc.DecisionServiceStub(decision)
        )
        self._applier: applier_pb2_grpc.ApplierServiceAsyncStub = (
            applier_pb2_grpc.ApplierServiceStub(applier)
        )
        self._tasks: set[asyncio.Task[None]] = set()

    def wake_audit(self, uuid: str) -> None:
        """Tells decision that this audit may be runnable."""
        request = decision_pb2.WakeAuditRequest(uuid=uuid)
        self._send("decision", uuid, lambda: self._decision.WakeAudit(request, timeout=TIMEOUT_S))

    def check_scope(self, uuid: str) -> None:
        """Has decision look whether what the scope of this audit or template names is there."""
        request = decision_pb2.CheckScopeRequest(uuid=uuid)
        self._send("decision", uuid, lambda: self._decision.CheckScope(request, timeout=TIMEOUT_S))

    def wake_plan(self, uuid: str) -> None:
        """Tells applier that this plan may be runnable, or wants cancelling."""
        request = applier_pb2.WakePlanRequest(uuid=uuid)
        self._send("applier", uuid, lambda: self._applier.WakePlan(request, timeout=TIMEOUT_S))

    async def close(self) -> None:
        """Drops what is still on its way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _send(self, whom: str, uuid: str, call: Callable[[], Awaitable[Any]]) -> None:
        if len(self._tasks) >= MAX_IN_FLIGHT:
            log.warning("wake-up dropped", whom=whom, uuid=uuid)
            return
        task = asyncio.create_task(_try(whom, uuid, call), name=f"wake {whom}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _try(whom: str, uuid: str, call: Callable[[], Awaitable[Any]]) -> None:
    try:
        failpoints.reach("api.wake.before")
        await call()
    except grpc.aio.AioRpcError as error:
        log.warning("wake-up not delivered", whom=whom, uuid=uuid, code=error.code().name)
