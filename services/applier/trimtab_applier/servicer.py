"""The wake-up RPC: it carries a uuid and no authority."""

from __future__ import annotations

from typing import Any

import grpc.aio

from trimtab.applier.v1 import applier_pb2, applier_pb2_grpc
from trimtab_applier.dispatcher import Dispatcher


class ApplierServicer(applier_pb2_grpc.ApplierServiceServicer):
    """Tells the dispatcher to look."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher

    async def WakePlan(  # noqa: N802, the name of the RPC
        self,
        request: applier_pb2.WakePlanRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> applier_pb2.WakePlanResponse:
        """Always OK."""
        del context
        self._dispatcher.wake(request.uuid)
        return applier_pb2.WakePlanResponse()
